"""Endless streams of rows in random order, shared by all who read them at the same time."""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias
from weakref import WeakValueDictionary

import numpy as np
from numpy.typing import NDArray

from .snapshot import Snapshot

Order: TypeAlias = NDArray[np.uint32]
"""Numbers of rows of a chunk."""

_FIRST_CHUNKS = 2
_KEPT = 64
"""Turns of a stream that are remembered for those who come a little later."""


@dataclass(frozen=True, slots=True)
class _Turn:
    """One chunk and an order of its rows, and the state of the stream after it."""

    chunk: int
    order: Order
    after: dict[str, Any]


class Stream:
    """An endless stream of rows: chunk after chunk, each time in another order.

    It begins with few chunks, passes over them twice, and doubles their number: to copy a chunk costs more
    than to read it again, and a well-conditioned system is solved from a sample of its rows. Thread-safe.

    Parameters
    ----------
    chunks : int
    size : callable
        Rows of a chunk, given its number.
    run : int
        Neighbouring rows to keep together, for the sake of the cache.
    seed : int
    state : Snapshot, optional
        That after a turn, to begin with: it is turn 0 then.
    """

    def __init__(
        self, chunks: int, size: Callable[[int], int], run: int, seed: int, state: Snapshot | None = None
    ) -> None:
        self.chunks, self._size, self._run = chunks, size, run
        self._seed, self._beginning = seed, state
        self._rng = np.random.default_rng(seed)
        self._all = self._rng.permutation(chunks)
        self._coming: list[int] = []
        self._passes = 0
        self._seen: set[int] = set()
        self._lock = threading.Lock()
        self._continued: WeakValueDictionary[tuple[str, bytes], Stream] = WeakValueDictionary()
        self._base: Stream | None = None
        chunk, order = 0, np.empty(0, dtype=np.uint32)
        if state is not None:
            self._rng.bit_generator.state = state["generator"]
            self._coming, self._passes = list(state["chunks"]), state["passes"]
            self._seen = set(state["seen"])
            chunk, order = state["chunk"], state["order"].copy()
        self._turns = {0: _Turn(chunk, order, self._state())}

    def turn(self, number: int) -> _Turn | None:
        """Turn `number`, from 1 on; None if it was forgotten. What was before the first is turn 0."""
        with self._lock:
            last = next(reversed(self._turns))
            while last < number:
                last += 1
                self._turns[last] = self._make()
                if len(self._turns) > _KEPT:
                    del self._turns[next(iter(self._turns))]
            return self._turns.get(number)

    def anew(self) -> Stream:
        """The same from its beginning."""
        return self._from(self._beginning)

    def after(self, state: Snapshot) -> Stream:
        """The one that goes on from the state after a turn, which is its turn 0; one for all that ask."""
        key = repr([state[name] for name in sorted(state) if name != "order"]), state["order"].tobytes()
        with self._lock:
            stream = self._continued.get(key)
            if stream is None:
                stream = self._continued[key] = self._from(state)
                stream._base = self  # so that others find it here
            return stream

    def _from(self, state: Snapshot | None) -> Stream:
        return Stream(self.chunks, self._size, self._run, self._seed, state)

    def _state(self) -> dict[str, Any]:
        return {
            "generator": dict(self._rng.bit_generator.state),
            "chunks": list(self._coming),
            "passes": self._passes,
            "seen": sorted(self._seen),
        }

    def _make(self) -> _Turn:
        if not self._coming:
            used = self._all[: _FIRST_CHUNKS << min(self._passes // 2, 40)]
            self._passes += 1
            self._coming = [int(k) for k in self._rng.permutation(used)]
        chunk = self._coming.pop()
        return _Turn(chunk, self._order(chunk), self._state())

    def _order(self, chunk: int) -> Order:
        count = self._size(chunk)
        if chunk not in self._seen:
            self._seen.add(chunk)  # shuffled as it is: only begin somewhere
            start = np.uint32(self._rng.integers(count)) if count else np.uint32(0)
            return np.roll(np.arange(count, dtype=np.uint32), -int(start))
        run = self._run
        starts = self._rng.permutation(-(-count // run)).astype(np.uint32) * np.uint32(run)
        order: Order = np.add.outer(starts, np.arange(run, dtype=np.uint32)).ravel()
        return order[order < count]


class Streams:
    """The streams of one matrix by their seeds, each made once for all that read it at the same time.

    Parameters
    ----------
    chunks, size, run
        See `Stream`.
    """

    def __init__(self, chunks: int, size: Callable[[int], int], run: int) -> None:
        self._arguments = chunks, size, run
        self._streams: WeakValueDictionary[int, Stream] = WeakValueDictionary()

    def sampler(self, seed: int) -> Sampler:
        """A reader of the stream of that seed, at its beginning."""
        stream = self._streams.get(seed)
        if stream is None:
            stream = self._streams[seed] = Stream(*self._arguments, seed)
        return Sampler(stream)


class Sampler:
    """Reads a stream in whole batches.

    Parameters
    ----------
    stream : Stream

    Attributes
    ----------
    mark : hashable
        Of equal marks, what was taken last is the same.
    """

    def __init__(self, stream: Stream) -> None:
        self.mark: Hashable = None
        self._stream = stream
        self._batches: tuple[tuple[int, int], ...] = ()  # sizes, and the turns in which they came into use
        self._number = 0
        self._turn = self._get(0)
        self._order = self._turn.order

    def take(self, batches: int, batch: int) -> Iterator[tuple[int, Order]]:
        """Yield chunks and row numbers in them, whole batches each, `batches` in all.

        A batch lies in one chunk; what remains of a chunk that is no whole batch is left out for this time.
        """
        if not self._batches or self._batches[-1][0] != batch:
            self._batches += ((batch, self._number),)
        while batches > 0:
            if self._order.size < batch:
                left = self._order.size if self._stream.chunks == 1 else 0
                self._turn = self._get(self._number + 1)
                self._number += 1
                order = self._turn.order
                self._order = np.concatenate([self._order, order]) if left else order
                continue
            count = min(batches, self._order.size // batch)
            self.mark = (self._stream, self._batches, self._number, self._order.size, count)
            yield self._turn.chunk, self._order[: count * batch]
            self._order = self._order[count * batch :]
            batches -= count

    def capture(self) -> Snapshot:
        """Where in the stream it is."""
        return self._turn.after | {"chunk": self._turn.chunk, "order": self._order.copy()}

    def restore(self, snapshot: Snapshot) -> None:
        """Go on from there."""
        self._stream, self._batches = self._stream.after(snapshot), ()
        self._number, self._turn = 0, self._get(0)
        self._order = self._turn.order

    def _get(self, number: int) -> _Turn:
        turn = self._stream.turn(number)
        if turn is None:  # it lags far behind the others
            self._stream = self._stream.anew()
            turn = self._stream.turn(number)
        assert turn is not None
        return turn
