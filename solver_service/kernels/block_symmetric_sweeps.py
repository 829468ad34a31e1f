"""The parts of `symmetric_sweeps` for a block of right-hand sides; blocks are (size, W) row-major."""

from __future__ import annotations

import numpy as np

from .block_products import rows_dot
from .block_vectors import compensated, squares
from .jit import ONE, TWO, FloatArray, UnsignedArray
from .lanes import Zeros, block_kernel, load, load_each, muladd, store, store_each, zeros
from .vectors import BLOCK


@block_kernel
def forward_substitution_block(
    column: np.uint64,
    lanes: Zeros,
    indptr: UnsignedArray,
    indices: UnsignedArray,
    data: FloatArray,
    middle: UnsignedArray,
    omega: float,
    B: FloatArray,
    Z: FloatArray,
) -> None:
    """Z ← E⁻¹B; B may be Z."""
    zero = zeros(lanes)
    for i in range(np.uint64(Z.shape[0])):
        dot = rows_dot(indices, data, np.uint64(indptr[i]), np.uint64(middle[i]), Z, column, zero)
        store(Z, i, column, omega * (load(B, i, column, zero) - dot))


@block_kernel
def lower_product_block(
    column: np.uint64,
    lanes: Zeros,
    indptr: UnsignedArray,
    indices: UnsignedArray,
    data: FloatArray,
    middle: UnsignedArray,
    omega: float,
    norms: FloatArray,
    Z: FloatArray,
    totals: FloatArray,
) -> None:
    """totals[j] ← ‖D^½·E zⱼ‖², what `lower_product` returns."""
    zero = zeros(lanes)
    total = zero
    for i in range(np.uint64(Z.shape[0])):
        dot = rows_dot(indices, data, np.uint64(indptr[i]), np.uint64(middle[i]), Z, column, zero)
        value = load(Z, i, column, zero) / omega + dot
        value *= norms[i]
        total += value * value
    store_each(totals, column, total)


@block_kernel
def symmetric_products_block(
    column: np.uint64,
    lanes: Zeros,
    indptr: UnsignedArray,
    indices: UnsignedArray,
    data: FloatArray,
    middle: UnsignedArray,
    omega: float,
    P: FloatArray,
    T: FloatArray,
    Z: FloatArray,
    deltas: FloatArray,
) -> None:
    """T ← E⁻ᵀP, Z ← E⁻¹(P − (2/ω − 1)·T) and deltas[j] ← pⱼᵀ(tⱼ + zⱼ): the sweeps of `advance_symmetric`."""
    zero = zeros(lanes)
    rows = np.uint64(P.shape[0])
    shift = 2.0 / omega - 1.0
    first = np.uint64(indptr[rows])
    for k in range(rows):
        i = rows - ONE - k
        last = first
        first = np.uint64(indptr[i])
        begin = np.uint64(middle[i]) + ONE
        rest = load(P, i, column, zero)
        other = zero
        while last > begin + TWO:
            rest = muladd(-data[last - ONE], load(T, indices[last - ONE], column, zero), rest)
            other = muladd(data[last - TWO], load(T, indices[last - TWO], column, zero), other)
            last -= TWO
        rest -= other
        while last > begin:
            last -= ONE
            rest = muladd(-data[last], load(T, indices[last], column, zero), rest)
        store(T, i, column, omega * rest)
    delta = zero
    for j in range(rows):
        e = np.uint64(indptr[j])
        end = np.uint64(middle[j])
        p = load(P, j, column, zero)
        t = load(T, j, column, zero)
        rest = p - shift * t
        other = zero
        while e + TWO < end:
            rest = muladd(-data[e], load(Z, indices[e], column, zero), rest)
            other = muladd(data[e + ONE], load(Z, indices[e + ONE], column, zero), other)
            e += TWO
        rest -= other
        while e < end:
            rest = muladd(-data[e], load(Z, indices[e], column, zero), rest)
            e += ONE
        z = omega * rest
        store(Z, j, column, z)
        delta += p * (t + z)
    store_each(deltas, column, delta)


@block_kernel
def symmetric_update_block(
    column: np.uint64,
    lanes: Zeros,
    alphas: FloatArray,
    T: FloatArray,
    Z: FloatArray,
    X: FloatArray,
    R: FloatArray,
    totals: FloatArray,
) -> None:
    """xⱼ ← xⱼ + αⱼ·tⱼ, rⱼ ← rⱼ − αⱼ·(tⱼ + zⱼ) and totals[j] ← ‖rⱼ‖², the sum of `squared_norm`."""
    zero = zeros(lanes)
    alpha = load_each(alphas, column, zero)
    total = zero
    low = zero
    size = np.uint64(R.shape[0])
    for start in range(np.uint64(0), size, np.uint64(BLOCK)):
        stop = min(start + np.uint64(BLOCK), size)
        for j in range(start, stop):
            t = load(T, j, column, zero)
            store(X, j, column, load(X, j, column, zero) + alpha * t)
            r = load(R, j, column, zero) - alpha * (t + load(Z, j, column, zero))
            store(R, j, column, r)
        total, low = compensated(total, low, squares(R, start, stop, column, zero))
    store_each(totals, column, total + low)
