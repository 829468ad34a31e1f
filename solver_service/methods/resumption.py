"""What a snapshot of a whole run holds beside the state of a solve: whose it is, and the columns done."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import Any

from ..problems.matrix import Matrix
from ..problems.problem import Problem
from .options import OPTIONS, Options
from .result import (
    Certificate,
    FloatArray,
    Forecast,
    HistoryPoint,
    Parameters,
    Phase,
    Result,
    Status,
    Timings,
    WorstEquation,
)
from .snapshot import Capture, Snapshot, nbytes
from .state import TUNING
from .team import available_threads
from .verification import norm

_FORMAT = 2
_MOST_BYTES = 64_000_000
_FREE = frozenset({"rtol", "atol", "max_epochs", "time_limit", "threads"})
"""Options that may change between two runs; of the threads their real number counts."""


def fingerprint(matrix: Matrix, problem: Problem, options: Options) -> dict[str, Any]:
    """What has to be the same, as far as it can be told without reading A."""
    threads = available_threads()
    return {
        "format": _FORMAT,
        "tuning": TUNING,
        "options": {spec.name: getattr(options, spec.name) for spec in OPTIONS if spec.name not in _FREE},
        "threads": threads if options.threads is None else min(options.threads, threads),
        "matrix": [*map(int, matrix.csr.shape), int(matrix.csr.nnz)],
        "b": list(problem.b.shape),
    }


def compatible(snapshot: Snapshot, matrix: Matrix, problem: Problem, options: Options) -> bool:
    """Whether a solve may go on from a snapshot: made by this version, with the same options and shapes.

    Tolerances and limits may differ. That A and b are the same is for the caller to know.
    """
    return bool(snapshot.get("fingerprint") == fingerprint(matrix, problem, options))


def solving_seconds(snapshot: Snapshot) -> float:
    """Seconds of solving behind a snapshot, over all attempts and columns."""
    total = 0.0
    for entry in snapshot["columns"]:
        if entry["result"] is not None:
            total += entry["result"]["timings"]["total"]
        elif entry["state"] is not None:
            total += entry["state"]["seconds"][-1]
    return total


class Record:
    """What is known of each of k right-hand sides: its result, or a state to go on from.

    Parameters
    ----------
    mark : dict
        See `fingerprint`.
    count : int
        k.
    snapshot : Snapshot or None
        Of an earlier run.

    Notes
    -----
    Of a finished one the last state is kept, too, while there is room: other limits or tolerances may ask for
    more. Without it, it would begin anew.
    """

    def __init__(self, mark: dict[str, Any], count: int, snapshot: Snapshot | None) -> None:
        self._mark = mark
        self._entries: list[Snapshot] = (
            [{"state": None, "result": None} for _ in range(count)]
            if snapshot is None
            else list(snapshot["columns"])
        )
        self._sizes = [nbytes(entry["state"]) for entry in self._entries]
        self._kept = sum(self._sizes)

    def wrap(self, place: int, capture: Capture) -> Snapshot:
        """Capture the whole with column `place` at work."""
        self._entries[place] = {"state": capture(), "result": None}
        return {"fingerprint": self._mark, "columns": list(self._entries)}

    def state(self, place: int) -> Snapshot | None:
        """Where to go on in a column."""
        state: Snapshot | None = self._entries[place]["state"]
        return state

    def result(self, place: int, b: FloatArray, options: Options) -> Result | None:
        """What an earlier run found, if it is what this one would find."""
        entry = self._entries[place]
        if entry["result"] is None or entry["limit"] not in (None, [options.max_epochs]):
            return None
        result = unpack(entry["result"])
        target = max(options.rtol * norm(b), options.atol)
        if result.target == target:
            return result
        if result.residual_norm > target:
            return None
        return replace(
            result, status=Status.CONVERGED, target=target, advice="", certificate=None, worst_equations=None
        )

    def end(self, place: int, result: Result, options: Options, *, limited: bool) -> None:
        """Put down a result, unless an interruption ended it; `limited` if it depends on `max_epochs`."""
        if result.status in (Status.CANCELLED, Status.TIME_LIMIT):
            return
        state = self._entries[place]["state"]
        size = nbytes(state)
        others = self._kept - self._sizes[place]
        if others + size > _MOST_BYTES:
            state, size = None, 0
        self._sizes[place], self._kept = size, others + size
        self._entries[place] = {
            "state": state,
            "result": pack(result),
            "limit": [options.max_epochs] if limited else None,
        }


def pack(result: Result) -> Snapshot:
    """Put a result into plain data."""
    packed = asdict(result)
    return packed | {name: [*packed[name]] for name in ("phases", "history")} | {"status": str(result.status)}


def unpack(packed: Snapshot) -> Result:
    """Put it together again."""
    parts: dict[str, Any] = {
        "status": Status(packed["status"]),  # type: ignore[call-arg]  # a look-up by value
        "parameters": Parameters(**packed["parameters"]),
        "phases": tuple(Phase(**phase) for phase in packed["phases"]),
        "history": tuple(HistoryPoint(**point) for point in packed["history"]),
        "timings": Timings(**packed["timings"]),
    }
    if packed["forecast"] is not None:
        parts["forecast"] = Forecast(**packed["forecast"])
    if packed["certificate"] is not None:
        parts["certificate"] = Certificate(**packed["certificate"])
    if packed["worst_equations"] is not None:
        parts["worst_equations"] = tuple(WorstEquation(**one) for one in packed["worst_equations"])
    return Result(**(packed | parts))
