"""The task behind ``POST /v1/solve``."""

from __future__ import annotations

import time
from collections.abc import Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

from ..engine import Share
from ..errors import SolverServiceError
from ..methods import Assignment, Prepared, Result, Trial, run, run_together
from ..problems.problem import Problem
from ..storage import full_disk_reported
from ..wire.results import Stages, encode_json, write_npz
from ..wire.systems import Content, System, read_system_content
from ..wire.validation import in_options
from . import state
from .learning import Experience
from .replies import MESSAGE_BYTES, Reply, reply_with

JSON, NPZ = "application/json", "application/x-npz"
_SECONDS_A_COLUMN = 1e-4
"""What it takes to verify, gather and encode what was found for one of many right-hand sides."""


@dataclass(frozen=True, slots=True)
class SolveRequest:
    """A system as it came, and how to answer.

    Parameters
    ----------
    parts : mapping of str to Content
        The parts of a multipart body, or a JSON body as ``body``.
    accepted : float
        When the request came, on the clock of `time.monotonic`.
    media_type : str
        JSON or npz.
    reply_path : Path
        Where to write a large reply.
    """

    parts: Mapping[str, Content]
    accepted: float
    media_type: str
    reply_path: Path


def solve(shares: Sequence[Share[SolveRequest, Reply]]) -> None:
    """Parse, solve side by side what has the same matrix, and answer each when it is done.

    Each stops at its deadline, or when asked to, with the best x so far. A mistake in one request fails that
    one; anything worse ends them all, to be repeated one by one.
    """
    worker = state.current()
    groups: dict[Hashable, list[_Work]] = {}
    for share in shares:
        with _failing(share):
            work = _read(share, worker)
            matrix = work.system.matrix
            groups.setdefault(matrix if isinstance(matrix, str) else share, []).append(work)
    for works in groups.values():
        matrix = works[0].system.matrix
        with _failing(*(work.share for work in works)):
            if isinstance(matrix, str):
                _solve(worker, worker.prepared(matrix, uses=len(works)), works)
            else:
                _solve(worker, Prepared(matrix), works)


@dataclass(frozen=True, slots=True, eq=False)
class _Work:
    share: Share[SolveRequest, Reply]
    system: System
    due: float
    parse: float
    queue: float


@contextmanager
def _failing(*shares: Share[SolveRequest, Reply]) -> Iterator[None]:
    """Let what is wrong with requests fail those of them that are not settled."""
    try:
        with in_options():
            yield
    except SolverServiceError as error:
        for share in shares:
            if not share.settled:
                share.fail(error)


def _read(share: Share[SolveRequest, Reply], worker: state.WorkerState) -> _Work:
    started = time.monotonic()
    config, request = worker.config, share.payload
    system = read_system_content(request.parts, config.limits)
    due = request.accepted + min(system.deadline or config.default_deadline, config.max_deadline)
    return _Work(share, system, due, time.monotonic() - started, started - share.context.submitted)


def _solve(worker: state.WorkerState, prepared: Prepared, works: list[_Work]) -> None:
    """Solve with one matrix: side by side what needs one thread only, then the others."""
    experience = Experience(worker, prepared)
    newest = experience.newest()
    lessons: list[tuple[Trial, ...]] = []
    together: list[tuple[_Work, Assignment]] = []
    apart: list[tuple[_Work, Assignment]] = []

    def answer(work: _Work, result: Result, shared: int) -> None:
        if work.system.warm_start and result.converged:
            experience.note_solution(result.x, work.share.context)
        work.share.answer(_reply(work.share.payload, result, Stages(work.parse, work.queue, shared)))

    def done(number: int, outcome: Result | Exception) -> None:
        work, _ = together[number]
        with _failing(work.share):
            if isinstance(outcome, Exception):
                raise outcome
            answer(work, outcome, len(together))

    for work in works:
        with _failing(work.share):
            system, tuning = work.system, newest
            problem = Problem.build(prepared.matrix, system.b, worker.start(system.x0))
            if system.warm_start:
                problem, tuning = experience.warm(problem, tuning)
            assignment = Assignment(
                problem=problem,
                options=system.options,
                should_stop=work.share.context.cancelled,
                deadline=_end(work.due, problem.columns),
                tuning=tuning,
                lessons=lessons,
            )
            (together if system.options.threads == 1 else apart).append((work, assignment))
    run_together(prepared, [assignment for _, assignment in together], done)
    for work, assignment in apart:
        with _failing(work.share):
            result = run(
                prepared,
                assignment.problem,
                assignment.options,
                should_stop=assignment.should_stop,
                deadline=assignment.deadline,
                tuning=assignment.tuning,
                lessons=lessons,
            )
            answer(work, result, 1)
    context = works[0].share.context
    worker.cache.trim()
    worker.keep(prepared, context)
    experience.note(lessons, context)


def _end(due: float, columns: int | None) -> float:
    """When to stop, so that what is told of many right-hand sides is put together by the time it is due."""
    left = due - time.monotonic()
    return due - min(_SECONDS_A_COLUMN * (columns or 0), 0.5 * max(left, 0.0))


def _reply(request: SolveRequest, result: Result, stages: Stages) -> Reply:
    """Encode a result. An earlier attempt may have left a file, which nobody has seen."""
    if request.media_type == JSON:
        return reply_with(encode_json(result, stages), JSON, request.reply_path)
    if result.x.nbytes <= MESSAGE_BYTES // 2:
        file = BytesIO()
        write_npz(result, stages, file)
        return reply_with(file.getvalue(), NPZ, request.reply_path)
    with full_disk_reported(), request.reply_path.open("wb") as target:
        write_npz(result, stages, target)
        return Reply(NPZ, request.reply_path, target.tell())
