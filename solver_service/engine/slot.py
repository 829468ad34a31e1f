"""One place in the pool: keeps a worker alive in it, and sees each task and its calls through."""

from __future__ import annotations

import asyncio
import logging
import math
import pickle
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
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
_LINGER_SECONDS = 5.0
"""Time for a task to return after its last answer, when neither deadlines nor callers can end it."""

logger = logging.getLogger(__name__)


@dataclass(slots=True, eq=False)
class _Held:
    """A call that the worker has and that has no answer yet."""

    call: Call[Any]
    kill_timers: list[asyncio.TimerHandle] = field(default_factory=list)
    verdict: ServiceError | None = None

    def let_go(self) -> Call[Any]:
        for timer in self.kill_timers:
            timer.cancel()
        return self.call


class Slot:
    """A worker, its replacements, and the task it has: one call, or several that share it.

    A call gets its answer, or what became of its own task, and then the others do not matter. But where a
    shared task ends without some of its answers, nobody knows whose fault it is: those calls are handed back,
    to be begun once more one by one.

    Parameters
    ----------
    index : int
        Number of the slot.
    config : PoolConfig
        The pool's configuration.
    launcher : Launcher
        Starts the workers.
    on_change : callable
        Called whenever a worker became idle or was lost, with the seconds that a task took for each of its
        calls, if one ended.
    hand_back : callable
        Takes a call that shared a task and got no answer, or whose worker died before it took the call up.

    Attributes
    ----------
    busy : bool
        Whether the worker has a task.
    restarts : int
        Workers replaced so far.
    failing : bool
        Whether no worker can be started, though that is tried again and again.
    """

    def __init__(
        self,
        index: int,
        config: PoolConfig,
        launcher: Launcher,
        on_change: Callable[[float | None], None],
        hand_back: Callable[[Call[Any]], None],
    ) -> None:
        self.busy = False
        self.restarts = 0
        self.failing = False
        self._index = index
        self._config = config
        self._launcher = launcher
        self._on_change = on_change
        self._hand_back = hand_back
        self._process: WorkerProcess | None = None
        self._held: dict[int, _Held] = {}
        self._first = self._last = 0
        self._started_at = 0.0
        self._linger: asyncio.TimerHandle | None = None

    @property
    def warm(self) -> bool:
        """Whether it has a worker that can take tasks."""
        return self._process is not None and self._process.usable

    @property
    def idle(self) -> bool:
        """Whether a task can be assigned now."""
        return not self.busy and self.warm

    @property
    def calls(self) -> list[Call[Any]]:
        """Those whose answers the worker owes."""
        return [held.call for held in self._held.values()]

    @property
    def seconds_per_call(self) -> float:
        """How long the task has been running, shared among the calls it began with."""
        return (time.monotonic() - self._started_at) / self._count

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
        born, last_call = time.monotonic(), self._last
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
        return self._last > last_call or time.monotonic() - born > _PROVEN_SECONDS

    def assign(self, calls: Sequence[Call[Any]]) -> None:
        """Give an idle slot its next task: one call, or several of the same kind."""
        assert self._process is not None
        self.busy = True
        self._started_at = time.monotonic()
        self._first, self._last = self._last + 1, self._last + len(calls)
        parts = [worker.REQUEST.pack(self._first, len(calls))]
        for number, call in enumerate(calls, self._first):
            call.begun = True
            held = self._held[number] = _Held(call)
            due = math.nan if call.deadline is None else call.deadline
            parts += [worker.SHARE.pack(call.submitted, due, len(call.message)), call.message]
            if call.deadline is not None:
                seconds = call.deadline - self._started_at + self._config.grace_seconds
                self._kill_after(seconds, held, overdue())
        self._process.send(*parts)

    def cancel(self, call: Call[Any], verdict: ServiceError, grace: float) -> None:
        """Ask for that call to stop, if the worker has it.

        After `grace` seconds the worker is killed, and the call fails with `verdict`.
        """
        for number, held in self._held.items():
            if held.call is call:
                self._launcher.board.cancel(self._index, number)
                self._kill_after(grace, held, verdict)

    @property
    def _count(self) -> int:
        return self._last - self._first + 1

    def _kill_after(self, seconds: float, held: _Held, verdict: ServiceError) -> None:
        loop = asyncio.get_running_loop()
        held.kill_timers.append(loop.call_later(max(seconds, 0.0), self._condemn, held, verdict))

    def _condemn(self, held: _Held, verdict: ServiceError) -> None:
        if self._process is not None and held.verdict is None:
            held.verdict = verdict
            self._kill()  # unless that was done for another call a moment ago

    def _kill(self) -> None:
        if self._process is not None and not self._process.killed:
            self._process.kill()

    def _on_reply(self, reply: bytes) -> None:
        kind, number = worker.REPLY.unpack_from(reply)
        body = memoryview(reply)[worker.REPLY.size :]
        if not self.busy:
            logger.error("worker %d spoke without being asked and is replaced", self._index)
            self._kill()
        elif number == worker.END:
            self._end(kind, body)
        elif number not in self._held:
            pass  # a report after the answer
        elif kind == worker.REPORT:
            self._held[number].call.report(body)
        else:
            held = self._held.pop(number)
            if not self._held:
                self._linger = asyncio.get_running_loop().call_later(_LINGER_SECONDS, self._kill)
            self._settle(held, kind, body, again=self._count > 1 and kind == worker.OUT_OF_MEMORY)

    def _end(self, kind: bytes, body: memoryview) -> None:
        seconds = self.seconds_per_call
        again = self._count > 1 and kind not in (worker.RESULT, worker.DONE)
        unanswered = self._finish()
        if kind == worker.CROWDED:
            self._kill()
        if kind == worker.INTERNAL and (again or not unanswered):
            _log_failure(body)
        for held in unanswered:
            self._settle(held, kind, body, again=again)
        self._on_change(seconds)

    def _bury(self, process: WorkerProcess) -> None:
        busy, several = self.busy, self._count > 1
        taken_up = self._launcher.board.begun(self._index) == self._first
        unanswered = self._finish()
        who, ending = f"worker {self._index} (pid {process.pid})", process.ending
        if not busy:
            level = logging.INFO if process.killed else logging.WARNING
            logger.log(level, "idle %s %s and is replaced", who, ending)
        elif not unanswered:
            logger.error("%s %s after the last answer of its task", who, ending)
        for held in unanswered:
            call = held.let_go()
            if held.verdict is not None:
                logger.info("%s was stopped in its task: %s", who, held.verdict)
                call.fail(held.verdict)
            elif several:
                logger.warning("%s %s, and one of the calls that shared it is repeated", who, ending)
                self._hand_back(call)
            elif not taken_up and not call.handed_back:
                logger.warning("%s %s before it took up a task", who, ending)
                call.handed_back = True  # once only: perhaps it was the call's size that killed the worker
                self._hand_back(call)
            else:
                logger.error("%s %s during a task", who, ending)
                call.fail(
                    WorkerLostError("the process working on this request died; others are not affected")
                )

    def _finish(self) -> list[_Held]:
        unanswered = list(self._held.values())
        self._held.clear()
        self.busy = False
        if self._linger is not None:
            self._linger.cancel()
            self._linger = None
        return unanswered

    def _settle(self, held: _Held, kind: bytes, body: memoryview, *, again: bool) -> None:
        call = held.let_go()
        if call.done:
            call.release()  # nobody waits: spare the work of reading the answer
        elif not again:
            self._deliver(call, kind, body)
        elif held.verdict is not None:
            call.fail(held.verdict)
        else:
            self._hand_back(call)

    def _deliver(self, call: Call[Any], kind: bytes, body: memoryview) -> None:
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
            _log_failure(body)
        elif kind == worker.DONE:
            logger.error("a shared task returned without an answer for one of its calls")
        call.fail(SolverServiceError("internal error"))


def overdue() -> ServiceError:
    """Return what calls get whose deadline passed after a worker began them."""
    return RequestTimeoutError("the deadline passed before there was an answer")


def _log_failure(traceback: memoryview) -> None:
    logger.error("a task failed\n%s", str(traceback, "utf-8", "replace"))


def _delay(failures: int) -> float:
    return min(_FIRST_DELAY * 2.0 ** min(failures - 1, 16), _LONGEST_DELAY)
