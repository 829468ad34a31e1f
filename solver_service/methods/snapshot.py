"""The state of a running solve as plain data: what is captured, when, and by whom it is kept.

A snapshot is taken between two pieces of work, never within one, and holds all that the clock, the limits and
A itself do not give back: a solve that goes on from it takes the very steps that it would have taken.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Protocol, TypeAlias

import numpy as np

Snapshot: TypeAlias = dict[str, Any]
"""Nested dicts and lists of None, bool, int of any size, float, str and arrays that nobody else changes."""

Capture: TypeAlias = Callable[[], Snapshot]

_FIRST_COST = 3e-4
"""Seconds that a capture is taken to cost before there was one: most solves end sooner than it would pay."""

_LONGEST_PATIENCE = 0.02

_SLOW_DISK = 2e8
"""Bytes a second at which the first snapshot is taken to be stored."""


class Holder(Protocol):
    """Whom a running solve offers its state."""

    def offer(self, capture: Capture) -> None:
        """Capture it, unless that would cost too much now."""

    def take(self, capture: Capture) -> None:
        """Capture it, as there will be no other occasion."""


class Keeper:
    """Keeps the latest snapshot, and stores one from time to time, at bounded cost. For one run at a time.

    Parameters
    ----------
    store : callable or None
        Puts a snapshot where it survives; what it raises ends the run.
    interval : float
        Least seconds between two calls of `store`, and before the first.
    share : float
        Of the run time, what capturing and storing may take: half of it each. What they cost beyond, by cold
        caches, is not seen here.

    Attributes
    ----------
    latest : Snapshot or None
        After a run, the state to go on from; None where it ended before there was one.
    captures, stores : int
    seconds : float
        What they took.
    """

    def __init__(
        self,
        store: Callable[[Snapshot], None] | None = None,
        *,
        interval: float = 5.0,
        share: float = 0.02,
    ) -> None:
        self.latest: Snapshot | None = None
        self.captures = self.stores = 0
        self.seconds = 0.0
        self._store = store
        self._interval = interval
        self._share = 0.5 * share
        self._begun = self._next_capture = 0.0
        self._next_store: float | None = None

    @property
    def due(self) -> bool:
        """Whether it is time to capture; the first time it is asked, the run begins."""
        now = time.perf_counter()
        if self._next_store is None:
            self._begun, self._next_store = now, now + self._interval
            self._next_capture = now + min(_FIRST_COST / self._share, _LONGEST_PATIENCE)
        return now >= self._next_capture

    def offer(self, capture: Capture) -> None:
        """Capture and store if it is time."""
        if self.due:
            self.take(capture)
        self.store_if_due()

    def take(self, capture: Capture, spent: float = 0.0) -> None:
        """Capture at once; `spent` is what parts of it have cost before."""
        start = time.perf_counter() - spent
        self.latest = capture()
        end = time.perf_counter()
        self.captures += 1
        self.seconds += end - start
        self._next_capture = end + (end - start) / self._share

    def store_if_due(self) -> None:
        """Store what was captured last, if it is time."""
        now = time.perf_counter()
        if self._store is None or self.latest is None or self._next_store is None or now < self._next_store:
            return
        if self.stores == 0:  # what one costs is not known yet
            patience = nbytes(self.latest) / _SLOW_DISK / self._share
            if now < self._begun + patience:
                self._next_store = self._begun + patience
                return
        self._put(self._store, self.latest)

    def _put(self, store: Callable[[Snapshot], None], snapshot: Snapshot) -> None:
        start = time.perf_counter()
        store(snapshot)
        end = time.perf_counter()
        self.stores += 1
        self.seconds += end - start
        self._next_store = end + max(self._interval, (end - start) / self._share)


class Within:
    """Keeps the state of work within a larger work, as part of the state of that.

    Parameters
    ----------
    outer : Holder
    wrap : callable
        Puts a capture of the inner state into one of the whole.
    """

    def __init__(self, outer: Holder, wrap: Callable[[Capture], Snapshot]) -> None:
        self._outer, self._wrap = outer, wrap

    def offer(self, capture: Capture) -> None:
        """Offer the whole."""
        self._outer.offer(lambda: self._wrap(capture))

    def take(self, capture: Capture) -> None:
        """Capture the whole."""
        self._outer.take(lambda: self._wrap(capture))


def nbytes(value: Any) -> int:
    """Bytes of the arrays in a snapshot, each counted once however often it occurs."""
    return sum({id(array): array.nbytes for array in _arrays(value)}.values())


def _arrays(value: Any) -> Iterator[np.ndarray[Any, Any]]:
    if isinstance(value, np.ndarray):
        yield value
    elif isinstance(value, dict):
        for item in value.values():
            yield from _arrays(item)
    elif isinstance(value, list):
        for item in value:
            yield from _arrays(item)


def copied(value: Any) -> Any:
    """The same, with arrays and lists of its own."""
    if isinstance(value, np.ndarray):
        return value.copy()
    return [copied(item) for item in value] if isinstance(value, list) else value


def captured(thing: object, names: Iterable[str]) -> Snapshot:
    """Copies of those attributes that have been set."""
    held = vars(thing)
    return {name: copied(held[name]) for name in names if name in held}


def restore(thing: object, names: Iterable[str], snapshot: Snapshot) -> None:
    """Set copies of what `captured` found."""
    for name in names:
        if name in snapshot:
            setattr(thing, name, copied(snapshot[name]))
