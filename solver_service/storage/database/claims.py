"""How jobs are handed out: the next ones in the queue, and with them those that may share a block."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from typing import Any, Final

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Connection,
    Integer,
    Row,
    Select,
    String,
    and_,
    bindparam,
    or_,
    select,
)

from ...jobs import Job, Spec, State
from . import queries, records
from .rows import DamagedRecordError, to_job
from .tables import jobs


def _next(condition: ColumnElement[bool], *order: ColumnElement[Any]) -> Select[Any]:
    missing = bindparam("missing", type_=Integer)
    return select(jobs).where(condition).order_by(*order).limit(missing).with_for_update(skip_locked=True)


_NOW: Final = bindparam("now", type_=BigInteger)
_BEFORE_ALL: Final = (jobs.c.priority.desc(), jobs.c.number)
_IS_IN_TIME: Final = and_(
    jobs.c.state == State.QUEUED.value,
    or_(jobs.c.due_at.is_(None), jobs.c.due_at > _NOW),
    ~jobs.c.stop_requested,
)

# Each in the order of an index: otherwise the whole queue would have to be sorted. Made once: to compose a
# statement takes longer than to execute it.
_TO_SETTLE: Final = _next(queries.to_settle(jobs, _NOW), *_BEFORE_ALL)
_IN_TIME: Final = _next(_IS_IN_TIME, *_BEFORE_ALL)
_ALIKE: Final = _next(
    and_(
        _IS_IN_TIME,
        jobs.c.matrix_id == bindparam("matrix", type_=String),
        jobs.c.priority == bindparam("urgency", type_=Integer),
        jobs.c.strikes == 0,
    ),
    jobs.c.number,
)


def claim(
    connection: Connection, owner: str, limit: int, room: Callable[[Spec], int] | None, *, now: int
) -> list[list[Job]]:
    """Hand the next jobs to `owner`, in blocks: first those that are only to be settled, then by priority.

    Each of the next jobs begins a block. If there were as many as were wanted, more may wait: then those that
    may share the blocks are added.
    """
    settled = _take(connection, _TO_SETTLE, owner, limit, now)
    begun = _take(connection, _IN_TIME, owner, limit - len(settled), now)
    blocks = [_Block(job, room) for job in begun]
    if len(settled) + len(begun) == limit:
        _fill(connection, blocks, owner, now)
    return [*([job] for job in settled), *(block.jobs for block in blocks)]


class _Block:
    """Jobs that are to be solved together."""

    def __init__(self, first: Job, room: Callable[[Spec], int] | None) -> None:
        self.jobs = [first]
        self._room = room
        self.free = 0 if room is None or first.strikes else room(first.spec) - _width(first.spec)

    def has_room_for(self, spec: Spec) -> bool:
        return self._room is not None and self._room(spec) > 1 and _width(spec) <= self.free

    def add(self, job: Job) -> None:
        self.jobs.append(job)
        self.free -= _width(job.spec)


def _width(spec: Spec) -> int:
    return spec.columns or 1


def _fill(connection: Connection, blocks: list[_Block], owner: str, now: int) -> None:
    """Deal out the jobs of the same matrix and priority: each to the block that has most room."""
    groups: defaultdict[tuple[str, int], list[_Block]] = defaultdict(list)
    for block in blocks:
        if block.free > 0:
            spec = block.jobs[0].spec
            groups[spec.matrix_id, spec.priority].append(block)
    for (matrix, urgency), group in groups.items():
        missing = sum(block.free for block in group)
        values = {"now": now, "missing": missing, "matrix": matrix, "urgency": urgency}
        for row in connection.execute(_ALIKE, values).all():
            roomiest = max(group, key=lambda block: block.free)
            job = _claim(connection, row, owner, now, roomiest.has_room_for)
            if job is not None:
                roomiest.add(job)


def _take(connection: Connection, query: Select[Any], owner: str, limit: int, now: int) -> list[Job]:
    claimed: list[Job] = []
    # Again if some of the rows are damaged: these fail, and the next ones are handed out in their place.
    while (missing := limit - len(claimed)) > 0:
        rows = connection.execute(query, {"now": now, "missing": missing}).all()
        claimed += filter(None, [_claim(connection, row, owner, now) for row in rows])
        if len(rows) < missing:
            break
    return claimed


def _claim(
    connection: Connection,
    row: Row[Any],
    owner: str,
    now: int,
    suits: Callable[[Spec], bool] = lambda _: True,
) -> Job | None:
    """Hand out one job, if its record can be read, and it suits."""
    try:
        waiting = to_job(row)
    except DamagedRecordError:
        records.fail_damaged(connection, row, now)
        return None
    if not suits(waiting.spec):
        return None
    values = {"attempts": row.attempts + 1, "owner": owner, "heartbeat_at": now}
    if row.started_at is None:
        values["started_at"] = now
    return to_job(records.change(connection, row, state=State.RUNNING, **values))
