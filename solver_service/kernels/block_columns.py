"""Mini-batch coordinate descent of `columns` for right-hand sides that share the sampled columns.

Blocks are (size, W) row-major. totals[j] ← what the kernel for one vector returns for column j.
"""

from __future__ import annotations

import numpy as np

from .block_momentum import lanes_beta, lanes_restart, lanes_update
from .block_products import rows_axpy, rows_dot
from .jit import ONE, FloatArray, UnsignedArray, inlined
from .lanes import Lanes, Zeros, block_kernel, load, store, store_each, zeros


@block_kernel
def least_squares_steps_block(
    column: np.uint64,
    lanes: Zeros,
    indptr: UnsignedArray,
    indices: UnsignedArray,
    data: FloatArray,
    order: UnsignedArray,
    batch: int,
    eta: float,
    Z: FloatArray,
    Q: FloatArray,
    C: FloatArray,
) -> None:
    """`least_squares_steps` on each column. `C` is (batch, W), room for one batch."""
    zero = zeros(lanes)
    scale = eta / batch
    for begin in range(0, order.size, batch):
        for k in range(batch):
            j = np.uint64(order[begin + k])
            c = rows_dot(indices, data, np.uint64(indptr[j]), np.uint64(indptr[j + ONE]), Q, column, zero)
            store(C, k, column, c)
        for k in range(batch):
            j = np.uint64(order[begin + k])
            c = load(C, k, column, zero)
            store(Z, j, column, load(Z, j, column, zero) + scale * c)
            rows_axpy(indices, data, np.uint64(indptr[j]), np.uint64(indptr[j + ONE]), -scale * c, Q, column)


@inlined
def _batch_gradient(
    column: np.uint64,
    zero: Lanes,
    indptr: UnsignedArray,
    indices: UnsignedArray,
    data: FloatArray,
    order: UnsignedArray,
    Q: FloatArray,
    GZ: FloatArray,
    GQ: FloatArray,
) -> None:
    for k in range(order.size):
        j = np.uint64(order[k])
        first = np.uint64(indptr[j])
        last = np.uint64(indptr[j + ONE])
        c = rows_dot(indices, data, first, last, Q, column, zero)
        store(GZ, j, column, load(GZ, j, column, zero) - c)
        rows_axpy(indices, data, first, last, c, GQ, column)


@block_kernel
def least_squares_gradient_block(
    column: np.uint64,
    lanes: Zeros,
    indptr: UnsignedArray,
    indices: UnsignedArray,
    data: FloatArray,
    order: UnsignedArray,
    Q: FloatArray,
    GZ: FloatArray,
    GQ: FloatArray,
) -> None:
    """`least_squares_gradient` on each column: GZ[j] ← GZ[j] − âⱼᵀQ and GQ ← GQ + âⱼ(âⱼᵀQ) over `order`."""
    _batch_gradient(column, zeros(lanes), indptr, indices, data, order, Q, GZ, GQ)


@inlined
def _update(
    column: np.uint64,
    zero: Lanes,
    kind: int,
    scale: float,
    beta: float,
    ramps: FloatArray,
    Z: FloatArray,
    ZY: FloatArray,
    GZ: FloatArray,
    Q: FloatArray,
    QY: FloatArray,
    GQ: FloatArray,
) -> None:
    damped = lanes_beta(column, zero, beta, ramps)
    lanes_update(column, zero, kind, scale, damped, Z, ZY, GZ)
    turn = lanes_update(column, zero, kind, scale, damped, Q, QY, GQ)
    lanes_restart(column, zero, kind, turn, Z, ZY, ramps)
    lanes_restart(column, zero, kind, turn, Q, QY, ramps)


@block_kernel
def least_squares_update_block(
    column: np.uint64,
    lanes: Zeros,
    kind: int,
    scale: float,
    beta: float,
    ramps: FloatArray,
    Z: FloatArray,
    ZY: FloatArray,
    GZ: FloatArray,
    Q: FloatArray,
    QY: FloatArray,
    GQ: FloatArray,
) -> None:
    """`least_squares_update` on each column; `ramps` is (W,) or empty, and restarts are a column's own."""
    _update(column, zeros(lanes), kind, scale, beta, ramps, Z, ZY, GZ, Q, QY, GQ)


