"""Mini-batch randomized Kaczmarz on a system whose rows have unit norm.

`order` holds the sampled rows, a whole number of batches; `norms` the norms that the rows had before they
were scaled. Every kernel returns Σ (norms[i]·(aᵢᵀx − bᵢ))² over the sampled rows, each taken at the iterate
that the row met: an estimate of the residual that lags behind. Cost of a batch: the entries of its rows
twice, and with momentum O(n).
"""

from __future__ import annotations

import numpy as np

from .jit import ONE, FloatArray, UnsignedArray, kernel
from .momentum import damped_beta, momentum_update, restart
from .products import row_axpy, row_dot


@kernel
def kaczmarz_steps(
    indptr: UnsignedArray,
    indices: UnsignedArray,
    data: FloatArray,
    b: FloatArray,
    norms: FloatArray,
    order: UnsignedArray,
    batch: int,
    eta: float,
    x: FloatArray,
    c: FloatArray,
) -> float:
    """x ← x − (η/B)·Σ_{i∈S} (aᵢᵀx − bᵢ)·aᵢ for each batch S of `order`. `c` is room for one batch."""
    scale = eta / batch
    total = 0.0
    for begin in range(0, order.size, batch):
        for k in range(batch):
            i = np.uint64(order[begin + k])
            c[k] = row_dot(indices, data, np.uint64(indptr[i]), np.uint64(indptr[i + ONE]), x) - b[i]
            total += (norms[i] * c[k]) ** 2
        for k in range(batch):
            i = np.uint64(order[begin + k])
            row_axpy(indices, data, np.uint64(indptr[i]), np.uint64(indptr[i + ONE]), -scale * c[k], x)
    return total


@kernel
def kaczmarz_gradient(
    indptr: UnsignedArray,
    indices: UnsignedArray,
    data: FloatArray,
    b: FloatArray,
    norms: FloatArray,
    order: UnsignedArray,
    y: FloatArray,
    g: FloatArray,
) -> float:
    """g ← g + Σ (aᵢᵀy − bᵢ)·aᵢ over all of `order`.

    Both products in one reading of A: each row is scattered while it is still in cache.
    """
    total = 0.0
    for k in range(order.size):
        i = np.uint64(order[k])
        first = np.uint64(indptr[i])
        last = np.uint64(indptr[i + ONE])
        c = row_dot(indices, data, first, last, y) - b[i]
        total += (norms[i] * c) ** 2
        row_axpy(indices, data, first, last, c, g)
    return total


@kernel
def kaczmarz_momentum_steps(
    indptr: UnsignedArray,
    indices: UnsignedArray,
    data: FloatArray,
    b: FloatArray,
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
        total += kaczmarz_gradient(indptr, indices, data, b, norms, order[begin : begin + batch], y, g)
        turn = momentum_update(kind, eta / batch, damped_beta(beta, ramp), x, y, g)
        if turn > 0.0 and ramp.size > 0:
            restart(kind, x, y, ramp)
    return total
