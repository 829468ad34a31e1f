"""Mini-batch randomized Kaczmarz with classical momentum (Strohmer & Vershynin 2009; arXiv:2605.18609).

x ← x − (η/B)·Σ_{i∈S} (aᵢᵀx − bᵢ)·aᵢ on rows of unit norm, S a random batch. From x0 = 0 it converges to the
minimum-norm solution of any consistent system. The rule for η and β is in `momentum.py`.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..kernels import (
    HEAVY_BALL,
    kaczmarz_gradient,
    kaczmarz_momentum_steps,
    kaczmarz_steps,
    momentum_update,
    restart,
)
from ..kernels.momentum import damped_beta
from .options import Options
from .result import FloatArray
from .sampled import Sampled
from .state import State
from .systems import UnitRows


class Kaczmarz(Sampled):
    """`Sampled` on the rows. State: the iterate x, and with momentum its partner y and the gradient g."""

    def __init__(self, state: State, b: FloatArray, x0: FloatArray, options: Options) -> None:
        system: UnitRows = state.rows
        m, n = state.A.shape
        super().__init__(
            rows=system.csr.shape[0],
            unknowns=n,
            nnz=system.csr.nnz,
            passes=m,
            run=system.run,
            system=system,
            options=options,
        )
        self._raw = system.raw
        self._norms = system.norms
        self._b = b[system.rows] / system.norms
        self._c = np.empty(min(self.rule.batch, self._most_rows))
        self._restart(x0)

    def _restart(self, x: FloatArray) -> None:
        self._x = x.copy()
        self._y, self._g = (x.copy(), np.zeros_like(x)) if self.dense else (self._x, self._x)

    def solution(self) -> FloatArray:
        """The iterate: of heavy ball, y is the later one."""
        return self._y if self.rule.kind == HEAVY_BALL else self._x

    def _plain_steps(self, order: NDArray[np.uint32]) -> float:
        rule = self.rule
        return kaczmarz_steps(*self._raw, self._b, self._norms, order, rule.batch, rule.eta, self._x, self._c)

    def _momentum_steps(self, order: NDArray[np.uint32]) -> float:
        rule = self.rule
        return kaczmarz_momentum_steps(
            *self._raw,
            self._b,
            self._norms,
            order,
            rule.batch,
            rule.eta,
            rule.beta,
            rule.kind,
            self._x,
            self._y,
            self._g,
            self._ramp,
        )

    def _gradient(self, order: NDArray[np.uint32]) -> float:
        return kaczmarz_gradient(*self._raw, self._b, self._norms, order, self._y, self._g)

    def _update(self) -> None:
        rule = self.rule
        beta = damped_beta(rule.beta, self._ramp)
        turn = momentum_update(rule.kind, rule.eta / rule.batch, beta, self._x, self._y, self._g)
        if turn > 0.0 and rule.ramped:
            restart(rule.kind, self._x, self._y, self._ramp)
