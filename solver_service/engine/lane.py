"""A lane of the pool: some of the slots, and the queue of those who wait for one of them."""

from __future__ import annotations

import asyncio
import math
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable
from typing import Any

from ..errors import NoWorkerError, QueueFullError, RequestTimeoutError, ServiceError, ShuttingDownError
from .call import Call
from .config import LaneStats, PoolConfig
from .launcher import Launcher
from .slot import Slot


class Lane:
    """A bounded first-come, first-served queue in front of slots of its own.

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
        self._waiting: OrderedDict[Call[Any], None] = OrderedDict()
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
            busy=sum(slot.call is not None for slot in self.slots),
            queued=len(self._waiting),
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
        now = time.monotonic()
        seen = [*self._durations, *(now - slot.started_at for slot in self.slots if slot.call is not None)]
        if not seen:
            return 1
        seconds = sum(seen) / len(seen) * (len(self._waiting) + 1) / len(self.slots)
        return min(max(math.ceil(seconds), 1), 60)

    @property
    def unable(self) -> bool:
        """Whether no worker can be started, though that is tried again and again."""
        return bool(self.slots) and all(slot.failing for slot in self.slots)

    def submit(self, call: Call[Any], task: Callable[..., object], payload: object) -> None:
        """Give the call to an idle slot, or let it wait for one."""
        if call.deadline is not None and call.deadline <= call.submitted:
            raise RequestTimeoutError("the deadline had passed before the work could begin")
        if self.unable:
            raise _no_worker()
        slot = next((slot for slot in self.slots if slot.idle), None)
        if slot is None and len(self._waiting) >= self._config.queue_size:
            raise QueueFullError("too many requests are waiting", retry_after=self.retry_after)
        call.pack(task, payload)
        call.on_stop = self._stop
        if slot is not None:
            slot.assign(call)
        else:
            self._enqueue(call)

    def refuse(self, grace: float) -> None:
        """Refuse all that wait, and ask the running tasks to stop; kill the deaf after `grace` seconds."""
        self.refusing = True
        while self._waiting:
            call, _ = self._waiting.popitem(last=False)
            call.fail(shutting_down())
        for slot in self.slots:
            slot.cancel(shutting_down(), grace)
        self._on_change()

    def _enqueue(self, call: Call[Any]) -> None:
        self._waiting[call] = None
        if call.deadline is not None:
            delay = max(call.deadline - time.monotonic(), 0.0)
            call.expiry = asyncio.get_running_loop().call_later(delay, self._expire, call)

    def _hand_back(self, call: Call[Any]) -> None:
        call.begun = False
        if self.refusing:
            call.fail(shutting_down())
        elif call.stopped:
            call.fail(_stopped_early())
        else:
            self._enqueue(call)
            self._waiting.move_to_end(call, last=False)

    def _expire(self, call: Call[Any]) -> None:
        if call in self._waiting:
            del self._waiting[call]
            call.fail(
                QueueFullError("the deadline passed in the queue for a worker", retry_after=self.retry_after)
            )

    def _stop(self, call: Call[Any], grace: float | None) -> None:
        if call in self._waiting:
            del self._waiting[call]
            call.fail(_stopped_early())
            return
        for slot in self.slots:
            if slot.call is call:
                verdict = RequestTimeoutError("the task did not stop in time")
                slot.cancel(verdict, self._config.grace_seconds if grace is None else grace)

    def _slot_changed(self, duration: float | None) -> None:
        if duration is not None:
            self._durations.append(duration)
        for slot in self.slots:
            while slot.idle and self._waiting:
                call, _ = self._waiting.popitem(last=False)
                if call.done:  # cancelled just now
                    call.release()
                else:
                    slot.assign(call)
        if self.unable:
            while self._waiting:
                call, _ = self._waiting.popitem(last=False)
                call.fail(_no_worker())
        self._on_change()


def shutting_down() -> ServiceError:
    """Return what calls get that are refused because the pool closes."""
    return ShuttingDownError("the service is shutting down")


def _no_worker() -> ServiceError:
    return NoWorkerError("no worker process can be started now", retry_after=10)


def _stopped_early() -> ServiceError:
    return RequestTimeoutError("the work was stopped before it could begin")
