"""The last word: the true residual on the caller's data, and the proof that there is no solution.

Separate from the solvers on purpose: nothing here knows how x came about.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from ..kernels import RawCSR, compensated_residual
from .krylov import Watched, bidiagonalise
from .monitor import Monitor
from .result import Certificate, FloatArray, WorstEquation
from .state import State

_RADIUS = 1e3
"""How much larger than ours a solution may be for the certificate still to exclude it."""

_WORST = 10
_BLOCK = 1 << 16
_MOST_ITERATIONS = 1000


def true_residual(A: RawCSR, b: FloatArray, x: FloatArray) -> FloatArray:
    """r = b − A x, (m,), each component as if computed in twice the precision and rounded."""
    r = np.empty_like(b)
    if not x.any():
        r[:] = b
        return r
    compensated_residual(*A, b, x, r)
    return r


def norm(v: FloatArray) -> float:
    """‖v‖₂ accumulated in extended precision where the platform has it."""
    total = np.longdouble(0.0)
    for start in range(0, v.size, _BLOCK):
        block = v[start : start + _BLOCK].astype(np.longdouble)
        total += np.sum(block * block)
    return float(np.sqrt(total))


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
    y = np.where(np.diff(state.A.indptr) == 0, b, 0.0)
    size = norm(y)
    if not size > target:
        return None
    return Certificate(y / size, size, float(np.finfo(np.float64).max))


@dataclass(frozen=True, slots=True)
class Proof:
    """What the search for a certificate found: an x of least residual, its norm, perhaps the certificate."""

    x: FloatArray
    residual_norm: float
    certificate: Certificate | None


def prove_inconsistent(state: State, b: FloatArray, monitor: Monitor) -> Proof:
    """Look for a certificate at two least-squares iterates well apart, after the best x has stalled.

    Both must exclude every solution up to 10³ times as large as any iterate seen, and as any exact solution
    has to be: at smaller radii consistent systems were falsely certified. The monitor's best x and history
    are left alone.
    """
    operator = Watched(state.A, state.AT, monitor)
    length = int(min(2 * min(state.A.shape) + 64, _MOST_ITERATIONS, monitor.remaining_epochs / 4.0))
    filled = state.row_norms > 0.0
    # By Cauchy and Schwarz, aᵢᵀx = bᵢ takes ‖x‖ ≥ |bᵢ|/‖aᵢ‖.
    needed = float(np.max(np.abs(b[filled]) / state.row_norms[filled], initial=0.0))
    x, size = monitor.best_x, math.inf
    proof: Certificate | None = None
    for _ in range(2 if length > 0 else 0):
        r = true_residual(state.raw, b, x)
        dx, iterations, _ = bidiagonalise("lsmr", operator, r, 0.0, length)
        monitor.work.iterations += iterations
        monitor.work.epochs += 2.0 * iterations
        monitor.work.row_updates += 2 * iterations * state.A.shape[0]
        x = x + dx
        y = true_residual(state.raw, b, x)
        size = norm(y)
        if not monitor.target < size < math.inf:
            return Proof(x, size, None)
        proof = certificate(state, b, y, _RADIUS * max(norm(x), needed))
        if not proof.bound > monitor.target:
            return Proof(x, size, None)
    return Proof(x, size, proof)
