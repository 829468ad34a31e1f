"""One worker process, as the parent sees it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
from collections.abc import Callable

from . import worker
from .channel import Channel

_STRAGGLER_SECONDS = 0.05


class StartError(Exception):
    """A worker, or the process that forks them, could not be started; the text says why."""


class WorkerProcess:
    """Handle of a worker: send to it, kill it, learn of its end.

    Its end shows twice, as the end of its socket and as a report of the fork server. `dead` is set when
    both are known, or shortly after the first: all that the worker sent before is then read, and its
    exit code is known.
    """

    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        self.pid: int | None = None
        self.exit_code: int | None = None
        self.killed = False
        self.started: asyncio.Future[None] = loop.create_future()
        self.dead: asyncio.Future[None] = loop.create_future()
        self.on_reply: Callable[[bytes], None] | None = None
        self._channel: Channel | None = None
        self._straggler: asyncio.TimerHandle | None = None

    async def connect(self, sock: socket.socket) -> None:
        """Take over the parent's end of the worker's socket pair."""
        self._channel = await Channel.open(sock, self._on_message, self._on_hang_up)

    @property
    def usable(self) -> bool:
        """Whether a task may be sent: it is warm, and nothing speaks against its being alive."""
        return (
            self._channel is not None
            and not self._channel.lost
            and not self.killed
            and self.exit_code is None
        )

    @property
    def ending(self) -> str:
        """How it ended, in words."""
        if self.exit_code is None:
            return "ended"
        if self.exit_code >= 0:
            return f"exited with status {self.exit_code}"
        return f"was killed by signal {-self.exit_code} ({signal.strsignal(-self.exit_code)})"

    def send(self, *parts: bytes) -> None:
        """Send one message."""
        if self._channel is not None:
            self._channel.send(*parts)

    def kill(self) -> None:
        """End it now, without a chance to object."""
        self.killed = True
        # Once the fork server has reaped it, its pid may be somebody else's.
        if self.pid is not None and self.exit_code is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)

    async def close(self) -> None:
        """Let go of the socket."""
        if self._channel is not None:
            self._channel.abort()
            await self._channel.closed()
        if self._straggler is not None:
            self._straggler.cancel()

    def forked(self, pid: int) -> None:
        """Note its process id (reported by the fork server)."""
        self.pid = pid
        if self.killed:
            self.kill()

    def refused(self, reason: str) -> None:
        """Note that it could not be forked (reported by the fork server)."""
        self._fail_start(f"no process could be forked: {reason}")

    def exited(self, exit_code: int) -> None:
        """Note its end (reported by the fork server)."""
        self.exit_code = exit_code
        self._ending()

    def _on_message(self, message: bytes) -> None:
        if self.on_reply is not None:
            self.on_reply(message)
        elif message[:1] == worker.READY:
            if not self.started.done():
                self.started.set_result(None)
        elif message[:1] == worker.START_FAILED:
            self._fail_start(message[1:].decode("utf-8", "replace"))

    def _on_hang_up(self) -> None:
        self._ending()

    def _fail_start(self, reason: str) -> None:
        if not self.started.done():
            self.started.set_exception(StartError(reason))
            self.started.exception()  # whoever waited may have gone

    def _ending(self) -> None:
        both = self.exit_code is not None and (self._channel is None or self._channel.lost)
        if both:
            self._declare_dead()
        elif self._straggler is None:
            self._straggler = asyncio.get_running_loop().call_later(_STRAGGLER_SECONDS, self._declare_dead)

    def _declare_dead(self) -> None:
        if not self.dead.done():
            self.dead.set_result(None)
            self._fail_start(f"the new worker {self.ending}")
