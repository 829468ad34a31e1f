"""What is read of the jobs."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final, TypeVar

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Connection,
    FromClause,
    Integer,
    Select,
    and_,
    bindparam,
    case,
    exists,
    false,
    func,
    or_,
    select,
)

from ...errors import JobNotFoundError
from ...jobs import Claim, Job, State
from ..pages import check_limit, make_cursor, parse_cursor
from .rows import LIGHT, storable, to_job, to_light_job
from .tables import idempotency_keys as keys
from .tables import installation, jobs

_CHUNK: Final = 500
_CURSOR: Final = re.compile(r"jobs/([1-9][0-9]{0,17})", re.ASCII)

T = TypeVar("T")


def to_settle(of: FromClause, now: ColumnElement[int] | int) -> ColumnElement[bool]:
    """Whether a job waits only to end with what it has: it was begun, and is to stop or is overdue.

    Such a job is claimed before all others: it takes moments, and somebody waits for its end.
    """
    return and_(
        of.c.state == State.QUEUED.value, of.c.attempts > 0, or_(of.c.stop_requested, of.c.due_at <= now)
    )


def _before(of: FromClause, priority: ColumnElement[int], number: ColumnElement[int]) -> ColumnElement[bool]:
    return or_(of.c.priority > priority, and_(of.c.priority == priority, of.c.number < number))


def _place(
    ahead: ColumnElement[int], priority: ColumnElement[int], number: ColumnElement[int]
) -> ColumnElement[int]:
    """Return the place in the queue of a job that has `ahead` jobs ahead of it by priority and number."""
    others = jobs.alias()
    settled = to_settle(others, bindparam("now", type_=BigInteger))
    before = _before(others, priority, number)

    def count(*conditions: ColumnElement[bool]) -> ColumnElement[int]:
        return select(func.count()).select_from(others).where(settled, *conditions).scalar_subquery()

    overtaking = count(~before, others.c.number != number)
    is_settled = exists().where(settled, others.c.number == number)
    return case((is_settled, count(before)), else_=ahead + overtaking) + 1


def _position() -> Select[Any]:
    earlier = jobs.alias()
    number, priority = bindparam("place", type_=BigInteger), bindparam("urgency", type_=Integer)
    waits = earlier.c.state == State.QUEUED.value
    ahead = select(func.count()).where(waits, _before(earlier, priority, number)).scalar_subquery()
    return select(_place(ahead, priority, number)).where(
        jobs.c.number == number, jobs.c.state == State.QUEUED.value
    )


# Every acknowledgement asks for it, and to build it takes longer than to execute it.
_POSITION: Final = _position()


def get(connection: Connection, job_id: str) -> Job:
    """Return a job, or raise `JobNotFoundError`."""
    row = connection.execute(select(jobs).where(jobs.c.id == job_id)).first() if storable(job_id) else None
    if row is None:
        raise not_found()
    return to_job(row)


def page(
    connection: Connection, state: State | None, limit: int, cursor: str | None
) -> tuple[list[Job], str | None]:
    """Return a page of light jobs, newest first, and the cursor of the next page or None."""
    check_limit(limit)
    query = select(*LIGHT).order_by(jobs.c.number.desc()).limit(limit + 1)
    if state is not None:
        query = query.where(jobs.c.state == state.value)
    if cursor is not None:
        query = query.where(jobs.c.number < int(parse_cursor(cursor, _CURSOR)[1]))
    found = _light(connection, query)
    return found[:limit], make_cursor(f"jobs/{found[limit - 1].number}") if len(found) > limit else None


def position(connection: Connection, job: Job, now: int) -> int | None:
    """Return the place of a job in the queue, 1 for the next; None if it is not queued."""
    values = {"place": job.number, "urgency": job.spec.priority, "now": now}
    place = connection.execute(_POSITION, values).scalar()
    return None if place is None else int(place)


def positions(connection: Connection, of: Iterable[Job], now: int) -> dict[int, int]:
    """Return number → place in the queue of those that are queued."""
    order = func.row_number().over(order_by=(jobs.c.priority.desc(), jobs.c.number)) - 1
    waits = jobs.c.state == State.QUEUED.value
    queue = select(jobs.c.number, jobs.c.priority, order.label("ahead")).where(waits).subquery()
    place = _place(queue.c.ahead, queue.c.priority, queue.c.number)
    places: dict[int, int] = {}
    for numbers in _chunks(job.number for job in of if job.state is State.QUEUED):
        query = select(queue.c.number, place).where(queue.c.number.in_(numbers))
        places.update((number, place) for number, place in connection.execute(query, {"now": now}))
    return places


def stopping(connection: Connection, owner: str) -> list[Claim]:
    """Return the claims of `owner` that were asked to stop."""
    query = select(jobs.c.number, jobs.c.attempts).where(
        jobs.c.state == State.RUNNING.value, jobs.c.owner == owner, jobs.c.stop_requested
    )
    return [Claim(number, attempts, owner) for number, attempts in connection.execute(query)]


def ended(connection: Connection, before: int | None, keys_since: int, limit: int) -> list[Job]:
    """Return light jobs that have ended (before a moment), those that ended first first.

    Those are left out that an idempotency key younger than `keys_since` names.
    """
    when = jobs.c.finished_at.is_not(None) if before is None else jobs.c.finished_at < before
    named = exists().where(keys.c.job_id == jobs.c.id, keys.c.created_at > keys_since)
    return _light(connection, select(*LIGHT).where(when, ~named).order_by(jobs.c.finished_at).limit(limit))


def total_size(connection: Connection) -> int:
    """Return the bytes of the files of all jobs."""
    return int(connection.execute(select(func.coalesce(func.sum(jobs.c.size), 0))).scalar_one())


def known(connection: Connection, ids: Iterable[str]) -> dict[str, Job]:
    """Return those jobs of the ids that are on record, light."""
    found: dict[str, Job] = {}
    for chunk in _chunks(filter(storable, ids)):
        found.update((job.id, job) for job in _light(connection, select(*LIGHT).where(jobs.c.id.in_(chunk))))
    return found


def revisions(connection: Connection, ids: Iterable[str]) -> dict[str, int]:
    """Return id → revision of those that are on record."""
    found: dict[str, int] = {}
    for chunk in _chunks(filter(storable, ids)):
        rows = connection.execute(select(jobs.c.id, jobs.c.revision).where(jobs.c.id.in_(chunk)))
        found.update((job_id, revision) for job_id, revision in rows)
    return found


def counts(connection: Connection) -> dict[State, int]:
    """Return how many jobs there are in each state."""
    found = dict.fromkeys(State, 0)
    rows = connection.execute(select(jobs.c.state, func.count()).group_by(jobs.c.state))
    found.update((State(state), count) for state, count in rows)
    return found


def count_queued(connection: Connection) -> int:
    """Return how many jobs wait."""
    query = select(func.count()).select_from(jobs).where(jobs.c.state == State.QUEUED.value)
    return int(connection.execute(query).scalar_one())


def installation_id(connection: Connection) -> str:
    """Return the id of the database."""
    return str(connection.execute(select(installation.c.id)).scalar_one())


def ping(connection: Connection) -> None:
    """Ask for nothing, but of the table."""
    connection.execute(select(jobs.c.number).where(false())).all()


def not_found() -> JobNotFoundError:
    """Return the error for an id under which there is no job."""
    return JobNotFoundError("there is no job of this id")


def _light(connection: Connection, query: Select[Any]) -> list[Job]:
    return [to_light_job(row) for row in connection.execute(query)]


def _chunks(values: Iterable[T]) -> Iterator[Sequence[T]]:
    # Databases bound the number of parameters of a statement.
    rest = list(values)
    for start in range(0, len(rest), _CHUNK):
        yield rest[start : start + _CHUNK]
