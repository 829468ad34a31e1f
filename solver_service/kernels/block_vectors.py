"""Dense updates and sums of a block of vectors, (size, W) row-major; scalars and sums are (W,)."""

from __future__ import annotations

from functools import cache

import numpy as np

from .jit import FloatArray, inlined
from .lanes import Index, Lanes, Zeros, block_kernel, load, load_each, store, store_each, where_above, zeros
from .vectors import BLOCK

_CACHE_LINE = 64


@cache
def _keep_freed_memory() -> None:
    """Have the allocator of glibc keep what was freed, up to 64 MB, for the next block.

    It returns large blocks to the system, and the pages of the next one are mapped one by one, which takes
    longer than to work on them; until it once sees a block of up to 32 MB freed. That moves its thresholds.
    """
    np.empty(2**22 - 2**10)


def zero_block(size: int, width: int) -> FloatArray:
    """A block of zeros that begins at a cache line: sweeps take up to twice as long where rows straddle."""
    _keep_freed_memory()
    room = np.zeros(size * width + _CACHE_LINE // 8)
    first = -room.ctypes.data % _CACHE_LINE // 8
    return room[first : first + size * width].reshape(size, width)


@inlined
def squares(V: FloatArray, start: Index, stop: Index, column: np.uint64, zero: Lanes) -> Lanes:
    """The sum of one block of `squared_norm`."""
    whole = stop - (stop - start) % np.uint64(4)
    a = zero
    b = zero
    c = zero
    d = zero
    for j in range(start, whole, np.uint64(4)):
        v = load(V, j, column, zero)
        a += v * v
        v = load(V, j + np.uint64(1), column, zero)
        b += v * v
        v = load(V, j + np.uint64(2), column, zero)
        c += v * v
        v = load(V, j + np.uint64(3), column, zero)
        d += v * v
    for j in range(whole, stop):
        v = load(V, j, column, zero)
        a += v * v
    return (a + b) + (c + d)


@inlined
def compensated(total: Lanes, low: Lanes, block: Lanes) -> tuple[Lanes, Lanes]:
    """Neumaier's step of `squared_norm`: the new total, and what rounding has taken from it so far."""
    high = total + block
    return high, low + where_above(block, total, (block - high) + total, (total - high) + block)


@block_kernel
def squared_norms(column: np.uint64, lanes: Zeros, V: FloatArray, totals: FloatArray) -> None:
    """totals[j] ← ‖vⱼ‖², the sum of `squared_norm`."""
    zero = zeros(lanes)
    total = zero
    low = zero
    size = np.uint64(V.shape[0])
    for start in range(np.uint64(0), size, np.uint64(BLOCK)):
        stop = min(start + np.uint64(BLOCK), size)
        total, low = compensated(total, low, squares(V, start, stop, column, zero))
    store_each(totals, column, total + low)


@block_kernel
def add_scaled(column: np.uint64, lanes: Zeros, alphas: FloatArray, P: FloatArray, X: FloatArray) -> None:
    """xⱼ ← xⱼ + αⱼ·pⱼ."""
    zero = zeros(lanes)
    alpha = load_each(alphas, column, zero)
    for j in range(np.uint64(X.shape[0])):
        store(X, j, column, load(X, j, column, zero) + alpha * load(P, j, column, zero))


@block_kernel
def next_directions(
    column: np.uint64, lanes: Zeros, betas: FloatArray, S: FloatArray, P: FloatArray, H: FloatArray
) -> None:
    """pⱼ ← sⱼ + βⱼ·pⱼ and H ← P; H may be P."""
    zero = zeros(lanes)
    beta = load_each(betas, column, zero)
    for j in range(np.uint64(P.shape[0])):
        p = load(S, j, column, zero) + beta * load(P, j, column, zero)
        store(P, j, column, p)
        store(H, j, column, p)


@block_kernel
def reduce_residuals(
    column: np.uint64,
    lanes: Zeros,
    alphas: FloatArray,
    Q: FloatArray,
    R: FloatArray,
    H: FloatArray,
    totals: FloatArray,
) -> None:
    """rⱼ ← rⱼ − αⱼ·qⱼ, H ← R and totals[j] ← ‖rⱼ‖², the sum of `squared_norm`; H may be Q or R."""
    zero = zeros(lanes)
    alpha = load_each(alphas, column, zero)
    total = zero
    low = zero
    size = np.uint64(R.shape[0])
    for start in range(np.uint64(0), size, np.uint64(BLOCK)):
        stop = min(start + np.uint64(BLOCK), size)
        for i in range(start, stop):
            r = load(R, i, column, zero) - alpha * load(Q, i, column, zero)
            store(R, i, column, r)
            store(H, i, column, r)
        total, low = compensated(total, low, squares(R, start, stop, column, zero))
    store_each(totals, column, total + low)
