"""Products with A: a row's dot product and update, and the residual."""

from __future__ import annotations

import numpy as np

from .jit import ONE, TWO, FloatArray, UnsignedArray, kernel
from .lanes import fma, muladd


@kernel
def row_dot(
    indices: UnsignedArray, data: FloatArray, first: np.uint64, last: np.uint64, x: FloatArray
) -> float:
    """Σ data[p]·x[indices[p]] for first ≤ p < last, in two fixed partial sums.

    The order of additions is written down, so the bits do not depend on the compiler's choice of vectors.
    """
    even = 0.0
    odd = 0.0
    p = first
    while p + ONE < last:
        even = muladd(data[p], x[indices[p]], even)
        odd = muladd(data[p + ONE], x[indices[p + ONE]], odd)
        p += TWO
    if p < last:
        even = muladd(data[p], x[indices[p]], even)
    return even + odd


@kernel
def row_axpy(
    indices: UnsignedArray, data: FloatArray, first: np.uint64, last: np.uint64, alpha: float, y: FloatArray
) -> None:
    """y[indices[p]] += α·data[p] for first ≤ p < last."""
    for p in range(first, last):
        y[indices[p]] = muladd(alpha, data[p], y[indices[p]])


@kernel
def residual(
    indptr: UnsignedArray,
    indices: UnsignedArray,
    data: FloatArray,
    b: FloatArray,
    x: FloatArray,
    start: int,
    stop: int,
    r: FloatArray,
) -> None:
    """r[i] ← bᵢ − aᵢᵀx for start ≤ i < stop. Cost: the entries of these rows, once."""
    last = np.uint64(indptr[start])
    for i in range(np.uint64(start), np.uint64(stop)):
        first = last
        last = np.uint64(indptr[i + ONE])
        r[i] = b[i] - row_dot(indices, data, first, last, x)


@kernel
def row_products(
    indptr: UnsignedArray,
    indices: UnsignedArray,
    data: FloatArray,
    x: FloatArray,
    start: int,
    stop: int,
    y: FloatArray,
) -> None:
    """y[i] ← aᵢᵀx for start ≤ i < stop. Cost: the entries of these rows, once."""
    last = np.uint64(indptr[start])
    for i in range(np.uint64(start), np.uint64(stop)):
        first = last
        last = np.uint64(indptr[i + ONE])
        y[i] = row_dot(indices, data, first, last, x)


@kernel
def backward_error(
    indptr: UnsignedArray, indices: UnsignedArray, data: FloatArray, b: FloatArray, x: FloatArray
) -> float:
    """The largest |b − A x|ᵢ / (|A||x| + |b|)ᵢ (Oettli & Prager 1964), infinite where it is no number."""
    largest = 0.0
    last = np.uint64(indptr[0])
    for i in range(np.uint64(0), np.uint64(b.size)):
        first = last
        last = np.uint64(indptr[i + ONE])
        r = b[i]
        scale = abs(b[i])
        for p in range(first, last):
            term = data[p] * x[indices[p]]
            r -= term
            scale += abs(term)
        if not abs(r) <= largest * scale:
            largest = abs(r) / scale
            if not largest < np.inf:
                return np.inf
    return largest


@kernel
def compensated_residual(
    indptr: UnsignedArray,
    indices: UnsignedArray,
    data: FloatArray,
    b: FloatArray,
    x: FloatArray,
    r: FloatArray,
) -> None:
    """r ← b − A x as if in twice the precision, then rounded (Ogita, Rump & Oishi 2005, algorithm Dot2).

    The rounding error of a product comes from a fused multiply-add, that of a sum from Knuth's TwoSum.
    """
    last = np.uint64(indptr[0])
    for i in range(np.uint64(0), np.uint64(r.size)):
        first = last
        last = np.uint64(indptr[i + ONE])
        s = b[i]
        low = 0.0
        for p in range(first, last):
            u = -data[p]
            v = x[indices[p]]
            t = u * v
            high = s + t
            z = high - s
            low += ((s - (high - z)) + (t - z)) + fma(u, v, -t)
            s = high
        r[i] = s + low
