"""The rectangular form of `direct`: a dense Cholesky factor of the Gram matrix of the short side.

With n ≤ m the factor of AᵀA preconditions CGLS, with m < n that of AAᵀ preconditions CG on AAᵀy = b (Craig's
method; x = Aᵀy stays in the row space). Forming the Gram matrix squares the condition, so one or two steps of
CG make up for what rounding took; a shift of a few units of rounding makes any rank factorable.
"""

from __future__ import annotations

import math

import numpy as np

from .gram_factor import GramFactor
from .monitor import Monitor
from .process import Process
from .result import FloatArray, Status
from .state import State

MOST_ROWS = 3000
"""Longest short side: its Gram matrix and factor take 150 MB, and the factorisation half a second."""

_MOST_STEPS = 64
_CERTAIN = 1e-8
_DRIFTED = 0.1
_UNREACHABLE = 1e-3


class Gram(Process):
    """CG preconditioned by a Gram factor. Counts no epochs."""

    factored = True
    kept = ("_x", "_r", "_steps", "_gamma", "_direction")

    def __init__(self, state: State, b: FloatArray, x0: FloatArray) -> None:
        self._state = state
        self._b = b
        self._x = x0.copy()
        self._steps = 0
        m, n = state.A.shape
        self._tall = n <= m
        self.row_space = not self._tall
        self._direction: FloatArray | None = None

    @property
    def _factor(self) -> GramFactor:
        return self._state.gram(lambda: None)

    def _begin(self) -> None:
        A = self._state.A
        self._r = self._b - A @ self._x if self._x.any() else self._b.copy()
        s = self._state.AT @ self._r if self._tall else self._r
        z = self._factor.solve(s)
        self._gamma = float(s @ z)
        self._direction = z

    def advance(self, monitor: Monitor) -> Status | None:
        """One step of CG, after the factorisation."""
        self._state.gram(monitor.tick)
        if self._direction is None:
            self._begin()
        monitor.tick()
        assert self._direction is not None
        state, p, gamma = self._state, self._direction, self._gamma
        if self._tall:
            dx, q = p, state.A @ p
            delta = float(q @ q)
        else:
            dx = state.AT @ p
            q = state.A @ dx
            delta = float(dx @ dx)
        if not (gamma > 0.0 and delta > 0.0):
            return Status.STAGNATED
        alpha = gamma / delta
        self._x += alpha * dx
        self._r -= alpha * q
        s = state.AT @ self._r if self._tall else self._r
        z = self._factor.solve(s)
        self._gamma = float(s @ z)
        self._direction = z + (self._gamma / gamma) * p
        self._steps += 1
        monitor.work.iterations += 1
        norm = float(np.linalg.norm(self._r))
        # √γ is the part of r that A can still reach, as far as rounding lets us see it.
        ended = self._steps >= _MOST_STEPS or not (self._gamma < 0.9 * gamma or norm > 1e3 * monitor.target)
        return Status.STAGNATED if ended else None

    @property
    def stationary(self) -> bool:
        """Whether √γ, the part of r that A can still reach, is small in r."""
        return self._tall and math.sqrt(max(self._gamma, 0.0)) <= _UNREACHABLE * float(
            np.linalg.norm(self._r)
        )

    def check(self, norm: float) -> None:
        """Restart where rounding has made the recurrence lose the true residual."""
        if abs(float(np.linalg.norm(self._r)) - norm) > _DRIFTED * norm:
            self._begin()

    def error_estimate(self, r: FloatArray) -> float | None:
        """‖(AᵀA)⁻¹Aᵀr‖ by one more solve, where the columns are clearly independent."""
        if not self._tall or not self._factor.clearly_definite:
            return None
        return float(np.linalg.norm(self._factor.solve(self._state.AT @ r)))

    @property
    def unique(self) -> bool:
        """Whether A has full column rank: no pivot is anywhere near what shift and rounding may leave."""
        return self._tall and self._direction is not None and self._factor.least_pivot > _CERTAIN

    def solution(self) -> FloatArray:
        """The iterate."""
        return self._x
