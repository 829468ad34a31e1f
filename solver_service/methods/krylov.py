"""SciPy's LSQR, LSMR and CG as processes: for comparison, and as what `auto` falls back to.

LSQR (Paige & Saunders 1982) and LSMR (Fong & Saunders 2011) show their x only at the end, so they run in
chunks that restart from the last x, each twice as long as the one before. Cancellation comes through the
products: within one of them, at the x of the last chunk. CG (Hestenes & Stiefel 1952) shows every x.
"""

from __future__ import annotations

import math
import warnings
from abc import ABC, abstractmethod
from typing import Any

import numpy as np
from scipy.sparse import csr_array
from scipy.sparse.linalg import LinearOperator, cg, lsmr, lsqr

from .monitor import Monitor
from .result import FloatArray, Parameters, Status
from .state import State

_ENOUGH = 16
_SHORTEST = 128
_CHUNK_ENTRIES = 1_000_000_000

LEAST_SQUARES_TOLERANCE = 1e-13
"""‖Aᵀr‖/(‖A‖‖r‖) at which x counts as a least-squares solution, so that inconsistent systems end."""


def watched(A: csr_array, AT: csr_array, monitor: Monitor | None) -> LinearOperator:
    """A as an operator whose products ask the monitor whether to go on."""

    def product(M: csr_array, v: FloatArray) -> FloatArray:
        if monitor is not None:
            monitor.tick()
        w: FloatArray = M @ v.ravel()
        return w

    return LinearOperator(
        A.shape, matvec=lambda v: product(A, v), rmatvec=lambda v: product(AT, v), dtype=np.float64
    )


class _Chunked(ABC):
    """A SciPy method run in chunks, each twice as long as the one before, from the last x."""

    residual_estimate = None
    unique = False
    _epochs_per_iteration: float

    def __init__(self, state: State, b: FloatArray, x0: FloatArray) -> None:
        self._A = state.A
        self._b = b
        self._x = x0.copy()
        # A restart forgets the Krylov space, so the first chunk is long enough for most systems; but a chunk
        # shows no x before its end, so of large matrices it takes a few seconds at most.
        enough = _ENOUGH * min(self._A.shape) + _SHORTEST
        self._length = min(enough, max(_SHORTEST, _CHUNK_ENTRIES // max(self._A.nnz, 1)))
        self._last_norm = math.inf
        self.patience = self._epochs_per_iteration * enough

    def advance(self, monitor: Monitor) -> Status | None:
        """One chunk; at the end where one that ended by itself has not got the residual down."""
        length = int(min(self._length, monitor.remaining_epochs / self._epochs_per_iteration * (1 + 1e-12)))
        if length < 1:
            return Status.MAX_EPOCHS
        r = self._b - self._A @ self._x
        norm = float(np.linalg.norm(r))
        if norm <= monitor.target or not math.isfinite(norm) or norm > 0.9 * self._last_norm:
            return Status.STAGNATED
        ended = self._chunk(monitor, r, norm, length)
        # Running to the length says nothing; ending before it without success, twice in a row, does.
        self._last_norm = math.inf if ended is None else norm
        self._length *= 2
        return Status.STAGNATED if ended else None

    @abstractmethod
    def _chunk(self, monitor: Monitor, r: FloatArray, norm: float, length: int) -> bool | None:
        """Run up to `length` iterations. None: all were used; True: no more can come; False: else."""

    def _count(self, monitor: Monitor, iterations: int) -> None:
        monitor.work.iterations += iterations
        monitor.work.epochs += self._epochs_per_iteration * iterations
        monitor.work.row_updates += int(self._epochs_per_iteration) * iterations * self._A.shape[0]

    def solution(self) -> FloatArray:
        """x after the last chunk, or where CG was interrupted."""
        return self._x

    def recover(self, x: FloatArray) -> bool:  # noqa: ARG002  # there is no step to shorten
        """Krylov methods have nothing to shorten."""
        return False

    def parameters(self) -> Parameters:
        """None of the mini-batch parameters apply."""
        return Parameters()


class Bidiagonalisation(_Chunked):
    """LSQR or LSMR. One iteration is one product with A and one with Aᵀ: two epochs."""

    _epochs_per_iteration = 2.0

    def __init__(self, method: str, state: State, b: FloatArray, x0: FloatArray) -> None:
        super().__init__(state, b, x0)
        self._method = method
        self._AT = state.AT

    def _chunk(self, monitor: Monitor, r: FloatArray, norm: float, length: int) -> bool | None:
        operator = watched(self._A, self._AT, monitor)
        # Below the target, as the solver's own estimate of the residual drifts.
        tolerance = min(0.99 * monitor.target / norm, 0.99)
        dx, iterations, stop = bidiagonalise(self._method, operator, r, tolerance, length)
        self._x += dx
        self._count(monitor, iterations)
        if stop == _LIMIT:
            return None
        return stop in _LEAST_SQUARES or iterations == 0


class ConjugateGradients(_Chunked):
    """CG on symmetric A. One iteration is one product: one epoch."""

    _epochs_per_iteration = 1.0

    def _chunk(self, monitor: Monitor, _r: FloatArray, _norm: float, length: int) -> bool | None:
        start = monitor.work.iterations

        def see(x: FloatArray) -> None:
            self._x = x  # SciPy's own array, updated in place: current whenever an interruption comes
            self._count(monitor, 1)
            if math.log2(monitor.work.iterations).is_integer():
                monitor.measure(x)

        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")  # a breakdown shows in the measured residual
            x, _ = cg(
                watched(self._A, self._A, monitor),
                self._b,
                x0=self._x,
                rtol=0.0,
                atol=0.9 * monitor.target,
                maxiter=length,
                callback=see,
            )
        self._x = x if np.isfinite(x).all() else monitor.best_x.copy()
        return None if monitor.work.iterations - start >= length else False


_LIMIT = 7
_LEAST_SQUARES = (2, 5)


def bidiagonalise(
    method: str, operator: LinearOperator, b: FloatArray, tolerance: float, iterations: int
) -> tuple[FloatArray, int, int]:
    """Run SciPy's solver; returns x, the iterations made, and SciPy's stop reason (2, 5: least squares)."""
    options: dict[str, Any] = {"atol": LEAST_SQUARES_TOLERANCE, "btol": tolerance, "conlim": 0.0}
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")  # whatever goes wrong shows in the measured residual
        if method == "lsqr":
            x, stop, count, *_ = lsqr(operator, b, iter_lim=iterations, **options)
        else:
            x, stop, count, *_ = lsmr(operator, b, maxiter=iterations, **options)
    if not np.isfinite(x).all():
        return np.zeros_like(x), int(count), 2
    return x, int(count), int(stop)
