"""Our methods and `auto` against SciPy's solvers: every system × every contestant, one thread each.

Systems are the matrices of a folder (that of the tests, or --folder), with b = A x for a normal x, and large
problems of the gallery. Each pair runs in a process of its own, warm, with 10 s from A and b to x, matrices
prepared anew each time. Whether a system is solved says the benchmark's own residual. See docs/benchmarks.md.

    benchmarks/solvers.py                     a few minutes: 18 systems, 8 contestants, tolerance 1e-6
    benchmarks/solvers.py --full              everything, also at 1e-8: an hour or two (or BENCH=full)
    benchmarks/solvers.py --only lp_ w8a      systems whose names contain one of these
    benchmarks/solvers.py --docs              measure nothing: put the last run into docs/benchmarks.md
"""

from __future__ import annotations

import argparse
import json
import random
import sys
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import docs_page
import report
from contest import arena, contestants, profiles, summary, systems, tables

RESULTS = Path(__file__).parent / "results"
LIMIT = 10.0
LOOSE, TIGHT = 1e-6, 1e-8
SHOWN = (
    "auto",
    "auto without direct",
    "kaczmarz",
    "cgmn",
    "ssor_cgls",
    "ssor_cg",
    "scipy lsqr",
    "scipy lsmr",
    "scipy cg",
    "scipy direct",
)
"""Contestants in the profile and on the page; the JSON and the table beside it have them all."""


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0] if __doc__ else None)
    parser.add_argument(
        "--full", action="store_true", default=report.full(), help="everything; takes an hour or two"
    )
    parser.add_argument("--folder", type=Path, help="matrices: .mtx, .mtx.gz, .npz; all of them are taken")
    parser.add_argument("--no-gallery", action="store_true", help="leave out the problems of the gallery")
    parser.add_argument("--only", nargs="+", default=[], metavar="WORD", help="systems named so or alike")
    parser.add_argument("--contestants", nargs="+", metavar="NAME", choices=contestants.CONTESTANTS)
    parser.add_argument("--rtol", type=float, nargs="+", help="tolerances: true relative residuals")
    parser.add_argument("--limit", type=float, default=LIMIT, help="seconds for each solve")
    parser.add_argument("--seed", type=int, default=0, help="of the order of contestants")
    parser.add_argument("--output", type=Path, default=RESULTS, help="folder for results")
    parser.add_argument("--docs", action="store_true", help="measure nothing: rewrite docs/benchmarks.md")
    return parser.parse_args(arguments)


def measure(options: argparse.Namespace, record: dict[str, Any]) -> None:
    """Run every pair, system by system, and add the outcomes to the record, which is saved as it grows."""
    rng = random.Random(options.seed)
    folder = options.folder or report.matrices()
    if folder is None:
        print("the folder of real matrices is not here (SOLVER_SERVICE_TEST_MATRICES): the gallery alone")
    chosen = systems.all_systems(
        folder,
        few=not options.full and options.folder is None and not options.only,
        only=options.only,
        with_gallery=not options.no_gallery,
    )
    names = list(record["contestants"])
    for name, load in chosen:
        system = load()
        m, n = system.A.shape
        record["systems"].append({"name": name, "m": m, "n": n, "entries": int(system.A.nnz)})
        print(f"{name}: {m:,} × {n:,}, {system.A.nnz:,} entries", flush=True)
        hopeless: set[str] = set()
        for rtol in sorted(record["tolerances"], reverse=True):
            rng.shuffle(names)
            outcomes = []
            for contestant in names:
                if contestant in hopeless:
                    outcome = arena.Outcome(name, contestant, rtol, arena.LIMIT, note="at a looser tolerance")
                else:
                    outcome = arena.compete(system, contestants.CONTESTANTS[contestant], rtol, options.limit)
                if outcome.outcome in (arena.LIMIT, arena.CRASHED):
                    hopeless.add(contestant)
                outcomes.append(outcome)
            record["outcomes"] += [outcome.document() for outcome in outcomes]
            print(f"  {rtol:g}: {ranking(outcomes)}", flush=True)
        save(record, options.output)


def ranking(outcomes: list[arena.Outcome]) -> str:
    """Say in a line how it went, the fastest first."""
    solved = sorted((one.seconds, one.contestant) for one in outcomes if one.seconds is not None)
    said = [f"{name} {tables.milliseconds(seconds)}" for seconds, name in solved]
    lost = [
        f"{one.contestant} {one.outcome}"
        for one in outcomes
        if one.outcome not in (arena.SOLVED, arena.ABSENT)
    ]
    return ", ".join(said + lost) or "nobody takes it"


def tables_of(record: dict[str, Any]) -> dict[str, summary.Table]:
    """A table of seconds for each tolerance, the loosest first, and one of all together if there are more."""
    found: dict[str, dict[str, dict[str, float]]] = {}
    together: dict[str, dict[str, float]] = {}
    for outcome in record["outcomes"]:
        if outcome["outcome"] == arena.ABSENT:
            continue
        key = f"{outcome['rtol']:g}"
        seconds = float("inf") if outcome["seconds"] is None else outcome["seconds"]
        name, contestant = outcome["system"], outcome["contestant"]
        found.setdefault(key, {}).setdefault(name, {})[contestant] = seconds
        together.setdefault(f"{name} at {key}", {})[contestant] = seconds
    return found | ({"all": together} if len(found) > 1 else {})  # type: ignore[return-value]  # both are dicts


