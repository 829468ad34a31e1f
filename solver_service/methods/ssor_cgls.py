"""`ssor_cgls`: symmetric coordinate-descent sweeps over columns, accelerated by CGLS (Björck & Elfving 1979).

The residual is at hand at every step, rows of any scale do no harm, and on inconsistent systems the limit is
a least-squares solution. With scaled rows (`SweptColumns.scaled`) both hold for the scaled equations instead.
In parallel each thread sweeps its own columns, and what they did to the residual is added.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Iterator, Sequence
from typing import Self

import numpy as np

from ..kernels import (
    add_scaled,
    advance_columns,
    backward_columns,
    backward_columns_block,
    forward_columns,
    forward_columns_block,
    reduce_residuals,
    squared_norm,
    squared_norms,
)
from .block import Block
from .options import Options
from .result import FloatArray
from .sweeps import RELAXATION, BoolArray, Sweeps
from .systems import SweptColumns
from .team import blocks, in_parallel, parts


class SsorCgls(Sweeps):
    """CGLS on ÂC⁻¹ for the columns of `system`."""

    kept = (*Sweeps.kept, "_s")
    vectors = ("_x", "_r", "_s", "_p")
    blank = ("_r", "_s", "_p")

    def __init__(self, system: SweptColumns, b: FloatArray, x0: FloatArray, options: Options) -> None:
        m, n = b.size, x0.size
        super().__init__((m, n), system.raw.nnz, n, exact=system.scale is None, options=options)
        self._system = system
        self._b = b if system.scale is None else b * system.scale
        self._parts = parts(system.raw.indptr, self.threads)
        self.threads = len(self._parts)
        self._h = np.empty((len(self._parts), m))
        self._r, self._q = np.empty(m), np.zeros(m)
        self._s, self._p, self._t = np.empty(n), np.zeros(n), np.zeros(n)
        self._restart(x0)

    @property
    def matrix(self) -> SweptColumns:
        """The columns."""
        return self._system

    def _restart(self, x: FloatArray) -> None:
        self._begin(x, self._b - x @ self._system.csr if x.any() else self._b)

    def solution(self) -> FloatArray:
        """The iterate."""
        return np.ascontiguousarray(self._x)

    def begin_alone(self, rhs: FloatArray) -> None:
        """r ← rhs, s ← C⁻ᵀÂᵀr."""
        self._r[:] = rhs
        self._scalars[:] = self._forward(lambda: None), squared_norm(self._r), 0.0

    def _advance(self, steps: int, goal: float) -> int:
        system = self._system
        return advance_columns(
            *system.raw,
            system.weights,
            RELAXATION,
            self._x,
            self._r,
            self._s,
            self._p,
            self._t,
            self._q,
            self._h[0],
            self._scalars,
            steps,
            goal,
        )

    def _advance_in_pieces(self, tick: Callable[[], None]) -> int:
        gamma = float(self._scalars[0])
        self._backward(tick)
        delta = squared_norm(self._q)
        if not delta > 0.0:
            self._scalars[0] = 0.0
            return 0
        alpha = gamma / delta
        self._x += alpha * self._t
        self._q *= alpha
        self._r -= self._q
        self._scalars[0] = self._forward(tick)
        self._scalars[1] = squared_norm(self._r)
        self._scalars[2] = self._scalars[0] / gamma
        return 1

    def _backward(self, tick: Callable[[], None]) -> None:
        """p ← s + β·p, t ← W·C⁻¹p, q ← A t."""
        system = self._system
        beta = float(self._scalars[2])

        def sweep(number: int) -> float:
            q = self._h[number]
            q[:] = 0.0
            for start, stop in reversed(blocks(system.raw.indptr, *self._parts[number])):
                tick()
                backward_columns(
                    *system.raw,
                    system.weights,
                    RELAXATION,
                    beta,
                    self._s,
                    self._p,
                    self._t,
                    q,
                    start,
                    stop,
                )
            return 0.0

        in_parallel(sweep, len(self._parts))
        np.sum(self._h, axis=0, out=self._q)

    def _forward(self, tick: Callable[[], None]) -> float:
        """s ← C⁻ᵀÂᵀr; returns ‖s‖²."""
        system = self._system

        def sweep(number: int) -> float:
            h = self._h[number]
            h[:] = self._r
            total = 0.0
            for start, stop in blocks(system.raw.indptr, *self._parts[number]):
                tick()
                total += forward_columns(*system.raw, system.weights, RELAXATION, h, self._s, start, stop)
            return total

        return math.fsum(in_parallel(sweep, len(self._parts)))

    @classmethod
    def begin(cls, block: Block, processes: Sequence[Self], rhs: FloatArray) -> Iterator[None]:
        """As `begin_alone`."""
        gamma, squares = block.row(), block.row()
        block["_r"][:] = rhs
        squared_norms(rhs, squares)
        block.scratch("q", rhs.shape[0])[:] = rhs
        yield from _forward(block, processes[0]._system, gamma)
        for process in processes:
            process._scalars[:] = gamma[process.place], squares[process.place], 0.0

    @classmethod
    def step(cls, block: Block, processes: Sequence[Self]) -> Generator[None, None, BoolArray]:
        """As `_advance_in_pieces`."""
        system = processes[0]._system
        p, r = block["_p"], block["_r"]
        t, q = block.scratch("t", p.shape[0]), block.scratch("q", r.shape[0])
        q[:] = 0.0
        before = block.spread((process, process._scalars[0]) for process in processes)
        beta = block.spread((process, process._scalars[2]) for process in processes)
        for start, stop in reversed(system.pieces):
            yield
            backward_columns_block(
                *system.raw, system.weights, RELAXATION, beta, block["_s"], p, t, q, start, stop
            )
        delta, gamma, squares = block.row(), block.row(), block.row()
        squared_norms(q, delta)
        made = delta > 0.0
        alpha = np.divide(before, delta, out=block.row(), where=made)
        ended = [process for process in processes if not made[process.place]]
        with block.untouched(ended, "_x", "_r", "_s"):
            add_scaled(alpha, t, block["_x"])
            reduce_residuals(alpha, q, r, q, squares)
            yield from _forward(block, system, gamma)
        for process in processes:
            place = process.place
            if made[place]:
                process._scalars[:] = gamma[place], squares[place], gamma[place] / before[place]
            else:
                process._scalars[0] = 0.0
        return made


def _forward(block: Block, system: SweptColumns, gamma: FloatArray) -> Iterator[None]:
    """As `SsorCgls._forward`, from a copy of r in the place of q: less memory is gone through."""
    part, h = block.row(), block.scratch("q", block["_r"].shape[0])
    for start, stop in system.pieces:
        yield
        forward_columns_block(*system.raw, system.weights, RELAXATION, h, block["_s"], start, stop, part)
        gamma += part
