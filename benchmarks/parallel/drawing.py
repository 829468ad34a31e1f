"""The pictures: iterations and work over the batch size, seconds per pass over threads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .figures import bound

STYLES = {"none": ("#999999", "o"), "heavy_ball": ("#d55e00", "s"), "nesterov": ("#0072b2", "^")}
LABELS = {"none": "no momentum", "heavy_ball": "heavy ball", "nesterov": "Nesterov"}


def _pyplot() -> Any:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    return pyplot


def batches(cases: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Draw a column for each case: iterations above, iterations·B below, with the bound, r and B*."""
    plt = _pyplot()
    count = len(cases)
    figure, axes = plt.subplots(
        2, count, figsize=(4.4 * count, 7.2), sharex="col", squeeze=False, layout="constrained"
    )
    for column, case in enumerate(cases):
        r, kappa, saturation = case["r"], case["kappa"], case["saturation"]
        sizes = [int(size) for size in case["iterations"]["none"]]
        fine = np.geomspace(min(sizes), max(sizes), 200)
        curve = case["log_factor"] * np.array([bound(size, r, kappa) for size in fine])
        for row, power in enumerate((0, 1)):
            ax = axes[row, column]
            for momentum, counts in case["iterations"].items():
                colour, marker = STYLES[momentum]
                values = [iterations * int(size) ** power for size, iterations in counts.items()]
                ax.loglog(sizes, values, marker=marker, ms=4, lw=1.4, color=colour, label=LABELS[momentum])
            ax.loglog(
                fine, curve * fine**power, color="black", lw=1.0, ls=":", label="c·(κ̄/B + √κ), c fitted"
            )
            for place, name in ((r, "r"), (saturation, "B*")):
                ax.axvline(place, color="black", lw=0.7, alpha=0.5)
                ax.annotate(
                    name,
                    (place, 1.0),
                    xycoords=("data", "axes fraction"),
                    xytext=(3, -12),
                    textcoords="offset points",
                )
            ax.grid(alpha=0.25)
        axes[0, column].set_title(f"{case['name']}\nr = {r:.3g}, κ = {kappa:,.0f}", fontsize=10)
        axes[1, column].set_xlabel("batch size B")
    axes[0, 0].set_ylabel("iterations to 1e-6")
    axes[1, 0].set_ylabel("row updates: iterations·B")
    axes[1, 0].legend(frameon=False, fontsize=9)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def threads(found: Mapping[str, Any], path: Path) -> bool:
    """Draw milliseconds per pass over threads; False if nothing was measured."""
    methods = {name: method for name, method in found["methods"].items() if "speedup" in method}
    if not methods:
        return False
    plt = _pyplot()
    figure, ax = plt.subplots(figsize=(5.2, 3.6), layout="constrained")
    for (name, method), colour in zip(methods.items(), ("#0072b2", "#d55e00"), strict=False):
        counts = [int(count) for count in method["seconds_per_epoch"]]
        times = [1e3 * seconds for seconds in method["seconds_per_epoch"].values()]
        ax.plot(counts, times, marker="o", color=colour, label=name)
        ax.plot(counts, [times[0] / count for count in counts], color=colour, lw=0.8, ls=":")
    ax.set_xticks(counts, [str(count) for count in counts])
    ax.set_ylim(bottom=0.0)
    ax.set_xlabel("threads (dotted: perfect)")
    ax.set_ylabel("milliseconds per pass over A")
    ax.set_title(f"{found['entries']:,} entries", fontsize=10)
    ax.legend(frameon=False)
    figure.savefig(path, dpi=110)
    plt.close(figure)
    return True
