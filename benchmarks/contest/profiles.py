"""Performance profiles (E. D. Dolan and J. J. Moré, Math. Programming 91, 2002).

ρ_s(τ) is the share of systems that contestant s solves within τ times the time of the fastest contestant on
each. ρ_s(1) is how often s is the fastest; the height at the right is how many systems it solves at all.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import cycle
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .summary import Table, solved_systems

FloatArray = NDArray[np.float64]
_OURS = ("#0072b2", "#56b4e9", "#7f3c8d", "#009e73", "#000000", "#8c6d31", "#11a579", "#999999")
_OTHERS = ("#d55e00", "#e69f00", "#cc79a7", "#666666", "#b22222")


def ratios(table: Table, contestants: Sequence[str]) -> dict[str, FloatArray]:
    """Time over the best time on each system that any contestant solved, ascending; infinite if unsolved.

    The best is that of the `contestants` compared; a system that none of them solved is infinite for all.
    """
    systems = solved_systems(table)
    found: dict[str, list[float]] = {contestant: [] for contestant in contestants}
    for system in systems:
        times = {contestant: table[system].get(contestant, math.inf) for contestant in contestants}
        best = min(times.values(), default=math.inf)
        for contestant, seconds in times.items():
            found[contestant].append(seconds / best if math.isfinite(seconds) else math.inf)
    return {contestant: np.sort(np.array(values)) for contestant, values in found.items()}


def profile(sorted_ratios: FloatArray, tau: FloatArray) -> FloatArray:
    """ρ(τ): the share of ratios that are at most τ."""
    count = np.searchsorted(sorted_ratios, tau, side="right")
    shares: FloatArray = count / max(len(sorted_ratios), 1)
    return shares


def draw(table: Table, contestants: Sequence[str], title: str, path: Path) -> None:
    """Draw the profiles of `contestants` into a PNG; ours solid, others dashed."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    found = ratios(table, contestants)
    finite = [value for values in found.values() for value in values if math.isfinite(value)]
    most = max(2.0, *finite) * 1.3 if finite else 2.0
    tau = np.geomspace(1.0, most, 400)
    figure, axes = plt.subplots(figsize=(8.0, 4.8), layout="constrained")
    colours = {False: cycle(_OURS), True: cycle(_OTHERS)}
    for contestant in contestants:
        theirs = contestant.startswith(("scipy", "kaczmarz-"))
        main = contestant == "auto"
        axes.step(
            tau,
            profile(found[contestant], tau),
            where="post",
            label=contestant,
            color=next(colours[theirs]),
            linestyle="--" if theirs else "-",
            linewidth=2.6 if main else 1.5,
            zorder=3 if main else 2,
        )
    axes.set_xscale("log")
    axes.set_xlim(1.0, most)
    axes.set_ylim(0.0, 1.02)
    axes.set_xlabel("τ: time, as a multiple of that of the fastest on each system")
    axes.set_ylabel("share of systems solved within τ")
    axes.set_title(title)
    axes.grid(alpha=0.3)
    axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False)
    figure.savefig(path, dpi=120)
    plt.close(figure)
