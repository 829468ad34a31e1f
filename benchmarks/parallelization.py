"""Parallelization by momentum: work of mini-batch Kaczmarz over the batch size B, and time over threads.

S. Garg and M. Dereziński (arXiv:2605.18609) show that classical momentum makes a batch of B rows worth B
single rows up to a saturation. Measured here: iterations to 1e-6 of method kaczmarz with the automatic rule,
which is told nothing of the spectrum, against κ̄/B + √κ times a constant fitted for each matrix.

Targets: with either momentum the work, iterations·B, stays within 2 × for B from 1 to B* = r·√κ/2, and beyond
it iterations stay within 2.5 × of their floor; without, the work grows 3 × over the same range; two threads
make a pass over the rows 1.6 × faster. Judged are systems with √κ/2 ≥ 3, where there is that much to gain.

    benchmarks/parallelization.py           a minute or two: one seed, fewer batch sizes
    benchmarks/parallelization.py --full    medians of three seeds (or BENCH=full)
    benchmarks/parallelization.py --docs    measure nothing: put the last run into docs/benchmarks.md
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import docs_page
import report
from parallel import drawing, figures, threads
from parallel.systems import Case, cases

import solver_service

RESULTS = Path(__file__).parent / "results"
RTOL = 1e-6
MAX_EPOCHS = 20_000.0


def measure(case: Case, seeds: range, count: int) -> dict[str, Any]:
    """Count iterations for every batch size and momentum."""
    prepared = solver_service.prepare(case.A)
    r, kappa = case.spectrum.stable_rank, case.spectrum.condition
    rows = case.A.shape[0]
    sizes = figures.batch_sizes(r, case.saturation, rows, count)
    iterations: dict[str, dict[int, float]] = {name: {} for name in drawing.STYLES}
    missed = []
    print(f"\n{case.name}: {rows:,} × {case.A.shape[1]:,}")
    print(f"r = {r:.4g}, κ = {kappa:.4g}, B* = {case.saturation:.4g}")
    print(f"{'B/r':>8}{'B':>8}" + "".join(f"{name:>13}" for name in iterations) + "   (work: iterations·B)")
    for size in sizes:
        for momentum in iterations:
            counts = []
            for seed in seeds:
                result = prepared.solve(
                    case.b,
                    method="kaczmarz",
                    batch_size=size,
                    momentum=momentum,
                    seed=seed,
                    rtol=RTOL,
                    max_epochs=MAX_EPOCHS,
                    threads=1,
                )
                counts.append(result.iterations)
                if not result.converged:
                    missed.append(
                        {"B": size, "momentum": momentum, "seed": seed, "status": str(result.status)}
                    )
            iterations[momentum][size] = statistics.median(counts)
        print(
            f"{size / r:>8.3g}{size:>8,}"
            + "".join(f"{counts[size]:>13,.0f}" for counts in iterations.values())
            + "   "
            + ", ".join(f"{counts[size] * size:,.0f}" for counts in iterations.values()),
            flush=True,
        )
    both = [iterations[name] for name in figures.MOMENTA]
    verdict = figures.judge(iterations, case.saturation)
    factors = [figures.log_factor(counts, r, kappa) for counts in both]
    found = {
        "name": case.name,
        "m": rows,
        "n": case.A.shape[1],
        "generated": case.generated,
        "judged": figures.worth_judging(kappa),
        "r": r,
        "kappa": kappa,
        "saturation": case.saturation,
        "log_factor": statistics.geometric_mean(factors),
        "iterations": iterations,
        "not_converged": missed,
        **asdict(verdict),
    }
    found["met"] = verdict.met and not missed
    print(sentence(found), flush=True)
    return found


def sentence(case: dict[str, Any]) -> str:
    """Say the acceptance figures of one matrix."""
    spread = ", ".join(f"{drawing.LABELS[name]} {value:.2f} ×" for name, value in case["spread"].items())
    floors = ", ".join(
        f"{drawing.LABELS[name]} {'–' if value is None else f'{value:.2f} ×'}"
        for name, value in case["above_floor"].items()
    )
    failed = f"; {len(case['not_converged'])} runs did not converge" if case["not_converged"] else ""
    return (
        f"{case['name']}: work within {spread} from 1 to B* (target {figures.MOST_SPREAD:g}); beyond it "
        f"iterations within {floors} of their floor (target {figures.MOST_ABOVE_FLOOR:g}); no momentum: "
        f"the work grows {case['growth_without']:.2f} × (target {figures.LEAST_GROWTH:g}){failed}: "
        f"{'met' if case['met'] else 'MISSED'}{'' if case['judged'] else ' (not judged: κ is small)'}"
    )


def thread_lines(found: dict[str, Any]) -> list[str]:
    """Say what threads bring."""
    said = []
    for name, method in found["methods"].items():
        if "skipped" in method:
            said.append(f"{name}: not measured ({method['skipped']})")
            continue
        times = ", ".join(
            f"{count} threads {1e3 * seconds:.1f} ms ({method['speedup'][count]:.2f} ×)"
            for count, seconds in method["seconds_per_epoch"].items()
        )
        said.append(
            f"{name}: a pass over {found['entries']:,} entries with {times}; "
            f"target {threads.LEAST_SPEEDUP:g} × with 2"
        )
    return said


def draw(record: dict[str, Any], folder: Path) -> list[str]:
    """Draw the pictures; returns those that there were numbers for, as Markdown."""
    folder.mkdir(parents=True, exist_ok=True)
    drawn = []
    for name, title, generated in (
        ("parallelization.png", "Generated systems", True),
        ("parallelization_real.png", "Real systems", False),
    ):
        chosen = [case for case in record["cases"] if case["generated"] is generated]
        if chosen:
            drawing.batches(chosen, folder / name)
            drawn.append(f"![{title}](figures/{name})")
    if record["threads"] and drawing.threads(record["threads"], folder / "threads.png"):
        drawn.append("![Time over threads](figures/threads.png)")
    return drawn


def write_docs(folder: Path) -> None:
    """Put the last run into docs/benchmarks.md and docs/figures."""
    record = json.loads((folder / "parallelization.json").read_text())
    seeds = "one seed" if record["seeds"] == 1 else f"medians of {record['seeds']} seeds"
    said = [sentence(case) for case in record["cases"]] + thread_lines(record["threads"] or {"methods": {}})
    parts = [
        f"{docs_page.conditions(record)} Iterations: {seeds}.",
        *draw(record, docs_page.FIGURES),
        "\n".join(f"* {line}" for line in said),
    ]
    docs_page.update("parallelization", "\n\n".join(parts))


def main(arguments: list[str] | None = None) -> int:
    """Measure, or write the page."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0] if __doc__ else None)
    parser.add_argument(
        "--full", action="store_true", default=report.full(), help="three seeds, more batches"
    )
    parser.add_argument(
        "--only", nargs="+", default=[], metavar="WORD", help="matrices named so, and threads"
    )
    parser.add_argument("--output", type=Path, default=RESULTS, help="folder for results")
    parser.add_argument("--docs", action="store_true", help="measure nothing: rewrite docs/benchmarks.md")
    options = parser.parse_args(arguments)
    if options.docs:
        write_docs(options.output)
        return 0
    report.one_thread()
    report.begin("Mini-batch Kaczmarz with momentum: work over the batch size, time over threads")
    record: dict[str, Any] = {
        "benchmark": "parallelization",
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "mode": "full" if options.full else "short",
        "environment": report.environment(),
        "rtol": RTOL,
        "seeds": 3 if options.full else 1,
        "cases": [],
        "threads": None,
    }

    def wanted(name: str) -> bool:
        return not options.only or any(word in name for word in options.only)

    for case in cases(report.matrices()):
        if wanted(case.name):
            record["cases"].append(measure(case, range(record["seeds"]), 13 if options.full else 8))
    if wanted("threads"):
        record["threads"] = threads.measure(5 if options.full else 3)
        print()
        print("\n".join(thread_lines(record["threads"])))
    draw(record, options.output)
    faster = threads.met(record["threads"]) if record["threads"] else None
    record["met"] = all(case["met"] for case in record["cases"] if case["judged"]) and faster is not False
    (options.output / "parallelization.json").write_text(
        json.dumps(record, indent=1, ensure_ascii=False) + "\n"
    )
    results = {
        "cases": [
            {key: value for key, value in case.items() if key != "iterations"} for case in record["cases"]
        ],
        "threads": record["threads"],
    }
    return report.end("parallelization", results, met=record["met"])


if __name__ == "__main__":
    sys.exit(main())
