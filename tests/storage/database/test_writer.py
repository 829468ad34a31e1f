"""Group commits: what is committed together, what fails alone, what is tried again."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor, wait

import pytest
from sqlalchemy import event, insert, select, text

from solver_service.errors import OutOfMemoryError, QueueFullError, ShuttingDownError, UnavailableError
from solver_service.storage.database import JobTable, Writer, commit, open_engine
from solver_service.storage.database.connection import for_writing
from solver_service.storage.database.tables import idempotency_keys as keys

on_sqlite = pytest.mark.parametrize("url", ["sqlite"], indirect=True)
on_postgresql = pytest.mark.parametrize("url", ["postgresql"], indirect=True)


@pytest.fixture
def writer(engine):
    writer = Writer(engine)
    yield writer
    writer.close()


@pytest.fixture
def commits(engine):
    commits = []
    event.listen(engine, "commit", commits.append)
    return commits


def put(key):
    def run(connection):
        connection.execute(insert(keys).values(key=key, digest="d", job_id="j", created_at=0))
        return key

    return run


def found(engine):
    with engine.connect() as connection:
        return set(connection.execute(select(keys.c.key)).scalars())


@pytest.fixture
def held(writer):
    """Hold the writer, so that what is submitted meanwhile makes one group."""
    go, begun = threading.Event(), threading.Event()

    def hold(_):
        begun.set()
        go.wait(30)

    holding = writer.submit(hold)
    begun.wait(30)
    yield go
    go.set()
    holding.result(30)


def test_what_waits_shares_a_commit(writer, engine, held, commits):
    futures = [writer.submit(put(f"key {number}")) for number in range(100)]
    held.set()
    assert [future.result(30) for future in futures] == [f"key {number}" for number in range(100)]
    assert len(commits) == 2  # that of the fixture, and one for all
    assert len(found(engine)) == 100


def test_one_that_fails_fails_alone(writer, engine, held, commits):
    def fail(connection):
        put("lost")(connection)
        raise ZeroDivisionError("mine")

    futures = [writer.submit(run) for run in (put("a"), fail, put("b"), put("a"), put("c"))]
    held.set()
    wait(futures, 30)
    assert isinstance(futures[1].exception(), ZeroDivisionError)
    assert "UNIQUE" in str(futures[3].exception()).upper()
    assert found(engine) == {"a", "b", "c"}
    assert len(commits) == 2


def test_one_alone_that_fails(writer, engine):
    def fail(connection):
        put("lost")(connection)
        raise QueueFullError("mine")

    with pytest.raises(QueueFullError, match="mine"):
        writer.submit(fail).result(30)
    assert found(engine) == set()


def test_a_group_whose_commit_fails_is_repeated_one_by_one(writer, engine, held, commits):
    def refuse(_):
        if len(commits) == 2:
            raise RuntimeError("no commit of the group")

    event.listen(engine, "commit", refuse)
    futures = [writer.submit(put(f"key {number}")) for number in range(3)]
    held.set()
    wait(futures, 30)
    assert [future.exception() for future in futures] == [None] * 3
    assert len(found(engine)) == 3
    assert len(commits) == 5


def test_what_was_cancelled_in_time_is_not_done(writer, engine, held):
    future = writer.submit(put("a"))
    assert future.cancel()
    held.set()
    writer.submit(put("b")).result(30)
    assert found(engine) == {"b"}


def test_the_line_is_bounded(engine):
    writer = Writer(engine, most_waiting=3)
    go, begun = threading.Event(), threading.Event()
    try:
        holding = writer.submit(lambda _: (begun.set(), go.wait(30)))
        begun.wait(30)
        futures = [writer.submit(put(f"key {number}")) for number in range(5)]
        assert isinstance(futures[3].exception(1), QueueFullError)
        go.set()
        wait([holding, *futures], 30)
        assert [future.exception() is None for future in futures] == [True] * 3 + [False] * 2
    finally:
        go.set()
        writer.close()


def test_closing_finishes_what_waits(engine):
    writer = Writer(engine)
    futures = [writer.submit(put(f"key {number}")) for number in range(600)]
    writer.close()
    assert all(future.done() and future.exception() is None for future in futures)
    assert len(found(engine)) == 600
    with pytest.raises(ShuttingDownError):
        writer.submit(put("late")).result(1)
    writer.close()


def test_from_many_threads(writer, engine):
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(lambda number: writer.submit(put(f"key {number}")).result(60), range(400)))
    assert len(found(engine)) == 400


@on_sqlite
def test_a_full_disk(engine, make):
    table = JobTable(engine)
    with engine.connect() as connection:
        most = connection.execute(text("PRAGMA page_count")).scalar() + 3

    def bound(connection, *_):
        connection.execute(f"PRAGMA max_page_count = {most}")

    engine.dispose()
    event.listen(engine, "connect", bound)
    try:
        futures = [table.add(make(), most_queued=999, matrix_exists=lambda: True) for _ in range(60)]
        wait(futures, 60)
        errors = [error for future in futures if (error := future.exception())]
        assert errors
        assert {type(error) for error in errors} == {OutOfMemoryError}
        assert errors[0].retry_after == 30
        assert 0 < table.count_queued() == 60 - len(errors)
        event.remove(engine, "connect", bound)
        engine.dispose()
        assert table.add(make(), most_queued=999, matrix_exists=lambda: True).result(30)[1]
    finally:
        table.close()


@on_sqlite
def test_a_locked_database_is_waited_for(engine, url, writer):
    other = open_engine(url)
    with for_writing(other).begin() as connection:
        put("other")(connection)
        future = writer.submit(put("mine"))
        with pytest.raises(TimeoutError):
            future.result(0.3)
        assert found(engine) == set()  # readers do not wait
    assert future.result(30) == "mine"
    assert found(engine) == {"mine", "other"}
    other.dispose()


@on_postgresql
def test_a_server_that_restarts(engine, writer, request):
    server = request.getfixturevalue("postgres_server")
    assert writer.submit(put("before")).result(30) == "before"
    server.stop()
    server.start()
    assert writer.submit(put("after")).result(30) == "after"  # by a new connection
    server.stop()
    try:
        with pytest.raises(UnavailableError) as caught:
            writer.submit(put("lost")).result(30)
        assert caught.value.retry_after >= 1
        futures = [writer.submit(put(f"key {number}")) for number in range(50)]
    finally:
        server.start()
    wait(futures, 60)  # they were tried again until the server was back
    assert [future.exception() for future in futures] == [None] * 50
    assert len(found(engine)) == 52


@on_postgresql
def test_a_connection_that_is_lost_in_the_middle(engine, writer):
    runs = []

    def run(connection):
        put("a")(connection)
        runs.append(1)
        if len(runs) == 1:
            me = connection.execute(text("SELECT pg_backend_pid()")).scalar()
            with engine.connect() as other:
                other.execute(text("SELECT pg_terminate_backend(:me)"), {"me": me})
        connection.execute(text("SELECT 1"))

    writer.submit(run).result(30)
    assert len(runs) == 2
    assert found(engine) == {"a"}


@on_postgresql
@pytest.mark.parametrize("how", ["before", "after"])
@pytest.mark.parametrize("group", [1, 3])
def test_a_connection_that_is_lost_while_committing(engine, writer, held, monkeypatch, how, group):
    """What the server has committed is not done twice, and what it has not is done again."""
    do_commit, commits = engine.dialect.do_commit, []

    def lose(connection):
        commits.append(1)
        if len(commits) == 2:  # the first is that of the fixture
            if how == "after":
                do_commit(connection)
            connection.dbapi_connection.close()
            raise pytest.importorskip("psycopg").OperationalError("the connection is lost")
        do_commit(connection)

    monkeypatch.setattr(engine.dialect, "do_commit", lose)
    futures = [writer.submit(put(f"key {number}")) for number in range(group)]
    held.set()
    assert [future.result(30) for future in futures] == [f"key {number}" for number in range(group)]
    assert len(found(engine)) == group  # a second time would have failed
    assert len(commits) == (3 if how == "before" else 2)


@on_postgresql
def test_a_commit_of_which_nobody_knows(engine, writer, monkeypatch):

    def lose(connection):
        connection.dbapi_connection.close()
        raise pytest.importorskip("psycopg").OperationalError("the connection is lost")

    monkeypatch.setattr(engine.dialect, "do_commit", lose)
    monkeypatch.setattr(commit, "_PAUSES", ())
    runs = []
    with pytest.raises(UnavailableError) as caught:
        writer.submit(lambda connection: (runs.append(1), put("a")(connection))).result(30)
    assert len(runs) == 1
    assert caught.value.retry_after >= 1


def test_closing_gives_up_what_is_not_answered(engine, caplog):
    writer = Writer(engine)
    go, begun = threading.Event(), threading.Event()
    hanging = writer.submit(lambda _: (begun.set(), go.wait(60)))
    begun.wait(30)
    waiting = writer.submit(put("a"))
    began = time.monotonic()
    try:
        writer.close(0.2)
        assert time.monotonic() - began < 5
        for future in (hanging, waiting):
            assert isinstance(future.exception(0), UnavailableError)
        assert "closed with 2 changes unwritten" in caplog.text
    finally:
        go.set()
    writer.close()
    assert found(engine) == set()


def test_closing_waits_as_long_as_something_is_written(engine):
    writer = Writer(engine)
    begun = threading.Event()

    def slowly(key):
        def run(connection):
            begun.set()
            time.sleep(0.4)
            return put(key)(connection)

        return run

    futures = [writer.submit(slowly("key 0"))]
    begun.wait(30)  # the others make a group of their own
    futures += [writer.submit(slowly(f"key {number}")) for number in (1, 2)]
    writer.close(1.0)  # all together take longer
    assert [future.exception(0) for future in futures] == [None] * 3
