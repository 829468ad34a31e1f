"""The parent's side of the fork server: starts it, asks it for workers, ends it."""

from __future__ import annotations

import asyncio
import itertools
import logging
import os
import pickle
import socket
import subprocess
import sys

from . import fork_server
from .channel import Channel
from .config import PoolConfig
from .context import TaskBoard, shared_memory
from .process import StartError, WorkerProcess

_END_SECONDS = 0.5

logger = logging.getLogger(__name__)


class Launcher:
    """Starts workers, keeping a fork server for it; replaces the fork server should it die.

    Attributes
    ----------
    board : TaskBoard
        The shared memory through which tasks are cancelled.
    """

    def __init__(self, config: PoolConfig) -> None:
        self._config = config
        self._setup = pickle.dumps((config.initializer, config.memory_limit_bytes))
        self._board_fd = shared_memory(config.workers, config.most_together)
        self.board = TaskBoard(self._board_fd, config.workers, config.most_together)
        self._server: _ForkServer | None = None
        self._lock = asyncio.Lock()
        self._closed = False

    async def start_worker(self, slot: int) -> WorkerProcess:
        """Return a new, warm worker for that slot, or raise `StartError`."""
        process = WorkerProcess()
        try:
            async with asyncio.timeout(self._config.start_seconds):
                await self._start(process, await self._running_server(), slot)
        except TimeoutError:
            if process.pid is None and self._server is not None:
                self._server.kill()  # it hangs
            raise StartError(f"no answer within {self._config.start_seconds:g} s") from None
        return process

    async def close(self) -> None:
        """End the fork server, and with it all workers."""
        self._closed = True
        if self._server is not None:
            await self._server.close()
        if self._board_fd >= 0:
            self.board.close()
            os.close(self._board_fd)
            self._board_fd = -1

    async def _running_server(self) -> _ForkServer:
        async with self._lock:
            if self._closed:
                raise StartError("the pool is closing")
            if self._server is not None and self._server.lost:
                lost, self._server = self._server, None
                await lost.close()
            if self._server is None:
                self._server = await _ForkServer.start(self._config, self._board_fd)
            server = self._server
        # Waited for outside the lock, so that close() and the other slots are not held up.
        await asyncio.shield(server.preloaded)
        return server

    async def _start(self, process: WorkerProcess, server: _ForkServer, slot: int) -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            await process.connect(ours)
            try:
                server.fork(process, slot, theirs)
                theirs.close()
                process.send(self._setup)
                await process.started
            except BaseException:
                process.kill()
                await process.close()
                raise


class _ForkServer:
    def __init__(self, popen: subprocess.Popen[bytes], control: socket.socket) -> None:
        self.preloaded: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._popen = popen
        self._control = control
        self._reports: Channel | None = None
        self._workers: dict[int, WorkerProcess] = {}
        self._tokens = itertools.count(1)

    @classmethod
    async def start(cls, config: PoolConfig, board_fd: int) -> _ForkServer:
        control, their_control = socket.socketpair()
        reports, their_reports = socket.socketpair()
        with their_control, their_reports:
            try:
                popen = _spawn(config, (their_control.fileno(), their_reports.fileno(), board_fd))
            except OSError as error:
                control.close()
                reports.close()
                raise StartError(f"the fork server could not be started: {error}") from error
        control.setblocking(False)
        server = cls(popen, control)
        try:
            server._reports = await Channel.open(reports, server._on_report, server._on_lost)
        except BaseException:
            control.close()
            popen.kill()
            popen.wait()
            raise
        return server

    @property
    def lost(self) -> bool:
        return self._reports is None or self._reports.lost

    def fork(self, process: WorkerProcess, slot: int, sock: socket.socket) -> None:
        token = next(self._tokens)
        self._workers[token] = process
        try:
            socket.send_fds(self._control, [fork_server.REQUEST.pack(token, slot)], [sock.fileno()])
        except OSError as error:
            del self._workers[token]
            raise StartError(f"the fork server does not answer: {error}") from error

    def kill(self) -> None:
        self._popen.kill()

    async def close(self) -> None:
        self._control.close()
        if not self.preloaded.done() or self.preloaded.cancelled():
            self._popen.kill()  # it has no children yet, and does not listen
        try:
            await asyncio.to_thread(self._popen.wait, _END_SECONDS)
        except subprocess.TimeoutExpired:
            for process in self._workers.values():
                process.kill()
            self._popen.kill()
            await asyncio.to_thread(self._popen.wait)
        if self._reports is not None:
            self._reports.abort()
            await self._reports.closed()

    def _on_report(self, message: bytes) -> None:
        report: fork_server.Report = pickle.loads(message)  # noqa: S301  # our own child wrote it
        event, token, number, text = report
        if event == "preloaded":
            if not self.preloaded.done():
                self.preloaded.set_result(None)
        elif event == "broken":
            logger.error("workers cannot start: a preloaded module cannot be imported\n%s", text)
            self._fail("a preloaded module cannot be imported")
        elif event == "exited":
            self._workers.pop(token).exited(number)
        elif event == "forked":
            self._workers[token].forked(number)
        else:
            self._workers.pop(token).refused(text)

    def _on_lost(self) -> None:
        self._fail("the fork server ended")
        self._workers.clear()  # the ends of their sockets still tell of their deaths

    def _fail(self, reason: str) -> None:
        if not self.preloaded.done():
            self.preloaded.set_exception(StartError(reason))
            self.preloaded.exception()  # there may be nobody who waits


def _spawn(config: PoolConfig, descriptors: tuple[int, int, int]) -> subprocess.Popen[bytes]:
    control, reports, board = descriptors
    path = [str(entry) for entry in sys.path]
    program = (
        # Signals first: the imports take a while. The parent decides when workers end.
        "import signal as s; s.signal(s.SIGINT, s.SIG_IGN); s.signal(s.SIGTERM, s.SIG_IGN); "
        f"import sys; sys.path[:] = {path!r}; from {fork_server.__name__} import main; "
        f"main({control}, {reports}, {board}, {config.workers}, {config.most_together}, "
        f"{list(config.preload)!r})"
    )
    return subprocess.Popen(  # noqa: S603  # our own interpreter and program
        [sys.executable, "-P", "-c", program],  # -P: no modules from the working directory
        stdin=subprocess.DEVNULL,
        env={**os.environ, **config.environment},
        pass_fds=descriptors,
        start_new_session=True,  # Ctrl-C goes to the parent alone
    )
