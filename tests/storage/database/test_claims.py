"""Claims of blocks: who is handed out together with whom."""

from __future__ import annotations

from itertools import chain

import pytest
from sqlalchemy import event, text

from solver_service.jobs import State

OTHER = "mat_" + "1" * 32


def room(spec):
    """Room for four right-hand sides, but for those that want to be alone."""
    return 1 if spec.options.get("alone") else 4


@pytest.fixture
def claim(table):
    """Claim blocks; return the ids."""

    def claim(limit=1, room=room):
        return [[job.id for job in block] for block in table.claim("me", limit, room).result(30)]

    return claim


def ids(jobs):
    return [job.id for job in jobs]


def test_others_join_the_next_in_the_queue(table, add, claim):
    jobs = [add() for _ in range(6)]
    assert claim() == [ids(jobs[:4])]
    for job in map(table.get, ids(jobs[:4])):
        assert (job.state, job.owner, job.attempts) == (State.RUNNING, "me", 1)
    assert claim() == [ids(jobs[4:])]
    assert claim() == []


def test_nobody_joins_unless_that_is_wanted(add, claim):
    jobs = [add() for _ in range(2)]
    assert claim(room=None) == [[jobs[0].id]]


@pytest.mark.parametrize(
    ("waiting", "free", "sizes"),
    [(2, 2, [1, 1]), (2, 3, [1, 1]), (4, 2, [2, 2]), (5, 2, [3, 2]), (9, 2, [4, 4]), (3, 1, [3])],
)
def test_jobs_of_one_matrix_spread_over_those_who_are_free(add, claim, waiting, free, sizes):
    jobs = [add() for _ in range(waiting)]
    blocks = claim(free)
    assert [len(block) for block in blocks] == sizes
    assert [block[0] for block in blocks] == ids(jobs[: len(sizes)])
    assert sorted(chain(*blocks)) == sorted(ids(jobs[: sum(sizes)]))


def test_only_those_join_that_suit(table, add, claim, clock):
    first = add(priority=3)
    urgent, usual = add(priority=4), add(priority=2)
    other, alone = add(priority=3, matrix_id=OTHER), add(priority=3, options={"alone": True})
    overdue, stopped = add(priority=3, deadline=1.0), add(priority=3)
    table.request_stop(stopped.id).result(30)
    clock.forward(2)
    second = add(priority=3, deadline=1.0)
    assert claim() == [[urgent.id]]
    assert claim() == [[first.id, second.id]]
    assert claim() == [[other.id]]
    assert claim() == [[alone.id]]
    assert claim() == [[usual.id]]
    assert table.get(overdue.id).state is State.QUEUED


def test_who_wants_to_be_alone_is_joined_by_nobody(add, claim):
    alone, other = add(options={"alone": True}), add()
    assert claim() == [[alone.id]]
    assert claim() == [[other.id]]


@pytest.mark.parametrize(
    ("columns", "sizes"),
    [([2, 3, 1, 1], [2, 2]), ([None, 3, 1], [2, 1]), ([4, 1], [1, 1]), ([9, 1], [1, 1])],
)
def test_right_hand_sides_are_counted(add, claim, columns, sizes):
    jobs = [add(columns=k) for k in columns]
    blocks = [claim()[0] for _ in sizes]
    assert [len(block) for block in blocks] == sizes
    assert sorted(chain(*blocks)) == sorted(ids(jobs))


@pytest.mark.parametrize("lost", [0, 1], ids=["the first", "another"])
def test_whose_attempt_was_lost_goes_on_alone(table, add, claim, lost):
    jobs = [add() for _ in range(3)]
    [taken] = table.claim("me", 1, room).result(30)
    table.give_back(taken[lost].claim, strike=True, most_strikes=5).result(30)
    for job in taken[:lost] + taken[lost + 1 :]:
        table.give_back(job.claim, strike=False, most_strikes=5).result(30)
    blocks = [claim()[0] for _ in range(2)]
    assert sorted(map(len, blocks)) == [1, 2]
    assert [jobs[lost].id] in blocks


def test_what_is_only_to_be_settled_is_alone(table, add, claim):
    begun, waiting = add(), add()
    [[job]] = table.claim("me", 1).result(30)
    table.request_stop(job.id).result(30)
    table.give_back(job.claim, strike=False, most_strikes=5).result(30)
    assert claim() == [[begun.id]]
    assert claim() == [[waiting.id]]


def test_a_damaged_one_is_left_out(table, add, claim, engine):
    first, damaged, last = add(), add(), add()
    with engine.begin() as connection:
        connection.execute(text("UPDATE jobs SET spec = '{' WHERE number = :n"), {"n": damaged.number})
    assert claim() == [[first.id, last.id]]
    assert table.counts()[State.FAILED] == 1


def test_the_queue_is_not_sorted_for_it(table, add, engine):
    if engine.dialect.name != "sqlite":
        pytest.skip("its plans depend on statistics")
    for _ in range(3):
        add()
    statements = []

    def note(connection, cursor, statement, parameters, *_):
        if statement.startswith("SELECT"):
            statements.append((statement, parameters))

    event.listen(engine, "before_cursor_execute", note)
    assert len(table.claim("me", 1, room).result(30)[0]) == 3
    event.remove(engine, "before_cursor_execute", note)
    statement, parameters = statements[-1]
    with engine.connect() as connection:
        plan = str(connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters).all())
    assert "ix_jobs_matrix" in plan
    assert "TEMP B-TREE" not in plan
