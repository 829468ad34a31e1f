"""The log of a job: its changes of state and its convergence curve, both bounded, for streams to replay.

A client that reconnects names the revision that it has seen last and is sent what came after it. Of the
changes of state the first and the last are kept: a job that is given back at every shutdown may see any
number of them. Of the progress a bounded number of points is kept, evenly spaced in the logarithm of the
iterations, as that is how such curves are read, and always the last.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, TypeAlias

Entry: TypeAlias = tuple[int, str, Any]
"""Revision, kind, data."""

STATE: Final = "state"
PROGRESS: Final = "progress"

MOST_POINTS: Final = 64
FIRST_STATES: Final = 32
LAST_STATES: Final = 32


def with_state(log: Sequence[Entry], revision: int, state: str) -> tuple[Entry, ...]:
    """Return the log with a change of state; where there are too many, the oldest but the first ones goes."""
    entries = [*log, (revision, STATE, {"state": state})]
    places = _places(entries, STATE)
    if len(places) > FIRST_STATES + LAST_STATES:
        del entries[places[FIRST_STATES]]
    return tuple(entries)


def with_progress(log: Sequence[Entry], revision: int, progress: Mapping[str, Any]) -> tuple[Entry, ...]:
    """Return the log with the newest progress; where there are too many points, the most redundant goes."""
    entries = [*log, (revision, PROGRESS, dict(progress))]
    places = _places(entries, PROGRESS)
    if len(places) > MOST_POINTS:
        del entries[_most_redundant(entries, places)]
    return tuple(entries)


def since(log: Sequence[Entry], revision: int) -> tuple[Entry, ...]:
    """Return what came after `revision`."""
    return tuple(entry for entry in log if entry[0] > revision)


def _places(entries: Sequence[Entry], kind: str) -> list[int]:
    return [place for place, entry in enumerate(entries) if entry[1] == kind]


def _most_redundant(entries: Sequence[Entry], places: Sequence[int]) -> int:
    """Place of the inner point whose neighbours are nearest to each other in log(1 + iterations)."""
    counts = [1.0 + float(entries[place][2].get("iterations") or 0) for place in places]
    inner = range(1, len(places) - 1)
    return places[min(inner, key=lambda k: counts[k + 1] / counts[k - 1])]
