"""The dense half of a momentum step, common to rows and columns."""

from __future__ import annotations

from .jit import FloatArray, kernel

HEAVY_BALL = 0
NESTEROV = 1


@kernel
def damped_beta(beta: float, ramp: FloatArray) -> float:
    """min(β, t/(t + 3)) and t ← t + 1 where `ramp` = [t], β itself where `ramp` is empty."""
    if ramp.size == 0:
        return beta
    t = float(ramp[0])
    ramp[0] = t + 1.0
    return min(beta, t / (t + 3.0))


@kernel
def momentum_update(
    kind: int, scale: float, beta: float, x: FloatArray, y: FloatArray, g: FloatArray
) -> float:
    """One update from the gradient g taken at y; g is zeroed. Returns gᵀ(x⁺ − x). Cost: O(size of x).

    Nesterov: x⁺ = y − s·g, y⁺ = x⁺ + β(x⁺ − x).
    Heavy ball: y is the iterate, x the one before: y⁺ = y − s·g + β(y − x), x⁺ = y.
    """
    turn = 0.0
    if kind == NESTEROV:
        for j in range(x.size):
            new = y[j] - scale * g[j]
            step = new - x[j]
            turn += g[j] * step
            y[j] = new + beta * step
            x[j] = new
            g[j] = 0.0
    else:
        for j in range(x.size):
            step = beta * (y[j] - x[j]) - scale * g[j]
            turn += g[j] * step
            x[j] = y[j]
            y[j] += step
            g[j] = 0.0
    return turn


@kernel
def collect_gradients(gathered: FloatArray) -> None:
    """Add to the first of several vectors, (T, n), all others in their order; zero those."""
    for k in range(1, gathered.shape[0]):
        for j in range(gathered.shape[1]):
            gathered[0, j] += gathered[k, j]
            gathered[k, j] = 0.0


@kernel
def restart(kind: int, x: FloatArray, y: FloatArray, ramp: FloatArray) -> None:
    """Forget the momentum: t ← 0 and both vectors the current iterate (O'Donoghue & Candès 2015)."""
    ramp[0] = 0.0
    for j in range(x.size):  # a slice assignment would allocate
        if kind == NESTEROV:
            y[j] = x[j]
        else:
            x[j] = y[j]
