"""Mini-batch methods whose state is one vector: rows on x, coordinates of positive definite A on D^½x."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..kernels import HEAVY_BALL, RawCSR, collect_gradients, damped_beta, momentum_update, restart
from .options import Options
from .result import FloatArray
from .sampled import Sampled, Size
from .shuffled import Sampler
from .snapshot import Snapshot
from .spectrum import Spectrum


class Kernels(NamedTuple):
    """Steps without momentum, steps with it, and the gradient over a segment of a batch."""

    plain: Callable[..., float]
    momentum: Callable[..., float]
    gradient: Callable[..., float]


class Equations(NamedTuple):
    """A chunk of scaled rows with its right-hand side, and the norms the rows had."""

    raw: RawCSR
    rhs: FloatArray
    norms: FloatArray


class SingleVector(Sampled):
    """`Sampled` with an iterate z, and with momentum its partner y and the gradient g.

    Parameters
    ----------
    kernels : Kernels
    equations : callable
        What is sampled: a chunk, given its number.
    x0 : ndarray, (n,)
    scale : ndarray, (n,), or float
        z = scale·x.
    size, passes, spectrum, sampler, options
        See `Sampled`.
    """

    kept = (*Sampled.kept, "_z")

    def __init__(
        self,
        kernels: Kernels,
        equations: Callable[[int], Equations],
        x0: FloatArray,
        *,
        scale: FloatArray | float,
        size: Size,
        passes: int,
        spectrum: Callable[[bool], Spectrum],
        sampler: Sampler,
        options: Options,
    ) -> None:
        super().__init__(
            size=size,
            passes=passes,
            spectrum=spectrum,
            sampler=sampler,
            options=options,
        )
        self._kernels = kernels
        self._equations = equations
        self._chunks: dict[int, Equations] = {}
        self._scale = scale
        self._c = np.empty(min(self.rule.batch, self._most_rows))
        self._restart(x0)

    def _restart(self, x: FloatArray) -> None:
        self._z = x * self._scale
        self._pair(self._z)

    def _pair(self, y: FloatArray) -> None:
        """Set the partner of z to a copy of y; without a gradient vector it is z itself."""
        self._y, self._gathered = self._z, self._z[np.newaxis]
        if self.dense:
            self._y, self._gathered = y.copy(), np.zeros((self.rule.threads, y.size))

    def capture(self) -> Snapshot:
        """The state, with y where it is not z."""
        return super().capture() | ({"_y": self._y.copy()} if self.dense else {})

    def restore(self, snapshot: Snapshot) -> None:
        """Take it up."""
        super().restore(snapshot)
        self._pair(snapshot.get("_y", self._z))

    def solution(self) -> FloatArray:
        """x = z/scale; of heavy ball, y is the later iterate."""
        z = self._y if self.rule.kind == HEAVY_BALL else self._z
        x: FloatArray = z / self._scale
        return x

    def _system(self, chunk: int) -> tuple[NDArray[np.generic], ...]:
        if chunk not in self._chunks:
            self._chunks[chunk] = self._equations(chunk)
        raw, rhs, norms = self._chunks[chunk]
        return (*raw, rhs, norms)

    def _plain_steps(self, chunk: int, order: NDArray[np.uint32]) -> float:
        rule = self.rule
        return self._kernels.plain(*self._system(chunk), order, rule.batch, rule.eta, self._z, self._c)

    def _momentum_steps(self, chunk: int, order: NDArray[np.uint32]) -> float:
        rule = self.rule
        vectors = (self._z, self._y, self._gathered[0], self._ramp)
        return self._kernels.momentum(
            *self._system(chunk), order, rule.batch, rule.eta, rule.beta, rule.kind, *vectors
        )

    def _gradient(self, chunk: int, order: NDArray[np.uint32], thread: int) -> float:
        return self._kernels.gradient(*self._system(chunk), order, self._y, self._gathered[thread])

    def _update(self) -> None:
        rule = self.rule
        beta = damped_beta(rule.beta, self._ramp)
        collect_gradients(self._gathered)
        turn = momentum_update(rule.kind, rule.eta / rule.batch, beta, self._z, self._y, self._gathered[0])
        if turn > 0.0 and rule.ramped:
            restart(rule.kind, self._z, self._y, self._ramp)
