"""`ssor_cgls`: symmetric coordinate-descent sweeps over columns, accelerated by CGLS (Björck & Elfving 1979).

The residual is at hand at every step, rows of any scale do no harm, and on inconsistent systems the limit is
a least-squares solution. With scaled rows (`SweptColumns.scaled`) both hold for the scaled equations instead.
In parallel each thread sweeps its own columns, and what they did to the residual is added.
"""

from __future__ import annotations

import math

import numpy as np

from ..kernels import advance_columns, backward_columns, forward_columns, squared_norm
from .monitor import Monitor
from .options import Options
from .result import FloatArray
from .sweeps import RELAXATION, Sweeps
from .systems import SweptColumns
from .team import blocks, in_parallel, parts


class SsorCgls(Sweeps):
    """CGLS on ÂC⁻¹ for the columns of `system`."""

    kept = (*Sweeps.kept, "_s")

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

    def _restart(self, x: FloatArray) -> None:
        self._x = x.copy()
        self._r[:] = self._b - x @ self._system.csr if x.any() else self._b
        gamma = self._forward(None)
        self._scalars[:] = gamma, squared_norm(self._r), 0.0
        self._ended = False

    def solution(self) -> FloatArray:
        """The iterate."""
        return self._x

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

    def _advance_in_pieces(self, monitor: Monitor) -> int:
        gamma = float(self._scalars[0])
        self._backward(monitor)
        delta = squared_norm(self._q)
        if not (gamma > 0.0 and delta > 0.0):
            return 0
        alpha = gamma / delta
        self._x += alpha * self._t
        self._q *= alpha
        self._r -= self._q
        self._scalars[0] = self._forward(monitor)
        self._scalars[1] = squared_norm(self._r)
        self._scalars[2] = self._scalars[0] / gamma
        return 1

    def _backward(self, monitor: Monitor) -> None:
        """p ← s + β·p, t ← W·C⁻¹p, q ← A t."""
        system = self._system
        beta = float(self._scalars[2])

        def sweep(number: int) -> float:
            q = self._h[number]
            q[:] = 0.0
            for start, stop in reversed(blocks(system.raw.indptr, *self._parts[number])):
                monitor.tick()
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

    def _forward(self, monitor: Monitor | None) -> float:
        """s ← C⁻ᵀÂᵀr; returns ‖s‖²."""
        system = self._system

        def sweep(number: int) -> float:
            h = self._h[number]
            h[:] = self._r
            total = 0.0
            for start, stop in blocks(system.raw.indptr, *self._parts[number]):
                if monitor is not None:
                    monitor.tick()
                total += forward_columns(*system.raw, system.weights, RELAXATION, h, self._s, start, stop)
            return total

        return math.fsum(in_parallel(sweep, len(self._parts)))
