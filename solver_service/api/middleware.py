"""What surrounds every request: its id, its log line, its last line of defence, and its unread rest."""

from __future__ import annotations

import asyncio
import re
import secrets
import time
from typing import Final

import structlog
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ..errors import ShuttingDownError
from .body import StopSignal
from .errors import internal_error, problem_response

_VALID_ID: Final = re.compile(r"[A-Za-z0-9._-]{1,128}", re.ASCII)
_MAX_LOGGED_PATH: Final = 200
_LINGER_SECONDS: Final = 1.0
_LINGER_STOPPING: Final = 0.2
_LINGER_BYTES: Final = 16 * 2**20
CLIENT_CLOSED: Final = 499
"""Logged (never sent) as the status of a request whose client hung up."""

logger = structlog.stdlib.get_logger("solver_service.access")


class RequestScope:
    """Gives each request an id and a log line, refuses work while stopping, and answers crashes.

    Parameters
    ----------
    app : ASGI application
    signal : StopSignal
        Tells that the service is stopping.
    """

    def __init__(self, app: ASGIApp, signal: StopSignal) -> None:
        self._app = app
        self._signal = signal

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request (ASGI)."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = _request_id(scope)
        exchange = _Observed(receive, send, request_id)
        # HEAD is answered as GET; the server leaves out the body.
        method = scope["method"]
        head = method == "HEAD"
        inner = {**scope, "request_id": request_id, "method": "GET" if head else method, "head": head}
        structlog.contextvars.bind_contextvars(request_id=request_id)
        began = time.perf_counter()
        try:
            await self._serve(inner, exchange)
        finally:
            status = exchange.status or CLIENT_CLOSED
            logger.info(
                "request",
                method=method,
                path=_loggable(scope),
                status=status,
                seconds=round(time.perf_counter() - began, 6),
                bytes_in=exchange.bytes_in,
                bytes_out=exchange.bytes_out,
                client=scope["client"][0] if scope.get("client") else None,
            )
            structlog.contextvars.unbind_contextvars("request_id")

    async def _serve(self, scope: Scope, exchange: _Observed) -> None:
        try:
            if self._signal.stopping and scope["path"].startswith("/v1/"):
                raise ShuttingDownError("the service is stopping")
            await self._app(scope, exchange.receive, exchange.send)
        except ClientDisconnect:
            pass
        except ShuttingDownError as error:
            await problem_response(error, exchange.request_id)(scope, exchange.receive, exchange.send)
        except Exception:
            logger.exception("unexpected exception")
            if exchange.status is not None:
                raise  # too late to say anything: the connection is cut
            await internal_error(exchange.request_id)(scope, exchange.receive, exchange.send)


class _Observed:
    """The two channels of a request, with what went over them."""

    def __init__(self, receive: Receive, send: Send, request_id: str) -> None:
        self.request_id = request_id
        self.status: int | None = None
        self.bytes_in = 0
        self.bytes_out = 0
        self._receive = receive
        self._send = send

    async def receive(self) -> Message:
        message = await self._receive()
        self.bytes_in += len(message.get("body", b""))
        return message

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            MutableHeaders(scope=message)["X-Request-Id"] = self.request_id
        else:
            self.bytes_out += len(message.get("body", b""))
        await self._send(message)


class UnreadBody:
    """Answers early without a reset: the client gets the response though its body was not read to the end.

    Closing a socket with unread data makes the kernel discard what was sent. So after an early answer, the
    rest is read and dropped for a little while, and then the connection is closed.

    Parameters
    ----------
    app : ASGI application
    signal : StopSignal
        Tells that the service is stopping, so that there is less time.
    """

    def __init__(self, app: ASGIApp, signal: StopSignal) -> None:
        self._app = app
        self._signal = signal

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request (ASGI)."""
        if scope["type"] != "http" or not has_body(scope):
            await self._app(scope, receive, send)
            return
        unread = True

        async def observing_receive() -> Message:
            nonlocal unread
            message = await receive()
            if message["type"] == "http.disconnect" or not message.get("more_body", False):
                unread = False
            return message

        async def lingering_send(message: Message) -> None:
            if not unread:
                await send(message)
            elif message["type"] == "http.response.start":
                MutableHeaders(scope=message)["Connection"] = "close"
                await send(message)
            elif message.get("more_body", False):
                await send(message)
            else:
                await send({**message, "more_body": True})
                await self._drop_rest(receive)
                await send({"type": "http.response.body", "body": b"", "more_body": False})

        await self._app(scope, observing_receive, lingering_send)

    async def _drop_rest(self, receive: Receive) -> None:
        dropped = 0
        try:
            async with asyncio.timeout(_LINGER_STOPPING if self._signal.stopping else _LINGER_SECONDS):
                while dropped < _LINGER_BYTES:
                    message = await receive()
                    dropped += len(message.get("body", b""))
                    if message["type"] == "http.disconnect" or not message.get("more_body", False):
                        return
        except TimeoutError:
            return


def _request_id(scope: Scope) -> str:
    offered = Headers(scope=scope).getlist("x-request-id")
    if len(offered) == 1 and _VALID_ID.fullmatch(offered[0]):
        return offered[0]
    return secrets.token_hex(16)


def _loggable(scope: Scope) -> str:
    raw: bytes = scope.get("raw_path") or scope["path"].encode("utf-8", "replace")
    return raw[:_MAX_LOGGED_PATH].decode("ascii", "backslashreplace")


def has_body(scope: Scope) -> bool:
    """Whether a request comes with a body."""
    headers = Headers(scope=scope)
    return headers.get("content-length", "0") != "0" or "transfer-encoding" in headers
