"""What earlier solves with a stored matrix have left for later ones, kept beside it for all workers."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Final

from ..engine import TaskContext
from ..errors import InvalidInputError
from ..methods import Prepared, Solutions, Trial, Tuning, learn
from ..methods.result import FloatArray
from ..problems.problem import Problem
from ..storage import LASTING, PreparedStore
from .prepared import StoredParts
from .state import WorkerState

_TUNING: Final = LASTING
_SOLUTIONS: Final = "solutions-"
_MOST_NEW = 8
"""Right-hand sides of one solve whose solutions are added: more would push each other out."""
_TRIES = 3
_VERSION = re.compile(r"[1-9][0-9]{0,8}", re.ASCII)


def newest_version(store: PreparedStore, matrix_id: str) -> int:
    """Version of the newest tuning that is stored of a matrix, 0 if there is none; it may be unreadable."""
    return max(_versions(store, matrix_id, _TUNING), default=0)


class Experience:
    """What is known of one matrix: nothing, ever, if it is not stored or nothing is kept of it.

    A tuning, once stored, does not change, so a solve can be repeated with the version that it began with.
    The solutions are replaced by newer ones, and may be evicted.

    Parameters
    ----------
    worker : WorkerState
    prepared : Prepared
    """

    def __init__(self, worker: WorkerState, prepared: Prepared) -> None:
        source = prepared.state.parts.source
        self._worker = worker
        self._store = worker.store.prepared
        self._matrix = prepared.matrix
        self._id = source.matrix_id if isinstance(source, StoredParts) else ""

    def newest(self) -> Tuning:
        """The newest tuning that can be read."""
        tunings = (self.pinned(version) for version in self._versions(_TUNING))
        return next((tuning for tuning in tunings if tuning.version), Tuning())

    def pinned(self, version: int) -> Tuning:
        """The tuning of that version; `Tuning()` if it is not there any more."""
        if version == 0 or not self._id:
            return Tuning()
        name = f"{_TUNING}{version}"
        snapshot = self._store.load(self._id, name)
        if snapshot is not None:
            try:
                tuning = Tuning.from_document(snapshot)
                if tuning.version == version:
                    return tuning
            except InvalidInputError:
                pass
            self._store.discard(self._id, name)
        return Tuning()

    def warm(self, problem: Problem, tuning: Tuning) -> tuple[Problem, Tuning]:
        """Return the problem with a start from earlier solutions, and the tuning that tells their version.

        Both come back as they are where that is of no use.
        """
        solutions = self._solutions()
        start = solutions.start(self._matrix, problem.b)
        if start is None:
            return problem, tuning
        return replace(problem, x0=start.x0), replace(tuning, warm_start=solutions.version)

    def note(self, lessons: Sequence[tuple[Trial, ...]], context: TaskContext) -> None:
        """Learn from finished solves, once the task has answered."""
        if self._id and lessons:
            context.afterwards(partial(self._learn, tuple(lessons)))

    def note_solution(self, x: FloatArray, context: TaskContext) -> None:
        """Keep a solution, (n,) or (n, k), for warm starts, once the task has answered."""
        if self._id:
            context.afterwards(partial(self._add, x if x.ndim == 1 else x[:, :_MOST_NEW]))

    def _learn(self, lessons: tuple[tuple[Trial, ...], ...]) -> None:
        """If another worker learns the same version at once, the first to store it has taught all."""
        old = self.newest()
        new = learn(old, lessons)
        if new.version > old.version:
            self._worker.save(self._id, f"{_TUNING}{new.version}", new.to_document())

    def _add(self, x: FloatArray) -> None:
        old = self._solutions()
        new = old.with_solution(self._matrix, x)
        if new.version > old.version and self._worker.save(
            self._id, f"{_SOLUTIONS}{new.version}", new.pack()
        ):
            for version in self._versions(_SOLUTIONS):
                if version < new.version:
                    self._store.remove(self._id, f"{_SOLUTIONS}{version}")
            self._worker.trim()

    def _solutions(self) -> Solutions:
        for _ in range(_TRIES):
            versions = self._versions(_SOLUTIONS)
            if not versions:
                break
            for version in versions:
                name = f"{_SOLUTIONS}{version}"
                snapshot = self._store.load(self._id, name)
                if snapshot is None:  # replaced just now
                    continue
                try:
                    return Solutions.unpack(snapshot, self._matrix.shape)
                except InvalidInputError:
                    self._store.discard(self._id, name)
        return Solutions.none(self._matrix.shape)

    def _versions(self, prefix: str) -> list[int]:
        return _versions(self._store, self._id, prefix) if self._id else []


def _versions(store: PreparedStore, matrix_id: str, prefix: str) -> list[int]:
    """Versions that are stored, the newest first."""
    names = store.names(matrix_id)
    endings = (_VERSION.fullmatch(name.removeprefix(prefix)) for name in names if name.startswith(prefix))
    return sorted((int(ending[0]) for ending in endings if ending is not None), reverse=True)
