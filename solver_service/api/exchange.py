"""One request on its way through the pool: its files, and the client who may hang up."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Hashable, Sequence
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, TypeVar

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from ..engine import Call, Share, TaskContext
from ..tasks.replies import Reply
from ..wire.systems import Content
from .body import WholeBody, read_body
from .buffer import Buffer
from .multipart import MultipartSink
from .negotiation import JSON, MULTIPART
from .responses import FileResponse
from .services import Services
from .spool import in_thread, remove

Payload = TypeVar("Payload")
Answer = TypeVar("Answer")


class Exchange:
    """Sees to it that no file of a request outlives it, however it ends.

    A client may hang up and the server forget the request while a worker still reads its body or writes its
    reply. So the files go when both are done: the server with the request, and the pool with the work.

    Parameters
    ----------
    request : Request
    services : Services
    """

    def __init__(self, request: Request, services: Services) -> None:
        self.reply_path = services.spool.new_path()
        self._request = request
        self._services = services
        self._sink: WholeBody | MultipartSink | None = None
        self._in_pool = False
        self._done = False
        self._reply_may_exist = False

    async def __aenter__(self) -> Exchange:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._done = True
        self._tidy()

    async def receive(
        self, media_type: str, boundary: str, names: frozenset[str], *, limit: int | None = None
    ) -> dict[str, Content]:
        """Read the body.

        Parameters
        ----------
        media_type, boundary : str
            Of the body.
        names : frozenset of str
            The parts that may come in a multipart body.
        limit : int, optional
            Most bytes, where that is less than usual.

        Returns
        -------
        dict
            The parts by name; a body without parts as ``body``.
        """
        settings = self._services.settings
        json_limit = min(settings.max_json_bytes, settings.max_body_bytes)
        most = json_limit if media_type == JSON else settings.max_body_bytes
        sink = self._sink = (
            MultipartSink(boundary, names, self._new_buffer)
            if media_type == MULTIPART
            else WholeBody(self._new_buffer())
        )
        await read_body(
            self._request,
            sink,
            limit=min(most, limit or most),
            pause=settings.body_timeout,
            signal=self._services.signal,
        )
        return await in_thread(sink.finish) if sink.on_disk else sink.finish()

    async def run(
        self,
        task: Callable[[TaskContext, Payload], Answer],
        payload: Payload,
        *,
        lane: str,
        deadline: float | None,
        stop_on_hang_up: bool = True,
    ) -> Answer:
        """Run a task of the pool; a client that hangs up stops it, if so wished.

        Raises
        ------
        ClientDisconnect
            The client went away; the task has been told.
        """
        call = self._services.pool.submit(
            task, payload, lane=lane, deadline=deadline, on_release=self._enter_pool()
        )
        return await (self._answer(call) if stop_on_hang_up else call.answer())

    async def run_shared(
        self,
        task: Callable[[Sequence[Share[Payload, Answer]]], None],
        payload: Payload,
        *,
        lane: str,
        key: Hashable | None,
        deadline: float | None,
        priority: int,
    ) -> Answer:
        """Run a task that works on several calls at once: see `Pool.submit_shared`. A hang-up stops this one.

        Raises
        ------
        ClientDisconnect
            As for `run`.
        """
        call = self._services.pool.submit_shared(
            task,
            payload,
            lane=lane,
            key=key,
            deadline=deadline,
            on_release=self._enter_pool(),
            priority=priority,
        )
        return await self._answer(call)

    def _enter_pool(self) -> Callable[[], None]:
        """Note that a call is being made; returns what the pool calls when it has let go of it."""
        self._in_pool = self._reply_may_exist = True
        return self._released_by_pool

    async def _answer(self, call: Call[Answer]) -> Answer:
        work = asyncio.ensure_future(call.answer())
        hang_up = asyncio.ensure_future(_hang_up(self._request))
        try:
            await asyncio.wait({work, hang_up}, return_when=asyncio.FIRST_COMPLETED)
            if work.done():
                return work.result()
            raise ClientDisconnect
        finally:
            call.abandon()  # work that was cancelled before it began would not do it
            work.cancel()
            hang_up.cancel()
            await asyncio.wait({work, hang_up})

    async def respond(self, reply: Reply, headers: dict[str, str] | None = None) -> Response:
        """Return what a worker has written as a response."""
        if isinstance(reply.content, bytes):
            self._reply_may_exist = False
            return Response(reply.content, headers=headers, media_type=reply.media_type)
        file = await in_thread(_open_nameless, reply.content)
        return FileResponse(file, reply.size, reply.media_type, headers)

    def _new_buffer(self) -> Buffer:
        return Buffer(self._services.spool)

    def _released_by_pool(self) -> None:
        self._in_pool = False
        self._tidy()

    def _tidy(self) -> None:
        if self._in_pool or not self._done:
            return
        loop = asyncio.get_running_loop()
        sink, self._sink = self._sink, None
        if sink is not None and sink.on_disk:
            loop.run_in_executor(None, sink.discard)
        if self._reply_may_exist:
            loop.run_in_executor(None, remove, [self.reply_path])


async def _hang_up(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _open_nameless(path: Path) -> BinaryIO:
    """Open a file and remove its name: it lives as long as it is open."""
    file = path.open("rb")
    path.unlink()
    return file
