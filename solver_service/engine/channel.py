"""Messages between the processes: a length, then that many bytes, over a socket pair."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Callable
from typing import cast

_LENGTH = struct.Struct("!Q")
_JOINED = 1 << 16
_CHUNK = 1 << 16


def send(sock: socket.socket, *parts: bytes) -> None:
    """Send one message made of `parts`; blocks."""
    head = _LENGTH.pack(sum(map(len, parts)))
    if sum(map(len, parts)) <= _JOINED:
        sock.sendall(b"".join((head, *parts)))
    else:
        for part in (head, *parts):
            sock.sendall(part)


def receive(sock: socket.socket) -> bytearray | None:
    """Receive one message, or None when the other side has gone; blocks.

    A message too large for the memory limit raises `MemoryError` and is skipped, so that the next one
    can be read.
    """
    head = bytearray(_LENGTH.size)
    if not _fill(sock, head):
        return None
    (length,) = _LENGTH.unpack(head)
    try:
        message = bytearray(length)
    except MemoryError:
        _skip(sock, length)
        raise
    return message if _fill(sock, message) else None


def _fill(sock: socket.socket, buffer: bytearray) -> bool:
    rest = memoryview(buffer)
    while rest:
        try:
            count = sock.recv_into(rest)
        except ConnectionError:
            return False
        if not count:
            return False
        rest = rest[count:]
    return True


def _skip(sock: socket.socket, length: int) -> None:
    while length:
        count = len(sock.recv(min(length, _CHUNK)))
        if not count:
            return
        length -= count


class Channel(asyncio.Protocol):
    """The parent's end: whole messages in, whole messages out, on the event loop."""

    def __init__(self, on_message: Callable[[bytes], None], on_lost: Callable[[], None]) -> None:
        self._on_message = on_message
        self._on_lost = on_lost
        self._buffer = bytearray()
        self._transport: asyncio.Transport | None = None
        self._closed = asyncio.get_running_loop().create_future()

    @classmethod
    async def open(
        cls, sock: socket.socket, on_message: Callable[[bytes], None], on_lost: Callable[[], None]
    ) -> Channel:
        """Take over `sock`, one end of a socket pair."""
        loop = asyncio.get_running_loop()
        try:
            _, channel = await loop.create_unix_connection(lambda: cls(on_message, on_lost), sock=sock)
        except BaseException:
            sock.close()
            raise
        return channel

    @property
    def lost(self) -> bool:
        """Whether the other side has gone, or this one was closed."""
        return self._transport is None or self._transport.is_closing()

    def send(self, *parts: bytes) -> None:
        """Send one message made of `parts`; never blocks. Nothing happens if the other side has gone."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.writelines([_LENGTH.pack(sum(map(len, parts))), *parts])

    def abort(self) -> None:
        """Close at once, whatever is still unsent."""
        if self._transport is not None:
            self._transport.abort()

    async def closed(self) -> None:
        """Wait until the socket is closed."""
        await asyncio.shield(self._closed)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport (called by the event loop)."""
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Cut the stream into messages (called by the event loop)."""
        buffer = self._buffer
        buffer += data
        start = 0
        while len(buffer) - start >= _LENGTH.size:
            (length,) = _LENGTH.unpack_from(buffer, start)
            begin, end = start + _LENGTH.size, start + _LENGTH.size + length
            if len(buffer) < end:
                break
            with memoryview(buffer) as view:
                message = bytes(view[begin:end])
            start = end
            self._on_message(message)
        del buffer[:start]

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell the owner that the other side has gone (called by the event loop)."""
        del exc  # a reset says no more than an end
        self._buffer.clear()
        self._on_lost()
        if not self._closed.done():
            self._closed.set_result(None)
