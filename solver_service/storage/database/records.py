"""Rows as they are read for a change, and written. All of it inside a transaction that writes.

Rows are locked as they are read (on SQLite the whole database is), so what is computed from them holds until
the commit.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, Row, bindparam, select, update

from ...jobs import Claim, State, may_follow, sources
from ...jobs.log import with_progress, with_state
from . import queries
from .rows import DAMAGED, storable, to_json, to_sound_log
from .tables import jobs

# Made once: to compose a statement takes longer than to execute it.
_UPDATE: Final = update(jobs).where(jobs.c.number == bindparam("which")).returning(jobs)


def may_become(state: State) -> ColumnElement[bool]:
    """Whether a job is in a state from which it may come to `state`."""
    return jobs.c.state.in_(sorted(source.value for source in sources(state)))


# In the order of the numbers, lest two that lock several wait for each other.
_HELD: Final = (
    select(jobs)
    .where(jobs.c.number.in_(bindparam("numbers", expanding=True)), jobs.c.state == State.RUNNING.value)
    .order_by(jobs.c.number)
    .with_for_update()
)


def lock(
    connection: Connection,
    *conditions: ColumnElement[bool],
    order: Sequence[ColumnElement[Any]] = (jobs.c.number,),
    limit: int | None = None,
) -> Sequence[Row[Any]]:
    """Read and lock rows that no other transaction holds."""
    query = select(jobs).where(*conditions).order_by(*order).limit(limit)
    return connection.execute(query.with_for_update(skip_locked=True)).all()


def lock_one(connection: Connection, job_id: str) -> Row[Any]:
    """Read and lock a row, waiting for whoever holds it; raise `JobNotFoundError`."""
    query = select(jobs).where(jobs.c.id == job_id).with_for_update()
    row = connection.execute(query).first() if storable(job_id) else None
    if row is None:
        raise queries.not_found()
    return row


def held(connection: Connection, claims: Iterable[Claim]) -> dict[Claim, Row[Any]]:
    """Read and lock the jobs of those claims that are in force."""
    numbers = sorted({claim.number for claim in claims})
    rows = connection.execute(_HELD, {"numbers": numbers})
    return {Claim(row.number, row.attempts, row.owner): row for row in rows}


def change(
    connection: Connection,
    row: Row[Any],
    *,
    state: State | None = None,
    progress: Mapping[str, Any] | None = None,
    **values: Any,
) -> Row[Any]:
    """Write to a locked row, and return it as it is now.

    State and progress, which streams replay, go to the log, each entry with a revision of its own.
    """
    if progress is not None or state is not None:
        log, revision = to_sound_log(row.log), row.revision
        if progress is not None and (text := to_json(progress)) != row.progress:
            values["progress"] = text
            revision += 1
            log = with_progress(log, revision, progress)
        if state is not None:
            if not may_follow(State(row.state), state):
                raise ValueError(f"a job that is {row.state} cannot become {state}")
            values["state"] = state.value
            revision += 1
            log = with_state(log, revision, state)
        if revision != row.revision:
            values |= {"log": to_json(log), "revision": revision}
    return connection.execute(_UPDATE, {"which": row.number, **values}).one()


def fail_damaged(connection: Connection, row: Row[Any], now: int) -> None:
    """Fail a job that waits and whose documents cannot be read: nobody could run it."""
    # Not by `change`: no sound job goes from waiting to failed.
    revision = row.revision + 1
    values = {
        "state": State.FAILED.value,
        "progress": None,
        "finished_at": now,
        "revision": revision,
        "log": to_json(with_state(to_sound_log(row.log), revision, State.FAILED)),
    }
    connection.execute(_UPDATE, {"which": row.number, **values, **error_columns(("internal", DAMAGED))})


def error_columns(error: tuple[str, str] | None) -> dict[str, Any]:
    """Return the values of the columns of an error."""
    if error is None:
        return {"error_code": None, "error_detail": None}
    code, detail = error
    # PostgreSQL cannot hold NUL, and neither can encode half of a surrogate pair.
    return {
        "error_code": code,
        "error_detail": detail.replace("\0", "").encode("utf-8", "replace").decode("utf-8"),
    }
