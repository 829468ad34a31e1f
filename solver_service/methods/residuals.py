"""Residuals b − A x, of several systems with the same A in one reading of it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from itertools import chain, pairwise
from typing import Self

import numpy as np

from ..kernels import (
    BLOCK,
    RawCSR,
    compensated_residual,
    compensated_residual_block,
    largest_magnitude,
    residual,
    residual_squares_block,
    squared_norm,
    squared_norms,
    zero_block,
)
from .result import FloatArray
from .team import in_parallel, parts
from .together import Request
from .workspace import spread

_SMALLEST = 1e-280
"""Sums of squares below this may have lost digits."""


class ResidualNorm(Request):
    """‖b − A x‖ in one pass over A, for a look at an iterate.

    Parameters
    ----------
    A : RawCSR, (m, n)
    b : ndarray, (m,)
    x : ndarray, (n,)
    pieces : list of list of (int, int)
        Ranges of rows for each thread, of some milliseconds each.
    room : ndarray, (m,)
        For the residual, if it is found alone: fresh memory would cost as much as the pass.
    tick : callable
    """

    urgent = True
    least = 4

    def __init__(
        self,
        A: RawCSR,
        b: FloatArray,
        x: FloatArray,
        pieces: list[list[tuple[int, int]]],
        room: FloatArray,
        tick: Callable[[], None],
    ) -> None:
        self._A, self._b, self._x, self._pieces, self._room = A, b, x, pieces, room
        self.tick = tick
        self.key = (type(self), id(A.data)) if len(pieces) == 1 else None

    def alone(self) -> float:
        """By all threads."""
        r = self._room

        def part(number: int) -> float:
            for place, (start, stop) in enumerate(self._pieces[number]):
                if place:  # what is short is not interrupted: the state could not be captured here
                    self.tick()
                residual(*self._A, self._b, self._x, start, stop, r)
            return 0.0

        in_parallel(part, len(self._pieces))
        return math.sqrt(squared_norm(r))

    @classmethod
    def together(cls, requests: Sequence[Self]) -> Iterator[None]:
        """In one pass over A for all."""
        first = requests[0]
        workspace = first.member.workspace
        b, places = workspace.among([one._b for one in requests])
        x = spread(first._x.size, zip(places, (one._x for one in requests), strict=True), b.shape[1])
        room = workspace.room((BLOCK, b.shape[1]))
        high, low = np.zeros((2, b.shape[1]))
        for start, stop in _whole_blocks(first._pieces):
            yield
            residual_squares_block(*first._A, b, x, start, stop, room, high, low)
        squares = high + low
        for one, place in zip(requests, places, strict=True):
            one.result = math.sqrt(squares[place])


def _whole_blocks(pieces: list[list[tuple[int, int]]]) -> Iterator[tuple[int, int]]:
    """About the same pieces of all rows, cut where sums over rows are."""
    cuts = [start // BLOCK * BLOCK for start, _ in chain.from_iterable(pieces)]
    return pairwise([*sorted(set(cuts)), pieces[-1][-1][1]])


class TrueResidual(Request):
    """b − A x, each component as if computed in twice the precision and rounded: see `Residual`.

    Parameters
    ----------
    A : RawCSR, (m, n)
    b : ndarray, (m,)
    x : ndarray, (n,)
    threads : int
    """

    urgent = True
    least = 4

    def __init__(self, A: RawCSR, b: FloatArray, x: FloatArray, threads: int) -> None:
        self._A, self._b, self._x, self._threads = A, b, x, threads
        self.tick = lambda: None
        self.key = (type(self), id(A.data)) if threads == 1 else None

    def alone(self) -> Residual:
        """By all threads."""
        A, b = self._A, self._b
        r = np.empty_like(b)
        pieces = parts(A.indptr, self._threads)

        def piece(number: int) -> float:
            start, stop = pieces[number]
            rows = slice(start, stop)
            compensated_residual(A.indptr[start : stop + 1], A.indices, A.data, b[rows], self._x, r[rows])
            return 0.0

        in_parallel(piece, len(pieces))
        return Residual(r)

    @classmethod
    def together(cls, requests: Sequence[Self]) -> Iterator[None]:
        """In one pass over A for all."""
        first = requests[0]
        b, places = first.member.workspace.among([one._b for one in requests])
        x = spread(first._x.size, zip(places, (one._x for one in requests), strict=True), b.shape[1])
        yield
        r, squares = zero_block(*b.shape), np.zeros(b.shape[1])
        compensated_residual_block(*first._A, b, x, r)
        squared_norms(r, squares)
        for one, place in zip(requests, places, strict=True):
            one.result = Residual(r[:, place], float(squares[place]))


class Residual:
    """A residual, (m,), and its norm; as a column of a block, it is copied out only if it is asked for."""

    def __init__(self, r: FloatArray, squares: float | None = None) -> None:
        self._r, self._squares = r, squares

    @cached_property
    def vector(self) -> FloatArray:
        """All of it."""
        return np.ascontiguousarray(self._r)

    @cached_property
    def norm(self) -> float:
        """See `norm`."""
        if self._squares is not None and _SMALLEST < self._squares < math.inf:
            return math.sqrt(self._squares)
        return norm(self.vector)


def norm(v: FloatArray) -> float:
    """‖v‖₂, to a few units of rounding whatever the length and the scale."""
    squares = squared_norm(v)
    if _SMALLEST < squares < math.inf:
        return math.sqrt(squares)
    largest = largest_magnitude(v)
    if not 0.0 < largest < math.inf:
        return largest
    return largest * math.sqrt(squared_norm(v / largest))
