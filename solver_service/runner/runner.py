"""`Runner`: claims jobs for the workers of one process, and puts on record what becomes of them."""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import Awaitable, Callable, Collection, Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Literal, TypeVar

from ..engine import Part, Pool
from ..errors import (
    DiskFullError,
    NoWorkerError,
    OutOfMemoryError,
    QueueFullError,
    RequestTimeoutError,
    ShuttingDownError,
    SolverServiceError,
    UnavailableError,
    WorkerLostError,
)
from ..jobs import Claim, Outcome, State
from ..storage import JobFiles
from ..storage.database import JobTable
from ..tasks.run_jobs import RunAnswer, RunRequest, run_jobs
from .blocks import room
from .feed import Feed, answered
from .outcomes import failure, judge, outcome_of
from .running import Running

_POLL = 0.25
_WATCH = 0.1
_RETRY = 1.0
_SETTLE_SECONDS = 60.0
_WANT_SECONDS = 5.0
"""How long to wait for space on the disk, or for a worker."""
_FIRST_PAUSE, _LONGEST_PAUSE = 0.2, 10.0

T = TypeVar("T")

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunnerConfig:
    """How jobs are run.

    Parameters
    ----------
    lane : str
        Lane of the pool.
    workers : int
        Jobs, or blocks of them, that may run at once.
    grace_seconds : float
        Time a job has to react when it is to stop; then its worker is killed.
    beat_seconds : float
        How often to tell that jobs are alive, and how far they are.
    stall_seconds : float
        Silence after which a job is given to another worker.
    most_strikes : int
        Lost attempts in a row, without a state saved in between, after which a job has failed.
    coalesce : bool
        Whether jobs that wait for the same matrix may be solved together.
    """

    lane: str
    workers: int
    grace_seconds: float = 2.0
    beat_seconds: float = 0.5
    stall_seconds: float = 10.0
    most_strikes: int = 5
    coalesce: bool = True


