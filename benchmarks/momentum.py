"""The momentum rule at work: iterations of mini-batch Kaczmarz over the batch size B, with each momentum.

The measured case is that of the gallery: tall, 10 entries a row, columns scaled for a stable rank r near 117
and κ near 69. Medians of three seeds. Targets: at B = 4r Nesterov needs at most 0.3 × and heavy ball 0.4 ×
the iterations of no momentum; with Nesterov the work, iterations·B, stays within 1.5 × for B from 1 to 4r.
"""

from __future__ import annotations

import statistics
import sys

import report

import solver_service
from solver_service.problems import gallery

MOMENTA = ("none", "heavy_ball", "nesterov")
BATCHES = (0.0, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0)
"""In units of r; 0 stands for B = 1."""
SEEDS = (0, 1, 2)
RTOL = 1e-6
AT_4R = {"nesterov": 0.3, "heavy_ball": 0.4}
SPREAD = 1.5


def main() -> int:
    """Measure each batch size with each momentum."""
    report.begin("Iterations of mini-batch Kaczmarz over the batch size")
    problem = gallery.measured_case()
    prepared = solver_service.prepare(problem.A)

    def solve(batch_size: int, momentum: str, seed: int) -> solver_service.Result:
        result = prepared.solve(
            problem.b,
            method="kaczmarz",
            batch_size=batch_size,
            momentum=momentum,
            seed=seed,
            rtol=RTOL,
            max_epochs=200,
            threads=1,
        )
        assert result.converged, f"B = {batch_size}, {momentum}: {result.status}"
        return result

    spectrum = problem.spectrum
    assert spectrum is not None
    r, kappa = spectrum.stable_rank, spectrum.condition
    print(f"stable rank r = {r:.0f}, kappa = {kappa:.0f}, relative residual {RTOL:g}")
    print(
        f"{'B/r':>6}{'B':>7}"
        + "".join(f"{momentum:>12}" for momentum in MOMENTA)
        + "   (work: iterations x B)"
    )
    iterations: dict[str, dict[float, float]] = {momentum: {} for momentum in MOMENTA}
    sizes = {ratio: max(1, round(ratio * r)) for ratio in BATCHES}
    for ratio, size in sizes.items():
        for momentum in MOMENTA:
            counts = [solve(size, momentum, seed).iterations for seed in SEEDS]
            iterations[momentum][ratio] = statistics.median(counts)
        print(
            f"{ratio:>6g}{size:>7}"
            + "".join(f"{iterations[momentum][ratio]:>12,.0f}" for momentum in MOMENTA)
            + "   "
            + ", ".join(f"{iterations[momentum][ratio] * size:,.0f}" for momentum in MOMENTA),
            flush=True,
        )
    gains = {name: iterations[name][4.0] / iterations["none"][4.0] for name in AT_4R}
    spreads = {}
    for name in AT_4R:
        work = [iterations[name][ratio] * size for ratio, size in sizes.items() if ratio <= 4]
        spreads[name] = max(work) / min(work)
    for name, limit in AT_4R.items():
        print(
            f"{name}: {gains[name]:.2f} x the iterations of no momentum at B = 4r (target {limit}), "
            f"work within {spreads[name]:.2f} x for B from 1 to 4r"
            + (f" (target {SPREAD})" if name == "nesterov" else "")
        )
    met = all(gains[name] <= limit for name, limit in AT_4R.items()) and spreads["nesterov"] <= SPREAD
    return report.end(
        "momentum",
        {
            "r": r,
            "kappa": kappa,
            "batch_sizes": sizes,
            "iterations": iterations,
            "gains": gains,
            "spreads": spreads,
        },
        met=met,
    )


if __name__ == "__main__":
    sys.exit(main())
