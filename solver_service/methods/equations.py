"""One right-hand side, scaled so that squares neither overflow nor vanish, and the way back."""

from __future__ import annotations

import math

import numpy as np

from ..errors import FieldError, NonFiniteError
from .clock import Clock
from .options import Options
from .residuals import Residual, norm
from .result import Certificate, FloatArray
from .state import State, safe_exponent
from .team import worthwhile_threads
from .verification import empty_row_certificate, exact_residual

_LARGEST = float(np.finfo(np.float64).max)


class Equations:
    """A x = b with b and x times powers of two, which is exact (see `State`).

    Parameters
    ----------
    state : State
    b : ndarray, (m,)
        Contiguous and writeable, as the kernels want it, but nobody writes to it.
    x0 : ndarray, (n,), or None
        None for zero.
    options : Options
    clock : Clock
        Told what verification takes.

    Attributes
    ----------
    b, x0 : ndarray
        Scaled, as is whatever else does not say otherwise.
    b_norm, target : float
    empty : Certificate or None
        Proof of inconsistency by empty rows alone, which are beyond every method.
    solvable : ndarray, (m,)
        b without those rows: the rest of the system is solved as well as it can be.
    threads : int
    """

    def __init__(
        self, state: State, b: FloatArray, x0: FloatArray | None, options: Options, clock: Clock
    ) -> None:
        self.state = state
        self.threads = worthwhile_threads(options.threads, state.A.nnz)
        self._clock = clock
        self._b_exponent = safe_exponent(b)
        self._x_exponent = self._b_exponent - state.exponent
        self.b = np.ldexp(b, -self._b_exponent) if self._b_exponent else b
        self.b_norm = norm(self.b)
        if self.given_norm(self.b_norm) >= _LARGEST:
            raise NonFiniteError(
                "the norm of b is beyond float64", errors=[FieldError("b", "its norm is beyond float64")]
            )
        self.target = max(options.rtol * self.b_norm, _ldexp(options.atol, -self._b_exponent))
        self.x0 = np.zeros(state.A.shape[1]) if x0 is None else self.scaled_x(x0).copy()
        self.empty = empty_row_certificate(state, self.b, self.target)
        self.solvable = self.b if self.empty is None else self._without_empty_rows(self.b)
        self._verified: tuple[FloatArray, Residual] | None = None

    def residual(self, x: FloatArray) -> Residual:
        """b − A x, by separate code; that of the x asked about last is remembered."""
        if self._verified is None or self._verified[0] is not x:
            with self._clock.verifying():
                self._verified = (x, exact_residual(self.state.raw, self.b, x, self.threads))
        return self._verified[1]

    def confirm(self, x: FloatArray) -> float:
        """‖b − A x‖ of the equations that are not empty."""
        r = self.residual(x)
        return r.norm if self.state.empty_rows.size == 0 else norm(self._without_empty_rows(r.vector))

    def _without_empty_rows(self, v: FloatArray) -> FloatArray:
        v = v.copy()
        v[self.state.empty_rows] = 0.0
        return v

    def scaled_x(self, x: FloatArray) -> FloatArray:
        """Scale an x as the caller knows it."""
        return _scaled(x, -self._x_exponent)

    def given_x(self, x: FloatArray) -> FloatArray:
        """Scale x back."""
        return _scaled(x, self._x_exponent)

    def given_residual(self, r: FloatArray) -> FloatArray:
        """Scale b − A x back."""
        return _scaled(r, self._b_exponent)

    def given_norm(self, size: float) -> float:
        """Scale a norm of b or of a residual back."""
        return _ldexp(size, self._b_exponent)

    def given_distance(self, size: float) -> float:
        """Scale a norm of x or of an error back."""
        return _ldexp(size, self._x_exponent)

    def given_proof(self, proof: Certificate) -> Certificate:
        """Scale a certificate back, whose y is of unit norm in any case."""
        return Certificate(proof.y, self.given_norm(proof.bound), self.given_distance(proof.radius))


def _scaled(v: FloatArray, exponent: int) -> FloatArray:
    """v·2^exponent; what overflows becomes the largest finite number, for answers are always finite."""
    if exponent == 0:
        return v
    with np.errstate(over="ignore", under="ignore"):
        return np.clip(np.ldexp(v, exponent), -_LARGEST, _LARGEST)


def _ldexp(value: float, exponent: int) -> float:
    try:
        return math.ldexp(value, exponent)
    except OverflowError:
        return _LARGEST
