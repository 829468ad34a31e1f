"""Temporary files of one server process: bodies too large for memory, and replies on their way out."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import secrets
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


class Spool:
    """A folder that is emptied when its process ends, or else by the next one.

    Parameters
    ----------
    root : Path
        The folder that holds the spools of all processes with the same data folder.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._folder: Path | None = None
        self._lock: int | None = None

    def open(self) -> None:
        """Make the folder, after removing those whose process is gone."""
        self._root.mkdir(parents=True, exist_ok=True)
        for left_over in self._root.iterdir():
            descriptor = _try_lock(left_over)
            if descriptor is not None:
                shutil.rmtree(left_over, ignore_errors=True)
                os.close(descriptor)
        folder = self._root / secrets.token_hex(8)
        folder.mkdir()
        self._lock = _try_lock(folder)
        self._folder = folder

    def close(self) -> None:
        """Remove the folder with all that is in it."""
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = None
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def new_path(self) -> Path:
        """Return a path that nobody else uses; nothing is made there."""
        if self._folder is None:
            raise RuntimeError("the spool is not open")
        return self._folder / secrets.token_hex(12)


def _try_lock(folder: Path) -> int | None:
    """Lock a folder, unless the process that owns it lives; the descriptor holds the lock."""
    descriptor: int | None = None
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        if descriptor is not None:
            os.close(descriptor)
        return None
    return descriptor


def remove(paths: Iterable[Path]) -> None:
    """Remove files that may be there."""
    for path in paths:
        with contextlib.suppress(OSError):
            path.unlink(missing_ok=True)


async def in_thread(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Run a function that touches files; when cancelled, wait for its end first.

    A thread cannot be stopped. Whoever cleans up after it must come last.
    """
    return await to_the_end(asyncio.ensure_future(asyncio.to_thread(function, *args, **kwargs)))


async def to_the_end(call: asyncio.Future[T]) -> T:
    """Wait for what cannot be stopped; when cancelled, wait for its end first."""
    try:
        return await asyncio.shield(call)
    except asyncio.CancelledError:
        while not call.done():
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.wait([call])
        if not call.cancelled():
            call.exception()  # seen, so that asyncio does not complain
        raise
