"""A row whose documents cannot be read fails alone."""

from __future__ import annotations

import pytest
from sqlalchemy import text

from solver_service.errors import SolverServiceError
from solver_service.jobs import Outcome, Report, State


@pytest.fixture(params=["spec", "log", "progress"])
def column(request):
    return request.param


@pytest.fixture
def damage(engine, column):
    def damage(job, document):
        with engine.begin() as connection:
            update = text(f"UPDATE jobs SET {column} = :document WHERE number = :number")
            connection.execute(update, {"document": document, "number": job.number})

    return damage


DOCUMENTS = pytest.mark.parametrize("document", ["", "{", '{"shape": [1]}', "[[1]]"])


@pytest.fixture
def wrong(column, document):
    """Whether the document is wrong in that column."""
    return column != "progress" or document in ("", "{")


@DOCUMENTS
def test_it_fails_when_it_is_claimed_and_the_next_goes_on(
    table, add, damage, wrong, clock, caplog, column, document
):
    if not wrong:
        pytest.skip("that is JSON")
    damaged, sound, next_ = add(), add(), add()
    damage(damaged, document)
    assert [[job.id] for [job] in table.claim("me", 2).result(30)] == [[sound.id], [next_.id]]
    assert f"record of job {damaged.id} cannot be read" in caplog.text
    assert table.counts()[State.FAILED] == 1
    [light] = table.list(State.FAILED)[0]
    assert (light.id, light.error) == (damaged.id, ("internal", "the record of this job is damaged"))
    assert light.finished_at == clock.moment
    if column == "spec":
        with pytest.raises(SolverServiceError, match="record of this job is damaged"):
            table.get(damaged.id)
    else:
        assert table.get(damaged.id).log[-1] == (2, "state", {"state": "failed"})
    assert table.claim("me", 9).result(30) == []
    assert [job.id for job in table.ended(9)] == [damaged.id]
    assert table.delete(damaged.id).result(30).id == damaged.id


def test_it_hides_no_other(table, add, damage, column):
    jobs = [add(deadline=1), add(deadline=1), add()]
    damage(jobs[1], "{")
    assert {job.id for job in table.list()[0]} == {job.id for job in jobs}
    assert set(table.known([job.id for job in jobs])) == {job.id for job in jobs}
    assert table.positions(table.list()[0]) == {job.number: place for place, job in enumerate(jobs, 1)}
    with pytest.raises(SolverServiceError, match="damaged"):
        table.get(jobs[1].id)
    assert table.request_stop(jobs[1].id).result(30).state is State.CANCELLED


def test_waiting_for_too_long(table, add, damage, clock):
    jobs = [add(deadline=1), add(deadline=1)]
    damage(jobs[0], "{")
    clock.forward(1)
    assert table.expire().result(30) == [job.id for job in jobs]


def test_while_it_runs(table, add, damage, clock):
    add(), add()
    [damaged], [sound] = table.claim("me", 2).result(30)
    damage(damaged, "{")
    reports = [Report(claim=job.claim, progress={"iterations": 1}) for job in (damaged, sound)]
    assert table.report(reports).result(30) == []
    damage(damaged, "{")
    clock.forward(11)
    assert table.give_back_stalled(10, 9).result(30) == [damaged.id, sound.id]
    damage(damaged, "{")
    [[job]] = table.claim("me", 2).result(30)
    assert job.id == sound.id
    damage(sound, "{")
    assert table.give_back(job.claim, strike=False, most_strikes=9).result(30).state is State.QUEUED


def test_an_end_is_noted(table, add, damage):
    add()
    [[job]] = table.claim("me", 1).result(30)
    damage(job, "{")
    assert table.finish(job.claim, Outcome(state=State.SUCCEEDED, progress={"iterations": 1})).result(30)
    assert table.counts()[State.SUCCEEDED] == 1
