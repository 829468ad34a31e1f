"""Calls that are made at once, to be one task."""

import asyncio
import time

import pool_tasks
import pytest
import shared_tasks as tasks
from shared_tasks import names, outcomes

from solver_service.engine import Part, Pool, PoolConfig
from solver_service.errors import QueueFullError, RequestTimeoutError, ShuttingDownError

pytestmark = pytest.mark.anyio


@pytest.fixture
def submit():
    """Make calls of those names at once."""

    def submit(pool, *wanted, **options):
        parts = [Part(payload=one if isinstance(one, tasks.Part) else tasks.Part(one)) for one in wanted]
        return pool.submit_together(tasks.work, parts, lane="main", **options)

    return submit


async def test_an_idle_worker_gets_all_of_them_at_once(single, submit):
    await single.wait_ready()
    before = single.stats.shared
    calls = submit(single, *"abc")
    assert all(call.begun for call in calls)
    assert [answer.names for answer in await outcomes(calls)] == [["a", "b", "c"]] * 3
    assert single.stats.shared == before + 3


async def test_those_that_wait_stay_together_and_apart_from_others(single, held, submit):
    async with held(single):
        first, between = submit(single, *"ab"), single.submit(pool_tasks.echo, 1, lane="main")
        second = submit(single, *"cd")
        assert single.stats.queued == 5
    assert [await names(call) for call in (*first, *second)] == [["a", "b"]] * 2 + [["c", "d"]] * 2
    assert await between.answer() == 1


async def test_each_keeps_its_deadline_and_its_reports(single, tmp_path, eventually):
    heard = {"a": [], "b": []}
    parts = [
        Part(payload=tasks.Part("a", "report"), on_report=heard["a"].append),
        Part(payload=tasks.Part("b", "report"), on_report=heard["b"].append),
        Part(payload=tasks.Part("c", "deadline"), deadline=time.monotonic() + 0.05),
    ]
    *reporting, due = single.submit_together(tasks.work, parts, lane="main")
    assert await due.answer() == parts[2].deadline
    for call, told in zip(reporting, heard.values(), strict=True):
        await eventually(lambda told=told: told)
        call.stop(30.0)
    assert await outcomes(reporting) == ["reported"] * 2
    assert {name: set(told) for name, told in heard.items()} == {"a": {"a"}, "b": {"b"}}


async def test_one_that_is_killed_leaves_the_others_to_be_repeated_alone(single, submit):
    a, deaf, b = submit(single, tasks.Part("a", "alone"), tasks.Part("x", "never"), tasks.Part("b", "alone"))
    deaf.stop(0.0)
    with pytest.raises(RequestTimeoutError):
        await deaf.answer()
    assert [await names(call) for call in (a, b)] == [["a"], ["b"]]


async def test_there_is_room_for_all_or_for_none(held, submit):
    async with Pool(PoolConfig(lanes={"main": 1}, queue_size=2, most_together=3)) as pool:
        await pool.wait_ready()
        with pytest.raises(ValueError, match="too many"):
            submit(pool, *"abcd")
        assert len(await outcomes(submit(pool, *"abc"))) == 3  # more than may wait, but they need not
        async with held(pool):
            with pytest.raises(QueueFullError):
                submit(pool, *"abc")
            assert pool.stats.queued == 0
            calls = submit(pool, *"ab")
        assert [await names(call) for call in calls] == [["a", "b"]] * 2
        late = [Part(payload=tasks.Part(name), deadline=time.monotonic() - 1) for name in "ab"]
        with pytest.raises(RequestTimeoutError):
            pool.submit_together(tasks.work, late, lane="main")
        pool.cancel_running()
        with pytest.raises(ShuttingDownError):
            submit(pool, "a")
        await asyncio.sleep(0)
