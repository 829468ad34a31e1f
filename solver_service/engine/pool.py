"""The pool: lanes of workers that share one fork server."""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import Callable, Hashable, Sequence
from types import TracebackType
from typing import Any

from .call import Call
from .config import PoolConfig, PoolStats
from .context import Answer, Part, Payload, Share, TaskContext
from .lane import Lane, shutting_down
from .launcher import Launcher
from .slot import Slot

_LONGEST_CLOSING_GRACE = 1.0
_KILL_SECONDS = 0.3

logger = logging.getLogger(__name__)


class Pool:
    """Runs tasks in supervised worker processes. All methods belong to one event loop.

    A task is a module-level callable ``task(context, payload)``; payload and answer are pickled. A
    `SolverServiceError` raised in it arrives as it is, any other exception as an internal error.

    Examples
    --------
    ::

        async with Pool(PoolConfig(lanes={"quick": 2, "long": 1})) as pool:
            await pool.wait_ready()
            answer = await pool.run(task, payload, lane="quick", deadline=time.monotonic() + 10)

            call = pool.submit(task, payload, lane="long", on_report=print)
            asyncio.get_running_loop().call_later(60, call.stop)
            answer = await call.answer()
    """

    def __init__(self, config: PoolConfig) -> None:
        self._config = config
        self._launcher: Launcher | None = None
        self._slots: list[Slot] = []
        self._keepers: list[asyncio.Task[None]] = []
        self._lanes = {name: Lane(config, self._notify) for name in config.lanes}
        self._watchers: list[asyncio.Future[None]] = []
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
        return PoolStats({name: lane.stats for name, lane in self._lanes.items()})

    def idle(self, lane: str) -> int:
        """Return how many calls the lane would begin at once; none when they are refused."""
        return self._lane(lane).idle

    def retry_after(self, lane: str) -> int:
        """Return the whole seconds, 1 to 60, after which a call refused now may find a place."""
        return self._lane(lane).retry_after

    async def start(self) -> None:
        """Start the workers and return at once; calls wait in the queue until a worker is warm."""
        if self._launcher is not None or self._closing is not None:
            raise RuntimeError("a pool can be started only once")
        self._launcher = Launcher(self._config)
        numbers = itertools.count()
        for name, lane in self._lanes.items():
            lane.open(self._launcher, itertools.islice(numbers, self._config.lanes[name]))
            self._slots += lane.slots
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
        lane: str,
        deadline: float | None = None,
        on_release: Callable[[], object] | None = None,
        on_report: Callable[[Any], object] | None = None,
        priority: int = 0,
    ) -> Answer:
        """Run ``task(context, payload)`` in a worker of the lane and return its answer.

        Cancelling this coroutine releases the caller at once; the task is asked to stop, and its worker
        is killed if it does not answer within the grace time.

        Parameters
        ----------
        task : callable
            Module-level function.
        payload : object
            Its second argument; should be small, as it is copied.
        lane : str
            Name of the lane.
        deadline : float, optional
            Value of `time.monotonic` at which the answer is due. The task learns it; shortly after it,
            the worker is killed.
        on_release : callable, optional
            Called once, when nothing works on the call any more, however it ended: the moment to
            remove files that the task reads or writes.
        on_report : callable, optional
            Called with each thing that the task reports, in order and before there is an answer.
        priority : int, optional
            Of the calls that wait, those of higher priority are begun first.

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
        call = self.submit(
            task,
            payload,
            lane=lane,
            deadline=deadline,
            on_release=on_release,
            on_report=on_report,
            priority=priority,
        )
        return await call.answer()

    def submit(
        self,
        task: Callable[[TaskContext, Payload], Answer],
        payload: Payload,
        *,
        lane: str,
        deadline: float | None = None,
        on_release: Callable[[], object] | None = None,
        on_report: Callable[[Any], object] | None = None,
        priority: int = 0,
    ) -> Call[Answer]:
        """Make a call as `run` does, and return at once a handle that can wait for its answer or stop it.

        What speaks against the call already now is raised here.
        """
        call: Call[Answer] = Call(deadline, on_release, on_report, priority, kind=None)
        self._submit([call], task, [payload], lane, shared=False)
        return call

    def submit_shared(
        self,
        task: Callable[[Sequence[Share[Payload, Answer]]], None],
        payload: Payload,
        *,
        lane: str,
        key: Hashable | None,
        deadline: float | None = None,
        on_release: Callable[[], object] | None = None,
        on_report: Callable[[Any], object] | None = None,
        priority: int = 0,
    ) -> Call[Answer]:
        """Make a call as `submit` does, of a task that may work on several calls at once.

        Nobody waits for company: an idle worker takes the call up at once. Calls that have to wait for one
        are given to it together if task and key are the same, the first in the queue first, and at most
        `PoolConfig.most_together`. The task answers or fails each `Share` of them.

        Every call keeps its own deadline, and can be stopped and abandoned without the others. If a task of
        several calls raises an exception or loses its worker, be it only for the sake of one of them that
        did not stop in time, those without an answer are begun once more, each alone and ahead of others of
        their priority; then they fail as one of `submit` does. So a task may find what its first attempt
        left behind.

        Parameters
        ----------
        task : callable
            Module-level function of a sequence of shares, one at least.
        key : hashable or None
            What the calls have in common, such as a matrix; None for a call that shares with no other.
        payload, lane, deadline, on_release, on_report, priority
            As for `run`.
        """
        kind = None if key is None else (task, key)
        call: Call[Answer] = Call(deadline, on_release, on_report, priority, kind)
        self._submit([call], task, [payload], lane, shared=True)
        return call

    def submit_together(
        self,
        task: Callable[[Sequence[Share[Payload, Answer]]], None],
        parts: Sequence[Part[Payload]],
        *,
        lane: str,
        priority: int = 0,
    ) -> list[Call[Answer]]:
        """Make several calls, at most `PoolConfig.most_together`, that are given to one worker as one task.

        For each of them holds what does for one of `submit_shared`, but that no further ones join.
        """
        if len(parts) > self._config.most_together:
            raise ValueError(f"{len(parts)} calls are too many for one task")
        kind = (task, object())
        calls: list[Call[Answer]] = [
            Call(part.deadline, None, part.on_report, priority, kind) for part in parts
        ]
        self._submit(calls, task, [part.payload for part in parts], lane, shared=True)
        return calls

    def _submit(
        self,
        calls: Sequence[Call[Any]],
        task: Callable[..., object],
        payloads: Sequence[object],
        lane: str,
        *,
        shared: bool,
    ) -> None:
        try:
            self._refuse_if_closing()
            if self._launcher is None:
                raise RuntimeError("the pool has not been started")
            place = self._lane(lane)
            if not place.slots:
                raise ValueError(f"lane {lane!r} has no workers")
            place.submit(calls, task, payloads, shared=shared)
        except BaseException:
            for call in calls:
                call.release()
            raise

    def cancel_running(self, *, grace_seconds: float | None = None) -> None:
        """Refuse new calls and waiting ones, and ask all running tasks for their best answer.

        Workers that do not answer within `grace_seconds` (default: the configured time) are killed.
        """
        for lane in self._lanes.values():
            lane.refuse(self._config.grace_seconds if grace_seconds is None else grace_seconds)

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
                await self._until(lambda: not any(slot.busy for slot in self._slots))
        except TimeoutError:
            logger.warning("some workers could not be stopped in time")
        for keeper in self._keepers:
            keeper.cancel()
        await asyncio.gather(*self._keepers, return_exceptions=True)
        for slot in self._slots:
            for call in slot.calls:
                call.fail(shutting_down())
        if self._launcher is not None:
            await self._launcher.close()

    @property
    def _refusing(self) -> bool:
        return any(lane.refusing for lane in self._lanes.values())

    def _refuse_if_closing(self) -> None:
        if self._refusing:
            raise shutting_down()

    def _lane(self, name: str) -> Lane:
        try:
            return self._lanes[name]
        except KeyError:
            raise ValueError(f"there is no lane {name!r}") from None

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
