"""Mini-batch methods whose state is one vector: rows on x, coordinates of positive definite A on D^½x."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..kernels import HEAVY_BALL, damped_beta, momentum_update, restart
from .options import Options
from .result import FloatArray
from .sampled import Sampled
from .systems import UnitDiagonal, UnitRows


class Kernels(NamedTuple):
    """Steps without momentum, steps with it, and the gradient over a segment of a batch."""

    plain: Callable[..., float]
    momentum: Callable[..., float]
    gradient: Callable[..., float]


class SingleVector(Sampled):
    """`Sampled` with an iterate z, and with momentum its partner y and the gradient g.

    Parameters
    ----------
    kernels : Kernels
    system : UnitRows or UnitDiagonal
        What is sampled.
    rhs : ndarray
        The right-hand side in the order and scale of `system`.
    x0 : ndarray, (n,)
    scale : ndarray, (n,), or float
        z = scale·x.
    run : int
        Neighbouring rows to sample together.
    passes : int
        Rows of A that make one epoch.
    options : Options
    """

    def __init__(
        self,
        kernels: Kernels,
        system: UnitRows | UnitDiagonal,
        rhs: FloatArray,
        x0: FloatArray,
        *,
        scale: FloatArray | float,
        run: int,
        passes: int,
        options: Options,
    ) -> None:
        super().__init__(
            rows=system.csr.shape[0],
            unknowns=x0.size,
            nnz=system.csr.nnz,
            passes=passes,
            run=run,
            system=system,
            options=options,
        )
        self._kernels = kernels
        self._raw = system.raw
        self._norms = system.norms
        self._rhs = rhs
        self._scale = scale
        self._c = np.empty(min(self.rule.batch, self._most_rows))
        self._restart(x0)

    def _restart(self, x: FloatArray) -> None:
        self._z = x * self._scale
        self._y, self._g = (self._z.copy(), np.zeros_like(x)) if self.dense else (self._z, self._z)

    def solution(self) -> FloatArray:
        """x = z/scale; of heavy ball, y is the later iterate."""
        z = self._y if self.rule.kind == HEAVY_BALL else self._z
        x: FloatArray = z / self._scale
        return x

    def _plain_steps(self, order: NDArray[np.uint32]) -> float:
        rule = self.rule
        system = (*self._raw, self._rhs, self._norms)
        return self._kernels.plain(*system, order, rule.batch, rule.eta, self._z, self._c)

    def _momentum_steps(self, order: NDArray[np.uint32]) -> float:
        rule = self.rule
        system = (*self._raw, self._rhs, self._norms)
        vectors = (self._z, self._y, self._g, self._ramp)
        return self._kernels.momentum(*system, order, rule.batch, rule.eta, rule.beta, rule.kind, *vectors)

    def _gradient(self, order: NDArray[np.uint32]) -> float:
        return self._kernels.gradient(*self._raw, self._rhs, self._norms, order, self._y, self._g)

    def _update(self) -> None:
        rule = self.rule
        beta = damped_beta(rule.beta, self._ramp)
        turn = momentum_update(rule.kind, rule.eta / rule.batch, beta, self._z, self._y, self._g)
        if turn > 0.0 and rule.ramped:
            restart(rule.kind, self._z, self._y, self._ramp)
