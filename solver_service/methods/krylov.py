"""SciPy's LSQR and CG as processes, and SciPy's LSMR for short runs.

LSQR (Paige & Saunders 1982) shows its x only at the end, so it runs in chunks that restart from the last x,
each twice as long as the one before. Cancellation comes through the products: within one of them, at the x of
the last chunk. CG (Hestenes & Stiefel 1952) shows every x.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from typing import Any

import numpy as np
from scipy.sparse.linalg import LinearOperator, cg, lsmr, lsqr

from . import cost
from .interruption import Interrupted
from .monitor import Monitor
from .options import Options
from .process import Process
from .products import Product
from .result import FloatArray, Parameters, Status
from .state import State

_ENOUGH = 16
_SHORTEST = 8
_VECTORS = 6
_CHUNK_ENTRIES = 100_000_000

LEAST_SQUARES_TOLERANCE = 1e-13
"""‖Aᵀr‖/(‖A‖‖r‖) at which x counts as a least-squares solution, so that inconsistent systems end."""


class Watched(LinearOperator):
    """A as an operator whose products are counted, and ask the monitor whether to go on."""

    def __init__(self, A: Product, AT: Product, monitor: Monitor) -> None:
        super().__init__(np.dtype(np.float64), A.shape)  # type: ignore[call-arg]  # the stubs lack it
        self.products = 0
        self._A, self._AT, self._monitor = A, AT, monitor

    def _matvec(self, v: FloatArray) -> FloatArray:
        return self._product(self._A, v)

    def _rmatvec(self, v: FloatArray) -> FloatArray:
        return self._product(self._AT, v)

    def _product(self, M: Product, v: FloatArray) -> FloatArray:
        w = M(v.ravel(), self._monitor.tick)
        self.products += 1
        return w


def enough_iterations(shape: tuple[int, ...]) -> int:
    """Steps in which most systems are solved: in exact arithmetic min(m, n), but rounding costs some more."""
    return _ENOUGH * min(shape) + 128


class _Chunked(Process):
    """A SciPy method run in chunks, each twice as long as the one before, from the last x."""

    row_space = True
    kept = ("_x", "_length", "_last_norm")
    _epochs_per_iteration: float
    _price: staticmethod[[int, int, int], float]

    def __init__(self, state: State, b: FloatArray, x0: FloatArray, options: Options) -> None:
        self._A = Product(state.A, options.threads)
        self._b = b
        self._x = x0.copy()
        # A restart forgets the Krylov space, so the first chunk is long enough for most systems; but a chunk
        # of LSQR shows no x before its end, so of large matrices it takes a fraction of a second.
        enough = enough_iterations(self._A.shape)
        cost = 2 * state.A.nnz + _VECTORS * sum(state.A.shape)
        self._step_cost = self._price(*state.A.shape, state.A.nnz)
        self._length = min(enough, max(_SHORTEST, _CHUNK_ENTRIES // cost))
        self._last_norm = math.inf
        self.patience = self._epochs_per_iteration * enough

    def advance(self, monitor: Monitor) -> Status | None:
        """One chunk; at the end where one that ended by itself has not got the residual down."""
        length = monitor.allowed(self._length, self._epochs_per_iteration)
        if length < 1:
            return Status.MAX_EPOCHS
        r = self._b - self._A(self._x)
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
        monitor.work.cost += iterations * self._step_cost
        monitor.work.row_updates += int(self._epochs_per_iteration) * iterations * self._A.shape[0]

    def solution(self) -> FloatArray:
        """x after the last chunk, or where CG was interrupted."""
        return self._x

    def parameters(self) -> Parameters:
        """None but the threads."""
        return Parameters(threads=self._A.threads)


class Lsqr(_Chunked):
    """LSQR. One iteration is one product with A and one with Aᵀ: two epochs."""

    _epochs_per_iteration = 2.0
    _price = staticmethod(cost.lsmr_step)

    def __init__(self, state: State, b: FloatArray, x0: FloatArray, options: Options) -> None:
        super().__init__(state, b, x0, options)
        self._AT = Product(state.AT, options.threads)

    def _chunk(self, monitor: Monitor, r: FloatArray, norm: float, length: int) -> bool | None:
        operator = Watched(self._A, self._AT, monitor)
        # Below the target, as the solver's own estimate of the residual drifts.
        tolerance = min(0.99 * monitor.target / norm, 0.99)
        try:
            dx, iterations, stop = bidiagonalise("lsqr", operator, r, tolerance, length)
        except Interrupted:
            self._count(monitor, operator.products // 2)
            raise
        self._x += dx
        self._count(monitor, iterations)
        if stop == _LIMIT:
            return None
        return stop in _LEAST_SQUARES or iterations == 0


class ConjugateGradients(_Chunked):
    """CG on symmetric A. One iteration is one product: one epoch."""

    _epochs_per_iteration = 1.0
    _price = staticmethod(cost.cg_step)

    def _chunk(self, monitor: Monitor, _r: FloatArray, _norm: float, length: int) -> bool | None:
        start = monitor.work.iterations

        def see(x: FloatArray) -> None:
            self._x = x  # SciPy's own array, updated in place: current whenever an interruption comes
            self._count(monitor, 1)
            if math.log2(monitor.work.iterations).is_integer():
                monitor.measure(x)

        with np.errstate(all="ignore"):  # a breakdown shows in the measured residual
            x, _ = cg(
                Watched(self._A, self._A, monitor),
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
    method: str,
    operator: LinearOperator,
    b: FloatArray,
    tolerance: float,
    iterations: int,
    stationary: float = LEAST_SQUARES_TOLERANCE,
) -> tuple[FloatArray, int, int]:
    """Run SciPy's solver; returns x, the iterations made, and SciPy's stop reason (2, 5: least squares)."""
    options: dict[str, Any] = {"atol": stationary, "btol": tolerance, "conlim": 0.0}
    with np.errstate(all="ignore"):  # whatever goes wrong shows in the measured residual
        if method == "lsqr":
            x, stop, count, *_ = lsqr(operator, b, iter_lim=iterations, **options)
        else:
            x, stop, count, *_ = lsmr(operator, b, maxiter=iterations, **options)
    if not np.isfinite(x).all():
        return np.zeros_like(x), int(count), 2
    return x, int(count), int(stop)
