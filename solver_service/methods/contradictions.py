"""Equations that contradict one another, seen from A's empty and parallel rows without solving anything."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from .result import Certificate, FloatArray
from .state import State, safe_exponent
from .verification import certified_radius, parallel_rows_certificate, rounding_noise

_MOST = 20
_LARGEST = float(np.finfo(np.float64).max)
_SMALLEST = float(np.finfo(np.float64).smallest_subnormal)


@dataclass(frozen=True, slots=True)
class Contradiction:
    """Equation `row` cannot hold together with equation `other`; or by itself, if its row is empty.

    Parameters
    ----------
    row : int
    other : int or None
        An earlier row, of which `row` is a multiple; None for an empty row.
    multiple : float
        Which multiple, so that y with 1 at `row` and −multiple at `other` has Aᵀy = 0 up to rounding.
    gap : float
        b[row] − multiple·b[other].
    bound : float
        |gap|/√(1 + multiple²): no x has a smaller residual, up to rounding.
    """

    row: int
    other: int | None
    multiple: float
    gap: float
    bound: float


@dataclass(frozen=True, slots=True)
class Contradictions:
    """What was found: how many, the worst of them (at most 20), and one proof from all of them together.

    `certificate` is None where there is no contradiction, or where rounding leaves too little to prove.
    """

    count: int
    worst: tuple[Contradiction, ...]
    certificate: Certificate | None


def find_contradictions(state: State, b: FloatArray, rtol: float) -> Contradictions:
    """Compare b in each parallel row with the first of its group; for b of shape (m,). Cost: O(m) after A's.

    A gap counts if it exceeds rtol·max(|bᵢ|, |c·bⱼ|) and what rounding of b may explain.
    """
    exponent = safe_exponent(b)
    b = np.ldexp(b, -exponent)
    empty = np.flatnonzero((np.diff(state.A.indptr) == 0) & (b != 0.0))
    parallel = state.parallel_rows
    later = parallel.rows != parallel.firsts
    i, j, c = parallel.rows[later], parallel.firsts[later], parallel.multiples[later]
    with np.errstate(over="ignore", under="ignore"):
        # Divided by the larger of 1 and |c|, nothing overflows.
        divisor = np.maximum(np.abs(c), 1.0)
        left, right = b[i] / divisor, (c / divisor) * b[j]
        length = np.hypot(1.0 / divisor, c / divisor)
        gap = left - right
        norms = np.maximum(state.row_norms[i] / divisor, state.row_norms[j] * np.abs(c / divisor))
        size = np.maximum(np.abs(left), np.abs(right))
        noise = rounding_noise(norms, certified_radius(state, b), size)
        noise += np.ldexp(_SMALLEST, -exponent)  # below the normal numbers, b is rounded to these
        found = np.flatnonzero(np.abs(gap) > np.maximum(rtol * size, noise))
        gaps = np.concatenate([b[empty], gap[found] * divisor[found]])
        bounds = np.concatenate([np.abs(b[empty]), np.abs(gap[found]) / length[found]])
    rows = np.concatenate([empty, i[found]])
    worst = []
    for k in np.lexsort((rows, -bounds))[:_MOST]:
        pair = None if k < empty.size else found[k - empty.size]
        worst.append(
            Contradiction(
                int(rows[k]),
                None if pair is None else int(j[pair]),
                0.0 if pair is None else float(c[pair]),
                _ldexp(gaps[k], exponent),
                _ldexp(bounds[k], exponent),
            )
        )
    return Contradictions(
        int(rows.size), tuple(worst), _certificate(state, b, exponent) if rows.size else None
    )


def _certificate(state: State, b: FloatArray, exponent: int) -> Certificate | None:
    proof = parallel_rows_certificate(state, b, 0.0)
    if proof is None:
        return None
    return Certificate(
        proof.y, _ldexp(proof.bound, exponent), _ldexp(proof.radius, exponent - state.exponent)
    )


def _ldexp(value: float, exponent: int) -> float:
    with np.errstate(over="ignore", under="ignore"):
        scaled = float(np.ldexp(value, exponent))
    return scaled if math.isfinite(scaled) else math.copysign(_LARGEST, scaled)
