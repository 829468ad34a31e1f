"""The tasks behind ``/v1/jobs``: take a system in, run a job, write its solution out."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import orjson

from ..engine import TaskContext
from ..errors import OutOfMemoryError
from ..jobs import Spec
from ..methods import (
    Keeper,
    Options,
    Prepared,
    Progress,
    Result,
    Snapshot,
    Status,
    check,
    compatible,
    run,
    solving_seconds,
)
from ..problems.matrix import Matrix
from ..problems.problem import Problem
from ..problems.properties import describe
from ..storage import JobFolder, full_disk_reported, read_snapshot, write_snapshot
from ..wire.documents import JobStart
from ..wire.jobs import digest_of
from ..wire.results import Stages, encode_solution, encode_summary
from ..wire.systems import Content, read_system_content
from ..wire.validation import in_options
from . import state
from .replies import Reply, reply_with

JSON = "application/json"
_REPORT_SECONDS = 0.1
_WORTH_SAVING = 1.0

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class SubmitRequest:
    """A system as it came, and the folder for its numbers.

    Parameters
    ----------
    parts : mapping of str to Content
        The parts of a multipart body, or a JSON body as ``body``.
    folder : Path
    """

    parts: Mapping[str, Content]
    folder: Path


@dataclass(frozen=True, slots=True)
class Submitted:
    """What was read: all that is put on record."""

    spec: Spec
    size: int
    digest: str


def submit_job(context: TaskContext, request: SubmitRequest) -> Submitted:
    """Read and check a system, and store its matrix and its numbers durably."""
    del context
    worker = state.current()
    system = read_system_content(request.parts, worker.config.limits)
    named = isinstance(system.matrix, str)
    prepared = worker.prepared(system.matrix) if isinstance(system.matrix, str) else Prepared(system.matrix)
    matrix = prepared.matrix
    problem = Problem.build(matrix, system.b, worker.start(system.x0))
    with in_options():
        check(prepared, problem, system.options)
    if not named:
        worker.store.put(matrix, properties=_properties(matrix))
    folder = JobFolder(request.folder)
    folder.write_input(problem.b, problem.x0)
    spec = Spec(
        matrix_id=matrix.id,
        shape=matrix.shape,
        nnz=matrix.nnz,
        columns=problem.columns,
        options=asdict(system.options),
        priority=system.priority,
        deadline=system.deadline,
    )
    worker.cache.trim()
    x0 = system.x0.job if isinstance(system.x0, JobStart) else problem.x0
    return Submitted(spec, folder.size(), digest_of(spec, problem.b, x0))


def _properties(matrix: Matrix) -> dict[str, Any]:
    """Those that cost next to nothing; the others are null until somebody stores the matrix by itself."""
    return asdict(describe(matrix))


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


def run_job(context: TaskContext, request: RunRequest) -> RunAnswer:
    """Solve from the last saved state, save the state now and then, and write the solution."""
    worker = state.current()
    folder = worker.files.folder(request.id)
    options = Options.from_mapping(request.options)
    prepared = worker.prepared(request.matrix_id)
    problem = Problem.build(prepared.matrix, *folder.read_input())
    snapshot = _last_state(folder, prepared, problem, options)
    keeper = Keeper(_Saver(folder, request.attempt, context).save, interval=worker.config.checkpoint_seconds)
    # What was done after the last save is lost, but not the seconds that it took.
    before = max(request.seconds, 0.0 if snapshot is None else solving_seconds(snapshot))
    teller = _Teller(context, before)
    # Nothing stops what only ends a job: it takes a moment, and there is nobody to end it better.
    settling = request.settle is not None
    due = time.monotonic() if request.settle == "time_limit" else request.due
    result = run(
        prepared,
        problem,
        options,
        should_stop=(lambda: request.settle == "cancelled") if settling else context.cancelled,
        deadline=due,
        callback=teller.tell,
        keeper=keeper,
        snapshot=snapshot,
        seconds_spent=max(before - request.seconds_before, 0.0),
    )
    overdue = request.due is not None and time.monotonic() >= request.due
    worker.cache.trim()
    return _answer(folder, request, result, keeper.latest, seconds=teller.seconds, overdue=overdue)


def _answer(
    folder: JobFolder,
    request: RunRequest,
    result: Result,
    latest: Snapshot | None,
    *,
    seconds: float,
    overdue: bool,
) -> RunAnswer:
    proof = result.certificate
    solution = folder.write_solution(request.attempt, result.x, None if proof is None else proof.y)
    saved_state = None
    # To solve again what took a moment gives the same as to go on from its end.
    if latest is not None and (result.status is not Status.CONVERGED or seconds >= _WORTH_SAVING):
        saved_state = _save(folder, request.attempt, latest)
    return RunAnswer(
        document=encode_summary(result, Stages(parse=None, queue=request.waited)),
        status=result.status,
        overdue=overdue and result.status is Status.TIME_LIMIT,
        solution=solution,
        saved_state=saved_state,
        size=folder.size(solution, saved_state),
        progress=asdict(Progress(result.iterations, result.epochs, seconds, result.relative_residual)),
    )


def _last_state(folder: JobFolder, prepared: Prepared, problem: Problem, options: Options) -> Snapshot | None:
    """The newest state that can be read and fits; a damaged one is a reason to look further back."""
    for path in folder.states():
        try:
            snapshot = read_snapshot(path)
        except (OSError, ValueError) as error:
            logger.warning("the state %s of a job cannot be read: %s", path.name, error)
            continue
        if compatible(snapshot, prepared.matrix, problem, options):
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


@dataclass(frozen=True, slots=True)
class SolutionRequest:
    """Which solution to write as JSON, and where.

    Parameters
    ----------
    id : str
    solution : str
        Name of the file.
    result : bytes or None
        The job's.
    reply_path : Path
    """

    id: str
    solution: str
    result: bytes | None
    reply_path: Path


def export_solution(context: TaskContext, request: SolutionRequest) -> Reply:
    """Write x and the certificate as a JSON document."""
    del context
    x, y = state.current().files.folder(request.id).read_solution(request.solution)
    certificate = None
    if request.result is not None and y is not None:
        certificate = {"y": y, **orjson.loads(request.result)["certificate"]}
    return reply_with(encode_solution(x, certificate), JSON, request.reply_path)
