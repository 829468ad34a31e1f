"""The tasks behind ``/v1/jobs``: take a system in, write a solution out. `run_jobs` has what lies between."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import orjson

from ..engine import TaskContext
from ..jobs import Spec
from ..methods import Prepared, Tuning, check
from ..problems.matrix import Matrix
from ..problems.problem import Problem
from ..problems.properties import describe
from ..storage import JobFolder
from ..wire.documents import JobStart
from ..wire.jobs import digest_of
from ..wire.results import encode_solution
from ..wire.systems import Content, read_system_content
from ..wire.validation import in_options
from . import state
from .learning import Experience, newest_version
from .replies import Reply, reply_with

JSON = "application/json"


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
    asked_x0 = system.x0.job if isinstance(system.x0, JobStart) else problem.x0
    warm_start = None
    if system.warm_start:
        problem, tuning = Experience(worker, worker.prepared(matrix.id)).warm(problem, Tuning())
        warm_start = tuning.warm_start
    version = newest_version(worker.store.prepared, matrix.id)
    if version:  # which one that can be read is to be pinned
        version = Experience(worker, worker.prepared(matrix.id)).newest().version
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
        tuning=version,
        warm_start=warm_start,
    )
    worker.cache.trim()
    return Submitted(spec, folder.size(), digest_of(spec, problem.b, asked_x0))


def _properties(matrix: Matrix) -> dict[str, Any]:
    """Those that cost next to nothing; the others are null until somebody stores the matrix by itself."""
    return asdict(describe(matrix))


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
