import asyncio
import time

import pool_tasks as tasks
import pytest

from solver_service.engine import Pool, PoolConfig
from solver_service.errors import RequestTimeoutError, ShuttingDownError

pytestmark = pytest.mark.anyio


@pytest.fixture
def releases():
    return []


@pytest.fixture
def start(pool, eventually, tmp_path, releases):
    async def start(task, name="begun", **options):
        call = asyncio.create_task(
            pool.run(
                task, str(tmp_path / name), on_release=lambda: releases.append(name), **options, lane="main"
            )
        )
        await eventually((tmp_path / name).exists)
        return call

    return start


async def cancel(call):
    """Cancel a call; return how long its caller was held."""
    start = time.perf_counter()
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    return time.perf_counter() - start


async def test_a_task_that_listens_stops_and_keeps_its_worker(pool, start, eventually, releases):
    restarts = pool.stats.restarts
    call = await start(tasks.until_cancelled)
    assert pool.stats.busy == 1
    assert releases == []
    assert await cancel(call) < 0.05
    await eventually(lambda: pool.stats.busy == 0)
    assert pool.stats.restarts == restarts
    assert releases == ["begun"]


async def test_a_deaf_task_is_killed_after_the_grace_time(pool, start, eventually, releases):
    restarts = pool.stats.restarts
    call = await start(tasks.stuck)
    started = time.monotonic()
    assert await cancel(call) < 0.05
    assert pool.stats.busy == 1  # its caller is free, its slot is not
    assert releases == []
    await eventually(lambda: pool.stats.busy == 0)
    assert 0.1 <= time.monotonic() - started < 0.5
    assert releases == ["begun"]
    await pool.wait_ready()
    assert pool.stats.restarts == restarts + 1


async def test_cancelling_one_task_stops_no_other(pool, start, eventually, tmp_path):
    bystander = await start(tasks.until_released, "bystander")
    for number in range(20):
        await cancel(await start(tasks.until_cancelled, f"call-{number}"))
        await eventually(lambda: pool.stats.busy == 1)
        assert not await pool.run(tasks.cancelled_at_once, None, lane="main")
    (tmp_path / "bystander").unlink()
    assert await bystander == str(tmp_path / "bystander")


async def test_a_late_cancellation_does_not_reach_the_next_task(pool):
    for _ in range(200):
        call = asyncio.create_task(pool.run(tasks.echo, 1, lane="main"))
        await asyncio.sleep(0)
        call.cancel()
        assert not await pool.run(tasks.cancelled_at_once, None, lane="main")
        await asyncio.gather(call, return_exceptions=True)


async def test_a_timeout_of_the_caller_cancels(pool, eventually, tmp_path):
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await pool.run(tasks.until_cancelled, str(tmp_path / "begun"), lane="main")
    await eventually(lambda: pool.stats.busy == 0)


async def test_a_task_that_knows_its_deadline_answers(pool):
    assert (
        await pool.run(tasks.until_deadline, None, deadline=time.monotonic() + 0.05, lane="main")
        == "time limit"
    )


async def test_a_task_that_ignores_its_deadline_is_killed(pool, tmp_path, releases):
    restarts = pool.stats.restarts
    begun = time.monotonic()
    with pytest.raises(RequestTimeoutError):
        await pool.run(
            tasks.stuck,
            str(tmp_path / "x"),
            deadline=begun + 0.05,
            on_release=lambda: releases.append(1),
            lane="main",
        )
    assert 0.15 <= time.monotonic() - begun < 0.5
    assert releases == [1]
    await pool.wait_ready()
    assert pool.stats.restarts == restarts + 1


async def test_a_callback_that_fails_does_no_harm(pool, caplog):
    assert await pool.run(tasks.echo, 1, on_release=lambda: 1 / 0, lane="main") == 1
    assert "ZeroDivisionError" in caplog.text
    assert pool.stats.busy == 0


async def test_cancel_running_gets_the_best_answers_and_refuses_all_else(eventually, tmp_path):
    async with Pool(PoolConfig(lanes={"main": 2}, grace_seconds=0.2)) as pool:
        listening = asyncio.create_task(pool.run(tasks.until_cancelled, str(tmp_path / "a"), lane="main"))
        deaf = asyncio.create_task(pool.run(tasks.stuck, str(tmp_path / "b"), lane="main"))
        waiting = asyncio.create_task(pool.run(tasks.echo, 1, lane="main"))
        await eventually(lambda: (tmp_path / "a").exists() and (tmp_path / "b").exists())
        pool.cancel_running()
        assert not pool.ready
        with pytest.raises(ShuttingDownError):
            await waiting
        with pytest.raises(ShuttingDownError):
            await pool.run(tasks.echo, 1, lane="main")
        assert await listening == "best so far"
        with pytest.raises(ShuttingDownError):
            await deaf
