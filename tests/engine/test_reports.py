import asyncio
import random

import pool_tasks as tasks
import pytest

from solver_service.errors import SolverServiceError, WorkerLostError

pytestmark = pytest.mark.anyio

MESSAGES = [None, 3, "text", {"epoch": 1, "residual": 0.5}, b"x" * (1 << 20), (1, 2)]


async def test_reports_come_in_order_and_before_the_answer(pool):
    seen = []
    call = pool.submit(tasks.report_each, MESSAGES, lane="main", on_report=seen.append)
    answer = asyncio.create_task(call.answer())
    answer.add_done_callback(lambda answer: seen.append(answer.result()))
    assert await answer == "done"
    assert seen == [*MESSAGES, "done"]


async def test_reports_come_while_the_task_works(pool, eventually):
    seen = []
    call = pool.submit(tasks.report_until_cancelled, None, lane="main", on_report=seen.append)
    await eventually(lambda: len(seen) > 1000)
    call.stop()
    assert seen == list(range(await call.answer()))


async def test_reports_that_nobody_wants_are_dropped(pool):
    assert await pool.run(tasks.report_each, MESSAGES, lane="main") == "done"


async def test_an_abandoned_call_reports_no_more(pool, eventually, tmp_path):
    seen = []
    path = tmp_path / "begun"
    call = pool.submit(tasks.report_when_cancelled, str(path), lane="main", on_report=seen.append)
    await eventually(path.exists)
    call.abandon()
    await eventually(lambda: pool.stats.busy == 0)
    assert seen == []
    assert pool.stats.restarts == 0


async def test_a_callback_that_fails_does_no_harm(pool, caplog):
    seen = []

    def fussy(message):
        seen.append(message)
        raise ValueError("not this one")

    assert await pool.run(tasks.report_each, [1, 2], lane="main", on_report=fussy) == "done"
    assert seen == [1, 2]
    assert caplog.text.count("could not be passed on") == 2


async def test_a_report_that_cannot_be_read_is_dropped(pool, caplog):
    seen = []
    messages = [1, tasks.Unreadable(), 2]
    assert await pool.run(tasks.report_each, messages, lane="main", on_report=seen.append) == "done"
    assert seen == [1, 2]
    assert "could not be passed on" in caplog.text


async def test_a_report_that_cannot_be_sent_fails_the_task(pool):
    seen = []
    with pytest.raises(SolverServiceError, match="internal"):
        await pool.run(tasks.report_unpicklable, None, lane="main", on_report=seen.append)
    assert seen == []
    assert pool.stats.restarts == 0


@pytest.mark.parametrize("way", ["stop", "abandon"])
async def test_a_callback_may_stop_or_abandon_its_own_call(pool, eventually, way):
    seen = []
    call = pool.submit(
        tasks.report_until_cancelled,
        None,
        lane="main",
        on_report=lambda number: (seen.append(number), getattr(call, way)()),
    )
    await eventually(lambda: pool.stats.busy == 0)
    if way == "stop":
        assert seen == list(range(await call.answer()))
    else:
        assert seen == [0]


async def test_what_a_worker_reported_before_its_death_arrives(pool):
    seen = []
    with pytest.raises(WorkerLostError):
        await pool.run(tasks.report_and_die, [1, 2, 3], lane="main", on_report=seen.append)
    assert seen == [1, 2, 3]
    await pool.wait_ready()


async def test_many_calls_with_reports_stopped_and_abandoned_at_random(pool, eventually):
    rng = random.Random(1)
    gate = asyncio.Semaphore(6)  # two work, four wait
    outcomes = []

    async def one(number):
        seen, released = [], []
        async with gate:
            call = pool.submit(
                tasks.report_each,
                [(number, k) for k in range(rng.randrange(30))],
                lane="main",
                on_report=seen.append,
                on_release=lambda: released.append(1),
            )
            wish = rng.choice(["wait", "wait", "stop", "abandon"])
            for _ in range(rng.randrange(4)):
                await asyncio.sleep(0)
            if wish != "wait":
                getattr(call, wish)()
            [outcome] = await asyncio.gather(call.answer(), return_exceptions=True)
            await eventually(lambda: released)
        assert seen == [(number, k) for k in range(len(seen))]
        assert released == [1]
        outcomes.append((wish, type(outcome).__name__))

    restarts = pool.stats.restarts
    await asyncio.gather(*(one(number) for number in range(400)))
    assert set(outcomes) >= {("wait", "str"), ("stop", "str"), ("abandon", "CancelledError")}
    assert {kind for wish, kind in outcomes if wish == "wait"} == {"str"}
    assert {kind for wish, kind in outcomes if wish == "stop"} <= {"str", "RequestTimeoutError"}
    assert pool.stats.restarts == restarts
    assert pool.stats.busy == pool.stats.queued == 0
