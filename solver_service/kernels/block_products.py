"""Products of A with a block of vectors, a row of A read once for up to 16 of them.

Blocks are (size, W) row-major. Like every kernel for blocks, these give each column the bits that the kernel
for one vector gives it, whatever the others hold.
"""

from __future__ import annotations

import numpy as np

from .block_vectors import compensated, squares
from .jit import ONE, TWO, FloatArray, UnsignedArray, inlined
from .lanes import (
    Lanes,
    Zeros,
    block_kernel,
    fma,
    load,
    load_each,
    muladd,
    store,
    store_each,
    zeros,
)
from .vectors import BLOCK


@inlined
def rows_dot(
    indices: UnsignedArray,
    data: FloatArray,
    first: np.uint64,
    last: np.uint64,
    X: FloatArray,
    column: np.uint64,
    zero: Lanes,
) -> Lanes:
    """`row_dot` on lanes."""
    even = zero
    odd = zero
    p = first
    while p + ONE < last:
        even = muladd(data[p], load(X, indices[p], column, zero), even)
        odd = muladd(data[p + ONE], load(X, indices[p + ONE], column, zero), odd)
        p += TWO
    if p < last:
        even = muladd(data[p], load(X, indices[p], column, zero), even)
    return even + odd


@inlined
def rows_axpy(
    indices: UnsignedArray,
    data: FloatArray,
    first: np.uint64,
    last: np.uint64,
    alpha: Lanes,
    Y: FloatArray,
    column: np.uint64,
) -> None:
    """`row_axpy` on lanes."""
    for p in range(first, last):
        store(Y, indices[p], column, muladd(alpha, data[p], load(Y, indices[p], column, alpha)))


@block_kernel
def residual_squares_block(
    column: np.uint64,
    lanes: Zeros,
    indptr: UnsignedArray,
    indices: UnsignedArray,
    data: FloatArray,
    B: FloatArray,
    X: FloatArray,
    start: int,
    stop: int,
    R: FloatArray,
    totals: FloatArray,
    lows: FloatArray,
) -> None:
    """Go on with ‖bⱼ − A xⱼ‖² over the rows start ≤ i < stop, where start is a multiple of `BLOCK`.

    After all rows totals[j] + lows[j] is `squared_norm` of what `residual` gives. R is room, (BLOCK, W).
    """
    zero = zeros(lanes)
    total = load_each(totals, column, zero)
    low = load_each(lows, column, zero)
    end = np.uint64(stop)
    last = np.uint64(indptr[start])
    for begin in range(np.uint64(start), end, np.uint64(BLOCK)):
        count = min(np.uint64(BLOCK), end - begin)
        for k in range(count):
            i = begin + k
            first = last
            last = np.uint64(indptr[i + ONE])
            product = rows_dot(indices, data, first, last, X, column, zero)
            store(R, k, column, load(B, i, column, zero) - product)
        total, low = compensated(total, low, squares(R, np.uint64(0), count, column, zero))
    store_each(totals, column, total)
    store_each(lows, column, low)


@block_kernel
def compensated_residual_block(
    column: np.uint64,
    lanes: Zeros,
    indptr: UnsignedArray,
    indices: UnsignedArray,
    data: FloatArray,
    B: FloatArray,
    X: FloatArray,
    R: FloatArray,
) -> None:
    """R ← B − A X as if in twice the precision, then rounded: see `compensated_residual`."""
    zero = zeros(lanes)
    last = np.uint64(indptr[0])
    for i in range(np.uint64(0), np.uint64(R.shape[0])):
        first = last
        last = np.uint64(indptr[i + ONE])
        s = load(B, i, column, zero)
        low = zero
        for p in range(first, last):
            u = -data[p]
            v = load(X, indices[p], column, zero)
            t = u * v
            high = s + t
            z = high - s
            low += ((s - (high - z)) + (t - z)) + fma(u, v, -t)
            s = high
        store(R, i, column, s + low)
