import asyncio
import os
import signal
import time

import pool_tasks as tasks
import pytest

from solver_service.engine import LaneStats, Pool, PoolConfig
from solver_service.errors import QueueFullError, ShuttingDownError, WorkerLostError

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
async def pool(anyio_backend):
    """Two lanes that work, and one that does not; every test must leave them idle."""
    lanes = {"quick": 1, "long": 2, "closed": 0}
    async with Pool(PoolConfig(lanes=lanes, queue_size=2, grace_seconds=0.1)) as pool:
        await pool.wait_ready()
        yield pool


@pytest.fixture
def occupy(pool, eventually, tmp_path):
    """Give all workers of a lane work that lasts until its files are removed."""

    async def occupy(lane, count):
        paths = [tmp_path / f"{lane}-{number}" for number in range(count)]
        calls = [pool.submit(tasks.until_released, str(path), lane=lane) for path in paths]
        await eventually(lambda: all(path.exists() for path in paths))
        return calls, paths

    return occupy


async def release(calls, paths):
    for path in paths:
        path.unlink()
    await asyncio.gather(*(call.answer() for call in calls))


async def test_a_full_lane_blocks_no_other(pool, occupy):
    calls, paths = await occupy("long", 2)
    waiting = [pool.submit(tasks.echo, number, lane="long") for number in range(2)]
    with pytest.raises(QueueFullError):
        pool.submit(tasks.echo, 2, lane="long")
    assert [await pool.run(tasks.echo, number, lane="quick") for number in range(10)] == list(range(10))
    assert pool.stats.lanes == {
        "quick": LaneStats(workers=1, busy=0, together=0, queued=0, shared=0, restarts=0),
        "long": LaneStats(workers=2, busy=2, together=2, queued=2, shared=0, restarts=0),
        "closed": LaneStats(workers=0, busy=0, together=0, queued=0, shared=0, restarts=0),
    }
    assert (pool.stats.workers, pool.stats.busy, pool.stats.queued, pool.stats.restarts) == (3, 2, 2, 0)
    await release(calls, paths)
    assert [await call.answer() for call in waiting] == [0, 1]


async def test_idle_tells_how_many_calls_would_begin_at_once(pool, occupy):
    assert [pool.idle(lane) for lane in ("quick", "long", "closed")] == [1, 2, 0]
    calls, paths = await occupy("long", 1)
    assert [pool.idle(lane) for lane in ("quick", "long")] == [1, 1]
    calls.append(pool.submit(tasks.echo, 1, lane="long"))
    calls.append(pool.submit(tasks.echo, 2, lane="long"))
    assert pool.stats.queued == 1
    assert pool.idle("long") == 0
    await release(calls, paths)
    assert pool.idle("long") == 2


async def test_a_lane_serves_only_its_own_workers(pool):
    quick = {await pool.run(tasks.pid, None, lane="quick") for _ in range(5)}
    long = set(await asyncio.gather(*(pool.run(tasks.pid, None, lane="long") for _ in range(4))))
    assert len(quick) == 1
    assert not quick & long


async def test_a_death_in_one_lane_is_made_good_there(pool, occupy):
    calls, paths = await occupy("long", 2)
    restarts = pool.stats.lanes["quick"].restarts
    with pytest.raises(WorkerLostError):
        await pool.run(tasks.die, None, lane="quick")
    assert not pool.ready
    assert await pool.run(tasks.echo, 1, lane="quick") == 1
    await pool.wait_ready()
    assert pool.stats.lanes["quick"].restarts == restarts + 1
    assert pool.stats.lanes["long"].restarts == 0
    await release(calls, paths)


async def test_retry_after_is_that_of_the_lane(pool, monkeypatch):
    monkeypatch.setattr(pool._lane("long"), "_durations", [10.0, 30.0])
    assert [pool.retry_after(lane) for lane in ("quick", "long", "closed")] == [1, 10, 1]


@pytest.mark.parametrize("lane", ["closed", "unheard of"])
async def test_a_lane_without_workers_takes_no_calls(pool, lane):
    released = []
    with pytest.raises(ValueError, match=lane):
        pool.submit(tasks.echo, 1, lane=lane, on_release=lambda: released.append(1))
    assert released == [1]


async def test_shutting_down_stops_all_lanes(eventually, tmp_path):
    async with Pool(PoolConfig(lanes={"a": 1, "b": 1}, grace_seconds=0.1)) as pool:
        running = [pool.submit(tasks.until_cancelled, str(tmp_path / lane), lane=lane) for lane in "ab"]
        waiting = [pool.submit(tasks.echo, 1, lane=lane) for lane in "ab"]
        await eventually(lambda: all((tmp_path / lane).exists() for lane in "ab"))
        pool.cancel_running()
        assert [await call.answer() for call in running] == ["best so far"] * 2
        for call in waiting:
            with pytest.raises(ShuttingDownError):
                await call.answer()
        for lane in "ab":
            with pytest.raises(ShuttingDownError):
                pool.submit(tasks.echo, 1, lane=lane)
            assert pool.idle(lane) == 0


async def test_a_stopped_worker_of_one_lane_holds_up_no_other(pool, eventually):
    pid = await pool.run(tasks.pid, None, lane="quick")
    os.kill(pid, signal.SIGSTOP)
    try:
        stuck = pool.submit(tasks.echo, 1, lane="quick")
        begun = time.monotonic()
        assert await pool.run(tasks.echo, 2, lane="long") == 2
        assert time.monotonic() - begun < 1.0
    finally:
        os.kill(pid, signal.SIGCONT)
    assert await stuck.answer() == 1


async def test_nobody_waits_where_no_worker_can_start():
    config = PoolConfig(lanes={"main": 2}, initializer=tasks.refuse_always, queue_size=4)
    async with Pool(config) as pool:
        began = time.monotonic()
        with pytest.raises(WorkerLostError) as caught:
            await pool.run(tasks.echo, 1, lane="main", deadline=time.monotonic() + 60)
        assert caught.value.retry_after == 10
        assert time.monotonic() - began < 20
        with pytest.raises(WorkerLostError):
            pool.submit(tasks.echo, 1, lane="main")
        assert pool.stats.queued == 0
