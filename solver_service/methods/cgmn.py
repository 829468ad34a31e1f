"""`cgmn`: symmetric Kaczmarz sweeps accelerated by conjugate gradients (Björck & Elfving 1979).

The iterates stay in the row space, so that from x0 = 0 the limit is the minimum-norm solution; with scaled
columns (`SweptRows.scaled`) it is that of least ‖E⁻¹x‖ instead. In parallel (Gordon & Gordon 2010 call their
form CARP-CG) each thread sweeps its own rows, and every component of x becomes the mean over the threads that
touch it, of which D counts how many. CG then needs the inner product of D and minimises ‖D^½x‖; run on A·D^½
(`SharedRows`) it is plain CG with the minimum norm of x again.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Iterator, Sequence
from typing import Self

import numpy as np

from ..kernels import (
    add_scaled,
    advance_rows,
    apply_rows,
    apply_rows_block,
    apply_rows_transposed,
    apply_rows_transposed_block,
    forward_rows,
    forward_rows_block,
    next_directions,
    squared_norm,
    squared_norms,
)
from .block import Block
from .options import Options
from .result import FloatArray
from .sweeps import RELAXATION, BoolArray, Sweeps
from .systems import SweptRows
from .team import blocks, in_parallel


class Cgmn(Sweeps):
    """CGLS on B = C⁻¹Â for the rows of `system`."""

    vectors = ("_x", "_r", "_p")
    blank = ("_r", "_p")

    def __init__(self, system: SweptRows, b: FloatArray, x0: FloatArray, options: Options) -> None:
        m, n = b.size, x0.size
        super().__init__((m, n), system.raw.nnz, m, exact=False, options=options)
        self.row_space = system.scale is None
        self._system = system
        self._b = b
        self._rows = system.shared(n, self.threads)
        self._parts = self._rows.parts
        self.threads = len(self._parts)
        self._h = np.empty((len(self._parts), n))
        self._r, self._q = np.empty(m), np.zeros(m)
        self._s, self._p = np.empty(n), np.empty(n)
        self._restart(x0)

    @property
    def matrix(self) -> SweptRows:
        """The rows."""
        return self._system

    def _restart(self, x: FloatArray) -> None:
        scale = self._system.scale
        self._begin(x if scale is None else x / scale, self._b)

    def solution(self) -> FloatArray:
        """The iterate in the caller's scale."""
        scale = self._system.scale
        return np.ascontiguousarray(self._x) if scale is None else self._x * scale

    def begin_alone(self, rhs: FloatArray) -> None:
        """r ← C⁻¹Ŵ(b − A x), p ← s ← Bᵀr."""
        rows = self._rows

        def sweep(number: int) -> float:
            h = self._own(self._x)
            total = 0.0
            for start, stop in blocks(rows.raw.indptr, *self._parts[number]):
                total += forward_rows(*rows.raw, rows.weights, RELAXATION, rhs, h, self._r, start, stop)
            return total

        in_parallel(sweep, len(self._parts))
        self._scalars[2] = 0.0
        self._q[:] = 0.0
        self._backward(lambda: None)
        self._p[:] = self._s

    def _own(self, x: FloatArray) -> FloatArray:
        """Copy x for one thread, D^(−½)x: the unknown of A·D^½."""
        return x.copy() if self._rows.root is None else x / self._rows.root

    def _advance(self, steps: int, goal: float) -> int:
        system = self._system
        return advance_rows(
            *system.raw,
            system.weights,
            RELAXATION,
            self._x,
            self._r,
            self._s,
            self._p,
            self._q,
            self._h[0],
            self._scalars,
            steps,
            goal,
        )

    def _advance_in_pieces(self, tick: Callable[[], None]) -> int:
        gamma = float(self._scalars[0])
        delta = self._forward(tick)
        if not delta > 0.0:
            self._scalars[0] = 0.0
            return 0
        self._scalars[2] = gamma / delta
        self._x += self._scalars[2] * self._p
        self._backward(tick)
        self._p *= self._scalars[0] / gamma
        self._p += self._s
        return 1

    def _forward(self, tick: Callable[[], None]) -> float:
        """q ← B p; returns ‖q‖²."""
        rows = self._rows

        def sweep(number: int) -> float:
            h = self._own(self._p)
            total = 0.0
            for start, stop in blocks(rows.raw.indptr, *self._parts[number]):
                tick()
                total += apply_rows(*rows.raw, rows.weights, RELAXATION, h, self._q, start, stop)
            return total

        return math.fsum(in_parallel(sweep, len(self._parts)))

    def _backward(self, tick: Callable[[], None]) -> None:
        """r ← r − α·q, s ← Bᵀr, and their squared norms; α is `scalars[2]`."""
        rows = self._rows
        alpha = float(self._scalars[2])

        def sweep(number: int) -> float:
            s = self._h[number]
            s[:] = 0.0
            total = 0.0
            for start, stop in reversed(blocks(rows.raw.indptr, *self._parts[number])):
                tick()
                total += apply_rows_transposed(
                    *rows.raw, rows.weights, RELAXATION, alpha, self._q, self._r, s, start, stop
                )
            return total

        squares = math.fsum(in_parallel(sweep, len(self._parts)))
        np.sum(self._h, axis=0, out=self._s)
        if rows.root is not None:
            self._s /= rows.root
        self._scalars[:2] = squared_norm(self._s), squares

    @classmethod
    def begin(cls, block: Block, processes: Sequence[Self], rhs: FloatArray) -> Iterator[None]:
        """As `begin_alone`."""
        system = processes[0]._system
        h = block.scratch("h", block["_x"].shape[0])
        h[:] = block["_x"]
        total = block.row()
        for start, stop in system.pieces:
            yield
            forward_rows_block(
                *system.raw, system.weights, RELAXATION, rhs, h, block["_r"], start, stop, total
            )
        block.scratch("q", rhs.shape[0])[:] = 0.0
        scalars = block.row(), block.row(), block.row()
        yield from _backward(block, system, *scalars)
        block["_p"][:] = block.scratch("s", h.shape[0])
        for process in processes:
            process._scalars[:] = [values[process.place] for values in scalars]

    @classmethod
    def step(cls, block: Block, processes: Sequence[Self]) -> Generator[None, None, BoolArray]:
        """As `_advance_in_pieces`."""
        system = processes[0]._system
        x, p, q = block["_x"], block["_p"], block.scratch("q", block["_r"].shape[0])
        before = block.spread((process, process._scalars[0]) for process in processes)
        h = block.scratch("h", x.shape[0])
        h[:] = p
        delta, part = block.row(), block.row()
        for start, stop in system.pieces:
            yield
            apply_rows_block(*system.raw, system.weights, RELAXATION, h, q, start, stop, part)
            delta += part
        made = delta > 0.0
        alpha = np.divide(before, delta, out=block.row(), where=made)
        gamma, squares = block.row(), block.row()
        ended = [process for process in processes if not made[process.place]]
        with block.untouched(ended, "_x", "_r", "_p"):
            add_scaled(alpha, p, x)
            yield from _backward(block, system, gamma, squares, alpha)
            beta = np.divide(gamma, before, out=block.row(), where=before > 0.0)
            next_directions(beta, block.scratch("s", p.shape[0]), p, p)
        for process in processes:
            place = process.place
            if made[place]:
                process._scalars[:] = gamma[place], squares[place], alpha[place]
            else:
                process._scalars[0] = 0.0
        return made


def _backward(
    block: Block, system: SweptRows, gamma: FloatArray, squares: FloatArray, alpha: FloatArray
) -> Iterator[None]:
    """As `Cgmn._backward`."""
    r, part = block["_r"], block.row()
    q, s = block.scratch("q", r.shape[0]), block.scratch("s", block["_p"].shape[0])
    s[:] = 0.0
    for start, stop in reversed(system.pieces):
        yield
        apply_rows_transposed_block(
            *system.raw, system.weights, RELAXATION, alpha, q, r, s, start, stop, part
        )
        squares += part
    squared_norms(s, gamma)
