"""Draw a reconstruction and a convergence curve as PNG files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure  # without pyplot no display is needed
from numpy.typing import NDArray


def reconstruction(phantom: NDArray[np.float64], image: NDArray[np.float64], path: Path) -> None:
    """Draw the phantom, the reconstruction and their difference side by side."""
    difference = image - phantom
    reach = float(np.abs(difference).max()) or 1.0
    figure = Figure(figsize=(13, 4.2), layout="constrained")
    axes = figure.subplots(1, 3)
    grey = {"cmap": "gray", "vmin": phantom.min(), "vmax": phantom.max()}
    panels = (
        ("phantom", phantom, grey),
        ("reconstruction", image, grey),
        ("difference", difference, {"cmap": "RdBu_r", "vmin": -reach, "vmax": reach}),
    )
    for axis, (title, pixels, style) in zip(axes, panels, strict=True):
        shown = axis.imshow(pixels, interpolation="nearest", **style)
        axis.set(title=title, xticks=[], yticks=[])
        figure.colorbar(shown, ax=axis, shrink=0.85)
    figure.savefig(path, dpi=120)


def convergence(result: dict[str, Any], rtol: float, title: str, path: Path) -> None:
    """Draw the relative residual over the work, on a log axis, with the tolerance."""
    points = [
        (point["epochs"], point["relative_residual"])
        for point in result["history"]
        if point["relative_residual"] > 0
    ]
    figure = Figure(figsize=(8, 4.8), layout="constrained")
    axis = figure.subplots()
    if points:
        axis.plot(*zip(*points, strict=True), marker="o", markersize=3, label=result["method"])
    axis.axhline(rtol, color="tab:red", linestyle="--", label=f"tolerance {rtol:g}")
    axis.set(
        title=f"{title}\n{result['status']}: relative residual {result['relative_residual']:.2e}",
        xlabel="epochs (passes over A)",
        ylabel="relative residual",
        yscale="log",
    )
    axis.grid(visible=True, which="major", alpha=0.3)
    axis.legend()
    figure.savefig(path, dpi=120)
