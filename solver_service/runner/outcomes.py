"""What goes on record of an answer or an error."""

from __future__ import annotations

from ..errors import ShuttingDownError, SolverServiceError
from ..jobs import Outcome, State
from ..methods import Status
from ..tasks.run_jobs import RunAnswer
from .running import Running

_INTERNAL = "something went wrong here; the log has the cause"


def judge(running: Running, answer: RunAnswer) -> Outcome:
    """Return how a job has ended; raise `ShuttingDownError` if it was only to make room."""
    stopped = answer.status is Status.CANCELLED
    if stopped and not running.stop_requested:
        raise ShuttingDownError("the service is stopping")
    return outcome_of(answer, cancelled=stopped or answer.overdue)


def outcome_of(answer: RunAnswer, *, cancelled: bool) -> Outcome:
    """Return the end of a job with an x."""
    return Outcome(
        state=State.CANCELLED if cancelled else State.SUCCEEDED,
        result=answer.document,
        solution=answer.solution,
        saved_state=answer.saved_state,
        size=answer.size,
        progress={**answer.progress, "will_miss_deadline": None},
    )


def failure(error: SolverServiceError, *, size: int = 0) -> Outcome:
    """Return the end of a job without one."""
    detail = _INTERNAL if error.code == "internal" else error.detail
    return Outcome(state=State.FAILED, error=(error.code, detail), size=size)
