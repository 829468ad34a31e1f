"""The task that runs jobs: one, or several with the same matrix, side by side."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from ..engine import Share, TaskContext
from ..errors import OutOfMemoryError
from ..methods import (
    Assignment,
    Keeper,
    Options,
    Prepared,
    Progress,
    Result,
    Snapshot,
    Status,
    Trial,
    Tuning,
    compatible,
    run,
    run_together,
    solving_seconds,
)
from ..problems.matrix import Matrix
from ..problems.problem import Problem
from ..storage import JobFolder, full_disk_reported, read_snapshot, write_snapshot
from ..wire.results import Stages, encode_summary
from . import state
from .learning import Experience

_REPORT_SECONDS = 0.1
_WORTH_SAVING = 1.0
_SAVING = 0.02
"""Of the time, what all that run together may take for saving their states."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class RunRequest:
    """A claimed job.

    Parameters
    ----------
    id : str
    attempt : int
    matrix_id : str
    options : mapping
    waited : float
        Seconds from acceptance to the first attempt.
    due : float or None
        When the job has to end, on the clock of `time.monotonic`.
    seconds_before : float
        Solving seconds that came with the state of another job.
    seconds : float
        Solving seconds, those included, that were heard of last.
    tuning : int
        Version of what was known of the matrix when the job was accepted.
    warm_start : int or None
        See `Spec`.
    settle : {"cancelled", "time_limit"} or None
        Do not go on: verify what the last saved state holds, and end so.
    """

    id: str
    attempt: int
    matrix_id: str
    options: Mapping[str, Any]
    waited: float
    due: float | None
    seconds_before: float
    seconds: float
    tuning: int = 0
    warm_start: int | None = None
    settle: Literal["cancelled", "time_limit"] | None = None


@dataclass(frozen=True, slots=True)
class RunAnswer:
    """How the solve ended.

    Parameters
    ----------
    document : bytes
        The result as JSON, without x and certificate.y.
    status : Status
    overdue : bool
        Whether the deadline ended it.
    solution : str
    saved_state : str or None
    size : int
        Bytes of the files that stay.
    progress : dict
    """

    document: bytes
    status: Status
    overdue: bool
    solution: str
    saved_state: str | None
    size: int
    progress: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Heard:
    """What a job tells while it runs: progress, or that it has saved its state."""

    progress: dict[str, Any] | None = None
    saved: bool = False


def run_jobs(shares: Sequence[Share[RunRequest, RunAnswer]]) -> None:
    """Solve jobs with the same matrix, each from its last saved state, and answer each when it has ended.

    Several take one thread each. They have no influence on each other, but for the time that it takes.
    """
    worker = state.current()
    requests = [share.payload for share in shares]
    prepared = worker.prepared(requests[0].matrix_id, uses=sum(one.attempt == 1 for one in requests))
    experience = Experience(worker, prepared)
    tunings = {version: experience.pinned(version) for version in {one.tuning for one in requests}}
    lessons: list[tuple[Trial, ...]] = []
    works: list[_Work] = []
    for share in shares:
        with _failing(share):
            works.append(_Work(share, worker, prepared, tunings[share.payload.tuning], lessons, len(shares)))
    left = len(works)
    last: list[tuple[_Work, Result | Exception]] = []

    def done(number: int, outcome: Result | Exception) -> None:
        nonlocal left
        left -= 1
        if left == 0:
            last.append((works[number], outcome))
        else:
            works[number].end(outcome, experience)

    if [work.options.threads for work in works] == [1] * len(works):
        assignments = [
            Assignment(problem=work.problem, options=work.options, **work.conditions) for work in works
        ]
        run_together(prepared, assignments, done)
    else:
        for number, work in enumerate(works):
            try:
                outcome: Result | Exception = run(prepared, work.problem, work.options, **work.conditions)
            except Exception as error:
                outcome = error
            done(number, outcome)
    context = shares[0].context
    worker.cache.trim()
    worker.keep(prepared, context)
    experience.note(lessons, context)
    # Now that all else is done: with it the worker is free for the next jobs.
    for work, ending in last:
        work.end(ending, experience)


@contextmanager
def _failing(share: Share[RunRequest, RunAnswer]) -> Iterator[None]:
    """Let whatever is raised fail that job, and no other."""
    try:
        yield
    except Exception as error:
        share.fail(error)


