"""Sparse LU of square systems by SuperLU (Li 2005), with iterative refinement."""

from __future__ import annotations

from functools import cached_property

import numpy as np

from ..errors import FieldError, MethodNotApplicableError
from .factorization import Factors
from .monitor import Monitor
from .process import Process
from .result import FloatArray, Status
from .state import State
from .verification import true_residual

_REFINEMENTS = 5
_HAGER_STEPS = 5
_NEARLY_SINGULAR = 1e14
_MOST_ENTRIES = 2**26  # SuperLU counts in 32 bits, and begins with room for 30 times as many


class Direct(Process):
    """Factorise, solve, refine while that helps. Counts no epochs; cannot be interrupted inside."""

    factored = True

    def __init__(self, state: State, b: FloatArray, x0: FloatArray) -> None:
        require_structure(state)
        self._state = state
        self._b = b
        self._x = x0

    def advance(self, monitor: Monitor) -> Status | None:
        """Everything: factors, solution, refinement."""
        factors = self._state.factors
        monitor.work.iterations += 1
        if factors is None:
            return Status.STAGNATED
        with np.errstate(all="ignore"):
            x = self._x = factors.solve(self._b)
            norm = monitor.measure(x)
            for _ in range(_REFINEMENTS):
                if not 0.1 * monitor.target < norm < np.inf:
                    break
                better = x + factors.solve(true_residual(self._state.raw, self._b, x))
                improved = monitor.measure(better)
                if not improved < norm:
                    break
                x, norm = better, improved
        self._x = x if np.isfinite(norm) else monitor.best_x
        return Status.STAGNATED

    @cached_property
    def unique(self) -> bool:
        """Whether A is far enough from singular that there is no other solution."""
        factors = self._state.factors
        return factors is not None and condition_estimate(self._state, factors) < _NEARLY_SINGULAR

    def error_estimate(self, r: FloatArray) -> float | None:
        """‖A⁻¹r‖ by one more solve."""
        factors = self._state.factors
        return float(np.linalg.norm(factors.solve(r))) if factors is not None and self.unique else None

    def solution(self) -> FloatArray:
        """The refined solution, or x0 if there is none."""
        return self._x


def condition_estimate(state: State, factors: Factors) -> float:
    """κ₁(A), estimated from below by a few solves (Hager 1984)."""
    n = state.A.shape[0]
    x = np.full(n, 1.0 / n)
    estimate = 0.0
    with np.errstate(all="ignore"):
        for _ in range(_HAGER_STEPS):
            y = factors.solve(x)
            estimate = float(np.abs(y).sum())
            signs = np.copysign(1.0, y)
            z = factors.solve_transposed(signs)
            j = int(np.argmax(np.abs(z)))
            if not abs(z[j]) > z @ x:
                break
            x = np.zeros(n)
            x[j] = 1.0
        column_sums = np.bincount(state.A.indices, weights=np.abs(state.A.data), minlength=n)
        estimate *= float(column_sums.max())
    return estimate if np.isfinite(estimate) else np.inf


def require_structure(state: State) -> None:
    """Raise `MethodNotApplicableError` unless A is square, structurally non-singular and not too large.

    SuperLU may crash the process on structurally singular or very large input, so it must never see it.
    """
    m, n = state.A.shape
    if m != n:
        raise MethodNotApplicableError(
            f"method direct needs a square matrix, but this one is {m} × {n}",
            errors=[FieldError("method", "direct needs a square matrix")],
        )
    if state.A.nnz > _MOST_ENTRIES:
        raise MethodNotApplicableError(
            f"method direct takes {_MOST_ENTRIES:,} entries at most, but this matrix has {state.A.nnz:,}",
            errors=[FieldError("method", f"direct takes {_MOST_ENTRIES:,} entries at most")],
        )
    if not state.structurally_nonsingular:
        raise MethodNotApplicableError(
            "method direct needs a non-singular matrix, but the pattern of this one makes it singular",
            errors=[FieldError("method", "direct needs a structurally non-singular matrix")],
        )
