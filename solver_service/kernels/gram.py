"""Gram matrices of sparse rows, dense and of small order."""

from __future__ import annotations

import numpy as np

from .jit import ONE, FloatArray, UnsignedArray, kernel


@kernel
def accumulate_gram(
    indptr: UnsignedArray,
    indices: UnsignedArray,
    data: FloatArray,
    start: int,
    stop: int,
    G: FloatArray,
) -> None:
    """G ← G + Σ aᵢaᵢᵀ over rows start ≤ i < stop, upper triangle only. Indices must ascend in each row.

    Cost: half the square of each row's length.
    """
    last = np.uint64(indptr[start])
    for i in range(np.uint64(start), np.uint64(stop)):
        first = last
        last = np.uint64(indptr[i + ONE])
        for p in range(first, last):
            value = data[p]
            row = np.uint64(indices[p])
            for q in range(p, last):
                G[row, indices[q]] += value * data[q]
