"""The pool: a bounded first-come, first-served queue in front of the slots."""

from __future__ import annotations

import asyncio
import logging
import math
import pickle
import time
from collections import OrderedDict, deque
from collections.abc import Callable
from types import TracebackType
from typing import Any, TypeVar

from ..errors import (
    QueueFullError,
    RequestTimeoutError,
    ServiceError,
    ShuttingDownError,
    SolverServiceError,
    WorkerLostError,
)
from .config import PoolConfig, PoolStats
from .context import TaskContext
from .job import Job
from .launcher import Launcher
from .slot import Slot

_LONGEST_CLOSING_GRACE = 1.0
_KILL_SECONDS = 0.3

Payload = TypeVar("Payload")
Answer = TypeVar("Answer")

logger = logging.getLogger(__name__)


class Pool:
    """Runs tasks in supervised worker processes. All methods belong to one event loop.

    A task is a module-level callable ``task(context, payload)``; payload and answer are pickled. A
    `SolverServiceError` raised in it arrives as it is, any other exception as an internal error.

    Examples
    --------
    ::

        async with Pool(PoolConfig(workers=2)) as pool:
            await pool.wait_ready()
            answer = await pool.run(task, payload, deadline=time.monotonic() + 10)
    """

    def __init__(self, config: PoolConfig) -> None:
        self._config = config
        self._launcher: Launcher | None = None
        self._slots: list[Slot] = []
        self._keepers: list[asyncio.Task[None]] = []
        self._waiting: OrderedDict[Job, None] = OrderedDict()
        self._durations: deque[float] = deque(maxlen=32)
        self._watchers: list[asyncio.Future[None]] = []
        self._refusing = False
        self._closing: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Pool:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    @property
    def ready(self) -> bool:
        """Whether all workers are warm and calls are accepted."""
        return bool(self._slots) and not self._refusing and all(slot.warm for slot in self._slots)

    @property
    def stats(self) -> PoolStats:
        """What the pool is doing now."""
        return PoolStats(
            workers=sum(slot.warm for slot in self._slots),
            busy=sum(slot.job is not None for slot in self._slots),
            queued=len(self._waiting),
            restarts=sum(slot.restarts for slot in self._slots),
        )

    @property
    def retry_after(self) -> int:
        """Whole seconds, 1 to 60, after which a call refused now may find a place."""
        now = time.monotonic()
        seen = [*self._durations, *(now - slot.started_at for slot in self._slots if slot.job is not None)]
        if not seen:
            return 1
        seconds = sum(seen) / len(seen) * (len(self._waiting) + 1) / self._config.workers
        return min(max(math.ceil(seconds), 1), 60)

    async def start(self) -> None:
        """Start the workers and return at once; calls wait in the queue until a worker is warm."""
        if self._launcher is not None or self._closing is not None:
            raise RuntimeError("a pool can be started only once")
        self._launcher = Launcher(self._config)
        self._slots = [
            Slot(index, self._config, self._launcher, self._on_change, self._hand_back)
            for index in range(self._config.workers)
        ]
        self._keepers = [asyncio.create_task(slot.keep_alive()) for slot in self._slots]

    async def wait_ready(self) -> None:
        """Wait until all workers are warm; raise `ShuttingDownError` if the pool closes before."""
        await self._until(lambda: self.ready or self._refusing)
        self._refuse_if_closing()

    async def run(
        self,
        task: Callable[[TaskContext, Payload], Answer],
        payload: Payload,
        *,
        deadline: float | None = None,
        on_release: Callable[[], object] | None = None,
    ) -> Answer:
        """Run ``task(context, payload)`` in a worker and return its answer.

        Cancelling this coroutine releases the caller at once; the task is asked to stop, and its worker
        is killed if it does not answer within the grace time.

        Parameters
        ----------
        task : callable
            Module-level function.
        payload : object
            Its second argument; should be small, as it is copied.
        deadline : float, optional
            Value of `time.monotonic` at which the answer is due. The task learns it; shortly after it,
            the worker is killed.
        on_release : callable, optional
            Called once, when nothing works on the call any more, however it ended: the moment to
            remove files that the task reads or writes.

        Raises
        ------
        QueueFullError
            The queue is full, or the deadline passed while the call waited in it.
        RequestTimeoutError
            The deadline passed and the task did not answer.
        WorkerLostError
            The worker died.
        OutOfMemoryError
            The task needs more memory than a worker may use.
        ShuttingDownError
            The pool is closing.
        SolverServiceError
            What the task raised, or an internal error.
        """
        job = Job(time.monotonic(), deadline, on_release)
        try:
            self._submit(job, task, payload)
        except BaseException:
            job.release()
            raise
        try:
            answer: Answer = await job.future
        except asyncio.CancelledError:
            self._abandon(job)
            raise
        return answer

    def cancel_running(self, *, grace_seconds: float | None = None) -> None:
        """Refuse new calls and waiting ones, and ask all running tasks for their best answer.

        Workers that do not answer within `grace_seconds` (default: the configured time) are killed.
        """
        self._refusing = True
        while self._waiting:
            job, _ = self._waiting.popitem(last=False)
            job.fail(_shutting_down())
        grace = self._config.grace_seconds if grace_seconds is None else grace_seconds
        for slot in self._slots:
            slot.cancel(_shutting_down(), grace)
        self._notify()

    async def close(self) -> None:
        """Stop everything within two seconds, gently where workers allow it. May be called again."""
        if self._closing is None:
            self._closing = asyncio.create_task(self._close())
        await asyncio.shield(self._closing)

    async def _close(self) -> None:
        grace = min(self._config.grace_seconds, _LONGEST_CLOSING_GRACE)
        self.cancel_running(grace_seconds=grace)
        try:
            async with asyncio.timeout(grace + _KILL_SECONDS):
                await self._until(lambda: all(slot.job is None for slot in self._slots))
        except TimeoutError:
            logger.warning("some workers could not be stopped in time")
        for keeper in self._keepers:
            keeper.cancel()
        await asyncio.gather(*self._keepers, return_exceptions=True)
        for slot in self._slots:
            if slot.job is not None:
                slot.job.fail(_shutting_down())
        if self._launcher is not None:
            await self._launcher.close()

    def _submit(self, job: Job, task: Callable[..., Any], payload: object) -> None:
        self._refuse_if_closing()
        if self._launcher is None:
            raise RuntimeError("the pool has not been started")
        if job.deadline is not None and job.deadline <= job.submitted:
            raise RequestTimeoutError("the deadline had passed before the work could begin")
        slot = next((slot for slot in self._slots if slot.idle), None)
        if slot is None and len(self._waiting) >= self._config.queue_size:
            raise QueueFullError("too many requests are waiting", retry_after=self.retry_after)
        try:
            job.message = pickle.dumps((task, payload), pickle.HIGHEST_PROTOCOL)
        except Exception as error:
            logger.exception("a call cannot be sent to a worker")
            raise SolverServiceError("internal error") from error
        if slot is not None:
            slot.assign(job)
        else:
            self._enqueue(job)

    def _enqueue(self, job: Job) -> None:
        self._waiting[job] = None
        if job.deadline is not None:
            delay = max(job.deadline - time.monotonic(), 0.0)
            job.expiry = asyncio.get_running_loop().call_later(delay, self._expire, job)

    def _hand_back(self, job: Job) -> None:
        if self._refusing or job.future.done():
            job.fail(_shutting_down())
        else:
            self._enqueue(job)
            self._waiting.move_to_end(job, last=False)

    def _refuse_if_closing(self) -> None:
        if self._refusing:
            raise _shutting_down()

    def _expire(self, job: Job) -> None:
        if job in self._waiting:
            del self._waiting[job]
            job.fail(
                QueueFullError("the deadline passed in the queue for a worker", retry_after=self.retry_after)
            )

    def _abandon(self, job: Job) -> None:
        if job in self._waiting:
            del self._waiting[job]
            job.release()
            return
        for slot in self._slots:
            if slot.job is job:
                slot.cancel(WorkerLostError("the call was cancelled"), self._config.grace_seconds)

    def _on_change(self, duration: float | None) -> None:
        if duration is not None:
            self._durations.append(duration)
        for slot in self._slots:
            while slot.idle and self._waiting:
                job, _ = self._waiting.popitem(last=False)
                if job.future.done():  # cancelled just now
                    job.release()
                else:
                    slot.assign(job)
        self._notify()

    def _notify(self) -> None:
        watchers, self._watchers = self._watchers, []
        for watcher in watchers:
            if not watcher.done():
                watcher.set_result(None)

    async def _until(self, condition: Callable[[], bool]) -> None:
        while not condition():
            watcher = asyncio.get_running_loop().create_future()
            self._watchers.append(watcher)
            await watcher


def _shutting_down() -> ServiceError:
    return ShuttingDownError("the service is shutting down")
