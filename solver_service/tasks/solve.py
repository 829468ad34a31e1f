"""The task behind ``POST /v1/solve``."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

from ..engine import TaskContext
from ..methods import Prepared, run
from ..problems.problem import Problem
from ..storage import full_disk_reported
from ..wire.results import Stages, encode_json, write_npz
from ..wire.systems import Content, read_system_content
from ..wire.validation import in_options
from . import state
from .replies import MESSAGE_BYTES, Reply, reply_with

JSON, NPZ = "application/json", "application/x-npz"


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


def solve(context: TaskContext, request: SolveRequest) -> Reply:
    """Parse, solve, and encode. Stops at the deadline, or when asked to, with the best x so far."""
    started = time.monotonic()
    worker = state.current()
    config = worker.config
    system = read_system_content(request.parts, config.limits)
    matrix = system.matrix
    prepared = worker.prepared(matrix) if isinstance(matrix, str) else Prepared(matrix)
    problem = Problem.build(prepared.matrix, system.b, worker.start(system.x0))
    seconds = min(system.deadline or config.default_deadline, config.max_deadline)
    stages = Stages(parse=time.monotonic() - started, queue=started - context.submitted)
    with in_options():
        result = run(
            prepared,
            problem,
            system.options,
            should_stop=context.cancelled,
            deadline=request.accepted + seconds,
        )
    worker.cache.trim()
    if request.media_type == JSON:
        return reply_with(encode_json(result, stages), JSON, request.reply_path)
    if result.x.nbytes <= MESSAGE_BYTES // 2:
        file = BytesIO()
        write_npz(result, stages, file)
        return reply_with(file.getvalue(), NPZ, request.reply_path)
    with full_disk_reported(), request.reply_path.open("xb") as target:
        write_npz(result, stages, target)
        return Reply(NPZ, request.reply_path, target.tell())
