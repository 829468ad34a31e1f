"""One place in the pool: keeps a worker alive in it, and sees each task through."""

from __future__ import annotations

import asyncio
import logging
import math
import pickle
import time
from collections.abc import Callable
from typing import Any

from ..errors import (
    OutOfMemoryError,
    RequestTimeoutError,
    ServiceError,
    SolverServiceError,
    WorkerLostError,
)
from . import worker
from .call import Call
from .config import PoolConfig
from .launcher import Launcher
from .process import StartError, WorkerProcess

_FIRST_DELAY, _LONGEST_DELAY = 0.1, 10.0
_HOPELESS = 3
"""Starts that failed in a row, after which it is said that there is no worker."""
_PROVEN_SECONDS = 1.0

logger = logging.getLogger(__name__)


class Slot:
    """A worker, its replacements, and the task it has.

    Parameters
    ----------
    index : int
        Number of the slot.
    config : PoolConfig
        The pool's configuration.
    launcher : Launcher
        Starts the workers.
    on_change : callable
        Called whenever a worker became idle or was lost, with the seconds of the task that ended, if any.
    hand_back : callable
        Takes a call whose worker died before it took the call up.
    """

    def __init__(
        self,
        index: int,
        config: PoolConfig,
        launcher: Launcher,
        on_change: Callable[[float | None], None],
        hand_back: Callable[[Call[Any]], None],
    ) -> None:
        self.call: Call[Any] | None = None
        self.started_at = 0.0
        self.restarts = 0
        self.failing = False
        self._index = index
        self._config = config
        self._launcher = launcher
        self._on_change = on_change
        self._hand_back = hand_back
        self._process: WorkerProcess | None = None
        self._task_number = 0
        self._kill_timers: list[asyncio.TimerHandle] = []
        self._verdict: ServiceError | None = None

    @property
    def warm(self) -> bool:
        """Whether it has a worker that can take tasks."""
        return self._process is not None and self._process.usable

    @property
    def idle(self) -> bool:
        """Whether a task can be assigned now."""
        return self.call is None and self.warm

    async def keep_alive(self) -> None:
        """Start a worker and replace it whenever it dies, until cancelled."""
        failures = 0
        while True:
            try:
                process = await self._launcher.start_worker(self._index)
            except (StartError, OSError) as error:
                failures += 1
                delay = _delay(failures)
                logger.error("worker %d did not start, next attempt in %.1f s: %s", self._index, delay, error)
                if failures >= _HOPELESS:
                    self.failing = True
                    self._on_change(None)
                await asyncio.sleep(delay)
                continue
            self.failing = False
            proven = await self._attend(process)
            failures = 0 if proven else failures + 1
            if failures > 1:  # it dies again and again while doing nothing
                await asyncio.sleep(_delay(failures - 1))

    async def _attend(self, process: WorkerProcess) -> bool:
        """See one worker through its life; return whether it had proven itself."""
        born, first_task = time.monotonic(), self._task_number
        process.on_reply = self._on_reply
        self._process = process
        try:
            self._on_change(None)
            await process.dead
        finally:
            self._process = None
            process.kill()
            await process.close()
        self.restarts += 1
        self._bury(process)
        self._on_change(None)
        return self._task_number > first_task or time.monotonic() - born > _PROVEN_SECONDS

    def assign(self, call: Call[Any]) -> None:
        """Give an idle slot its next task."""
        assert self._process is not None
        self.call = call
        call.begun = True
        self.started_at = time.monotonic()
        self._verdict = None
        self._task_number += 1
        due = math.nan if call.deadline is None else call.deadline
        self._process.send(worker.REQUEST.pack(self._task_number, call.submitted, due), call.message)
        if call.deadline is not None:
            self._kill_after(
                call.deadline - self.started_at + self._config.grace_seconds,
                RequestTimeoutError("the deadline passed before there was an answer"),
            )

    def cancel(self, verdict: ServiceError, grace: float) -> None:
        """Ask the task to stop; after `grace` seconds kill its worker, and fail the call with `verdict`."""
        if self.call is not None:
            self._launcher.board.cancel(self._index, self._task_number)
            self._kill_after(grace, verdict)

    def _kill_after(self, seconds: float, verdict: ServiceError) -> None:
        loop = asyncio.get_running_loop()
        self._kill_timers.append(loop.call_later(max(seconds, 0.0), self._kill, verdict))

    def _kill(self, verdict: ServiceError) -> None:
        if self._process is not None and not self._process.killed:
            self._verdict = verdict
            self._process.kill()

    def _on_reply(self, reply: bytes) -> None:
        if reply[:1] == worker.REPORT and self.call is not None:
            self.call.report(memoryview(reply)[1:])
            return
        call = self._finish()
        if call is None:
            logger.error("worker %d spoke without being asked and is replaced", self._index)
            self._kill(WorkerLostError("the worker had to be replaced"))
            return
        if reply[:1] == worker.CROWDED and self._process is not None:
            self._process.kill()
        if call.done:
            call.release()  # nobody waits: spare the work of reading the answer
        else:
            self._deliver(call, reply)
        self._on_change(time.monotonic() - self.started_at)

    def _bury(self, process: WorkerProcess) -> None:
        pid, ending, verdict = process.pid, process.ending, self._verdict
        self._verdict = None
        call = self._finish()
        if call is None:
            level = logging.INFO if process.killed else logging.WARNING
            logger.log(level, "idle worker %d (pid %s) %s and is replaced", self._index, pid, ending)
        elif verdict is not None:
            logger.info("worker %d (pid %s) was stopped in its task: %s", self._index, pid, verdict)
            call.fail(verdict)
        elif self._launcher.board.begun(self._index) != self._task_number and not call.handed_back:
            logger.warning("worker %d (pid %s) %s before it took up a task", self._index, pid, ending)
            call.handed_back = True  # once only: perhaps it was the call's size that killed the worker
            self._hand_back(call)
        else:
            logger.error("worker %d (pid %s) %s during a task", self._index, pid, ending)
            call.fail(WorkerLostError("the process working on this request died; others are not affected"))

    def _finish(self) -> Call[Any] | None:
        call, self.call = self.call, None
        for timer in self._kill_timers:
            timer.cancel()
        self._kill_timers.clear()
        return call

    def _deliver(self, call: Call[Any], reply: bytes) -> None:
        kind, body = reply[:1], memoryview(reply)[1:]
        try:
            if kind == worker.RESULT:
                call.succeed(pickle.loads(body))  # noqa: S301  # our own worker wrote it
                return
            if kind == worker.ERROR:
                error = pickle.loads(body)  # noqa: S301
                if isinstance(error, SolverServiceError):
                    call.fail(error)
                    return
        except Exception:
            logger.exception("the answer of a task cannot be read")
        if kind in (worker.OUT_OF_MEMORY, worker.CROWDED):
            limit = self._config.memory_limit_bytes
            allowance = "" if limit is None else f" ({limit / 2**20:.0f} MiB)"
            call.fail(OutOfMemoryError(f"the request needs more memory than a worker may use{allowance}"))
            return
        if kind == worker.INTERNAL:
            logger.error("a task failed\n%s", str(body, "utf-8", "replace"))
        call.fail(SolverServiceError("internal error"))


def _delay(failures: int) -> float:
    return min(_FIRST_DELAY * 2.0 ** min(failures - 1, 16), _LONGEST_DELAY)
