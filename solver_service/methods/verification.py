"""The last word: the true residual on the caller's data, and the proof that there is no solution.

Separate from the solvers on purpose: nothing here knows how x came about.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from ..kernels import RawCSR
from .krylov import LEAST_SQUARES_TOLERANCE, Watched, bidiagonalise
from .monitor import Monitor
from .products import Product
from .residuals import Residual, TrueResidual, norm
from .result import Certificate, FloatArray, WorstEquation
from .state import State
from .together import perform

RADIUS = 1e3
"""How much larger than ours a solution may be for the certificate still to exclude it."""

_ROUNDINGS = 16.0
_LARGEST = float(np.finfo(np.float64).max)

_WORST = 10
_MOST_ITERATIONS = 1000
_CLOSENESS = (1e-1, 1e-3)
"""10³·‖x‖·‖Aᵀy‖/‖y‖² to aim at, first and second: the second x is within 0.1 % of the least residual."""


def exact_residual(A: RawCSR, b: FloatArray, x: FloatArray, threads: int = 1) -> Residual:
    """r = b − A x, each component as if computed in twice the precision and rounded."""
    if not x.any():
        return Residual(b.copy())
    r: Residual = perform(TrueResidual(A, b, x, threads))
    return r


def true_residual(A: RawCSR, b: FloatArray, x: FloatArray, threads: int = 1) -> FloatArray:
    """The same as an array, (m,)."""
    return exact_residual(A, b, x, threads).vector


def worst_equations(r: FloatArray) -> tuple[WorstEquation, ...]:
    """Return up to ten equations that carry most of the residual, largest first."""
    count = min(_WORST, r.size)
    size = np.abs(r)
    rows = np.argpartition(-size, count - 1)[:count]
    rows = rows[np.lexsort((rows, -size[rows]))]
    return tuple(WorstEquation(int(i), float(r[i])) for i in rows if r[i] != 0.0)


def certificate(state: State, b: FloatArray, y: FloatArray, radius: float) -> Certificate:
    """‖b − A x‖ ≥ (|bᵀy| − radius·‖Aᵀy‖)/‖y‖ for every ‖x‖ ≤ radius, as yᵀ(b − A x) ≤ ‖y‖·‖b − A x‖.

    `y` is scaled to unit norm. What rounding may hide in Aᵀy is counted as if it were there, so that `bound`
    is a little below the formula. It may be useless (even negative); that is for the caller to judge.
    """
    unit = y / norm(y)
    AT = RawCSR.of(state.AT)
    nothing = np.zeros(AT.rows)
    hidden = np.finfo(np.float64).eps * norm(
        true_residual(AT._replace(data=np.abs(AT.data)), nothing, np.abs(unit))
    )
    product = norm(true_residual(AT, nothing, unit)) + hidden
    bound = abs(float(np.sum(b.astype(np.longdouble) * unit))) - radius * product
    return Certificate(unit, bound, radius)


def empty_row_certificate(state: State, b: FloatArray, target: float) -> Certificate | None:
    """The simplest proof: equations 0 = bᵢ ≠ 0. They hold for no x of any size."""
    if state.empty_rows.size == 0:
        return None
    y = np.zeros_like(b)
    y[state.empty_rows] = b[state.empty_rows]
    size = norm(y)
    if not size > target:
        return None
    return Certificate(y / size, size, _LARGEST)


def parallel_rows_certificate(
    state: State, b: FloatArray, target: float, x_norm: float = 0.0
) -> Certificate | None:
    """Prove inconsistency from the structure alone: empty rows, and parallel rows with b unlike them.

    In a group aᵢ = pᵢ·a, so only a multiple of p can be met: y is what of b is orthogonal to p, in each group
    where that exceeds rounding, and ‖y‖ bounds the residual from below. The radius is that of
    `prove_inconsistent`, for solutions as large as b demands and as `x_norm`, the norm of a good x if one is
    known; rounding of b in equations that x of this size meet is not taken for a contradiction.
    """
    radius = certified_radius(state, b, x_norm)
    z = _unmet(state, b, radius)
    if not z.any():
        return empty_row_certificate(state, b, target)
    y = np.where(np.diff(state.A.indptr) == 0, b, 0.0)
    y[state.parallel_rows.rows] = z
    proof = certificate(state, b, y, radius)
    return proof if proof.bound > target else None


def _unmet(state: State, b: FloatArray, radius: float) -> FloatArray:
    """For each row of a group, b less its projection on p; 0 in groups where that may be all rounding."""
    parallel = state.parallel_rows
    if not parallel.groups:
        return np.zeros(0)
    starts, sizes = parallel.offsets[:-1], np.diff(parallel.offsets)

    def longest(v: FloatArray) -> FloatArray:
        return np.maximum.reduceat(np.abs(v), starts)

    with np.errstate(over="ignore", under="ignore"):
        p = parallel.multiples / np.repeat(longest(parallel.multiples), sizes)
        p /= np.repeat(np.sqrt(np.add.reduceat(p * p, starts)), sizes)
        z = b[parallel.rows]
        noise = rounding_noise(longest(state.row_norms[parallel.rows]), radius, longest(z))
        for _ in range(2):  # the second time removes what rounding left
            z = z - p * np.repeat(np.add.reduceat(p * z, starts), sizes)
        keep = longest(z) > noise
    return np.where(np.repeat(keep, sizes), z, 0.0)


def certified_radius(state: State, b: FloatArray, x_norm: float = 0.0) -> float:
    """10³ times the norm that a solution has to have, or `x_norm` if that is more."""
    filled = state.row_norms > 0.0
    with np.errstate(over="ignore"):
        # By Cauchy and Schwarz, aᵢᵀx = bᵢ takes ‖x‖ ≥ |bᵢ|/‖aᵢ‖.
        needed = float(np.max(np.abs(b[filled]) / state.row_norms[filled], initial=0.0))
    return min(RADIUS * max(x_norm, needed), _LARGEST)


def rounding_noise(row_norm: FloatArray, radius: float, b: FloatArray) -> FloatArray:
    """How far bᵢ may be off in a consistent system: it may be the rounded aᵢᵀx of an x of norm `radius`."""
    with np.errstate(over="ignore", under="ignore"):
        return _ROUNDINGS * np.finfo(np.float64).eps * (row_norm * radius + np.abs(b))


@dataclass(frozen=True, slots=True)
class Proof:
    """What the search for a certificate found: an x of least residual, its norm, perhaps the certificate."""

    x: FloatArray
    residual_norm: float
    certificate: Certificate | None


def nearly_least_squares(state: State, b: FloatArray, x: FloatArray, r: FloatArray, target: float) -> bool:
    """Whether r = b − A x is so nearly orthogonal to the columns of A that a certificate is within reach.

    That is, 10³·‖x‖·‖Aᵀr‖ is below ‖r‖·(‖r‖ − target), or Aᵀr is what rounding of x makes of zero.
    """
    size, x_norm = norm(r), norm(x)
    if not target < size < math.inf:
        return False
    gradient = float(np.linalg.norm(state.AT @ r))
    rounding = float(np.finfo(np.float64).eps) * state.frobenius_norm**2 * x_norm
    return gradient <= rounding or gradient * (certified_radius(state, b, x_norm) / size) <= size - target


def prove_inconsistent(state: State, b: FloatArray, x: FloatArray, monitor: Monitor) -> Proof:
    """Look for a certificate at two least-squares iterates well apart, beginning at x; for after a stall.

    The structure of A alone may do, and is asked at the first, which is computed for the sake of x. Else both
    must exclude every solution up to 10³ times as large as any iterate seen, and as any exact solution has to
    be: at smaller radii consistent systems were falsely certified. The monitor's best x and history are left
    alone.

    Notes
    -----
    LSMR works on the residual, y ← y − A dx, and never recomputes it from the rounded x + dx: rounding of x
    leaves some eps·‖A‖‖x‖ in the range of A, which would hide every contradiction below 10³ times that.
    For yᵀ(b − A x*) = 0 it takes ‖x* − x‖ ≥ ‖y‖²/‖Aᵀy‖, so the second iterate excludes solutions up to
    10³·10³ times as large.
    """
    threads = monitor.threads
    operator = Watched(Product(state.A, threads), Product(state.AT, threads), monitor)
    wanted = min(2 * min(state.A.shape) + 64, _MOST_ITERATIONS)
    length = monitor.room(wanted, 4.0)
    y = true_residual(state.raw, b, x)
    if length <= 0:
        monitor.cut()
        return Proof(x, math.inf, parallel_rows_certificate(state, b, monitor.target, norm(x)))
    proof: Certificate | None = None
    for closeness in _CLOSENESS:
        goal = closeness * norm(y)
        sharp = goal / max(certified_radius(state, b, norm(x)) * state.frobenius_norm, goal)
        dx, iterations, _ = bidiagonalise(
            "lsmr", operator, y, 0.0, length, max(sharp, LEAST_SQUARES_TOLERANCE)
        )
        if iterations >= length and length < wanted:
            monitor.cut()
        monitor.work.iterations += iterations
        monitor.work.epochs += 2.0 * iterations
        monitor.work.row_updates += 2 * iterations * state.A.shape[0]
        x = x + dx
        y = true_residual(state.raw, y, dx)
        size = norm(y)
        if not monitor.target < size < math.inf:
            return Proof(x, size, None)
        structural = parallel_rows_certificate(state, b, monitor.target, norm(x))
        if structural is not None:
            return Proof(x, size, structural)
        proof = certificate(state, b, y, certified_radius(state, b, norm(x)))
        if not proof.bound > monitor.target:
            return Proof(x, size, None)
    # Where even so many steps bring Aᵀy no nearer to zero, large solutions may still hide.
    return Proof(x, size, proof if iterations < length else None)
