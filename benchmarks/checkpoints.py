"""What it costs to keep and to save the state of a running solve: the same solve with and without, in turns.

With, the state is captured and saved as a job does it: by a `Keeper` at its usual pace, into the folder of a
job, down to the disk. Both do the same work, a number of passes that takes so long that something is saved: a
minute of the large system, whose first save waits until it is affordable, and 20 s of the other. Two
figures are told: the median of the ratios of the times, and what the `Keeper` itself has counted. On a busy
machine the first is the noisier one: to judge it, the spread of the times without is told too.
Target: both at most 3 %, on a large system, where every vector has 16 MB, and on ct_fan_128 (or a random
matrix of its size). With BENCH=full: more methods, more rounds.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import report
from scipy.sparse import csr_array, diags_array

from solver_service.methods import Keeper, Options, Prepared, Snapshot, prepare, run
from solver_service.problems.problem import Problem
from solver_service.storage import JobFolder, write_snapshot

TARGET = 0.03
SECONDS = {"large": 60.0, "middle": 20.0}
ROUNDS = {"large": 7, "middle": 7} if report.full() else {"large": 2, "middle": 5}
METHODS = ("kaczmarz", "cgmn", "lsqr", "lsmr") if report.full() else ("cgmn",)


def large(side: int = 1414) -> csr_array:
    """A sheet of 2 million points."""
    n = side * side
    ones = np.ones(n)
    return csr_array(
        diags_array(
            [-ones[side:], -ones[1:], 4.0 * ones, -ones[1:], -ones[side:]], offsets=[-side, -1, 0, 1, side]
        )
    )


class Saver:
    """Saves states as a job does, and counts bytes."""

    def __init__(self, folder: Path) -> None:
        self._folder = JobFolder(folder)
        self.bytes = 0

    def __call__(self, snapshot: Snapshot) -> None:
        """Save one."""
        with self._folder.new_state(1) as path:
            write_snapshot(path, snapshot)
            self.bytes = path.stat().st_size


def measure(
    name: str, prepared: Prepared, problem: Problem, method: str, folder: Path, size: str
) -> dict[str, Any]:
    """Compare, for one system and method."""
    endless = {"method": method, "rtol": 1e-15, "threads": 1}
    trial = run(
        prepared, problem, Options.from_mapping({**endless, "max_epochs": 1e9, "time_limit": SECONDS[size]})
    )
    options = Options.from_mapping({**endless, "max_epochs": trial.epochs})
    saver = Saver(folder)
    keepers: list[Keeper] = []

    def kept() -> None:
        keepers.append(Keeper(saver))
        run(prepared, problem, options, keeper=keepers[-1])

    with_it, without = report.in_turns(kept, lambda: run(prepared, problem, options), ROUNDS[size])
    counted = [keeper.seconds / seconds for keeper, seconds in zip(keepers, with_it, strict=True)]
    results = {
        "matrix": name,
        "method": method,
        "passes": trial.epochs,
        "seconds": statistics.median(without),
        "spread": (max(without) - min(without)) / statistics.median(without),
        "added": report.median_ratio(with_it, without) - 1.0,
        "counted": statistics.median(counted),
        "captures": keepers[-1].captures,
        "saves": keepers[-1].stores,
        "megabytes": saver.bytes / 1e6,
    }
    print(
        f"{name}, {method}: {results['seconds']:.1f} s, with saving {results['added']:+.1%} (spread without "
        f"{results['spread']:.1%}); counted {results['counted']:.2%}: {results['captures']} captures, "
        f"{results['saves']} saves of {results['megabytes']:.1f} MB",
        flush=True,
    )
    return results


def main() -> int:
    """Measure all."""
    report.one_thread()
    report.begin("The same solve with and without saving its state")
    results = []
    with tempfile.TemporaryDirectory() as folder:
        systems = {"large": ("sheet of 1414 x 1414", large()), "middle": report.fan_beam()}
        for size, (name, A) in systems.items():
            prepared = prepare(A)
            b = A @ np.random.default_rng(0).standard_normal(A.shape[1])
            problem = Problem.build(prepared.matrix, b, None)
            results += [measure(name, prepared, problem, method, Path(folder), size) for method in METHODS]
    print(f"target {TARGET:.0%} for both figures")
    met = all(max(one["added"], one["counted"]) <= TARGET for one in results)
    return report.end("checkpoints", results, met=met)


if __name__ == "__main__":
    sys.exit(main())