class _Work:
    """One of the jobs."""

    def __init__(
        self,
        share: Share[RunRequest, RunAnswer],
        worker: state.WorkerState,
        prepared: Prepared,
        tuning: Tuning,
        lessons: list[tuple[Trial, ...]],
        shared: int,
    ) -> None:
        request, context = share.payload, share.context
        self.share = share
        self.options = Options.from_mapping(request.options)
        self._shared = shared
        self._folder = worker.files.folder(request.id)
        self.problem = Problem.build(prepared.matrix, *self._folder.read_input())
        tuning = replace(tuning, warm_start=request.warm_start or 0)
        snapshot = _last_state(self._folder, prepared.matrix, self.problem, self.options, tuning)
        self._keeper = Keeper(
            _Saver(self._folder, request.attempt, context).save,
            interval=worker.config.checkpoint_seconds,
            share=_SAVING / shared,
        )
        # What was done after the last save is lost, but not the seconds that it took.
        before = max(request.seconds, 0.0 if snapshot is None else solving_seconds(snapshot))
        self._teller = _Teller(context, before)
        # Nothing stops what only ends a job: it takes a moment, and there is nobody to end it better.
        settling = request.settle is not None
        self.conditions: dict[str, Any] = {
            "should_stop": (lambda: request.settle == "cancelled") if settling else context.cancelled,
            "deadline": time.monotonic() if request.settle == "time_limit" else request.due,
            "callback": self._teller.tell,
            "keeper": self._keeper,
            "snapshot": snapshot,
            "seconds_spent": max(before - request.seconds_before, 0.0),
            "tuning": tuning,
            "lessons": lessons,
        }

    def end(self, outcome: Result | Exception, experience: Experience) -> None:
        """Answer with what came out."""
        with _failing(self.share):
            if isinstance(outcome, Exception):
                raise outcome
            answer = self._answer(outcome)
            if self.share.payload.warm_start is not None and outcome.converged:
                experience.note_solution(outcome.x, self.share.context)
            self.share.answer(answer)

    def _answer(self, result: Result) -> RunAnswer:
        request, folder, latest = self.share.payload, self._folder, self._keeper.latest
        overdue = request.due is not None and time.monotonic() >= request.due
        proof = result.certificate
        solution = folder.write_solution(request.attempt, result.x, None if proof is None else proof.y)
        seconds = self._teller.seconds
        saved_state = None
        # To solve again what took a moment gives the same as to go on from its end.
        if latest is not None and (result.status is not Status.CONVERGED or seconds >= _WORTH_SAVING):
            saved_state = _save(folder, request.attempt, latest)
        return RunAnswer(
            document=encode_summary(result, Stages(None, request.waited, self._shared)),
            status=result.status,
            overdue=overdue and result.status is Status.TIME_LIMIT,
            solution=solution,
            saved_state=saved_state,
            size=folder.size(solution, saved_state),
            progress=asdict(Progress(result.iterations, result.epochs, seconds, result.relative_residual)),
        )


def _last_state(
    folder: JobFolder, matrix: Matrix, problem: Problem, options: Options, tuning: Tuning
) -> Snapshot | None:
    """The newest state that can be read and fits; a damaged one is a reason to look further back."""
    for path in folder.states():
        try:
            snapshot = read_snapshot(path)
        except (OSError, ValueError) as error:
            logger.warning("the state %s of a job cannot be read: %s", path.name, error)
            continue
        if compatible(snapshot, matrix, problem, options, tuning):
            return snapshot
        logger.warning("the state %s of a job is of another version", path.name)
    return None


def _save(folder: JobFolder, attempt: int, snapshot: Snapshot) -> str | None:
    """Save a state; without space for it the job goes on without."""
    try:
        with full_disk_reported(), folder.new_state(attempt) as path:
            write_snapshot(path, snapshot)
    except OutOfMemoryError:
        logger.warning("there is no space to save the state of a job")
        return None
    return f"state-{attempt}.zip"


class _Saver:
    def __init__(self, folder: JobFolder, attempt: int, context: TaskContext) -> None:
        self._folder, self._attempt, self._context = folder, attempt, context

    def save(self, snapshot: Snapshot) -> None:
        if _save(self._folder, self._attempt, snapshot) is not None:
            self._context.report(Heard(saved=True))


class _Teller:
    """Tells of progress; seconds are those of all right-hand sides and attempts."""

    def __init__(self, context: TaskContext, before: float) -> None:
        self._context = context
        self._before = before
        self._begun = time.monotonic()
        self._last = 0.0

    @property
    def seconds(self) -> float:
        return self._before + time.monotonic() - self._begun

    def tell(self, progress: Progress) -> None:
        now = time.monotonic()
        if now - self._last >= _REPORT_SECONDS:
            self._last = now
            self._context.report(Heard(progress=asdict(progress) | {"seconds": self.seconds}))
