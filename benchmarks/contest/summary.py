"""The acceptance figures, as pure functions of a table of times.

A table maps each system to the seconds of each contestant, infinite where it did not solve the system within
the limit, and without those to whom the system does not apply. Whoever did not solve a system counts with the
limit. Systems that nobody solved are left out of every figure.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

Table = Mapping[str, Mapping[str, float]]

ITERATIVE = ("scipy lsqr", "scipy lsmr", "scipy cg")
SCIPY = (*ITERATIVE, "scipy direct")
LEAST_NORM = ("scipy lsqr", "scipy lsmr")
EASY = 0.005
"""A system on which the best rival takes longer is judged by the ratio of times, any other by `slow`."""
SLOW_FACTOR, SLOW_SECONDS = 2.0, 0.001


@dataclass(frozen=True)
class Duel:
    """A system on which a contestant was compared with the best of its rivals.

    `ratio` is the rival's time over the contestant's: above 1 the contestant is faster.
    """

    system: str
    seconds: float
    rival: str
    rival_seconds: float
    ratio: float = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "ratio", self.rival_seconds / self.seconds)


@dataclass(frozen=True)
class Comparison:
    """A contestant against the best of some rivals, system by system.

    Parameters
    ----------
    contestant : str
    rivals : tuple of str
    judged : int
        Systems on which the best rival takes over `EASY`.
    geometric_mean : float or None
        Of the ratios (best rival's time over the contestant's) on those; None if there are none.
    worst : Duel or None
        That of the smallest ratio.
    lost : tuple of Duel
        Those of a ratio below 1, worst first.
    slow : tuple of Duel
        Of the easier systems those where the contestant takes more than 2 × the best rival + 1 ms.
    """

    contestant: str
    rivals: tuple[str, ...]
    judged: int
    geometric_mean: float | None
    worst: Duel | None
    lost: tuple[Duel, ...]
    slow: tuple[Duel, ...]


def solved_systems(table: Table) -> list[str]:
    """Name the systems that any contestant solved."""
    return [system for system, times in table.items() if any(map(math.isfinite, times.values()))]


def share_solved(table: Table, contestant: str) -> float | None:
    """The share of the systems that any contestant solved which this one solves; None if there are none."""
    systems = solved_systems(table)
    if not systems:
        return None
    return sum(math.isfinite(table[system].get(contestant, math.inf)) for system in systems) / len(systems)


def unsolved(table: Table, contestant: str) -> list[str]:
    """Name the systems that others solved and this contestant did not."""
    return [name for name in solved_systems(table) if math.isinf(table[name].get(contestant, math.inf))]


def compare(table: Table, contestant: str, rivals: Sequence[str], limit: float) -> Comparison:
    """Compare a contestant with the best of its rivals on every system that any contestant solved."""
    duels = []
    for system in solved_systems(table):
        times = table[system]
        taken = {rival: _capped(times.get(rival), limit) for rival in rivals}
        rival = min(taken, key=lambda name: taken[name])
        duels.append(Duel(system, _capped(times.get(contestant), limit), rival, taken[rival]))
    hard = sorted((duel for duel in duels if duel.rival_seconds > EASY), key=lambda duel: duel.ratio)
    easy = (duel for duel in duels if duel.rival_seconds <= EASY)
    return Comparison(
        contestant,
        tuple(rivals),
        len(hard),
        geometric_mean(duel.ratio for duel in hard),
        hard[0] if hard else None,
        tuple(duel for duel in hard if duel.ratio < 1.0),
        tuple(duel for duel in easy if duel.seconds > SLOW_FACTOR * duel.rival_seconds + SLOW_SECONDS),
    )


def geometric_mean(ratios: Iterable[float]) -> float | None:
    """exp of the mean logarithm; None of nothing."""
    logarithms = [math.log(ratio) for ratio in ratios]
    return math.exp(math.fsum(logarithms) / len(logarithms)) if logarithms else None


def _capped(seconds: float | None, limit: float) -> float:
    return limit if seconds is None else min(seconds, limit)


@dataclass(frozen=True)
class Summary:
    """The acceptance figures of one table; a contestant that did not take part leaves None."""

    systems: int
    solvable: int
    auto_solves: float | None
    auto_fails_on: tuple[str, ...]
    iterative: Comparison | None
    scipy: Comparison | None
    without_direct: Comparison | None
    without_direct_solves: float | None
    minimum_norm: Comparison | None


def summarise(table: Table, limit: float) -> Summary:
    """Compute every figure."""
    present = {contestant for times in table.values() for contestant in times}

    def against(contestant: str, rivals: Sequence[str]) -> Comparison | None:
        if contestant not in present or present.isdisjoint(rivals):
            return None
        return compare(table, contestant, rivals, limit)

    def share(contestant: str) -> float | None:
        return share_solved(table, contestant) if contestant in present else None

    return Summary(
        len(table),
        len(solved_systems(table)),
        share("auto"),
        tuple(unsolved(table, "auto")) if "auto" in present else (),
        against("auto", ITERATIVE),
        against("auto", SCIPY),
        against("auto without direct", ITERATIVE),
        share("auto without direct"),
        against("auto minimum_norm", LEAST_NORM),
    )


def headline(summary: Summary) -> dict[str, float | None]:
    """The figures without the systems behind them."""
    found: dict[str, float | None] = {"auto_solves": summary.auto_solves}
    for name in ("iterative", "scipy", "without_direct", "minimum_norm"):
        comparison: Comparison | None = getattr(summary, name)
        found[f"{name}_geometric_mean"] = None if comparison is None else comparison.geometric_mean
        found[f"{name}_minimum"] = (
            None if comparison is None or comparison.worst is None else comparison.worst.ratio
        )
    return found | {"without_direct_solves": summary.without_direct_solves}


def lines(summary: Summary) -> list[str]:
    """Say the figures in words."""
    text = [
        f"(1) auto solves {_percent(summary.auto_solves)} of the {summary.solvable} systems "
        f"(of {summary.systems}) that any contestant solved{_names(summary.auto_fails_on)}"
    ]
    for title, comparison in (
        ("(2) auto against the best of SciPy's lsqr, lsmr, cg", summary.iterative),
        ("(3) auto against the best of SciPy, direct included", summary.scipy),
        ("(4) auto without direct against the best of SciPy's lsqr, lsmr, cg", summary.without_direct),
        ("(5) auto minimum_norm against the best of SciPy's lsqr, lsmr", summary.minimum_norm),
    ):
        text += [f"{title}: {_phrase(comparison)}", *(f"      {line}" for line in _details(comparison))]
        if comparison is not None and comparison is summary.without_direct:
            text.append(f"      solves {_percent(summary.without_direct_solves)} of the systems")
    return text


def _percent(share: float | None) -> str:
    return "–" if share is None else f"{100 * share:.1f} %"


def _names(names: Sequence[str]) -> str:
    return f"; not {', '.join(names)}" if names else ""


def _phrase(comparison: Comparison | None) -> str:
    if comparison is None:
        return "not measured"
    if comparison.worst is None:
        return "no system on which the best rival takes over 5 ms"
    worst = comparison.worst
    return (
        f"geometric mean {comparison.geometric_mean:.3g} on {comparison.judged} systems of over 5 ms, "
        f"minimum {worst.ratio:.3g} on {worst.system} "
        f"({1e3 * worst.seconds:.1f} ms, {worst.rival} {1e3 * worst.rival_seconds:.1f} ms)"
    )


def _details(comparison: Comparison | None) -> list[str]:
    if comparison is None:
        return []
    found = []
    if comparison.lost:
        found.append("loses: " + ", ".join(f"{duel.system} {duel.ratio:.3g}" for duel in comparison.lost))
    if comparison.slow:
        found.append(
            "slow on easier systems: "
            + ", ".join(
                f"{duel.system} {1e3 * duel.seconds:.1f} ms ({duel.rival} {1e3 * duel.rival_seconds:.1f})"
                for duel in comparison.slow
            )
        )
    return found
