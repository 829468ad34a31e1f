"""Request bodies: streamed from the socket to memory or disk, bounded in size and in time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final, Protocol

from starlette.requests import ClientDisconnect, Request

from ..errors import PayloadTooLargeError, RequestTimeoutError, ShuttingDownError
from ..wire.systems import Content
from .buffer import MEMORY_BYTES, Buffer
from .spool import in_thread

BATCH_BYTES: Final = 1 << 20
"""How much is gathered before a thread writes it to disk."""

SLOWEST_RATE: Final = 1024
"""Bytes a second that a body must make on average, or it is as good as stalled."""


class Sink(Protocol):
    """Takes the pieces of a body; may touch the disk."""

    @property
    def on_disk(self) -> bool:
        """Whether something has become a file."""

    def write(self, data: bytes) -> None:
        """Take the next piece."""

    def discard(self) -> None:
        """Remove all files."""


class WholeBody:
    """The sink of a body that has no parts."""

    def __init__(self, buffer: Buffer) -> None:
        self._buffer = buffer

    @property
    def on_disk(self) -> bool:
        """Whether the body has become a file."""
        return self._buffer.on_disk

    def write(self, data: bytes) -> None:
        """Take the next piece."""
        self._buffer.write(data)

    def discard(self) -> None:
        """Remove the file."""
        self._buffer.discard()

    def finish(self) -> dict[str, Content]:
        """Return the body under the name ``body``."""
        return {"body": self._buffer.finish()}


class StopSignal:
    """Tells all who wait for a client that the service is stopping."""

    def __init__(self) -> None:
        self.stopping = False
        self._waiting: set[asyncio.Timeout] = set()

    def stop(self) -> None:
        """Wake everybody; from now on nobody may begin to wait."""
        self.stopping = True
        for limit in self._waiting:
            if not limit.expired():
                limit.reschedule(0.0)

    @asynccontextmanager
    async def patience(self, seconds: float) -> AsyncIterator[asyncio.Timeout]:
        """Raise `RequestTimeoutError` unless the block, which may extend the time, ends before."""
        if self.stopping:
            raise ShuttingDownError("the service is stopping")
        try:
            async with asyncio.timeout(seconds) as limit:
                self._waiting.add(limit)
                try:
                    yield limit
                finally:
                    self._waiting.discard(limit)
        except TimeoutError:
            if self.stopping:
                raise ShuttingDownError("the service is stopping") from None
            raise RequestTimeoutError("the body came too slowly") from None


async def read_body(request: Request, sink: Sink, *, limit: int, pause: float, signal: StopSignal) -> None:
    """Move the whole body into `sink`.

    Parameters
    ----------
    request : Request
    sink : Sink
        Takes the pieces, in a thread once they are many.
    limit : int
        Most bytes to take.
    pause : float
        Longest time without a byte, in seconds.
    signal : StopSignal
        Ends the wait when the service stops.

    Raises
    ------
    PayloadTooLargeError, RequestTimeoutError, ShuttingDownError
    ClientDisconnect
        The client went away.
    """
    declared = request.headers.get("content-length", "")
    refuse_above(int(declared) if declared.isascii() and declared.isdigit() else 0, limit)
    loop = asyncio.get_running_loop()
    began = loop.time()
    size, batch, more = 0, bytearray(), True
    async with signal.patience(pause) as patience:
        while more:
            message = await request.receive()
            if message["type"] == "http.disconnect":
                raise ClientDisconnect
            piece: bytes = message.get("body", b"")
            more = bool(message.get("more_body", False))
            size += len(piece)
            refuse_above(size, limit)
            batch += piece
            if len(batch) >= BATCH_BYTES or not more:
                await _write(sink, bytes(batch))
                batch.clear()
            if not signal.stopping and not patience.expired():
                patience.reschedule(min(loop.time() + pause, began + pause + size / SLOWEST_RATE))


async def _write(sink: Sink, data: bytes) -> None:
    if len(data) <= MEMORY_BYTES and not sink.on_disk:
        sink.write(data)  # may be the last drop that makes it a file, which is rare and quick
    else:
        await in_thread(sink.write, data)


def refuse_above(size: int, limit: int) -> None:
    """Raise `PayloadTooLargeError` if a body of `size` bytes is larger than allowed."""
    if size > limit:
        raise PayloadTooLargeError(f"the body is larger than {limit:,} bytes, the most that is taken here")
