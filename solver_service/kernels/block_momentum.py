"""The dense half of a momentum step for a block, (size, W) row-major; restarts are a column's own."""

from __future__ import annotations

import numpy as np

from .jit import FloatArray, inlined, kernel
from .lanes import (
    Lanes,
    Zeros,
    any_positive,
    block_kernel,
    load,
    load_each,
    store,
    store_each,
    where_above,
    zeros,
)
from .momentum import NESTEROV, damped_beta


@inlined
def lanes_beta(column: np.uint64, zero: Lanes, beta: float, ramps: FloatArray) -> Lanes:
    """`damped_beta` on lanes."""
    if ramps.size == 0:
        return zero + beta
    t = load_each(ramps, column, zero)
    store_each(ramps, column, t + 1.0)
    ratio = t / (t + 3.0)
    return where_above(beta, ratio, ratio, beta)


@kernel
def damped_betas(beta: float, ramps: FloatArray, betas: FloatArray) -> None:
    """betas[j] ← what `damped_beta` makes of β and the ramp of column j; `ramps` is (W,) or empty."""
    for j in range(betas.size):
        betas[j] = damped_beta(beta, ramps[j : j + 1])


@inlined
def lanes_update(
    column: np.uint64,
    zero: Lanes,
    kind: int,
    scale: float,
    beta: Lanes,
    X: FloatArray,
    Y: FloatArray,
    G: FloatArray,
) -> Lanes:
    """`momentum_update` on lanes."""
    turn = zero
    for j in range(np.uint64(X.shape[0])):
        x = load(X, j, column, zero)
        y = load(Y, j, column, zero)
        g = load(G, j, column, zero)
        if kind == NESTEROV:
            new = y - scale * g
            step = new - x
            store(Y, j, column, new + beta * step)
            store(X, j, column, new)
        else:
            step = beta * (y - x) - scale * g
            store(X, j, column, y)
            store(Y, j, column, y + step)
        turn += g * step
        store(G, j, column, zero)
    return turn


@block_kernel
def momentum_update_block(
    column: np.uint64,
    lanes: Zeros,
    kind: int,
    scale: float,
    betas: FloatArray,
    X: FloatArray,
    Y: FloatArray,
    G: FloatArray,
    turns: FloatArray,
) -> None:
    """`momentum_update` on each column with its own β; turns[j] ← gⱼᵀ(xⱼ⁺ − xⱼ)."""
    zero = zeros(lanes)
    beta = load_each(betas, column, zero)
    store_each(turns, column, lanes_update(column, zero, kind, scale, beta, X, Y, G))


@inlined
def lanes_restart(
    column: np.uint64, zero: Lanes, kind: int, turn: Lanes, X: FloatArray, Y: FloatArray, ramps: FloatArray
) -> None:
    """`restart` on the lanes where turn > 0; does nothing where `ramps` is empty."""
    if ramps.size == 0 or not any_positive(turn):
        return
    store_each(ramps, column, where_above(turn, 0.0, zero, load_each(ramps, column, zero)))
    for j in range(np.uint64(X.shape[0])):
        x = load(X, j, column, zero)
        y = load(Y, j, column, zero)
        if kind == NESTEROV:
            store(Y, j, column, where_above(turn, 0.0, x, y))
        else:
            store(X, j, column, where_above(turn, 0.0, y, x))


@block_kernel
def restart_columns(
    column: np.uint64,
    lanes: Zeros,
    kind: int,
    turns: FloatArray,
    X: FloatArray,
    Y: FloatArray,
    ramps: FloatArray,
) -> None:
    """`restart` of the columns with turns[j] > 0; does nothing where `ramps` is empty."""
    zero = zeros(lanes)
    lanes_restart(column, zero, kind, load_each(turns, column, zero), X, Y, ramps)
