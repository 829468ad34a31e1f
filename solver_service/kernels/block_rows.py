"""Mini-batch randomized Kaczmarz of `rows` for right-hand sides that share the sampled rows.

Blocks are (size, W) row-major, B is (m, W). totals[j] ← what the kernel for one vector returns for column j.
"""

from __future__ import annotations

import numpy as np

from .block_momentum import lanes_beta, lanes_restart, lanes_update
from .block_products import rows_axpy, rows_dot
from .jit import ONE, FloatArray, UnsignedArray, inlined
from .lanes import Lanes, Zeros, block_kernel, load, store, store_each, zeros


@block_kernel
def kaczmarz_steps_block(
    column: np.uint64,
    lanes: Zeros,
    indptr: UnsignedArray,
    indices: UnsignedArray,
    data: FloatArray,
    B: FloatArray,
    norms: FloatArray,
    order: UnsignedArray,
    batch: int,
    eta: float,
    X: FloatArray,
    C: FloatArray,
    totals: FloatArray,
) -> None:
    """`kaczmarz_steps` on each column. `C` is (batch, W), room for one batch."""
    zero = zeros(lanes)
    scale = eta / batch
    total = zero
    for begin in range(0, order.size, batch):
        for k in range(batch):
            i = np.uint64(order[begin + k])
            first = np.uint64(indptr[i])
            c = rows_dot(indices, data, first, np.uint64(indptr[i + ONE]), X, column, zero) - load(
                B, i, column, zero
            )
            store(C, k, column, c)
            total += (norms[i] * c) * (norms[i] * c)
        for k in range(batch):
            i = np.uint64(order[begin + k])
            alpha = -scale * load(C, k, column, zero)
            rows_axpy(indices, data, np.uint64(indptr[i]), np.uint64(indptr[i + ONE]), alpha, X, column)
    store_each(totals, column, total)


@inlined
def _batch_gradient(
    column: np.uint64,
    zero: Lanes,
    indptr: UnsignedArray,
    indices: UnsignedArray,
    data: FloatArray,
    B: FloatArray,
    norms: FloatArray,
    order: UnsignedArray,
    Y: FloatArray,
    G: FloatArray,
) -> Lanes:
    total = zero
    for k in range(order.size):
        i = np.uint64(order[k])
        first = np.uint64(indptr[i])
        last = np.uint64(indptr[i + ONE])
        c = rows_dot(indices, data, first, last, Y, column, zero) - load(B, i, column, zero)
        total += (norms[i] * c) * (norms[i] * c)
        rows_axpy(indices, data, first, last, c, G, column)
    return total


@block_kernel
def kaczmarz_gradient_block(
    column: np.uint64,
    lanes: Zeros,
    indptr: UnsignedArray,
    indices: UnsignedArray,
    data: FloatArray,
    B: FloatArray,
    norms: FloatArray,
    order: UnsignedArray,
    Y: FloatArray,
    G: FloatArray,
    totals: FloatArray,
) -> None:
    """`kaczmarz_gradient` on each column: G ← G + Σ aᵢ(aᵢᵀY − Bᵢ) over all of `order`; sets `totals`."""
    zero = zeros(lanes)
    store_each(totals, column, _batch_gradient(column, zero, indptr, indices, data, B, norms, order, Y, G))


@block_kernel
def kaczmarz_momentum_steps_block(
    column: np.uint64,
    lanes: Zeros,
    indptr: UnsignedArray,
    indices: UnsignedArray,
    data: FloatArray,
    B: FloatArray,
    norms: FloatArray,
    order: UnsignedArray,
    batch: int,
    eta: float,
    beta: float,
    kind: int,
    X: FloatArray,
    Y: FloatArray,
    G: FloatArray,
    ramps: FloatArray,
    totals: FloatArray,
) -> None:
    """`kaczmarz_momentum_steps` on each column; `ramps` is (W,) or empty, and restarts are a column's own."""
    zero = zeros(lanes)
    total = zero
    for begin in range(0, order.size, batch):
        total += _batch_gradient(
            column, zero, indptr, indices, data, B, norms, order[begin : begin + batch], Y, G
        )
        damped = lanes_beta(column, zero, beta, ramps)
        turn = lanes_update(column, zero, kind, eta / batch, damped, X, Y, G)
        lanes_restart(column, zero, kind, turn, X, Y, ramps)
    store_each(totals, column, total)
