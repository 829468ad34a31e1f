"""The bound of arXiv:2605.18609 and the acceptance figures, as pure functions of measured iterations.

The bound is O((κ̄/B + √κ)·log(κ/ε)) iterations for batches of B rows, with κ̄ = r·κ. Its constant is not
known here: `log_factor` fits one for each matrix.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

Iterations = Mapping[int, float]
"""Iterations to the tolerance, by batch size B."""

MOST_SPREAD = 2.0
MOST_ABOVE_FLOOR = 2.5
LEAST_GROWTH = 3.0
MOMENTA = ("heavy_ball", "nesterov")


def bound(batch: float, r: float, kappa: float) -> float:
    """κ̄/B + √κ: the bound without its logarithm."""
    return r * kappa / batch + math.sqrt(kappa)


def worth_judging(kappa: float) -> bool:
    """Whether there is enough to gain: without momentum the work grows like 1 + B/r, to 1 + √κ/2 at B*."""
    return 0.5 * math.sqrt(kappa) >= LEAST_GROWTH


def batch_sizes(r: float, saturation: float, rows: int, count: int) -> list[int]:
    """B from 1 to 16·B* (at most `rows`), `count` of them evenly on the logarithm, and r and B* besides."""
    most = min(16.0 * saturation, float(rows))
    spaced = (most ** (k / (count - 1)) for k in range(count))
    return sorted({min(rows, max(1, round(size))) for size in (*spaced, r, saturation)})


def log_factor(iterations: Iterations, r: float, kappa: float) -> float:
    """The factor that brings the bound closest to the iterations: geometric mean of their ratios."""
    ratios = [math.log(count / bound(size, r, kappa)) for size, count in iterations.items()]
    return math.exp(math.fsum(ratios) / len(ratios))


def work_spread(iterations: Iterations, saturation: float) -> float:
    """Largest over smallest work, iterations·B, for B from 1 to B*: 1 where parallelization is perfect."""
    work = [count * size for size, count in iterations.items() if size <= _up_to(saturation)]
    return max(work) / min(work)


def work_growth(iterations: Iterations, saturation: float) -> float:
    """Work at the largest B up to B* over that at the smallest B."""
    sizes = [size for size in sorted(iterations) if size <= _up_to(saturation)]
    return iterations[sizes[-1]] * sizes[-1] / (iterations[sizes[0]] * sizes[0])


def above_floor(iterations: Iterations, saturation: float) -> float | None:
    """Most iterations for any B from B* on over the fewest for any B; None if no B is that large."""
    beyond = [count for size, count in iterations.items() if size >= math.floor(saturation)]
    return max(beyond) / min(iterations.values()) if beyond else None


def _up_to(saturation: float) -> int:
    return math.ceil(saturation)  # B* itself is rounded to the nearest whole number


@dataclass(frozen=True)
class Verdict:
    """The acceptance figures of one matrix, by momentum, and whether all are met."""

    spread: dict[str, float]
    above_floor: dict[str, float | None]
    growth_without: float
    met: bool


def judge(iterations: Mapping[str, Iterations], saturation: float) -> Verdict:
    """Compute the figures from the iterations of ``none`` and of both momenta."""
    spread = {name: work_spread(iterations[name], saturation) for name in MOMENTA}
    floors = {name: above_floor(iterations[name], saturation) for name in MOMENTA}
    growth = work_growth(iterations["none"], saturation)
    met = (
        max(spread.values()) <= MOST_SPREAD
        and all(value is None or value <= MOST_ABOVE_FLOOR for value in floors.values())
        and growth >= LEAST_GROWTH
    )
    return Verdict(spread, floors, growth, met)
