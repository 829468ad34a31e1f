"""The sweeps of `column_sweeps` for a block of right-hand sides: Aᵀ is read once for up to 16 of them.

Blocks are (size, W) row-major; the arrays are those of Aᵀ.
"""

from __future__ import annotations

import numpy as np

from .block_products import rows_axpy, rows_dot
from .block_row_sweeps import apply_rows_block
from .jit import ONE, FloatArray, UnsignedArray
from .lanes import Zeros, block_kernel, load, load_each, muladd, store, zeros


@block_kernel
def backward_columns_block(
    column: np.uint64,
    lanes: Zeros,
    indptr: UnsignedArray,
    indices: UnsignedArray,
    data: FloatArray,
    w: FloatArray,
    omega: float,
    betas: FloatArray,
    S: FloatArray,
    P: FloatArray,
    T: FloatArray,
    Q: FloatArray,
    start: int,
    stop: int,
) -> None:
    """`backward_columns` on each: pⱼ ← sⱼ + βⱼ·pⱼ, T ← W·C⁻¹P, Q ← Q + A T over rows start … stop of Aᵀ."""
    zero = zeros(lanes)
    beta = load_each(betas, column, zero)
    first = np.uint64(indptr[stop])
    for k in range(np.uint64(stop - start)):
        j = np.uint64(stop) - ONE - k
        last = first
        first = np.uint64(indptr[j])
        value = load(S, j, column, zero) + beta * load(P, j, column, zero)
        store(P, j, column, value)
        value = muladd(
            -omega * w[j] * w[j], rows_dot(indices, data, first, last, Q, column, zero), w[j] * value
        )
        rows_axpy(indices, data, first, last, value, Q, column)
        store(T, j, column, value)


forward_columns_block = apply_rows_block
"""`forward_columns` on each column, (Aᵀ, w, ω, H, S, start, stop, totals): the same operations on Aᵀ."""