@block_kernel
def least_squares_momentum_steps_block(
    column: np.uint64,
    lanes: Zeros,
    indptr: UnsignedArray,
    indices: UnsignedArray,
    data: FloatArray,
    order: UnsignedArray,
    batch: int,
    eta: float,
    beta: float,
    kind: int,
    Z: FloatArray,
    ZY: FloatArray,
    GZ: FloatArray,
    Q: FloatArray,
    QY: FloatArray,
    GQ: FloatArray,
    ramps: FloatArray,
) -> None:
    """`least_squares_momentum_steps` on each column; `ramps` as in `least_squares_update_block`."""
    zero = zeros(lanes)
    for begin in range(0, order.size, batch):
        _batch_gradient(column, zero, indptr, indices, data, order[begin : begin + batch], QY, GZ, GQ)
        _update(column, zero, kind, eta / batch, beta, ramps, Z, ZY, GZ, Q, QY, GQ)


@block_kernel
def spd_steps_block(
    column: np.uint64,
    lanes: Zeros,
    indptr: UnsignedArray,
    indices: UnsignedArray,
    data: FloatArray,
    RHS: FloatArray,
    norms: FloatArray,
    order: UnsignedArray,
    batch: int,
    eta: float,
    Z: FloatArray,
    C: FloatArray,
    totals: FloatArray,
) -> None:
    """`spd_steps` on each column. `C` is (batch, W), room for one batch."""
    zero = zeros(lanes)
    scale = eta / batch
    total = zero
    for begin in range(0, order.size, batch):
        for k in range(batch):
            i = np.uint64(order[begin + k])
            first = np.uint64(indptr[i])
            c = rows_dot(indices, data, first, np.uint64(indptr[i + ONE]), Z, column, zero) - load(
                RHS, i, column, zero
            )
            store(C, k, column, c)
            total += (norms[i] * c) * (norms[i] * c)
        for k in range(batch):
            i = np.uint64(order[begin + k])
            store(Z, i, column, load(Z, i, column, zero) - scale * load(C, k, column, zero))
    store_each(totals, column, total)


@inlined
def _spd_batch_gradient(
    column: np.uint64,
    zero: Lanes,
    indptr: UnsignedArray,
    indices: UnsignedArray,
    data: FloatArray,
    RHS: FloatArray,
    norms: FloatArray,
    order: UnsignedArray,
    Y: FloatArray,
    G: FloatArray,
) -> Lanes:
    total = zero
    for k in range(order.size):
        i = np.uint64(order[k])
        first = np.uint64(indptr[i])
        c = rows_dot(indices, data, first, np.uint64(indptr[i + ONE]), Y, column, zero) - load(
            RHS, i, column, zero
        )
        total += (norms[i] * c) * (norms[i] * c)
        store(G, i, column, load(G, i, column, zero) + c)
    return total


@block_kernel
def spd_gradient_block(
    column: np.uint64,
    lanes: Zeros,
    indptr: UnsignedArray,
    indices: UnsignedArray,
    data: FloatArray,
    RHS: FloatArray,
    norms: FloatArray,
    order: UnsignedArray,
    Y: FloatArray,
    G: FloatArray,
    totals: FloatArray,
) -> None:
    """`spd_gradient` on each column: G[i] ← G[i] + âᵢᵀY − RHSᵢ over all i of `order`; sets `totals`."""
    zero = zeros(lanes)
    store_each(
        totals, column, _spd_batch_gradient(column, zero, indptr, indices, data, RHS, norms, order, Y, G)
    )


@block_kernel
def spd_momentum_steps_block(
    column: np.uint64,
    lanes: Zeros,
    indptr: UnsignedArray,
    indices: UnsignedArray,
    data: FloatArray,
    RHS: FloatArray,
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
    """`spd_momentum_steps` on each column; `ramps` is (W,) or empty, and restarts are a column's own."""
    zero = zeros(lanes)
    total = zero
    for begin in range(0, order.size, batch):
        total += _spd_batch_gradient(
            column, zero, indptr, indices, data, RHS, norms, order[begin : begin + batch], Y, G
        )
        damped = lanes_beta(column, zero, beta, ramps)
        turn = lanes_update(column, zero, kind, eta / batch, damped, X, Y, G)
        lanes_restart(column, zero, kind, turn, X, Y, ramps)
    store_each(totals, column, total)
