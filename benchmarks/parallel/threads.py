"""Seconds per pass over A against the number of threads, on a matrix that takes many passes."""

from __future__ import annotations

import os
import statistics
from collections.abc import Mapping
from typing import Any

import solver_service
from solver_service.errors import MethodNotApplicableError, UnknownMethodError
from solver_service.problems import gallery

LEAST_SPEEDUP = 1.6
BATCH = 16_384
CONTESTANTS: Mapping[str, Mapping[str, Any]] = {
    f"kaczmarz, B = {BATCH:,}": {"method": "kaczmarz", "batch_size": BATCH, "max_epochs": 8},
    "cgmn": {"method": "cgmn", "max_epochs": 16},
}


def measure(rounds: int) -> dict[str, Any]:
    """Time each method with 1, 2, 4 … threads in turns; speed-ups are medians over rounds."""
    problem = gallery.ill_conditioned(500_000, 2_000, 10, decades=4.0)
    prepared = solver_service.prepare(problem.A)
    counts = [count for count in (1, 2, 4, 8) if count <= (os.cpu_count() or 1)]
    found: dict[str, Any] = {
        "matrix": problem.note,
        "entries": int(problem.A.nnz),
        "threads": counts,
        "methods": {},
    }
    for name, options in CONTESTANTS.items():

        def per_epoch(threads: int, options: Mapping[str, Any] = options) -> float:
            result = prepared.solve(problem.b, rtol=0.0, threads=threads, **options)
            return result.timings.solve / result.epochs

        try:
            for count in counts:
                per_epoch(count)  # prepares, and warms the threads
        except (UnknownMethodError, MethodNotApplicableError) as error:
            found["methods"][name] = {"skipped": str(error)}
            continue
        times: dict[int, list[float]] = {count: [] for count in counts}
        for number in range(rounds):
            for count in counts if number % 2 else counts[::-1]:
                times[count].append(per_epoch(count))
        found["methods"][name] = {
            "seconds_per_epoch": {count: statistics.median(times[count]) for count in counts},
            "speedup": {
                count: statistics.median(a / b for a, b in zip(times[1], times[count], strict=True))
                for count in counts
            },
        }
    return found


def met(found: Mapping[str, Any]) -> bool | None:
    """Whether every method measured gains enough from two threads; None on one core."""
    gains = [method["speedup"] for method in found["methods"].values() if "speedup" in method]
    if 2 not in found["threads"] or not gains:
        return None
    return all(gain[2] >= LEAST_SPEEDUP for gain in gains)
