"""The life of a job: claims and their fences, reports, ends, returns, requests to stop."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import orjson
import pytest
from sqlalchemy import event

from solver_service.errors import JobActiveError
from solver_service.jobs import ENDED, Claim, Outcome, Report, State
from solver_service.jobs.log import MOST_POINTS
from solver_service.storage.database import JobTable


@pytest.fixture
def claim(table):
    def claim(owner="me", limit=1):
        return [job for [job] in table.claim(owner, limit).result(30)]

    return claim


def states(job):
    return [data["state"] for _, kind, data in job.log if kind == "state"]


def test_by_priority_then_first_come(table, add, claim):
    jobs = [add(priority=priority) for priority in (0, 5, 0, -1, 5)]
    order = [jobs[place] for place in (1, 4, 0, 2, 3)]
    assert [table.position(job) for job in order] == [1, 2, 3, 4, 5]
    assert table.positions(jobs) == {job.number: place for place, job in enumerate(order, 1)}
    taken = claim(limit=2)
    assert [job.id for job in taken] == [job.id for job in order[:2]]
    assert table.positions(jobs) == {job.number: place for place, job in enumerate(order[2:], 1)}
    assert table.position(order[0]) is None  # though it was queued when it was read
    taken += claim(limit=9)
    assert [job.id for job in taken] == [job.id for job in order]
    assert claim() == []


def test_a_claim(table, add, claim, clock):
    add()
    clock.forward(3)
    [job] = claim("host:1")
    assert job == table.get(job.id)
    assert (job.state, job.attempts, job.owner, job.started_at) == (State.RUNNING, 1, "host:1", clock.moment)
    assert job.claim == Claim(job.number, 1, "host:1")
    assert job.revision == 2
    assert job.log[-1] == (2, "state", {"state": "running"})


def test_an_outcome(table, add, claim, clock):
    add()
    [job] = claim()
    clock.forward(7)
    outcome = Outcome(
        state=State.FAILED,
        result=orjson.dumps({"x": [1.5, None], "ä": "\0"}),
        error=("internal", "half a pair \ud800 and \0"),
        solution="x.npy",
        saved_state="s.npz",
        size=7,
        progress={"iterations": 5},
    )
    assert table.finish(job.claim, outcome).result(30)
    ended = table.get(job.id)
    assert (ended.state, ended.result, ended.solution, ended.saved_state) == (
        outcome.state,
        outcome.result,
        "x.npy",
        "s.npz",
    )
    assert ended.error == ("internal", "half a pair ? and ")
    assert (ended.size, ended.progress, ended.finished_at) == (7, {"iterations": 5}, clock.moment)
    assert [kind for _, kind, _ in ended.log] == ["state", "state", "progress", "state"]
    assert [revision for revision, _, _ in ended.log] == [1, 2, 3, 4]
    assert ended.revision == 4
    with pytest.raises(ValueError, match="cannot end"):
        table.finish(job.claim, Outcome(state=State.QUEUED)).result(30)


def test_a_lost_claim_is_void(table, add, claim):
    add()
    [first] = claim("a")
    assert table.give_back(first.claim, strike=False, most_strikes=3).result(30).state is State.QUEUED
    [second] = claim("a")  # the same owner: only the attempt tells
    assert second.claim == first.claim._replace(attempt=2)
    outcome = Outcome(state=State.SUCCEEDED, solution="first")
    for void in (first.claim, second.claim._replace(owner="b"), second.claim._replace(number=99)):
        assert table.finish(void, outcome).result(30) is False
        assert table.give_back(void, strike=True, most_strikes=1).result(30) is None
        assert table.report([Report(claim=void, progress={"iterations": 1})]).result(30) == [void]
    assert table.get(second.id) == second
    assert table.finish(second.claim, outcome).result(30) is True
    before = table.get(second.id)
    assert table.report([Report(claim=second.claim)]).result(30) == [second.claim]
    assert table.finish(second.claim, outcome).result(30) is True  # told twice: it is what is on record
    assert table.finish(second.claim, Outcome(state=State.SUCCEEDED, solution="other")).result(30) is False
    assert table.finish(second.claim, Outcome(state=State.FAILED, solution="first")).result(30) is False
    assert table.get(second.id) == before


def test_reports(table, add, claim, clock):
    for _ in range(3):
        add()
    a, b, c = claim(limit=3)
    lost = Claim(c.number, 7, "me")
    reports = [
        Report(claim=a.claim, progress={"iterations": 10}),
        Report(claim=b.claim),
        Report(claim=lost, progress={"iterations": 10}),
    ]
    clock.forward(50)
    assert table.report(reports).result(30) == [lost]
    assert table.get(a.id).progress == {"iterations": 10}
    assert table.get(a.id).revision == a.revision + 1
    assert table.get(b.id) == b  # only heard of
    assert table.report([]).result(30) == []
    clock.forward(20)
    assert table.give_back_stalled(60, 3).result(30) == [c.id]
    assert table.get(a.id).state is State.RUNNING


def test_several_reports_of_one_claim(table, add, claim):
    add()
    [job] = claim()
    reports = [Report(claim=job.claim, progress={"iterations": number}) for number in (1, 2, 2)]
    assert table.report(reports).result(30) == []
    job = table.get(job.id)
    assert [(revision, data) for revision, kind, data in job.log if kind == "progress"] == [
        (3, {"iterations": 1}),
        (4, {"iterations": 2}),  # and once: nothing new is no entry
    ]


def test_the_log_is_bounded(table, add, claim):
    add()
    [job] = claim()
    for iterations in range(1, 3 * MOST_POINTS):
        table.report([Report(claim=job.claim, progress={"iterations": iterations})]).result(30)
    job = table.get(job.id)
    points = [data["iterations"] for _, kind, data in job.log if kind == "progress"]
    assert len(points) == MOST_POINTS
    assert points[0] == 1
    assert points[-1] == 3 * MOST_POINTS - 1
    assert states(job) == ["queued", "running"]
    revisions = [revision for revision, _, _ in job.log]
    assert revisions == sorted(set(revisions))
    assert job.revision == revisions[-1]


def test_given_back_it_keeps_its_place(table, add, claim, clock):
    first, second = add(), add()
    [job] = claim()
    clock.forward(1)
    back = table.give_back(job.claim, strike=False, most_strikes=1, progress={"iterations": 4}).result(30)
    assert (back.state, back.owner, back.strikes, back.attempts) == (State.QUEUED, None, 0, 1)
    assert back.progress == {"iterations": 4}
    assert table.positions([back, second]) == {first.number: 1, second.number: 2}
    [again] = claim()
    assert again.id == first.id
    assert again.started_at == job.started_at
    assert states(again) == ["queued", "running", "queued", "running"]


def test_what_is_only_to_be_settled_comes_first(table, add, claim, clock):
    stopped, overdue, begun = add(priority=-9), add(priority=-5, deadline=10), add(priority=-7)
    for job in claim(limit=3):
        if job.id == stopped.id:
            table.request_stop(job.id).result(30)
        table.give_back(job.claim, strike=False, most_strikes=1).result(30)
    urgent, usual = add(priority=9), add()
    everything = [stopped, overdue, begun, urgent, usual]

    def agree(*order):
        places = {job.number: place for place, job in enumerate(order, 1)}
        assert table.positions([table.get(job.id) for job in everything]) == places
        assert {job.number: table.position(job) for job in order} == places

    agree(stopped, urgent, usual, overdue, begun)
    clock.forward(10)
    agree(overdue, stopped, urgent, usual, begun)
    assert [job.id for job in claim()] == [overdue.id]
    agree(stopped, urgent, usual, begun)
    assert [job.id for job in claim(limit=2)] == [stopped.id, urgent.id]
    assert [job.id for job in claim(limit=9)] == [usual.id, begun.id]


def test_claiming_reads_no_more_of_the_queue_than_it_must(table, add, engine):
    """Whether by an index, on SQLite, which tells it without knowing how much there is."""
    if engine.dialect.name != "sqlite":
        pytest.skip("its plans depend on statistics")
    add()
    plans = []

    def explain(connection, cursor, statement, parameters, *_):
        if statement.lstrip().startswith("SELECT") and "LIMIT" in statement:
            cursor = connection.connection.cursor()
            cursor.execute(f"EXPLAIN QUERY PLAN {statement}", parameters)
            plans.append(" ".join(row[-1] for row in cursor.fetchall()))

    event.listen(engine, "before_cursor_execute", explain)
    table.claim("me", 1).result(30)
    settled, usual = plans
    assert "ix_jobs_begun (state=? AND attempts>?)" in settled
    assert "ix_jobs_claim (state=?)" in usual
    assert "TEMP B-TREE" not in usual


def test_strikes_in_a_row_fail(table, add, claim, clock):
    add()
    [job] = claim()
    assert table.give_back(job.claim, strike=True, most_strikes=2).result(30).strikes == 1
    [job] = claim()
    assert table.report([Report(claim=job.claim, advanced=True)]).result(30) == []
    assert table.give_back(job.claim, strike=True, most_strikes=2).result(30).strikes == 1
    [job] = claim()
    failed = table.give_back(job.claim, strike=True, most_strikes=2).result(30)
    assert (failed.state, failed.strikes, failed.finished_at) == (State.FAILED, 2, clock.moment)
    assert failed.error[0] == "worker_lost"
    assert "2 times in a row" in failed.error[1]


def test_stalled_jobs(table, add, claim, clock):
    for _ in range(2):
        add()
    a, b = claim(limit=2)
    table.request_stop(b.id).result(30)
    clock.forward(10)
    assert table.give_back_stalled(10, 2).result(30) == []
    clock.forward(0.001)
    assert sorted(table.give_back_stalled(10, 2).result(30)) == sorted([a.id, b.id])
    assert table.counts()[State.QUEUED] == 2
    # Whoever claims it next is to see that it shall stop.
    claimed = {job.id: job for job in claim(limit=2)}
    assert claimed[b.id].stop_requested
    assert not claimed[a.id].stop_requested
    assert table.stopping("me") == [claimed[b.id].claim]
    clock.forward(11)
    table.give_back_stalled(10, 2).result(30)
    assert {table.get(job.id).state for job in (a, b)} == {State.FAILED}


def test_requests_to_stop(table, add, claim, clock):
    job, queued = add(), add()
    [running] = claim()
    stopped = table.request_stop(queued.id).result(30)
    assert (stopped.state, stopped.finished_at, stopped.result) == (State.CANCELLED, clock.moment, None)
    assert table.request_stop(queued.id).result(30) == stopped
    asked = table.request_stop(job.id).result(30)
    assert (asked.state, asked.stop_requested, asked.revision) == (State.RUNNING, True, running.revision + 1)
    assert table.request_stop(job.id).result(30) == asked
    assert table.stopping("me") == [running.claim]
    assert table.stopping("you") == []
    assert table.give_back(running.claim, strike=False, most_strikes=1).result(30).stop_requested
    assert table.stopping("me") == []


def test_deadlines(table, add, claim, clock):
    late, soon, never = add(deadline=10), add(deadline=1, priority=9), add()
    assert table.expire().result(30) == []
    clock.forward(1)
    assert [job.id for job in claim()] == [late.id]
    assert table.expire().result(30) == [soon.id]
    assert table.get(soon.id).state is State.CANCELLED
    clock.forward(100)
    assert table.expire().result(30) == []  # a running job looks to its deadline itself
    assert table.get(late.id).state is State.RUNNING
    assert table.get(never.id).state is State.QUEUED


@pytest.mark.parametrize("end", sorted(ENDED))
def test_what_has_ended_stays_as_it_is(table, add, claim, clock, end):
    add(deadline=1)
    [job] = claim()
    table.finish(job.claim, Outcome(state=end)).result(30)
    ended = table.get(job.id)
    clock.forward(1e6)
    assert claim() == []
    assert table.request_stop(job.id).result(30) == ended
    assert table.give_back(job.claim, strike=False, most_strikes=1).result(30) is None
    assert table.give_back_stalled(0, 1).result(30) == table.expire().result(30) == []
    assert table.get(job.id) == ended
    table.delete(job.id).result(30)


def test_a_running_job_cannot_be_removed(table, add, claim):
    add()
    [job] = claim()
    with pytest.raises(JobActiveError):
        table.delete(job.id).result(30)


@pytest.mark.parametrize("room", [None, lambda _: 4], ids=["alone", "in blocks"])
def test_claims_of_many_never_meet(engine, make, room):
    tables = [JobTable(engine) for _ in range(4)]
    try:
        added = [
            tables[0].add(make(priority=n % 3), most_queued=999, matrix_exists=lambda: True)
            for n in range(120)
        ]
        ids = {future.result(30)[0].id for future in added}

        def work(number):
            taken = []
            while blocks := tables[number % 4].claim(f"owner {number}", 3, room).result(60):
                taken += [job.id for block in blocks for job in block]
            return taken

        with ThreadPoolExecutor(8) as pool:
            taken = [job_id for some in pool.map(work, range(8)) for job_id in some]
        assert len(taken) == len(set(taken))
        # With SKIP LOCKED one that finds all locked may leave early, but the last one out leaves nothing.
        assert set(taken) == ids
    finally:
        for table in tables:
            table.close()


def test_stopping_and_ending_race(engine, make):
    """Whatever comes first: a job that ended is not disturbed, and a stop is not lost."""
    workers, server = JobTable(engine), JobTable(engine)
    try:
        for _ in range(30):
            job = server.add(make(), most_queued=9, matrix_exists=lambda: True).result(30)[0]
            claimed = workers.claim("me", 1)
            stop = server.request_stop(job.id)
            stopped, blocks = stop.result(30), claimed.result(30)
            if stopped.state is State.CANCELLED:
                assert blocks == []
                continue
            assert stopped.stop_requested
            finish = workers.finish(blocks[0][0].claim, Outcome(state=State.SUCCEEDED))
            server.request_stop(job.id).result(30)
            assert finish.result(30)
            assert server.get(job.id).state is State.SUCCEEDED
    finally:
        workers.close()
        server.close()
