"""How jobs come onto record: keys, the bound of the queue, the guard of the matrix."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from solver_service.errors import (
    IdempotencyConflictError,
    JobActiveError,
    JobNotFoundError,
    MatrixInUseError,
    MatrixNotFoundError,
    QueueFullError,
)
from solver_service.jobs import Outcome, State
from solver_service.storage.database import JobTable

HOUR = 3600.0


def exists():
    return True


def test_a_job_is_as_it_was_given(table, make, clock):
    new = make(
        columns=3,
        options={"method": "auto", "seed": 2**63, "tol": 1e-300},
        priority=-2,
        deadline=1.5,
        size=2**40,
    )
    job, created = table.add(new, most_queued=1, matrix_exists=exists).result(30)
    assert created
    assert (job.id, job.spec, job.size, job.state) == (new.id, new.spec, new.size, State.QUEUED)
    assert job.created_at == clock.moment
    assert job.revision == 1
    assert job.log == ((1, "state", {"state": "queued"}),)
    assert (job.started_at, job.finished_at, job.owner, job.result, job.error) == (None,) * 5
    assert table.get(job.id) == job


@pytest.mark.parametrize(
    "job_id", ["job_" + "0" * 32, "", "job_\0", "job_ä", "'; DROP TABLE jobs; --", "\ud800"]
)
def test_unknown_ids(table, job_id):
    with pytest.raises(JobNotFoundError):
        table.get(job_id)
    for change in (table.request_stop, table.delete):
        with pytest.raises(JobNotFoundError):
            change(job_id).result(30)
    assert table.known([job_id]) == table.revisions([job_id]) == {}


def test_the_queue_is_bounded(table, make, add):
    first = add()
    with pytest.raises(QueueFullError) as caught:
        table.add(make(), most_queued=1, matrix_exists=exists).result(30)
    assert caught.value.retry_after >= 1
    table.claim("me", 1).result(30)
    assert table.add(make(), most_queued=1, matrix_exists=exists).result(30)[1]
    assert table.get(first.id).state is State.RUNNING


def test_the_matrix_must_be_there(table, make):
    with pytest.raises(MatrixNotFoundError):
        table.add(make(key="k"), most_queued=9, matrix_exists=lambda: False).result(30)
    assert table.counts()[State.QUEUED] == 0
    assert table.add(make(key="k"), most_queued=9, matrix_exists=exists).result(30)[1]  # the key was not used


def test_a_key_names_one_job(table, make, add):
    first = add(key="k")
    again = table.add(make(key="k"), most_queued=0, matrix_exists=lambda: False)
    assert again.result(30) == (first, False)
    [[running]] = table.claim("me", 5).result(30)
    assert table.add(make(key="k"), most_queued=9, matrix_exists=exists).result(30) == (running, False)
    with pytest.raises(IdempotencyConflictError):
        table.add(make(key="k", digest="other"), most_queued=9, matrix_exists=exists).result(30)
    assert add(key="l").id != first.id


def test_a_key_is_forgotten(table, make, add, clock):
    first = add(key="k")
    clock.forward(48 * HOUR - 1)
    assert table.forget_keys().result(30) == 0
    assert add(key="k") == first
    clock.forward(1)
    second = add(key="k", digest="other")
    assert second.id != first.id
    clock.forward(48 * HOUR)
    assert table.forget_keys().result(30) == 1


def test_what_a_key_names_is_not_to_be_removed(table, add, clock):
    job = add(key="k")
    table.request_stop(job.id).result(30)
    clock.forward(48 * HOUR - 1)
    assert table.ended(9) == table.ended(9, before=clock.moment) == []
    clock.forward(1)
    assert [job.id for job in table.ended(9, before=clock.moment)] == [job.id]


def test_the_time_a_key_is_remembered_can_be_set(engine, make, clock):
    table = JobTable(engine, clock=clock, key_seconds=10)
    try:
        assert table.add(make(key="k"), most_queued=9, matrix_exists=exists).result(30)[1]
        clock.forward(9)
        assert not table.add(make(key="k"), most_queued=9, matrix_exists=exists).result(30)[1]
        clock.forward(2)
        assert table.add(make(key="k"), most_queued=9, matrix_exists=exists).result(30)[1]
    finally:
        table.close()


def test_a_key_whose_job_is_gone_is_free(table, add, engine):
    first = add(key="k")
    with pytest.raises(JobActiveError):
        table.delete(first.id).result(30)
    ended = table.request_stop(first.id).result(30)
    assert table.delete(first.id).result(30) == ended
    with pytest.raises(JobNotFoundError):
        table.get(first.id)
    assert add(key="k", digest="other").number > first.number  # numbers are not used twice


def test_many_at_once_with_one_key(engine, make):
    # Two tables, so that on PostgreSQL two transactions compete as those of two servers do.
    tables = [JobTable(engine) for _ in range(2)]
    barrier = threading.Barrier(20)

    def add(number):
        barrier.wait()
        adding = tables[number % 2].add(make(key="k"), most_queued=99, matrix_exists=exists)
        return adding.result(30)

    try:
        for _ in range(5):
            with ThreadPoolExecutor(20) as pool:
                answers = list(pool.map(add, range(20)))
            assert sum(created for _, created in answers) == 1
            assert len({job.id for job, _ in answers}) == 1
            job = answers[0][0]
            tables[0].request_stop(job.id).result(30)
            tables[0].delete(job.id).result(30)
    finally:
        for table in tables:
            table.close()


def test_keys_in_opposite_orders(engine, make):
    """On PostgreSQL two groups that take the same keys in opposite orders wait for each other."""
    tables = [JobTable(engine) for _ in range(2)]
    keys = [f"key {number}" for number in range(40)]
    try:
        futures = []
        for pair in zip(keys, reversed(keys), strict=True):
            for table, key in zip(tables, pair, strict=True):
                futures.append(table.add(make(key=key), most_queued=999, matrix_exists=exists))
        assert sum(future.result(60)[1] for future in futures) == len(keys)
        assert tables[0].count_queued() == len(keys)
    finally:
        for table in tables:
            table.close()


def test_a_matrix_in_use_stays(table, add):
    job = add()
    removed = []
    with pytest.raises(MatrixInUseError):
        table.remove_matrix(job.spec.matrix_id, lambda: removed.append(1)).result(30)
    table.claim("me", 1).result(30)
    with pytest.raises(MatrixInUseError):
        table.remove_matrix(job.spec.matrix_id, lambda: removed.append(1)).result(30)
    assert removed == []
    table.remove_matrix("mat_" + "1" * 32, lambda: removed.append(2)).result(30)
    table.finish(table.get(job.id).claim, Outcome(state=State.SUCCEEDED)).result(30)
    table.remove_matrix(job.spec.matrix_id, lambda: removed.append(3)).result(30)
    assert removed == [2, 3]


def test_what_remove_raises_arrives(table):
    def remove():
        raise MatrixNotFoundError("gone")

    with pytest.raises(MatrixNotFoundError, match="gone"):
        table.remove_matrix("mat_" + "1" * 32, remove).result(30)


def until(condition):
    last = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < last
        time.sleep(0.01)


def test_files_are_removed_after_the_transaction_and_not_by_the_thread_that_writes(table, clock):
    go, threads = threading.Event(), []

    def remove_files():
        threads.append(threading.current_thread().name)
        go.wait(30)

    def take_away():
        threads.append(threading.current_thread().name)
        return remove_files

    try:
        table.remove_matrix("mat_" + "1" * 32, take_away).result(30)
        assert table.expire().result(30) == []  # others write meanwhile
        until(lambda: len(threads) == 2)
    finally:
        go.set()
    assert threads == ["database writer", "removal of matrices 1"]


@pytest.mark.parametrize("how", ["once", "always"])
def test_a_removal_that_is_repeated_is_done_once(engine, how, monkeypatch):
    """What was taken away is away, though the transaction around it fails."""
    table, removed, commits = JobTable(engine), [], []
    do_commit = engine.dialect.do_commit

    def fail(connection):
        commits.append(1)
        if how == "always" or len(commits) == 1:
            raise BrokenPipeError("the commit fails")
        do_commit(connection)

    def take_away():
        if removed:
            raise MatrixNotFoundError("gone")
        removed.append("name")
        return lambda: removed.append("files")

    holding, begun = threading.Event(), threading.Event()
    hold = table._writer.submit(lambda _: (begun.set(), holding.wait(30)))
    begun.wait(30)
    futures = [table.remove_matrix("mat_" + "1" * 32, take_away), table.expire()]  # a group, then one by one
    try:
        monkeypatch.setattr(engine.dialect, "do_commit", lambda c: fail(c) if hold.done() else do_commit(c))
        holding.set()
        assert futures[0].result(30) is None
        assert futures[1].exception(30) is None or how == "always"
        until(lambda: removed == ["name", "files"])
    finally:
        holding.set()
        monkeypatch.undo()
        table.close()


@pytest.mark.parametrize("first", ["add", "remove"])
def test_removal_and_jobs_exclude_each_other(engine, make, first):
    adding, removing = JobTable(engine), JobTable(engine)
    matrix, inside = {"there"}, threading.Event()

    def there():
        inside.set()
        time.sleep(0.3)  # the other begins meanwhile
        return bool(matrix)

    def remove():
        inside.set()
        time.sleep(0.3)
        matrix.clear()

    def add():
        return adding.add(make(), most_queued=9, matrix_exists=there)

    def take():
        return removing.remove_matrix(make().spec.matrix_id, remove)

    try:
        if first == "add":
            added = add()
            inside.wait(10)
            taken = take()
        else:
            taken = take()
            inside.wait(10)
            added = add()
        failed = MatrixInUseError if first == "add" else MatrixNotFoundError
        with pytest.raises(failed):
            (taken if first == "add" else added).result(30)
        (added if first == "add" else taken).result(30)
        assert bool(matrix) is (first == "add")
        assert adding.count_queued() == (first == "add")
    finally:
        adding.close()
        removing.close()
