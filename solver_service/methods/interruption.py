"""The way out of nested loops when a solve has to end."""

from __future__ import annotations

from .result import Status


class Interrupted(Exception):  # noqa: N818  # not an error: the way out of nested loops
    """A limit or a request ends the solve now; the best iterate so far is kept."""

    def __init__(self, status: Status) -> None:
        super().__init__(status)
        self.status = status
