"""The HTTP server: uvicorn with a clean stop, an announced address, and problem documents for broken HTTP."""

from __future__ import annotations

import asyncio
import resource
import signal
import socket
from collections.abc import Callable
from types import FrameType
from typing import Any, Final
from uuid import uuid4

import orjson
import structlog
import uvicorn
from fastapi import FastAPI
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from ..runner import CannotStartError, prepare
from ..settings import Settings
from ..wire.errors import MEDIA_TYPE, problem_document
from .app import create_app

logger = structlog.stdlib.get_logger(__name__)

MAX_HEAD_BYTES: Final = 64 * 1024
_BACKLOG = 2048


class Protocol(HttpToolsProtocol):
    """HTTP/1.1 with a bounded head, whose parse errors are problem documents too."""

    _head_bytes = 0
    _in_head = True

    def on_message_begin(self) -> None:
        """Begin to count (called by the parser)."""
        super().on_message_begin()
        self._in_head = True
        self._head_bytes = 0

    def on_headers_complete(self) -> None:
        """Stop counting (called by the parser)."""
        self._in_head = False
        super().on_headers_complete()

    def data_received(self, data: bytes) -> None:
        """Take bytes from the socket (called by the event loop)."""
        was_in_head = self._in_head
        super().data_received(data)
        if was_in_head and self._in_head:
            self._head_bytes += len(data)
            if self._head_bytes > MAX_HEAD_BYTES and not self.transport.is_closing():
                self.send_400_response("the request's headers are too large")

    def send_400_response(self, msg: str) -> None:
        """Answer what is not HTTP, and close the connection."""
        request_id = uuid4().hex
        document = problem_document("invalid_request", msg, request_id)
        document.update(status=400, title="The request is not valid HTTP")
        body = orjson.dumps(document)
        head = (
            "HTTP/1.1 400 Bad Request\r\n"
            f"content-type: {MEDIA_TYPE}\r\ncontent-length: {len(body)}\r\n"
            f"x-request-id: {request_id}\r\nconnection: close\r\n\r\n"
        )
        self.transport.write(head.encode("ascii") + body)
        self.transport.close()


class Server(uvicorn.Server):
    """uvicorn's server, stopped by a signal without losing an answer.

    The first SIGTERM or SIGINT cancels all running solves, so that they answer with the best x they have;
    further ones change nothing.

    Parameters
    ----------
    config : uvicorn.Config
    announce : callable
        Called once when connections are accepted.
    stop : callable
        Called once, on the event loop, when the first signal comes.
    """

    def __init__(
        self, config: uvicorn.Config, announce: Callable[[], None], stop: Callable[[], None]
    ) -> None:
        super().__init__(config)
        self._announce = announce
        self._stop = stop
        self._loop: asyncio.AbstractEventLoop | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start the application and accept connections."""
        self._loop = asyncio.get_running_loop()
        await super().startup(sockets)
        if self.started:
            self._announce()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Begin to stop (called by the signal)."""
        del sig, frame
        if not self.should_exit and self._loop is not None:
            self._loop.call_soon_threadsafe(self._stop)
        self.should_exit = True


def bind(host: str, port: int) -> socket.socket:
    """Return a listening socket.

    Raises
    ------
    CannotStartError
        The address cannot be used.
    """
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        sock = socket.create_server(address, family=family, backlog=_BACKLOG)
    except OSError as error:
        raise CannotStartError(f"cannot listen on {host} port {port}: {error.strerror or error}") from None
    sock.setblocking(False)
    return sock


def url_of(sock: socket.socket) -> str:
    """Return the address that a socket listens on."""
    host, port = sock.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def make_server(app: FastAPI, settings: Settings, announce: Callable[[], None]) -> Server:
    """Return a server for `app`."""
    options: dict[str, Any] = {
        "http": Protocol,
        "ws": "none",
        "loop": "uvloop",
        "lifespan": "on",
        "log_config": None,
        "access_log": False,
        "server_header": False,
        "timeout_graceful_shutdown": settings.shutdown_grace,
    }
    return Server(uvicorn.Config(app, **options), announce, app.state.services.stop)


def serve(settings: Settings, announce: Callable[[str], None]) -> None:
    """Serve until a signal comes.

    Parameters
    ----------
    settings : Settings
    announce : callable
        Told the URL once connections are accepted.

    Raises
    ------
    CannotStartError
        The port is taken, or folders or database cannot be used.
    """
    prepare(settings)
    # A request may hold a socket and two files; the usual soft limit of 1,024 is for users of select().
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    with bind(settings.host, settings.port) as sock:
        url = url_of(sock)

        def listening() -> None:
            logger.info("listening", url=url)
            announce(url)

        server = make_server(create_app(settings), settings, listening)
        try:
            server.run(sockets=[sock])
        except SystemExit:
            raise CannotStartError("the service could not start; the log says why") from None
        finally:
            for stop in (signal.SIGINT, signal.SIGTERM):
                signal.signal(stop, signal.SIG_IGN)  # on the way out there is nothing left to interrupt
