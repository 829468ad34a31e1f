"""Bytes that stay in memory while they are few and become a file when they are many."""

from __future__ import annotations

import contextlib
import errno
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

from ..errors import OutOfMemoryError, QueueFullError
from ..wire.systems import Content
from .spool import Spool, remove

MEMORY_BYTES = 256 * 1024
_NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_NO_HANDLES = (errno.EMFILE, errno.ENFILE)


class Buffer:
    """Collects one body or part. Its methods may touch the disk: call them in a thread once it is large.

    Parameters
    ----------
    spool : Spool
        Where the file goes.
    memory : int
        Most bytes to keep in memory.
    """

    def __init__(self, spool: Spool, memory: int = MEMORY_BYTES) -> None:
        self._spool = spool
        self._memory = memory
        self._size = 0
        self._sink: BinaryIO = BytesIO()
        self._path: Path | None = None

    @property
    def on_disk(self) -> bool:
        """Whether the bytes have become a file."""
        return self._path is not None

    def write(self, data: bytes) -> None:
        """Take the next bytes."""
        self._size += len(data)
        try:
            if self._path is None and self._size > self._memory:
                self._move_to_disk()
            self._sink.write(data)
        except OSError as error:
            raise _translate(error) from error

    def finish(self) -> Content:
        """Return the bytes, or the path of the file with them."""
        if self._path is None:
            assert isinstance(self._sink, BytesIO)
            return self._sink.getvalue()
        try:
            self._sink.close()
        except OSError as error:
            raise _translate(error) from error
        return self._path

    def discard(self) -> None:
        """Remove the file, if there is one."""
        if self._path is not None:
            with contextlib.suppress(OSError):  # what could not be flushed is not wanted any more
                self._sink.close()
            remove([self._path])

    @staticmethod
    def _open(path: Path) -> BinaryIO:
        return path.open("xb")

    def _move_to_disk(self) -> None:
        assert isinstance(self._sink, BytesIO)
        collected = self._sink.getvalue()
        path = self._spool.new_path()
        self._sink = self._open(path)
        self._path = path
        self._sink.write(collected)


def _translate(error: OSError) -> Exception:
    if error.errno in _NO_HANDLES:
        return QueueFullError("too many requests are open at once", retry_after=5)
    if error.errno not in _NO_SPACE:
        return error
    return OutOfMemoryError("there is no space left for the body", retry_after=30)
