"""How jobs go from state to state: each function reads only rows whose state allows what it does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from sqlalchemy import Connection, Row, delete, select

from ...errors import JobActiveError
from ...jobs import ENDED, Claim, Job, Outcome, Report, State
from . import records
from .rows import to_known_job
from .tables import idempotency_keys, jobs

WORKER_LOST: Final = "worker_lost"


def report(connection: Connection, reports: Sequence[Report], *, now: int) -> list[Claim]:
    """Note that claims are alive and how far they are; return those that are lost."""
    in_force = records.held(connection, [report.claim for report in reports])
    lost = []
    for told in reports:
        row = in_force.get(told.claim)
        if row is None:
            lost.append(told.claim)
            continue
        values: dict[str, Any] = {"heartbeat_at": now}
        if told.advanced:
            values["strikes"] = 0
        in_force[told.claim] = records.change(connection, row, progress=told.progress, **values)
    return lost


def finish(connection: Connection, of: Claim, outcome: Outcome, *, now: int) -> bool:
    """End a job; return False if the claim is lost. Told twice (after a commit in doubt), it is done once."""
    if outcome.state not in ENDED:
        raise ValueError(f"a job cannot end as {outcome.state}")
    row = records.held(connection, [of]).get(of)
    if row is None:
        return _is_finished(connection, of, outcome)
    records.change(
        connection,
        row,
        state=outcome.state,
        progress=outcome.progress,
        heartbeat_at=None,
        finished_at=now,
        result=None if outcome.result is None else outcome.result.decode(),
        solution=outcome.solution,
        saved_state=outcome.saved_state,
        size=outcome.size,
        **records.error_columns(outcome.error),
    )
    return True


def give_back(
    connection: Connection,
    of: Claim,
    *,
    strike: bool,
    most_strikes: int,
    progress: Mapping[str, Any] | None,
    now: int,
) -> Job | None:
    """Queue a running job again, or fail it if too many attempts in a row were lost."""
    row = records.held(connection, [of]).get(of)
    if row is None:
        return None
    return to_known_job(_give_back(connection, row, strike, most_strikes, progress, now))


def give_back_stalled(connection: Connection, silent_since: int, most_strikes: int, *, now: int) -> list[str]:
    """Give back the jobs whose holder was not heard of since; return their ids."""
    rows = records.lock(connection, records.may_become(State.QUEUED), jobs.c.heartbeat_at < silent_since)
    return [_give_back(connection, row, True, most_strikes, None, now).id for row in rows]


def request_stop(connection: Connection, job_id: str, *, now: int) -> Job:
    """Cancel a job that was never begun, ask one that was to stop, leave those alone that have ended."""
    row = records.lock_one(connection, job_id)
    match State(row.state):
        case State.QUEUED if row.attempts == 0:
            row = records.change(connection, row, state=State.CANCELLED, finished_at=now)
        case State.QUEUED | State.RUNNING if not row.stop_requested:
            row = records.change(connection, row, stop_requested=True, revision=row.revision + 1)
    return to_known_job(row)


def expire(connection: Connection, *, now: int) -> list[str]:
    """Cancel the jobs that were never begun and whose deadline has passed; return their ids."""
    rows = records.lock(
        connection,
        records.may_become(State.CANCELLED),
        jobs.c.state == State.QUEUED.value,
        jobs.c.due_at <= now,
        jobs.c.attempts == 0,  # else there may be a saved state, whose x the job is to end with
    )
    return [records.change(connection, row, state=State.CANCELLED, finished_at=now).id for row in rows]


def remove(connection: Connection, job_id: str) -> Job:
    """Remove a job that has ended, with its key; return what it was."""
    job = to_known_job(records.lock_one(connection, job_id))
    if job.active:
        raise JobActiveError("the job has not ended: it can be cancelled")
    connection.execute(delete(idempotency_keys).where(idempotency_keys.c.job_id == job.id))
    connection.execute(delete(jobs).where(jobs.c.number == job.number))
    return job


def _give_back(
    connection: Connection,
    row: Row[Any],
    strike: bool,
    most_strikes: int,
    progress: Mapping[str, Any] | None,
    now: int,
) -> Row[Any]:
    strikes = row.strikes + 1 if strike else row.strikes
    values: dict[str, Any] = {"strikes": strikes, "owner": None, "heartbeat_at": None, "progress": progress}
    if strike and strikes >= most_strikes:
        error = (WORKER_LOST, f"the process that worked on it was lost {strikes} times in a row")
        values |= records.error_columns(error) | {"finished_at": now}
        return records.change(connection, row, state=State.FAILED, **values)
    return records.change(connection, row, state=State.QUEUED, **values)


def _is_finished(connection: Connection, of: Claim, outcome: Outcome) -> bool:
    """Whether just this outcome is on record. Only `finish` leaves an owner to a job that has ended."""
    query = select(jobs.c.number).where(
        jobs.c.number == of.number,
        jobs.c.attempts == of.attempt,
        jobs.c.owner == of.owner,
        jobs.c.state == outcome.state.value,
        jobs.c.solution.is_not_distinct_from(outcome.solution),
        jobs.c.saved_state.is_not_distinct_from(outcome.saved_state),
    )
    return connection.execute(query).first() is not None