class Runner:
    """Runs jobs as long as it lives. All methods belong to one event loop.

    Parameters
    ----------
    table : JobTable
    files : JobFiles
    pool : Pool
    feed : Feed
        Told of every change.
    config : RunnerConfig
    """

    def __init__(
        self, table: JobTable, files: JobFiles, pool: Pool, feed: Feed, config: RunnerConfig
    ) -> None:
        self.owner = secrets.token_hex(8)
        self._table = table
        self._files = files
        self._pool = pool
        self._feed = feed
        self._config = config
        self._running: dict[Claim, Running] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._loops: list[asyncio.Task[None]] = []
        self._work = asyncio.Event()
        self._look = asyncio.Event()
        self._stopped = asyncio.Event()

    @property
    def _stopping(self) -> bool:
        return self._stopped.is_set()

    @property
    def running(self) -> int:
        """How many jobs it has claimed."""
        return len(self._running)

    def start(self) -> None:
        """Begin to claim jobs."""
        steps = (self._beat, self._watch, self._rescue)
        self._loops = [asyncio.create_task(self._claim_until_stopped())]
        self._loops += [asyncio.create_task(self._forever(step)) for step in steps]

    def wake(self) -> None:
        """Say that a job was queued just now."""
        self._work.set()

    def look(self) -> None:
        """Say that a job was asked to stop just now."""
        self._look.set()

    def stop(self) -> None:
        """Claim no more. What runs goes back into the queue, with its state, when the pool stops it."""
        self._stopped.set()

    async def close(self) -> None:
        """Wait until all that runs has come back; call it after the pool was told to stop."""
        self.stop()
        self._work.set()
        # A claim under way is waited for, lest its jobs be nobody's; and those that are stopping slowly must
        # still be heard of, lest others take them for lost.
        claiming, beating, others = self._loops[:1], self._loops[1:2], self._loops[2:]
        await _end(others)
        await asyncio.gather(*claiming, return_exceptions=True)
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await _end(beating)

    async def _claim_until_stopped(self) -> None:
        while not self._stopping:
            await self._patiently(self._claim)

    async def _forever(self, step: Callable[[], Awaitable[None]]) -> None:
        while True:
            await self._patiently(step)

    async def _patiently(self, step: Callable[[], Awaitable[None]]) -> None:
        try:
            await step()
        except Exception:
            logger.exception("jobs cannot be looked after now; trying again")
            await asyncio.sleep(_RETRY)

    async def _claim(self) -> None:
        """Take a job, or a block of them, for each worker that is free."""
        with suppress(TimeoutError):
            async with asyncio.timeout(_POLL):
                await self._work.wait()
        self._work.clear()
        blocks = len({id(running.block) for running in self._running.values() if not running.ended})
        free = min(self._config.workers - blocks, self._pool.idle(self._config.lane))
        if free < 1 or self._stopping:
            return
        claiming = self._table.claim(self.owner, free, room if self._config.coalesce else None)
        for block in await answered(claiming):
            together = [Running(job, block) for job in block]
            beginning = asyncio.create_task(self._begin(together))
            for running in together:
                self._running[running.claim] = running
                task = asyncio.create_task(self._see_through(running, beginning))
                self._tasks.add(task)
                task.add_done_callback(self._seen_through)
            self.look()
            self._feed.poke()

    async def _beat(self) -> None:
        """Tell of all that runs; drop what was given to others meanwhile."""
        await asyncio.sleep(self._config.beat_seconds)
        reports = [running.report() for running in self._running.values()]
        if not reports:
            return
        for claim in await answered(self._table.report(reports)):
            running = self._running.get(claim)
            if running is not None and running.call is not None and not running.ended:
                logger.warning("job %s was given to another worker, and is dropped here", running.job.id)
                running.lost = True
                running.call.stop(self._grace(running))  # even what is being settled
        self._feed.poke()

    async def _watch(self) -> None:
        """Stop what was asked to stop, wherever the request came in."""
        with suppress(TimeoutError):
            async with asyncio.timeout(_WATCH if self._running else None):
                await self._look.wait()
        self._look.clear()
        if not self._running:
            await asyncio.sleep(_WATCH)
            return
        for claim in await answered(self._table.ask(self._table.stopping, self.owner)):
            running = self._running.get(claim)
            if running is not None and not running.stop_requested:
                running.stop_requested = True
                if running.call is not None and not running.settling:
                    running.call.stop(self._grace(running))

    async def _rescue(self) -> None:
        """Give on what dead processes have left, and end what waited too long."""
        stalled = await answered(
            self._table.give_back_stalled(self._config.stall_seconds, self._config.most_strikes)
        )
        for id_ in stalled:
            logger.warning("job %s was lost by its worker, and is given to another", id_)
        expired = await answered(self._table.expire())
        if stalled or expired:
            self.wake()
            self._feed.poke()
        await asyncio.sleep(min(1.0, self._config.stall_seconds / 4))

    async def _see_through(self, running: Running, beginning: asyncio.Task[None]) -> None:
        job = running.job
        try:
            outcome = await self._run(running, beginning)
        except ShuttingDownError:
            await self._give_back(running, strike=False)
        except (DiskFullError, NoWorkerError) as error:
            logger.error("job %s cannot go on now, and is tried again later: %s", job.id, error)
            await self._pause(running, _WANT_SECONDS)
            await self._give_back(running, strike=False)
        except WorkerLostError:
            logger.warning("job %s has lost its worker in attempt %d", job.id, job.attempts)
            # A machine that is short of memory kills many in a row: give it time.
            await self._pause(running, min(_FIRST_PAUSE * 2.0**job.strikes, _LONGEST_PAUSE))
            await self._give_back(running, strike=True)
        except Exception:
            logger.exception("job %s cannot be run", job.id)
            await self._give_back(running, strike=True)
        else:
            running.ended = True
            self.wake()  # together with what is put on record now, the next is claimed
            await self._finish(running, outcome)
        finally:
            self._running.pop(running.claim, None)
            self.wake()
            self._feed.poke()

    def _seen_through(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            logger.error(
                "a job could not be put away; it will be given to another", exc_info=task.exception()
            )

    async def _pause(self, running: Running, seconds: float) -> None:
        """Keep the claim for a while, unless the process is to end."""
        running.rests()
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._stopped.wait()

    async def _run(self, running: Running, beginning: asyncio.Task[None]) -> Outcome:
        try:
            await beginning
            if running.call is None:
                return await self._settle(running)
            answer: RunAnswer = await running.call.answer()
        except (QueueFullError, RequestTimeoutError):
            # It did not react, and its worker had to be killed.
            if running.lost or (self._stopping and not running.stop_requested):
                raise ShuttingDownError("it is for another to go on with it") from None
            return await self._settle(running)
        except (ShuttingDownError, WorkerLostError, DiskFullError):
            raise
        except SolverServiceError as error:
            logger.error("job %s has failed: %s: %s", running.job.id, error.code, error.detail)
            return failure(error)
        return judge(running, answer)

    async def _begin(self, block: Sequence[Running]) -> None:
        """Have a block begun, but for those in it that are only to be settled."""
        await self._submit(
            lambda: [
                (running, running.request(), running.hard_limit)
                for running in block
                if not (running.stop_requested or running.overdue)
            ]
        )

    def _grace(self, running: Running) -> float:
        return self._config.grace_seconds + running.grace_extra

    async def _submit(self, wanted: Callable[[], Sequence[tuple[Running, RunRequest, float | None]]]) -> None:
        """Submit them, as often as it takes if the pool lets nobody wait and has lost a worker just now."""
        while requests := wanted():
            parts = [
                Part(payload=request, deadline=limit, on_report=running.hear)
                for running, request, limit in requests
            ]
            try:
                calls = self._pool.submit_together(run_jobs, parts, lane=self._config.lane)
            except QueueFullError:
                await asyncio.sleep(_WATCH)
                continue
            for (running, _, _), call in zip(requests, calls, strict=True):
                running.call = call
            return

    async def _settle(self, running: Running) -> Outcome:
        """End with what was saved last, verified anew; or with nothing, if even that is too much."""
        try:
            try:
                answer = await self._verify(running)
            except NoWorkerError:
                raise
            except WorkerLostError:  # it may not have been the job that killed it
                answer = await self._verify(running)
        except (DiskFullError, NoWorkerError):
            raise  # what is saved will keep until there is space, or a worker
        except (RequestTimeoutError, WorkerLostError, OutOfMemoryError, QueueFullError) as error:
            logger.warning("the last state of job %s cannot be verified: %s", running.job.id, error)
            if running.stop_requested or running.overdue:
                return Outcome(state=State.CANCELLED)
            return Outcome(state=State.FAILED, error=(error.code, "the solve did not stop at its time limit"))
        return outcome_of(answer, cancelled=running.stop_requested or running.overdue)

    async def _verify(self, running: Running) -> RunAnswer:
        running.settling = True
        status: Literal["cancelled", "time_limit"] = "cancelled" if running.stop_requested else "time_limit"
        request = replace(running.request(), settle=status)
        limit = time.monotonic() + _SETTLE_SECONDS + running.grace_extra
        await self._submit(lambda: [(running, request, limit)])
        assert running.call is not None
        answer: RunAnswer = await running.call.answer()
        return answer

    async def _finish(self, running: Running, outcome: Outcome) -> None:
        if running.lost:
            return
        folder, without_x = self._files.folder(running.job.id), outcome.solution is None
        if without_x:
            outcome = replace(outcome, size=await asyncio.to_thread(folder.size, states=True))
        try:
            kept = await self._persist(lambda: self._table.finish(running.claim, outcome))
        except UnavailableError:
            raise
        except Exception:
            logger.exception(
                "the end of job %s cannot be put on record, whenever that is tried", running.job.id
            )
            without_x, size = True, await asyncio.to_thread(folder.size, states=True)
            outcome = failure(SolverServiceError("it cannot be put on record"), size=size)
            kept = await self._persist(lambda: self._table.finish(running.claim, outcome))
        if kept:
            self._feed.poke()
            # Without x, the saved states are what is left: resuming may be worth a try.
            await asyncio.to_thread(folder.tidy, outcome.solution, outcome.saved_state, keep_states=without_x)

    async def _give_back(self, running: Running, *, strike: bool) -> None:
        if running.lost:
            return
        report = running.report()
        progress, most = report.progress, self._config.most_strikes
        if report.advanced:
            await self._persist(lambda: self._table.report([report]))
        await self._persist(
            lambda: self._table.give_back(running.claim, strike=strike, most_strikes=most, progress=progress)
        )

    async def _persist(self, write: Callable[[], Future[T]]) -> T:
        """Put on record, as often as it takes: the work is done, and must not be lost to a full disk."""
        while True:
            try:
                return await answered(write())
            except UnavailableError:
                if self._stopping:
                    raise
                logger.exception("what became of a job cannot be put on record now; trying again")
                await asyncio.sleep(_RETRY)


async def _end(tasks: Collection[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
