import asyncio
import itertools
import logging
import os
import signal
import time
from pathlib import Path

import pool_tasks as tasks
import psutil
import pytest

from solver_service.engine import Pool, PoolConfig
from solver_service.errors import ShuttingDownError

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("no_processes_left")]


def count_descriptors():
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


async def test_start_returns_before_the_workers_are_warm_and_calls_wait():
    pool = Pool(PoolConfig(lanes={"main": 2}, initializer=tasks.warm_up))
    assert not pool.ready
    await pool.start()
    assert not pool.ready
    assert len(await pool.run(tasks.warmed, None, lane="main")) == 1
    await pool.wait_ready()
    assert pool.ready
    with pytest.raises(RuntimeError):
        await pool.start()
    await pool.close()
    assert not pool.ready


async def test_the_initializer_runs_once_in_each_worker_also_in_replacements():
    async with Pool(PoolConfig(lanes={"main": 1}, initializer=tasks.warm_up)) as pool:
        first = await pool.run(tasks.warmed, None, lane="main")
        assert first == [await pool.run(tasks.pid, None, lane="main")]
        os.kill(first[0], signal.SIGKILL)
        second = await pool.run(tasks.warmed, None, lane="main")
        assert second == [await pool.run(tasks.pid, None, lane="main")]
        assert second != first


async def test_preloaded_modules_are_there(tmp_path, monkeypatch):
    (tmp_path / "heavy_module.py").write_text("import os\npid = os.getpid()\n")
    (tmp_path / "heavy_tasks.py").write_text(
        "import os, sys\ndef where(context, payload):\n"
        "    return sys.modules['heavy_module'].pid, os.getppid(), os.environ['FLAVOUR']\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    import heavy_tasks

    config = PoolConfig(lanes={"main": 1}, preload=("heavy_module",), environment={"FLAVOUR": "mint"})
    async with Pool(config) as pool:
        imported_in, forked_from, flavour = await pool.run(heavy_tasks.where, None, lane="main")
    assert imported_in == forked_from != os.getpid()
    assert flavour == "mint"
    assert "FLAVOUR" not in os.environ


async def test_workers_that_cannot_start_are_tried_again_but_not_busily(
    tmp_path, monkeypatch, eventually, caplog
):
    monkeypatch.setenv("TEST_START_FOLDER", str(tmp_path))
    async with Pool(PoolConfig(lanes={"main": 1}, initializer=tasks.refuse_to_start)) as pool:
        attempts = tmp_path / "attempts"
        await eventually(lambda: attempts.exists() and len(attempts.read_text().split()) >= 4)
        assert not pool.ready
        assert "no device" in caplog.text
        times = [float(text) for text in attempts.read_text().split()]
        pauses = [later - earlier for earlier, later in itertools.pairwise(times)]
        assert pauses[0] >= 0.1
        assert pauses[1] >= 0.2
        assert pauses[2] >= 0.4
        (tmp_path / "go").touch()
        await pool.wait_ready()
        assert await pool.run(tasks.echo, 1, lane="main") == 1


async def test_a_worker_that_takes_too_long_to_start_is_given_up(eventually, caplog):
    async with Pool(PoolConfig(lanes={"main": 1}, initializer=tasks.start_never, start_seconds=2.0)) as pool:
        await eventually(lambda: "no answer within 2 s" in caplog.text)
        assert not pool.ready


async def test_a_preload_that_fails_is_logged_and_closing_still_works(eventually, caplog):
    async with Pool(PoolConfig(lanes={"main": 2}, preload=("no_such_module_here",))) as pool:
        await eventually(lambda: caplog.text.count("next attempt in 0.2 s") == 2)
        assert not pool.ready
    assert "No module named 'no_such_module_here'" in caplog.text


async def test_close_answers_everyone_and_leaves_nothing(eventually, tmp_path, caplog):
    caplog.set_level(logging.INFO)
    descriptors = count_descriptors()
    pool = Pool(PoolConfig(lanes={"main": 3}, grace_seconds=0.3))
    await pool.start()
    await pool.wait_ready()
    listening = asyncio.create_task(pool.run(tasks.until_cancelled, str(tmp_path / "0"), lane="main"))
    deaf = asyncio.create_task(pool.run(tasks.stuck, str(tmp_path / "1"), lane="main"))
    stopped = asyncio.create_task(pool.run(tasks.stuck, str(tmp_path / "2"), lane="main"))
    waiting = [asyncio.create_task(pool.run(tasks.echo, 1, lane="main")) for _ in range(3)]
    await eventually(lambda: all((tmp_path / name).exists() for name in "012"))
    os.kill(int((tmp_path / "2").read_text()), signal.SIGSTOP)
    begun = time.monotonic()
    await pool.close()
    assert time.monotonic() - begun < 2.0
    assert await listening == "best so far"
    for call in (deaf, stopped, *waiting):
        with pytest.raises(ShuttingDownError):
            await call
    with pytest.raises(ShuttingDownError):
        await pool.run(tasks.echo, 1, lane="main")
    await pool.close()
    assert count_descriptors() == descriptors


@pytest.mark.parametrize("grace", [0.0, 60.0])
async def test_close_is_quick_whatever_the_grace_time(eventually, tmp_path, grace):
    pool = Pool(PoolConfig(lanes={"main": 1}, grace_seconds=grace))
    await pool.start()
    call = asyncio.create_task(pool.run(tasks.stuck, str(tmp_path / "begun"), lane="main"))
    await eventually((tmp_path / "begun").exists)
    begun = time.monotonic()
    await asyncio.gather(pool.close(), pool.close())
    assert time.monotonic() - begun < 2.0
    with pytest.raises(ShuttingDownError):
        await call


@pytest.mark.parametrize("initializer", [None, tasks.start_never])
async def test_close_while_starting(initializer, eventually):
    pool = Pool(PoolConfig(lanes={"main": 2}, initializer=initializer))
    await pool.start()
    ready = asyncio.create_task(pool.wait_ready())
    call = asyncio.create_task(pool.run(tasks.echo, 1, lane="main"))
    if initializer is not None:
        await eventually(lambda: len(psutil.Process().children(recursive=True)) >= 3)
    begun = time.monotonic()
    await pool.close()
    assert time.monotonic() - begun < 2.0
    for waiter in (ready, call):
        with pytest.raises(ShuttingDownError):
            await waiter


async def test_close_while_preloading(tmp_path, monkeypatch, eventually):
    (tmp_path / "endless_module.py").write_text(
        f"import time\nopen({str(tmp_path / 'begun')!r}, 'w').close()\nwhile True: time.sleep(1)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    pool = Pool(PoolConfig(lanes={"main": 1}, preload=("endless_module",)))
    await pool.start()
    await eventually((tmp_path / "begun").exists)
    begun = time.monotonic()
    await pool.close()
    assert time.monotonic() - begun < 2.0


async def test_close_with_a_fork_server_that_hangs(eventually, tmp_path):
    pool = Pool(PoolConfig(lanes={"main": 1}, grace_seconds=0.1))
    await pool.start()
    pid = await pool.run(tasks.pid, None, lane="main")
    os.kill(psutil.Process(pid).ppid(), signal.SIGSTOP)
    begun = time.monotonic()
    await pool.close()
    assert time.monotonic() - begun < 2.0
    await eventually(lambda: not psutil.pid_exists(pid) or psutil.Process(pid).status() == "zombie")


async def test_a_pool_never_started_can_be_closed():
    pool = Pool(PoolConfig(lanes={"main": 1}))
    await pool.close()
    with pytest.raises(RuntimeError):
        await pool.start()
