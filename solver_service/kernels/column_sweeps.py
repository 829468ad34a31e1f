"""Symmetric coordinate-descent sweeps over columns accelerated by CGLS (Björck & Elfving 1979).

The arrays are those of Aᵀ: row j holds column aⱼ. With unit columns âⱼ = wⱼ·aⱼ, ÂᵀÂ = L + I + Lᵀ and
C = I + ω·Lᵀ, the method is CGLS on ÂC⁻¹. C⁻¹p, with ÂC⁻¹p as by-product, is one backward sweep over the
columns, C⁻ᵀÂᵀr one forward sweep. Cost of each: the entries twice, the second time from cache.
"""

from __future__ import annotations

import numpy as np

from .jit import ONE, FloatArray, UnsignedArray, kernel
from .lanes import muladd
from .products import row_axpy, row_dot
from .vectors import squared_norm


@kernel
def backward_columns(
    indptr: UnsignedArray,
    indices: UnsignedArray,
    data: FloatArray,
    w: FloatArray,
    omega: float,
    beta: float,
    s: FloatArray,
    p: FloatArray,
    t: FloatArray,
    q: FloatArray,
    start: int,
    stop: int,
) -> None:
    """p ← s + β·p, t ← W·C⁻¹p and q ← q + A t over columns start ≤ j < stop, from q = 0.

    tⱼ = wⱼ(pⱼ − ω·wⱼ·aⱼᵀq), then q ← q + tⱼ·aⱼ.
    """
    first = np.uint64(indptr[stop])
    for k in range(np.uint64(stop - start)):
        j = np.uint64(stop) - ONE - k
        last = first
        first = np.uint64(indptr[j])
        value = s[j] + beta * p[j]
        p[j] = value
        value = muladd(-omega * w[j] * w[j], row_dot(indices, data, first, last, q), w[j] * value)
        row_axpy(indices, data, first, last, value, q)
        t[j] = value


@kernel
def forward_columns(
    indptr: UnsignedArray,
    indices: UnsignedArray,
    data: FloatArray,
    w: FloatArray,
    omega: float,
    h: FloatArray,
    s: FloatArray,
    start: int,
    stop: int,
) -> float:
    """s ← C⁻ᵀÂᵀh for columns start ≤ j < stop; returns ‖s‖² over them. h, a copy of the residual, is used up.

    sⱼ = wⱼ·aⱼᵀh, then h ← h − ω·wⱼ·sⱼ·aⱼ.
    """
    total = 0.0
    last = np.uint64(indptr[start])
    for j in range(np.uint64(start), np.uint64(stop)):
        first = last
        last = np.uint64(indptr[j + ONE])
        dot = row_dot(indices, data, first, last, h)
        value = w[j] * dot
        row_axpy(indices, data, first, last, -omega * w[j] * w[j] * dot, h)
        s[j] = value
        total += value * value
    return total


@kernel
def advance_columns(
    indptr: UnsignedArray,
    indices: UnsignedArray,
    data: FloatArray,
    w: FloatArray,
    omega: float,
    x: FloatArray,
    r: FloatArray,
    s: FloatArray,
    p: FloatArray,
    t: FloatArray,
    q: FloatArray,
    h: FloatArray,
    scalars: FloatArray,
    steps: int,
    goal: float,
) -> int:
    """Up to `steps` iterations of CGLS on ÂC⁻¹; returns how many were made.

    `scalars` = [‖s‖², ‖r‖², β]. Ends early where ‖r‖² ≤ goal, or where the recurrence has come to its end.
    """
    done = 0
    columns = indptr.size - 1
    while done < steps and scalars[0] > 0.0 and scalars[1] > goal:
        for i in range(q.size):
            q[i] = 0.0
        backward_columns(indptr, indices, data, w, omega, scalars[2], s, p, t, q, 0, columns)
        delta = squared_norm(q)
        if not delta > 0.0:
            scalars[0] = 0.0
            break
        alpha = scalars[0] / delta
        for j in range(x.size):
            x[j] += alpha * t[j]
        for i in range(q.size):
            r[i] -= alpha * q[i]
            h[i] = r[i]
        scalars[1] = squared_norm(r)
        gamma = forward_columns(indptr, indices, data, w, omega, h, s, 0, columns)
        scalars[2] = gamma / scalars[0]
        scalars[0] = gamma
        done += 1
    return done
