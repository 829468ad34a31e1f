"""Pages, and the other reads."""

from __future__ import annotations

import base64
import threading
import time

import pytest
from sqlalchemy import event

from solver_service.errors import InvalidInputError, JobNotFoundError, ShuttingDownError, UnavailableError
from solver_service.jobs import Outcome, Report, State
from solver_service.storage.database import JobTable


def pages(table, limit, state=None, between=lambda: None):
    jobs, cursor = table.list(state, limit, None)
    found = [jobs]
    while cursor is not None:
        between()
        jobs, cursor = table.list(state, limit, cursor)
        found.append(jobs)
    return found


def test_pages(table, add):
    assert table.list(None, 5, None) == ([], None)
    jobs = [add() for _ in range(7)]
    found = pages(table, 3)
    assert [len(page) for page in found] == [3, 3, 1]
    assert [job.id for page in found for job in page] == [job.id for job in reversed(jobs)]
    assert [len(page) for page in pages(table, 7)] == [7]
    assert table.list(None, 500, None)[1] is None


def test_pages_while_jobs_come_and_go(table, add):
    jobs = [add() for _ in range(12)]

    doomed = [jobs[0], jobs[11], jobs[8]]  # the last; one that was on a page; the end of a page

    def change():
        add()
        if doomed:
            gone = doomed.pop(0)
            table.request_stop(gone.id).result(30)
            table.delete(gone.id).result(30)

    found = [job.id for page in pages(table, 3, between=change) for job in page]
    assert found == [job.id for job in reversed(jobs[1:])]  # none twice, none missed, nothing new


def test_pages_of_a_state(table, add):
    for number in range(9):
        job = add()
        if number % 3 == 0:
            table.request_stop(job.id).result(30)
    assert [len(page) for page in pages(table, 4, State.QUEUED)] == [4, 2]
    assert [len(page) for page in pages(table, 4, State.CANCELLED)] == [3]
    assert pages(table, 4, State.FAILED) == [[]]


@pytest.mark.parametrize("limit", [0, -1, 501, 10**30])
def test_limits_are_checked(table, limit):
    with pytest.raises(InvalidInputError) as caught:
        table.list(None, limit, None)
    assert [error.field for error in caught.value.errors] == ["limit"]


def encoded(text):
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


@pytest.mark.parametrize(
    "cursor",
    [
        *("", "x", "ä", "=", "\0", "amJv" * 1000, encoded("jobs/5") + "="),
        *(encoded(text) for text in ("jobs/0", "jobs/-1", "jobs/" + "9" * 19, "jobs/05", "mat/5", "jobs/５")),
    ],
)
def test_cursors_are_checked(table, cursor):
    with pytest.raises(InvalidInputError) as caught:
        table.list(None, 5, cursor)
    assert [error.field for error in caught.value.errors] == ["cursor"]


def test_long_columns_are_not_read_for_lists(table, add, engine):
    add()
    [[job]] = table.claim("me", 1).result(30)
    table.finish(job.claim, Outcome(state=State.SUCCEEDED, result=b'{"a": 1}', progress={"i": 1})).result(30)
    statements = []

    def note(connection, cursor, statement, *_):
        statements.append(statement)

    event.listen(engine, "before_cursor_execute", note)
    [light] = table.list(None, 5, None)[0]
    assert [light] == table.ended(5) == list(table.known([job.id]).values())
    event.remove(engine, "before_cursor_execute", note)
    selected = [statement for statement in statements if "FROM jobs" in statement]
    assert len(selected) == 3
    assert not any("jobs.result" in statement or "jobs.log" in statement for statement in selected)
    assert (light.result, light.log, light.progress) == (None, (), {"i": 1})
    assert table.get(job.id).result == b'{"a": 1}'


def test_what_ended(table, add, clock):
    jobs = [add(size=2**33) for _ in range(4)]
    for job in (jobs[2], jobs[0], jobs[1]):
        clock.forward(1)
        table.request_stop(job.id).result(30)
    ids = [job.id for job in table.ended(9)]
    assert ids == [jobs[place].id for place in (2, 0, 1)]
    assert [job.id for job in table.ended(9, before=clock.moment)] == ids[:2]
    assert [job.id for job in table.ended(1, before=clock.moment)] == ids[:1]
    assert table.total_size() == 4 * 2**33
    table.delete(jobs[0].id).result(30)
    assert table.total_size() == 3 * 2**33


def test_counts(table, add):
    assert table.total_size() == 0
    jobs = [add() for _ in range(5)]
    table.request_stop(jobs[0].id).result(30)
    [[running]] = table.claim("me", 1).result(30)
    assert table.counts() == {
        State.QUEUED: 3,
        State.RUNNING: 1,
        State.SUCCEEDED: 0,
        State.CANCELLED: 1,
        State.FAILED: 0,
    }
    assert table.count_queued() == 3
    table.report([Report(claim=running.claim, progress={"iterations": 1})]).result(30)
    assert table.revisions([*(job.id for job in jobs), "job_x"]) == dict(
        zip((job.id for job in jobs), (2, 3, 1, 1, 1), strict=True)
    )
    table.ping()


def test_many_ids_at_once(table, add):
    job = add()
    ids = [f"job_{number:032x}" for number in range(5000)] + [job.id]
    assert list(table.known(ids)) == [job.id]
    assert table.revisions(iter(ids)) == {job.id: 1}
    assert table.positions([job] * 2000) == {job.number: 1}
    assert table.known([]) == table.positions([]) == {}


def test_asking(table, add):
    job = add()
    assert table.ask(table.get, job.id).result(30) == job
    assert table.ask(table.list, State.QUEUED, limit=1).result(30) == table.list(State.QUEUED, 1)
    with pytest.raises(JobNotFoundError):
        table.ask(table.get, "none").result(30)


def test_reads_that_hang_make_nothing_else_wait(engine, caplog):
    table = JobTable(engine)
    go = threading.Event()
    hanging = [table.ask(go.wait, 60) for _ in range(4)]
    waiting = [table.ask(table.count_queued) for _ in range(1000)]
    try:
        assert isinstance(table.ask(table.count_queued).exception(1), UnavailableError)
        assert table.count_queued() == 0
        assert table.expire().result(30) == []
        began = time.monotonic()
        table.close()
        assert time.monotonic() - began < 8
        assert {type(future.exception(1)) for future in waiting} == {ShuttingDownError}
        assert isinstance(table.ask(table.count_queued).exception(1), ShuttingDownError)
        assert "does not answer" in caplog.text
    finally:
        go.set()
    assert [future.result(30) for future in hanging] == [True] * 4


def test_a_process_ends_though_a_read_hangs(start):
    process = start("""
import threading
table = open_table()
table.ask(threading.Event().wait)
time.sleep(0.2)
table.close()
""")
    assert process.wait(30) == 0
