"""How jobs come onto record, and how a matrix is kept from being removed meanwhile."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Final

from sqlalchemy import Connection, delete, func, insert, select, update
from sqlalchemy.dialects import postgresql, sqlite

from ...errors import (
    IdempotencyConflictError,
    MatrixInUseError,
    MatrixNotFoundError,
    QueueFullError,
)
from ...jobs import ACTIVE, Job, NewJob, State
from ...jobs.log import with_state
from . import queries
from .connection import POSTGRESQL
from .rows import from_spec, to_job, to_json
from .tables import idempotency_keys as keys
from .tables import jobs

_QUEUE_FULL_RETRY: Final = 5
_INSERT: Final = insert(jobs).returning(jobs)


def add(
    connection: Connection,
    new: NewJob,
    *,
    now: int,
    keys_since: int,
    most_queued: int,
    matrix_exists: Callable[[], bool],
) -> tuple[Job, bool]:
    """Put a job on record, unless its key names one already."""
    if new.key is not None:
        earlier = _claim_key(connection, new.key, new, now, keys_since)
        if earlier is not None:
            return earlier, False
    # Of several servers on PostgreSQL each counts without the others' last moment; the bound is no sharp one.
    if queries.count_queued(connection) >= most_queued:
        raise QueueFullError("too many jobs wait", retry_after=_QUEUE_FULL_RETRY)
    _guard(connection, new.spec.matrix_id, shared=True)
    if not matrix_exists():
        raise MatrixNotFoundError("no matrix is stored under this id")
    return _insert(connection, new, now), True


def remove_matrix(connection: Connection, matrix_id: str, remove: Callable[[], object]) -> None:
    """Remove a matrix unless an active job needs it."""
    _guard(connection, matrix_id, shared=False)
    query = select(jobs.c.number).where(
        jobs.c.matrix_id == matrix_id, jobs.c.state.in_([state.value for state in ACTIVE])
    )
    if connection.execute(query.limit(1)).first() is not None:
        raise MatrixInUseError("a job that has not ended needs this matrix")
    remove()


def forget_keys(connection: Connection, until: int) -> int:
    """Remove the keys that are as old as `until` or older; return how many."""
    return connection.execute(delete(keys).where(keys.c.created_at <= until)).rowcount


def _claim_key(connection: Connection, key: str, new: NewJob, now: int, since: int) -> Job | None:
    """Make `key` that of the new job; if it is that of another, return that one."""
    values = {"digest": new.digest, "job_id": new.id, "created_at": now}
    while True:
        # Of several at once, one inserts; the others wait here until it is committed, and then see it.
        made = _insert_if_new(connection)(keys).values(key=key, **values).on_conflict_do_nothing()
        if connection.execute(made.returning(keys.c.key)).first() is not None:
            return None
        row = connection.execute(select(keys).where(keys.c.key == key).with_for_update()).first()
        if row is not None:
            break  # else it was removed in between
    if row.created_at > since:
        job = connection.execute(select(jobs).where(jobs.c.id == row.job_id)).first()
        if job is not None:
            if row.digest != new.digest:
                raise IdempotencyConflictError("this idempotency key was used with other content")
            return to_job(job)
    connection.execute(update(keys).where(keys.c.key == key).values(**values))
    return None


def _insert_if_new(connection: Connection) -> type[postgresql.Insert] | type[sqlite.Insert]:
    return postgresql.Insert if connection.dialect.name == POSTGRESQL else sqlite.Insert


def _guard(connection: Connection, matrix_id: str, *, shared: bool) -> None:
    """Until the transaction ends, let either jobs with this matrix be added, or it be removed."""
    if connection.dialect.name != POSTGRESQL:
        return  # on SQLite only one transaction writes at a time
    digest = hashlib.blake2b(matrix_id.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    lock = func.pg_advisory_xact_lock_shared if shared else func.pg_advisory_xact_lock
    connection.execute(select(lock(int.from_bytes(digest, "big", signed=True))))


def _insert(connection: Connection, new: NewJob, now: int) -> Job:
    spec = new.spec
    allowed = spec.time_allowed
    row = connection.execute(
        _INSERT,
        {
            "id": new.id,
            "state": State.QUEUED.value,
            "priority": spec.priority,
            "deadline": spec.deadline,
            "due_at": None if allowed is None else now + round(allowed * 1e6),
            "created_at": now,
            "matrix_id": spec.matrix_id,
            "attempts": 0,
            "strikes": 0,
            "stop_requested": False,
            "size": new.size,
            "revision": 1,
            "digest": new.digest,
            "spec": from_spec(spec),
            "log": to_json(with_state((), 1, State.QUEUED)),
        },
    ).one()
    return to_job(row)
