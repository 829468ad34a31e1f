"""A lane of the pool: some of the slots, and the queue of those who wait for one of them."""

from __future__ import annotations

import asyncio
import bisect
import math
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from ..errors import NoWorkerError, QueueFullError, RequestTimeoutError, ServiceError, ShuttingDownError
from .call import Call
from .config import LaneStats, PoolConfig
from .launcher import Launcher
from .slot import Slot, overdue


class Lane:
    """A bounded queue in front of slots of its own, by priority, then first come, first served.

    While all slots are busy calls gather in it, and a slot that becomes idle is given the first of them and
    with it those of the same kind, whatever their priority: they cost the worker little more.

    Parameters
    ----------
    config : PoolConfig
        The pool's configuration.
    on_change : callable
        Called whenever a slot became idle or lost its worker, and when calls are refused from now on.

    Attributes
    ----------
    slots : list of Slot
        None before `open`.
    refusing : bool
        Whether it takes no calls any more.
    """

    def __init__(self, config: PoolConfig, on_change: Callable[[], None]) -> None:
        self.slots: list[Slot] = []
        self.refusing = False
        self._config = config
        self._on_change = on_change
        self._waiting: list[Call[Any]] = []  # in order of their ranks
        self._shared = 0
        self._durations: deque[float] = deque(maxlen=32)

    def open(self, launcher: Launcher, indices: Iterable[int]) -> None:
        """Create the slots of those numbers."""
        self.slots = [
            Slot(index, self._config, launcher, self._slot_changed, self._hand_back) for index in indices
        ]

    @property
    def stats(self) -> LaneStats:
        """What the lane is doing now."""
        return LaneStats(
            workers=sum(slot.warm for slot in self.slots),
            busy=sum(slot.busy for slot in self.slots),
            together=sum(len(slot.calls) for slot in self.slots),
            queued=len(self._waiting),
            shared=self._shared,
            restarts=sum(slot.restarts for slot in self.slots),
        )

    @property
    def idle(self) -> int:
        """How many calls would be begun at once."""
        if self.refusing:
            return 0
        return max(sum(slot.idle for slot in self.slots) - len(self._waiting), 0)

    @property
    def retry_after(self) -> int:
        """Whole seconds, 1 to 60, after which a call refused now may find a place."""
        seen = [*self._durations, *(slot.seconds_per_call for slot in self.slots if slot.busy)]
        if not seen:
            return 1
        seconds = sum(seen) / len(seen) * (len(self._waiting) + 1) / len(self.slots)
        return min(max(math.ceil(seconds), 1), 60)

    @property
    def unable(self) -> bool:
        """Whether no worker can be started, though that is tried again and again."""
        return bool(self.slots) and all(slot.failing for slot in self.slots)

    def submit(
        self,
        calls: Sequence[Call[Any]],
        task: Callable[..., object],
        payloads: Sequence[object],
        *,
        shared: bool,
    ) -> None:
        """Give the calls to an idle slot as one task, or let them wait for one."""
        if all(call.deadline is not None and call.deadline <= call.submitted for call in calls):
            raise RequestTimeoutError("the deadline had passed before the work could begin")
        if self.unable:
            raise _no_worker()
        slot = next((slot for slot in self.slots if slot.idle), None)
        if slot is None and len(self._waiting) + len(calls) > self._config.queue_size:
            raise QueueFullError("too many requests are waiting", retry_after=self.retry_after)
        for call, payload in zip(calls, payloads, strict=True):
            call.pack(task, payload, shared=shared)
            call.on_stop = self._stop
        if slot is not None:
            self._assign(slot, calls)
        else:
            for call in calls:
                self._enqueue(call)

    def refuse(self, grace: float) -> None:
        """Refuse all that wait, and ask the running tasks to stop; kill the deaf after `grace` seconds."""
        self.refusing = True
        while self._waiting:
            self._waiting.pop(0).fail(shutting_down())
        for slot in self.slots:
            for call in slot.calls:
                slot.cancel(call, shutting_down(), grace)
        self._on_change()

    def _enqueue(self, call: Call[Any]) -> None:
        bisect.insort(self._waiting, call, key=lambda call: call.rank)
        if call.deadline is not None and call.expiry is None:
            delay = max(call.deadline - time.monotonic(), 0.0)
            call.expiry = asyncio.get_running_loop().call_later(delay, self._expire, call)

    def _hand_back(self, call: Call[Any]) -> None:
        call.take_back()
        if self.refusing:
            call.fail(shutting_down())
        elif call.stopped:
            call.fail(_stopped_early())
        elif call.deadline is not None and call.deadline <= time.monotonic():
            call.fail(overdue())
        else:
            self._enqueue(call)
            self._dispatch()

    def _expire(self, call: Call[Any]) -> None:
        if call in self._waiting:
            self._waiting.remove(call)
            call.fail(
                QueueFullError("the deadline passed in the queue for a worker", retry_after=self.retry_after)
            )

    def _stop(self, call: Call[Any], grace: float | None) -> None:
        if call in self._waiting:
            self._waiting.remove(call)
            call.fail(_stopped_early())
            return
        verdict = RequestTimeoutError("the task did not stop in time")
        for slot in self.slots:
            slot.cancel(call, verdict, self._config.grace_seconds if grace is None else grace)

    def _slot_changed(self, duration: float | None) -> None:
        if duration is not None:
            self._durations.append(duration)
        self._dispatch()
        if self.unable:
            while self._waiting:
                self._waiting.pop(0).fail(_no_worker())
        self._on_change()

    def _dispatch(self) -> None:
        for slot in self.slots:
            while slot.idle and self._waiting:
                call = self._waiting.pop(0)
                if call.done:  # cancelled just now
                    call.release()
                else:
                    self._assign(slot, [call, *self._companions(call)])

    def _assign(self, slot: Slot, calls: Sequence[Call[Any]]) -> None:
        if len(calls) > 1:
            self._shared += len(calls)
        slot.assign(calls)

    def _companions(self, first: Call[Any]) -> list[Call[Any]]:
        if first.kind is None:
            return []
        alike = [call for call in self._waiting if call.kind == first.kind and not call.done]
        companions = alike[: self._config.most_together - 1]
        for call in companions:
            self._waiting.remove(call)
        return companions


def shutting_down() -> ServiceError:
    """Return what calls get that are refused because the pool closes."""
    return ShuttingDownError("the service is shutting down")


def _no_worker() -> ServiceError:
    return NoWorkerError("no worker process can be started now", retry_after=10)


def _stopped_early() -> ServiceError:
    return RequestTimeoutError("the work was stopped before it could begin")