def save(record: dict[str, Any], folder: Path) -> None:
    """Write the JSON, with the figures of what has been measured so far."""
    folder.mkdir(parents=True, exist_ok=True)
    record["summaries"] = {
        key: asdict(summary.summarise(table, record["limit"])) for key, table in tables_of(record).items()
    }
    record["load_at_end"] = report.environment()["load"]
    new = folder / "solvers.json.new"
    new.write_text(json.dumps(record, indent=1, ensure_ascii=False) + "\n")
    new.replace(folder / "solvers.json")


def shapes(record: dict[str, Any]) -> dict[str, str]:
    """The shape of each system, as tables show it."""
    return {system["name"]: f"{system['m']:,} × {system['n']:,}" for system in record["systems"]}


def shown(record: dict[str, Any]) -> list[str]:
    """Contestants of `SHOWN` that took part in anything."""
    present = {one["contestant"] for one in record["outcomes"] if one["outcome"] != arena.ABSENT}
    return [name for name in SHOWN if name in present]


def draw(record: dict[str, Any], key: str, table: summary.Table, folder: Path) -> str:
    """Draw the profile of one tolerance; returns the name of the file."""
    folder.mkdir(parents=True, exist_ok=True)
    name = f"profile_{key}.png"
    title = f"Performance profile: relative residual {key}, {len(table)} systems"
    profiles.draw(table, shown(record), title, folder / name)
    return name


def present(record: dict[str, Any], folder: Path) -> None:
    """Write tables and profiles beside the JSON."""
    text = []
    for key, table in tables_of(record).items():
        if key != "all":
            text.append(f"## Milliseconds to a relative residual of {key}\n")
            text.append(tables.markdown(table, record["contestants"], shapes(record)))
            draw(record, key, table, folder)
    (folder / "solvers.md").write_text("\n".join(text))


def write_docs(folder: Path) -> None:
    """Put the last run into docs/benchmarks.md and docs/figures."""
    record = json.loads((folder / "solvers.json").read_text())
    parts = [docs_page.conditions(record)]
    for key, table in tables_of(record).items():
        if key == "all":
            continue
        figures = summary.summarise(table, record["limit"])
        said = summary.lines(figures)
        parts += [
            f"### To a relative residual of {key}",
            f"![Performance profile](figures/{draw(record, key, table, docs_page.FIGURES)})",
            "\n".join(f"* {line}" if line.startswith("(") else f"  * {line.strip()}" for line in said),
            "Where `auto` loses to the best of SciPy, `direct` included:",
            losses(record, key, figures.scipy),
            f"Milliseconds; – is not within {record['limit']:g} s, an empty cell not applicable:",
            tables.markdown(table, shown(record), shapes(record)),
        ]
    docs_page.update("solvers", "\n\n".join(parts))


def losses(record: dict[str, Any], key: str, comparison: summary.Comparison | None) -> str:
    """A table of the systems that are lost, and of the easy ones that are slow."""
    duels = [] if comparison is None else [*comparison.lost, *comparison.slow]
    if not duels:
        return "nowhere in this run."
    ran = {
        one["system"]: one["says"].get("method", one["outcome"])
        for one in record["outcomes"]
        if one["contestant"] == "auto" and f"{one['rtol']:g}" == key
    }
    rows = ["| system | auto, ms | it ran | the best of SciPy | ms | ratio |", "|---|---:|---|---|---:|---:|"]
    rows += [
        f"| {duel.system} | {tables.milliseconds(duel.seconds)} | {ran.get(duel.system, '')} | {duel.rival} "
        f"| {tables.milliseconds(duel.rival_seconds)} | {duel.ratio:.3g} |"
        for duel in duels
    ]
    return "\n".join(rows)


def main(arguments: list[str] | None = None) -> int:
    """Measure, or write the page."""
    options = parse(arguments)
    if options.docs:
        write_docs(options.output)
        return 0
    report.one_thread()
    report.begin("Our methods and SciPy's on the same systems, one thread")
    arena.warm_up()
    everyone = contestants.CONTESTANTS if options.full else contestants.FEW
    record: dict[str, Any] = {
        "benchmark": "solvers",
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "mode": "full" if options.full else "short",
        "environment": report.environment(),
        "limit": options.limit,
        "memory_limit_bytes": arena.MOST_BYTES,
        "seed": options.seed,
        "tolerances": options.rtol or ([LOOSE, TIGHT] if options.full else [LOOSE]),
        "contestants": options.contestants or list(everyone),
        "systems": [],
        "outcomes": [],
    }
    measure(options, record)
    if not record["outcomes"]:
        print("no system was chosen")
        return 2
    present(record, options.output)
    headlines = {}
    for key, table in tables_of(record).items():
        figures = summary.summarise(table, options.limit)
        headlines[key] = summary.headline(figures)
        which = "Both tolerances" if key == "all" else f"Relative residual {key}"
        print(f"\n{which}; whoever does not solve a system counts {options.limit:g} s")
        print("\n".join(summary.lines(figures)))
    print(f"\nTables, profiles and every number: {options.output}")
    return report.end("solvers", headlines)


if __name__ == "__main__":
    sys.exit(main())
