"""Sparse LU of square systems by SuperLU (Li 2005), with iterative refinement."""

from __future__ import annotations

import numpy as np

from ..errors import FieldError, MethodNotApplicableError
from .monitor import Monitor
from .result import FloatArray, Parameters, Status
from .state import State

_REFINEMENTS = 5


class Direct:
    """Factorise, solve, refine while that helps. Counts no epochs; cannot be interrupted inside."""

    residual_estimate = None
    patience = 0.0

    def __init__(self, state: State, b: FloatArray, x0: FloatArray) -> None:
        require_structure(state)
        self._state = state
        self._b = b
        self._x = x0

    def advance(self, monitor: Monitor) -> Status | None:
        """Everything: factors, solution, refinement."""
        factors = self._state.factors
        monitor.tick()
        if factors is None:
            return Status.STAGNATED
        with np.errstate(all="ignore"):
            x = factors.solve(self._b)
            norm = monitor.measure(x)
            for _ in range(_REFINEMENTS):
                if not 0.1 * monitor.target < norm < np.inf:
                    break
                better = x + factors.solve(self._b - self._state.A @ x)
                improved = monitor.measure(better)
                if not improved < norm:
                    break
                x, norm = better, improved
        if np.isfinite(norm):
            self._x = x
        monitor.work.iterations += 1
        return Status.STAGNATED

    def solution(self) -> FloatArray:
        """The refined solution, or x0 if there is none."""
        return self._x

    def recover(self, x: FloatArray) -> bool:  # noqa: ARG002  # nothing to shorten
        """There is no second try."""
        return False

    def parameters(self) -> Parameters:
        """None of the mini-batch parameters apply."""
        return Parameters()


def require_structure(state: State) -> None:
    """Raise `MethodNotApplicableError` unless A is square and structurally non-singular.

    SuperLU may crash the process on structurally singular input, so it must never see it.
    """
    m, n = state.A.shape
    if m != n:
        raise MethodNotApplicableError(
            f"method direct needs a square matrix, but this one is {m} × {n}",
            errors=[FieldError("method", "direct needs a square matrix")],
        )
    if not state.structurally_nonsingular:
        raise MethodNotApplicableError(
            "method direct needs a non-singular matrix, but the pattern of this one makes it singular",
            errors=[FieldError("method", "direct needs a structurally non-singular matrix")],
        )
