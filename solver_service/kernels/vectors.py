"""Sums over dense vectors, in an order that is written down: the bits do not depend on any library."""

from __future__ import annotations

import numpy as np

from .jit import ONE, FloatArray, UnsignedArray, kernel

BLOCK = 256


@kernel
def squared_norm(v: FloatArray) -> float:
    """‖v‖², in four partial sums over blocks, which are added with compensation (Neumaier 1974)."""
    total = 0.0
    low = 0.0
    for start in range(0, v.size, BLOCK):
        stop = min(start + BLOCK, v.size)
        whole = stop - (stop - start) % 4
        a = 0.0
        b = 0.0
        c = 0.0
        d = 0.0
        for j in range(start, whole, 4):
            a += v[j] * v[j]
            b += v[j + 1] * v[j + 1]
            c += v[j + 2] * v[j + 2]
            d += v[j + 3] * v[j + 3]
        for j in range(whole, stop):
            a += v[j] * v[j]
        block = (a + b) + (c + d)
        high = total + block
        low += (total - high) + block if total >= block else (block - high) + total
        total = high
    return total + low


@kernel
def largest_magnitude(v: FloatArray) -> float:
    """max |vⱼ|, 0 for an empty vector."""
    largest = 0.0
    for j in range(v.size):
        largest = max(largest, abs(v[j]))
    return largest


@kernel
def add_squares(indices: UnsignedArray, data: FloatArray, totals: FloatArray) -> None:
    """totals[indices[p]] += data[p]² over all p."""
    for p in range(data.size):
        totals[indices[p]] += data[p] * data[p]


@kernel
def sum_squares(indptr: UnsignedArray, data: FloatArray, totals: FloatArray) -> None:
    """totals[i] ← Σ data[p]² over the entries p of row i."""
    last = np.uint64(indptr[0])
    for i in range(np.uint64(0), np.uint64(totals.size)):
        first = last
        last = np.uint64(indptr[i + ONE])
        total = 0.0
        for p in range(first, last):
            total += data[p] * data[p]
        totals[i] = total
