"""LSMR (Fong & Saunders 2011, SIAM J. Sci. Comput. 33, 2950), one step at a time.

The recurrences are those of SciPy's `lsmr` without damping, and the iterates agree with its. SciPy's function
shows x only when it returns: a time limit, a cancelled request or a progress report would find nothing.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from . import cost
from .krylov import LEAST_SQUARES_TOLERANCE, enough_iterations
from .monitor import Monitor
from .options import Options
from .process import Process
from .products import Product
from .result import FloatArray, Parameters, Status
from .state import State

_GROWTH = 20
_PIECE_ENTRIES = 50_000_000


class Lsmr(Process):
    """LSMR at work: minimises ‖Aᵀr‖ over growing Krylov spaces. One step: a product with A, one with Aᵀ."""

    row_space = True
    kept = (
        *("_x", "_steps", "_started_from", "_ended", "_u", "_v", "_h", "_h_bar", "_alpha", "_alpha_bar"),
        *("_zeta_bar", "_rho", "_rho_bar", "_c_bar", "_s_bar", "_norm_squared"),
    )

    def __init__(self, state: State, b: FloatArray, x0: FloatArray, options: Options) -> None:
        self._A, self._AT = Product(state.A, options.threads), Product(state.AT, options.threads)
        self._b = b
        self._x = x0.copy()
        self._steps = 0
        self._started_from = math.inf
        self._ended = True
        self._piece = max(1, _PIECE_ENTRIES // (2 * state.A.nnz + 6 * sum(state.A.shape) + 1))
        self._step_cost = cost.lsmr_step(*state.A.shape, state.A.nnz)
        self.patience = 2.0 * enough_iterations(state.A.shape)

    def _begin(self) -> bool:
        """(Re)start from x; False if there is nothing left to do, or the last start has not helped."""
        r = self._b - self._A(self._x)
        beta = float(np.linalg.norm(r))
        if beta == 0.0 or not beta < 0.9 * self._started_from:
            return False
        self._started_from = beta
        self._u = r / beta
        self._v = self._AT(self._u)
        alpha = float(np.linalg.norm(self._v))
        if alpha == 0.0 or not math.isfinite(alpha):
            return False
        self._v /= alpha
        self._h = self._v.copy()
        self._h_bar = np.zeros_like(self._v)
        self._alpha = self._alpha_bar = alpha
        self._zeta_bar = alpha * beta
        self._rho = self._rho_bar = self._c_bar = 1.0
        self._s_bar = 0.0
        self._norm_squared = alpha * alpha
        self._ended = False
        return True

    def advance(self, monitor: Monitor) -> Status | None:
        """Some steps, the more the longer it has run; restarts from the true residual when it has ended."""
        length = monitor.allowed(min(self._piece, 4 + self._steps // _GROWTH), 2.0)
        if length < 1:
            return Status.MAX_EPOCHS
        if self._ended and not self._begin():
            return Status.STAGNATED
        for _ in range(length):
            self._step(monitor.tick)
            self._steps += 1
            monitor.work.iterations += 1
            monitor.work.epochs += 2.0
            monitor.work.row_updates += 2 * self._A.shape[0]
            monitor.work.cost += self._step_cost
            scale = math.sqrt(self._norm_squared) * min(monitor.best_norm, self._started_from)
            self._ended = not abs(self._zeta_bar) > LEAST_SQUARES_TOLERANCE * scale
            if self._ended:
                break
        return None

    def _step(self, tick: Callable[[], None]) -> None:
        u, v = self._u, self._v
        u *= -self._alpha
        u += self._A(v, tick)
        beta = float(np.linalg.norm(u))
        alpha = 0.0
        if beta > 0.0:
            u /= beta
            v *= -beta
            v += self._AT(u, tick)
            alpha = float(np.linalg.norm(v))
            if alpha > 0.0:
                v /= alpha
        rho_old, rho_bar_old = self._rho, self._rho_bar
        rho = math.hypot(self._alpha_bar, beta)
        c, s = self._alpha_bar / rho, beta / rho
        theta = s * alpha
        self._alpha_bar = c * alpha
        theta_bar = self._s_bar * rho
        rho_bar = math.hypot(self._c_bar * rho, theta)
        self._c_bar, self._s_bar = self._c_bar * rho / rho_bar, theta / rho_bar
        zeta = self._c_bar * self._zeta_bar
        self._zeta_bar *= -self._s_bar
        self._h_bar *= -theta_bar * rho / (rho_old * rho_bar_old)
        self._h_bar += self._h
        self._x += (zeta / (rho * rho_bar)) * self._h_bar
        self._h *= -theta / rho
        self._h += v
        self._alpha, self._rho, self._rho_bar = alpha, rho, rho_bar
        self._norm_squared += alpha * alpha + beta * beta

    def solution(self) -> FloatArray:
        """The iterate."""
        return self._x

    def parameters(self) -> Parameters:
        """None but the threads."""
        return Parameters(threads=self._A.threads)
