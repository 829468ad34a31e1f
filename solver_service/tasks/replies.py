"""Replies on their way from a worker to the server: small ones in the message, large ones as a file."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ..errors import OutOfMemoryError
from ..wire.systems import Content

MESSAGE_BYTES = 1 << 20
_NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@dataclass(frozen=True, slots=True)
class Reply:
    """A finished body.

    Parameters
    ----------
    media_type : str
    content : bytes or Path
    size : int
        In bytes.
    """

    media_type: str
    content: Content
    size: int


def reply_with(content: bytes, media_type: str, path: Path) -> Reply:
    """Return `content` as a reply, through the file `path` if it is large."""
    if len(content) <= MESSAGE_BYTES:
        return Reply(media_type, content, len(content))
    with disk_errors():
        path.write_bytes(content)
    return Reply(media_type, path, len(content))


@contextmanager
def disk_errors() -> Iterator[None]:
    """Raise `OutOfMemoryError` where the disk is full."""
    try:
        yield
    except OSError as error:
        if error.errno not in _NO_SPACE:
            raise
        raise OutOfMemoryError("there is no space left on the disk", retry_after=30) from None
