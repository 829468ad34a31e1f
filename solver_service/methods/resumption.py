"""What a snapshot of a whole run holds beside the state of a solve: whose it is, and the columns done."""

from __future__ import annotations

import threading
import time
from dataclasses import asdict, replace
from typing import Any

from ..problems.matrix import Matrix
from ..problems.problem import Problem
from .clock import Clock
from .options import OPTIONS, Options
from .residuals import norm
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
from .snapshot import Capture, Holder, Keeper, Snapshot, nbytes
from .team import available_threads
from .tuning import NOTHING, Tuning

_FORMAT = 3
_MOST_BYTES = 64_000_000
_FREE = frozenset({"rtol", "atol", "max_epochs", "time_limit", "threads"})
"""Options that may change between two runs; of the threads their real number counts."""


def fingerprint(matrix: Matrix, problem: Problem, options: Options, tuning: Tuning) -> dict[str, Any]:
    """What has to be the same, as far as it can be told without reading A."""
    threads = available_threads()
    return {
        "format": _FORMAT,
        "tuning": tuning.label,
        "options": {spec.name: getattr(options, spec.name) for spec in OPTIONS if spec.name not in _FREE},
        "threads": threads if options.threads is None else min(options.threads, threads),
        "matrix": [*map(int, matrix.csr.shape), int(matrix.csr.nnz)],
        "b": list(problem.b.shape),
    }


def compatible(
    snapshot: Snapshot, matrix: Matrix, problem: Problem, options: Options, tuning: Tuning = NOTHING
) -> bool:
    """Whether a solve may go on from a snapshot: of this version, with the same options, tuning and shapes.

    Tolerances and limits may differ. That A and b are the same is for the caller to know.
    """
    return bool(snapshot.get("fingerprint") == fingerprint(matrix, problem, options, tuning))


def solving_seconds(snapshot: Snapshot) -> float:
    """Seconds of solving behind a snapshot, over all attempts."""
    return float(snapshot["seconds"][-1])


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
    keeper : Keeper or None
        Who is given the whole.
    clock : Clock
        That of the whole; it goes on from the snapshot.

    Notes
    -----
    Columns are at safe points at different moments. So when the state is due, each renews its own at the next
    safe point that it comes to, and then the whole is kept.

    Of a finished one the last state is kept, too, while there is room: other limits or tolerances may ask for
    more. Without it, it would begin anew.
    """

    def __init__(
        self, mark: dict[str, Any], count: int, snapshot: Snapshot | None, keeper: Keeper | None, clock: Clock
    ) -> None:
        self._mark = mark
        self._entries: list[Snapshot] = [{"state": None, "result": None} for _ in range(count)]
        if snapshot is not None:
            self._entries = list(snapshot["columns"])
            clock.restore(snapshot["seconds"])
        self._keeper = keeper
        self._clock = clock
        self._sizes = [nbytes(entry["state"]) for entry in self._entries]
        self._kept = sum(self._sizes)
        self._at_work: set[int] = set()
        self._renewing: set[int] | None = None
        self._spent = 0.0
        self._lock = threading.RLock()  # columns may be at work in several threads
        if keeper is not None:
            keeper.latest = snapshot

    def begin(self, place: int) -> Holder | None:
        """Say that a column is at work now; returns whom it offers its state, None if nobody wants it."""
        self._at_work.add(place)
        return None if self._keeper is None else _Place(self, place)

    def offer(self, place: int, capture: Capture) -> None:
        """Renew the state of a column if that is due, and keep the whole once all have."""
        keeper = self._keeper
        assert keeper is not None
        with self._lock:
            if self._renewing is None and keeper.due:
                self._renewing = set(self._at_work)
            if self._renewing is not None and place in self._renewing:
                start = time.perf_counter()
                self._entries[place] = {"state": capture(), "result": None}
                self._spent += time.perf_counter() - start
                self._renewing.discard(place)
            if self._renewing is not None and not self._renewing:
                keeper.take(self._whole, self._spent)
                self._renewing, self._spent = None, 0.0
            keeper.store_if_due()

    def take(self, place: int, capture: Capture) -> None:
        """Renew it at once, as there will be no other occasion."""
        assert self._keeper is not None
        with self._lock:
            self._entries[place] = {"state": capture(), "result": None}
            self._keeper.take(self._whole)

    def _whole(self) -> Snapshot:
        return {
            "fingerprint": self._mark,
            "columns": list(self._entries),
            "seconds": self._clock.capture(),
        }

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
        with self._lock:
            self._at_work.discard(place)
            if self._renewing is not None:
                self._renewing.discard(place)
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


class _Place:
    """Whom one column offers its state."""

    def __init__(self, record: Record, place: int) -> None:
        self._record, self._place = record, place

    def offer(self, capture: Capture) -> None:
        self._record.offer(self._place, capture)

    def take(self, capture: Capture) -> None:
        self._record.take(self._place, capture)


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
