import asyncio
import os
import signal
import time

import pool_tasks as tasks
import pytest

from solver_service.engine import Pool, PoolConfig
from solver_service.errors import RequestTimeoutError

pytestmark = pytest.mark.anyio


@pytest.fixture
def start(pool, eventually, tmp_path):
    """Submit a task that announces its start, and wait for that."""

    async def start(task, name="begun", **options):
        call = pool.submit(task, str(tmp_path / name), lane="main", **options)
        await eventually((tmp_path / name).exists)
        return call

    return start


async def test_a_stopped_task_still_delivers_its_answer(pool, start):
    restarts = pool.stats.restarts
    released = []
    call = await start(tasks.until_cancelled, on_release=lambda: released.append(1))
    assert call.begun
    assert not call.done
    call.stop()
    assert released == []
    assert await call.answer() == "best so far"
    assert call.done
    assert released == [1]
    assert pool.stats.restarts == restarts


@pytest.mark.parametrize(("options", "expected"), [({}, 0.1), ({"grace_seconds": 0.3}, 0.3)], ids=str)
async def test_a_deaf_task_is_killed_after_its_grace_time_and_the_lane_goes_on(
    pool, start, options, expected
):
    restarts = pool.stats.restarts
    released = []
    call = await start(tasks.stuck, on_release=lambda: released.append(1))
    begun = time.monotonic()
    call.stop(**options)
    with pytest.raises(RequestTimeoutError, match="did not stop in time"):
        await call.answer()
    assert expected <= time.monotonic() - begun < expected + 0.4
    assert released == [1]
    assert await asyncio.gather(*(pool.run(tasks.echo, n, lane="main") for n in range(5))) == list(range(5))
    await pool.wait_ready()
    assert pool.stats.restarts == restarts + 1


async def test_a_second_stop_can_only_hurry(start):
    call = await start(tasks.stuck)
    begun = time.monotonic()
    call.stop(30.0)
    call.stop(0.05)
    call.stop(30.0)
    with pytest.raises(RequestTimeoutError, match="did not stop in time"):
        await call.answer()
    assert time.monotonic() - begun < 0.5


async def test_a_stopped_call_can_still_be_abandoned(pool, start, eventually):
    call = await start(tasks.stuck)
    call.stop(30.0)
    waiter = asyncio.create_task(call.answer())
    await asyncio.sleep(0)
    waiter.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiter
    await eventually(lambda: pool.stats.busy == 0, 1.0)
    await pool.wait_ready()


async def test_a_deadline_ends_a_stopped_call_too(start, pool):
    call = await start(tasks.stuck, deadline=time.monotonic() + 0.5)
    call.stop(30.0)
    with pytest.raises(RequestTimeoutError, match="deadline"):
        await call.answer()
    await pool.wait_ready()


async def test_a_waiting_call_fails_at_once_when_stopped(pool, start, tmp_path):
    running = [await start(tasks.until_released, name) for name in ("0", "1")]
    released = []
    waiting = [
        pool.submit(tasks.echo, n, lane="main", on_release=lambda n=n: released.append(n)) for n in range(3)
    ]
    waiting[1].stop()
    assert waiting[1].done
    assert released == [1]
    assert pool.stats.queued == 2
    assert [call.begun for call in waiting] == [False] * 3
    with pytest.raises(RequestTimeoutError, match="before it could begin"):
        await waiting[1].answer()
    for name in ("0", "1"):
        (tmp_path / name).unlink()
    assert [await waiting[n].answer() for n in (0, 2)] == [0, 2]
    assert waiting[0].begun
    assert not waiting[1].begun
    for call in running:
        await call.answer()


async def test_a_stop_is_not_forgotten_when_the_worker_dies_before_taking_the_call_up(pool, eventually):
    await pool.wait_ready()
    pid = await pool.run(tasks.pid, None, lane="main")
    os.kill(pid, signal.SIGSTOP)
    call = pool.submit(tasks.echo, 1, lane="main")
    assert call.begun
    call.stop(30.0)
    os.kill(pid, signal.SIGKILL)
    with pytest.raises(RequestTimeoutError, match="before it could begin"):
        await call.answer()
    assert not call.begun
    await pool.wait_ready()


async def test_stopping_what_is_done_does_nothing(pool):
    call = pool.submit(tasks.echo, 1, lane="main")
    assert await call.answer() == 1
    call.stop(0.0)
    call.abandon()
    assert await call.answer() == 1
    for _ in range(20):
        assert not await pool.run(tasks.cancelled_at_once, None, lane="main")


async def test_a_stop_in_the_instant_of_the_start_reaches_the_task_and_no_other(pool):
    for _ in range(200):
        call = pool.submit(tasks.report_until_cancelled, None, lane="main")
        call.stop(30.0)
        assert await call.answer() >= 0
        assert not await pool.run(tasks.cancelled_at_once, None, lane="main")


async def test_stopping_one_call_stops_no_other(pool, start, tmp_path):
    bystander = await start(tasks.until_released, "bystander")
    for number in range(20):
        call = await start(tasks.until_cancelled, f"call-{number}")
        call.stop()
        assert await call.answer() == "best so far"
    (tmp_path / "bystander").unlink()
    assert await bystander.answer() == str(tmp_path / "bystander")


async def test_a_call_of_a_worker_not_yet_warm_waits_and_can_be_stopped():
    async with Pool(PoolConfig(lanes={"main": 1})) as pool:
        call = pool.submit(tasks.echo, 1, lane="main")
        assert not call.begun
        call.stop()
        with pytest.raises(RequestTimeoutError):
            await call.answer()
        assert await pool.run(tasks.echo, 1, lane="main") == 1
