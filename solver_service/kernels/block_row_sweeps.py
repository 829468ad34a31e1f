"""The sweeps of `row_sweeps` for a block of right-hand sides: A is read once for up to 16 of them.

Blocks are (size, W) row-major; totals[j] ← what the kernel for one vector returns for column j.
"""

from __future__ import annotations

import numpy as np

from .block_products import rows_axpy, rows_dot
from .jit import ONE, FloatArray, UnsignedArray
from .lanes import Zeros, block_kernel, load, load_each, muladd, store, store_each, zeros


@block_kernel
def forward_rows_block(
    column: np.uint64,
    lanes: Zeros,
    indptr: UnsignedArray,
    indices: UnsignedArray,
    data: FloatArray,
    w: FloatArray,
    omega: float,
    B: FloatArray,
    H: FloatArray,
    U: FloatArray,
    start: int,
    stop: int,
    totals: FloatArray,
) -> None:
    """`forward_rows` on each column: U ← C⁻¹Ŵ(B − A H) for rows start ≤ i < stop, totals[j] ← ‖uⱼ‖²."""
    zero = zeros(lanes)
    total = zero
    last = np.uint64(indptr[start])
    for i in range(np.uint64(start), np.uint64(stop)):
        first = last
        last = np.uint64(indptr[i + ONE])
        value = w[i] * (load(B, i, column, zero) - rows_dot(indices, data, first, last, H, column, zero))
        rows_axpy(indices, data, first, last, omega * w[i] * value, H, column)
        store(U, i, column, value)
        total += value * value
    store_each(totals, column, total)


@block_kernel
def apply_rows_block(
    column: np.uint64,
    lanes: Zeros,
    indptr: UnsignedArray,
    indices: UnsignedArray,
    data: FloatArray,
    w: FloatArray,
    omega: float,
    H: FloatArray,
    U: FloatArray,
    start: int,
    stop: int,
    totals: FloatArray,
) -> None:
    """`apply_rows` on each column: U ← B H for rows start ≤ i < stop, totals[j] ← ‖uⱼ‖². H is used up."""
    zero = zeros(lanes)
    total = zero
    last = np.uint64(indptr[start])
    for i in range(np.uint64(start), np.uint64(stop)):
        first = last
        last = np.uint64(indptr[i + ONE])
        dot = rows_dot(indices, data, first, last, H, column, zero)
        value = w[i] * dot
        rows_axpy(indices, data, first, last, -omega * w[i] * w[i] * dot, H, column)
        store(U, i, column, value)
        total += value * value
    store_each(totals, column, total)


@block_kernel
def apply_rows_transposed_block(
    column: np.uint64,
    lanes: Zeros,
    indptr: UnsignedArray,
    indices: UnsignedArray,
    data: FloatArray,
    w: FloatArray,
    omega: float,
    alphas: FloatArray,
    Q: FloatArray,
    R: FloatArray,
    S: FloatArray,
    start: int,
    stop: int,
    totals: FloatArray,
) -> None:
    """`apply_rows_transposed` on each column: rⱼ ← rⱼ − αⱼ·qⱼ, S ← S + BᵀR, totals[j] ← ‖rⱼ‖²."""
    zero = zeros(lanes)
    alpha = load_each(alphas, column, zero)
    total = zero
    first = np.uint64(indptr[stop])
    for k in range(np.uint64(stop - start)):
        i = np.uint64(stop) - ONE - k
        last = first
        first = np.uint64(indptr[i])
        value = load(R, i, column, zero) - alpha * load(Q, i, column, zero)
        store(R, i, column, value)
        total += value * value
        t = muladd(-omega * w[i] * w[i], rows_dot(indices, data, first, last, S, column, zero), w[i] * value)
        rows_axpy(indices, data, first, last, t, S, column)
    store_each(totals, column, total)
