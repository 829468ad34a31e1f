"""Mini-batch randomized coordinate descent: least squares on unit columns, and symmetric positive definite.

`order` holds the sampled columns, a whole number of batches.

Least squares: the arrays are those of Aᵀ with unit rows, that is the columns âⱼ; q = b − Â z is kept up to
date, and momentum runs on the pair (z, q), so an iteration costs its columns' entries twice, and O(m + n).

Positive definite: the arrays are those of D^(−½) A D^(−½) with unit diagonal, and z = D^½ x. The kernels
return Σ (norms[i]·(âᵢᵀz − ĉᵢ))² with norms = D^½, an estimate of the residual that lags behind.
"""

from __future__ import annotations

import numpy as np

from .jit import ONE, FloatArray, UnsignedArray, kernel
from .momentum import damped_beta, momentum_update, restart
from .products import row_axpy, row_dot


@kernel
def least_squares_steps(
    indptr: UnsignedArray,
    indices: UnsignedArray,
    data: FloatArray,
    order: UnsignedArray,
    batch: int,
    eta: float,
    z: FloatArray,
    q: FloatArray,
    c: FloatArray,
) -> None:
    """zⱼ ← zⱼ + (η/B)·âⱼᵀq and q ← q − (η/B)·(âⱼᵀq)·âⱼ, j ∈ S, for each batch S. `c`: room for one batch."""
    scale = eta / batch
    for begin in range(0, order.size, batch):
        for k in range(batch):
            j = np.uint64(order[begin + k])
            c[k] = row_dot(indices, data, np.uint64(indptr[j]), np.uint64(indptr[j + ONE]), q)
        for k in range(batch):
            j = np.uint64(order[begin + k])
            z[j] += scale * c[k]
            row_axpy(indices, data, np.uint64(indptr[j]), np.uint64(indptr[j + ONE]), -scale * c[k], q)


@kernel
def least_squares_gradient(
    indptr: UnsignedArray,
    indices: UnsignedArray,
    data: FloatArray,
    order: UnsignedArray,
    q: FloatArray,
    gz: FloatArray,
    gq: FloatArray,
) -> None:
    """gz[j] ← gz[j] − âⱼᵀq and gq ← gq + (âⱼᵀq)·âⱼ over all j of `order`."""
    for k in range(order.size):
        j = np.uint64(order[k])
        first = np.uint64(indptr[j])
        last = np.uint64(indptr[j + ONE])
        c = row_dot(indices, data, first, last, q)
        gz[j] -= c
        row_axpy(indices, data, first, last, c, gq)


@kernel
def least_squares_update(
    kind: int,
    scale: float,
    beta: float,
    ramp: FloatArray,
    z: FloatArray,
    zy: FloatArray,
    gz: FloatArray,
    q: FloatArray,
    qy: FloatArray,
    gq: FloatArray,
) -> None:
    """The momentum update of both vectors; restarts where the ramp is in use."""
    damped = damped_beta(beta, ramp)
    momentum_update(kind, scale, damped, z, zy, gz)
    turn = momentum_update(kind, scale, damped, q, qy, gq)
    if turn > 0.0 and ramp.size > 0:
        restart(kind, z, zy, ramp)
        restart(kind, q, qy, ramp)


@kernel
def least_squares_momentum_steps(
    indptr: UnsignedArray,
    indices: UnsignedArray,
    data: FloatArray,
    order: UnsignedArray,
    batch: int,
    eta: float,
    beta: float,
    kind: int,
    z: FloatArray,
    zy: FloatArray,
    gz: FloatArray,
    q: FloatArray,
    qy: FloatArray,
    gq: FloatArray,
    ramp: FloatArray,
) -> None:
    """A gradient over each batch of `order`, then `least_squares_update`."""
    for begin in range(0, order.size, batch):
        least_squares_gradient(indptr, indices, data, order[begin : begin + batch], qy, gz, gq)
        least_squares_update(kind, eta / batch, beta, ramp, z, zy, gz, q, qy, gq)


@kernel
def spd_steps(
    indptr: UnsignedArray,
    indices: UnsignedArray,
    data: FloatArray,
    rhs: FloatArray,
    norms: FloatArray,
    order: UnsignedArray,
    batch: int,
    eta: float,
    z: FloatArray,
    c: FloatArray,
) -> float:
    """zᵢ ← zᵢ − (η/B)·(âᵢᵀz − ĉᵢ), i ∈ S, for each batch S of `order`. `c`: room for one batch."""
    scale = eta / batch
    total = 0.0
    for begin in range(0, order.size, batch):
        for k in range(batch):
            i = np.uint64(order[begin + k])
            c[k] = row_dot(indices, data, np.uint64(indptr[i]), np.uint64(indptr[i + ONE]), z) - rhs[i]
            total += (norms[i] * c[k]) ** 2
        for k in range(batch):
            z[order[begin + k]] -= scale * c[k]
    return total


@kernel
def spd_gradient(
    indptr: UnsignedArray,
    indices: UnsignedArray,
    data: FloatArray,
    rhs: FloatArray,
    norms: FloatArray,
    order: UnsignedArray,
    y: FloatArray,
    g: FloatArray,
) -> float:
    """g[i] ← g[i] + âᵢᵀy − ĉᵢ over all i of `order`."""
    total = 0.0
    for k in range(order.size):
        i = np.uint64(order[k])
        c = row_dot(indices, data, np.uint64(indptr[i]), np.uint64(indptr[i + ONE]), y) - rhs[i]
        total += (norms[i] * c) ** 2
        g[i] += c
    return total


@kernel
def spd_momentum_steps(
    indptr: UnsignedArray,
    indices: UnsignedArray,
    data: FloatArray,
    rhs: FloatArray,
    norms: FloatArray,
    order: UnsignedArray,
    batch: int,
    eta: float,
    beta: float,
    kind: int,
    x: FloatArray,
    y: FloatArray,
    g: FloatArray,
    ramp: FloatArray,
) -> float:
    """A gradient over each batch of `order`, then `momentum_update`; restarts where the ramp is in use."""
    total = 0.0
    for begin in range(0, order.size, batch):
        total += spd_gradient(indptr, indices, data, rhs, norms, order[begin : begin + batch], y, g)
        turn = momentum_update(kind, eta / batch, damped_beta(beta, ramp), x, y, g)
        if turn > 0.0 and ramp.size > 0:
            restart(kind, x, y, ramp)
    return total
