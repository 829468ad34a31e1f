"""`ssor_cg`: CG preconditioned by symmetric Gauss–Seidel sweeps, for symmetric positive definite A.

One iteration reads each entry once (Eisenstat 1981): see `kernels.symmetric_sweeps`. Negative definite A is
solved as −A. Where pᵀAp ≤ 0 shows that A is indefinite, the method leaves.
"""

from __future__ import annotations

import math

import numpy as np

from ..kernels import advance_symmetric, forward_substitution, lower_product
from . import cost
from .krylov import enough_iterations
from .monitor import Monitor
from .process import Process
from .result import FloatArray, Status
from .state import State
from .sweeps import RELAXATION
from .team import BLOCK_ENTRIES

_GROWTH = 8
_DRIFTED = 0.1
_HELPED = 0.9


class SsorCg(Process):
    """CG on E⁻¹ÂE⁻ᵀ, with r = E⁻¹(b̂ − Âx̂) and x̂ = D^½x."""

    kept = ("_x", "_r", "_p", "_scalars", "_start", "_steps", "_ended", "_restarted_from")

    def __init__(self, state: State, b: FloatArray, x0: FloatArray) -> None:
        self._state = state
        self._system = system = state.unit_diagonal
        n = x0.size
        self._b = system.sign * b / system.norms
        self.patience = float(enough_iterations(state.A.shape))
        self._step_cost = cost.symmetric_step(n, system.csr.nnz)
        self._most_steps = max(1, BLOCK_ENTRIES // (system.csr.nnz + 6 * n))
        self._steps = 0
        self._ended = False
        self._restarted_from = math.inf
        self._z, self._t, self._r = np.zeros(n), np.zeros(n), np.zeros(n)
        self._scalars = np.zeros(2)
        self._restart(x0)

    def _restart(self, x: FloatArray) -> None:
        system = self._system
        self._x = x * system.norms
        rhs = self._b - system.csr @ self._x if x.any() else self._b
        forward_substitution(*system.raw, system.middle, RELAXATION, rhs, self._r)
        self._p = self._r.copy()
        self._scalars[:] = float(self._r @ self._r), 1.0
        self._start = float(self._scalars[0])

    def advance(self, monitor: Monitor) -> Status | None:
        """Some steps, the more the longer it has run; the end where pᵀAp ≤ 0."""
        if self._ended:
            return Status.STAGNATED
        wanted = min(1 + self._steps // _GROWTH, self._most_steps)
        length = monitor.allowed(wanted, 1.0)
        if length < 1:
            return Status.MAX_EPOCHS
        system = self._system
        done = advance_symmetric(
            *system.raw,
            system.middle,
            RELAXATION,
            self._x,
            self._r,
            self._p,
            self._t,
            self._z,
            self._scalars,
            length,
            0.0,
        )
        self._steps += done
        work = monitor.work
        work.iterations += done
        work.epochs += done
        work.row_updates += done * self._x.size
        work.cost += self._step_cost * done
        return None if done == length else Status.STAGNATED

    @property
    def indefinite(self) -> bool:
        """Whether a direction with pᵀAp ≤ 0 was met while the residual was still well above rounding."""
        return not self._scalars[1] > 0.0 and self._scalars[0] > 1e-20 * self._start

    @property
    def residual_estimate(self) -> float | None:
        """‖b − A x‖ = ‖D^½E r‖ of the recurrence, at half a product."""
        system = self._system
        squares = lower_product(*system.raw, system.middle, RELAXATION, system.norms, self._r)
        return math.sqrt(squares)

    def check(self, norm: float) -> None:
        """Restart from x where the recurrence has lost the true residual."""
        estimate = self.residual_estimate
        if estimate is not None and abs(estimate - norm) > _DRIFTED * norm and math.isfinite(norm):
            # A restart that did not help means that rounding lets x come no nearer.
            self._ended = not norm < _HELPED * self._restarted_from
            if not self._ended:
                self._restarted_from = norm
                self._restart(self.solution())

    def solution(self) -> FloatArray:
        """x = D^(−½)x̂."""
        x: FloatArray = self._x / self._system.norms
        return x
