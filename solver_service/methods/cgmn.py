"""`cgmn`: symmetric Kaczmarz sweeps accelerated by conjugate gradients (Björck & Elfving 1979).

The iterates stay in the row space, so that from x0 = 0 the limit is the minimum-norm solution; with scaled
columns (`SweptRows.scaled`) it is that of least ‖E⁻¹x‖ instead. In parallel (Gordon & Gordon 2010 call their
form CARP-CG) each thread sweeps its own rows, and every component of x becomes the mean over the threads that
touch it, of which D counts how many. CG then needs the inner product of D and minimises ‖D^½x‖; run on A·D^½
(`SharedRows`) it is plain CG with the minimum norm of x again.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from ..kernels import advance_rows, apply_rows, apply_rows_transposed, forward_rows
from .monitor import Monitor
from .options import Options
from .result import FloatArray
from .sweeps import RELAXATION, Sweeps
from .systems import SweptRows
from .team import blocks, in_parallel


class Cgmn(Sweeps):
    """CGLS on B = C⁻¹Â for the rows of `system`."""

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

    def _restart(self, x: FloatArray) -> None:
        scale, rows = self._system.scale, self._rows
        self._x = x.copy() if scale is None else x / scale
        squares = 0.0
        for start, stop in self._parts:
            h = self._own(self._x)
            squares += forward_rows(*rows.raw, rows.weights, RELAXATION, self._b, h, self._r, start, stop)
        self._scalars[:] = 0.0, squares, 0.0
        self._q[:] = 0.0
        self._backward(lambda: None)
        self._p[:] = self._s
        self._ended = False

    def _own(self, x: FloatArray) -> FloatArray:
        """Copy x for one thread, D^(−½)x: the unknown of A·D^½."""
        return x.copy() if self._rows.root is None else x / self._rows.root

    def solution(self) -> FloatArray:
        """The iterate in the caller's scale."""
        scale = self._system.scale
        return self._x if scale is None else self._x * scale

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

    def _advance_in_pieces(self, monitor: Monitor) -> int:
        gamma = float(self._scalars[0])
        delta = self._forward(monitor.tick)
        if not delta > 0.0:
            return 0
        self._scalars[2] = gamma / delta
        self._x += self._scalars[2] * self._p
        self._backward(monitor.tick)
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
        self._scalars[:2] = float(self._s @ self._s), squares
