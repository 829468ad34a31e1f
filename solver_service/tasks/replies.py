"""Replies on their way from a worker to the server: small ones in the message, large ones as a file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ..storage import full_disk_reported
from ..wire.systems import Content

MESSAGE_BYTES = 1 << 20


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
    with full_disk_reported():
        path.write_bytes(content)
    return Reply(media_type, path, len(content))
