"""Symmetric Kaczmarz sweeps accelerated by conjugate gradients (Björck & Elfving 1979, CGMN).

With unit rows âᵢ = wᵢ·aᵢ, ÂÂᵀ = L + I + Lᵀ and C = I + ω·L, the methods run CGLS on B = C⁻¹Â: BᵀB is, up to a
factor, I − Q of a forward and a backward Kaczmarz sweep. Neither B nor a scaled copy of A is formed: a
product with B is one forward sweep over the rows of A, one with Bᵀ a backward sweep. Cost of each: the
entries twice, the second time from cache. Rows with w = 0 are left out.
"""

from __future__ import annotations

import numpy as np

from .jit import ONE, FloatArray, UnsignedArray, kernel
from .lanes import muladd
from .products import row_axpy, row_dot
from .vectors import squared_norm


@kernel
def forward_rows(
    indptr: UnsignedArray,
    indices: UnsignedArray,
    data: FloatArray,
    w: FloatArray,
    omega: float,
    b: FloatArray,
    h: FloatArray,
    u: FloatArray,
    start: int,
    stop: int,
) -> float:
    """u ← C⁻¹Ŵ(b − A h) for rows start ≤ i < stop; returns ‖u‖² over them. h moves by Kaczmarz steps.

    uᵢ = wᵢ(bᵢ − aᵢᵀh), then h ← h + ω·wᵢ·uᵢ·aᵢ.
    """
    total = 0.0
    last = np.uint64(indptr[start])
    for i in range(np.uint64(start), np.uint64(stop)):
        first = last
        last = np.uint64(indptr[i + ONE])
        value = w[i] * (b[i] - row_dot(indices, data, first, last, h))
        row_axpy(indices, data, first, last, omega * w[i] * value, h)
        u[i] = value
        total += value * value
    return total


@kernel
def apply_rows(
    indptr: UnsignedArray,
    indices: UnsignedArray,
    data: FloatArray,
    w: FloatArray,
    omega: float,
    h: FloatArray,
    u: FloatArray,
    start: int,
    stop: int,
) -> float:
    """u ← B h for rows start ≤ i < stop; returns ‖u‖² over them. h is used up."""
    total = 0.0
    last = np.uint64(indptr[start])
    for i in range(np.uint64(start), np.uint64(stop)):
        first = last
        last = np.uint64(indptr[i + ONE])
        dot = row_dot(indices, data, first, last, h)
        value = w[i] * dot
        row_axpy(indices, data, first, last, -omega * w[i] * w[i] * dot, h)
        u[i] = value
        total += value * value
    return total


@kernel
def apply_rows_transposed(
    indptr: UnsignedArray,
    indices: UnsignedArray,
    data: FloatArray,
    w: FloatArray,
    omega: float,
    alpha: float,
    q: FloatArray,
    r: FloatArray,
    s: FloatArray,
    start: int,
    stop: int,
) -> float:
    """r ← r − α·q and s ← s + Bᵀr over rows start ≤ i < stop, backwards; returns ‖r‖² over them.

    tᵢ = wᵢ(rᵢ − ω·wᵢ·aᵢᵀs), then s ← s + tᵢ·aᵢ, from s = 0.
    """
    total = 0.0
    first = np.uint64(indptr[stop])
    for k in range(np.uint64(stop - start)):
        i = np.uint64(stop) - ONE - k
        last = first
        first = np.uint64(indptr[i])
        value = r[i] - alpha * q[i]
        r[i] = value
        total += value * value
        t = muladd(-omega * w[i] * w[i], row_dot(indices, data, first, last, s), w[i] * value)
        row_axpy(indices, data, first, last, t, s)
    return total


@kernel
def advance_rows(
    indptr: UnsignedArray,
    indices: UnsignedArray,
    data: FloatArray,
    w: FloatArray,
    omega: float,
    x: FloatArray,
    r: FloatArray,
    s: FloatArray,
    p: FloatArray,
    q: FloatArray,
    h: FloatArray,
    scalars: FloatArray,
    steps: int,
    goal: float,
) -> int:
    """Up to `steps` iterations of CGLS on B; returns how many were made.

    `scalars` = [‖s‖², ‖r‖², α]. Ends early where ‖r‖² ≤ goal, or where the recurrence has come to its end.
    """
    done = 0
    rows = indptr.size - 1
    while done < steps and scalars[0] > 0.0 and scalars[1] > goal:
        for j in range(p.size):
            h[j] = p[j]
        delta = apply_rows(indptr, indices, data, w, omega, h, q, 0, rows)
        if not delta > 0.0:
            scalars[0] = 0.0
            break
        alpha = scalars[0] / delta
        for j in range(p.size):
            x[j] += alpha * p[j]
            s[j] = 0.0
        scalars[1] = apply_rows_transposed(indptr, indices, data, w, omega, alpha, q, r, s, 0, rows)
        gamma = squared_norm(s)
        beta = gamma / scalars[0]
        scalars[0] = gamma
        for j in range(p.size):
            p[j] = s[j] + beta * p[j]
        done += 1
    return done
