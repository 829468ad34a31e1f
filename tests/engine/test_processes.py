"""The pool in a program of its own: how it is started, and what becomes of the workers when it is killed."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

HERE = Path(__file__).parent

PROGRAM = """
import asyncio, sys
print("imported as", __name__, flush=True)
import pool_tasks
from solver_service.engine import Pool, PoolConfig

async def main(command=None, *arguments):
    preload = arguments if command == "preload" else ()
    async with Pool(PoolConfig(lanes={{"main": 2}}, grace_seconds=0.2, preload=preload)) as pool:
        await pool.wait_ready()
        print("worker", await pool.run(pool_tasks.pid, None, lane="main"), flush=True)
        if command == "wait":
            await pool.run(getattr(pool_tasks, arguments[0]), arguments[1], lane="main")

def run():
    try:
        asyncio.run(main(*sys.argv[1:]))
    except KeyboardInterrupt:
        print("interrupted")

{entry}
"""
GUARDED = PROGRAM.format(entry="if __name__ == '__main__': run()")
BARE = PROGRAM.format(entry="run()")


def python_path(*folders):
    inherited = os.environ.get("PYTHONPATH")
    return os.pathsep.join([*map(str, folders), *([inherited] if inherited else [])])


@pytest.fixture
def start(tmp_path):
    """Start a Python program in a process group of its own."""
    processes = []

    def start(*arguments):
        process = subprocess.Popen(
            [sys.executable, "-W", "error", *arguments],
            env={**os.environ, "PYTHONPATH": python_path(tmp_path, HERE)},
            cwd=tmp_path,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        processes.append(process)
        return process

    yield start
    for process in processes:
        process.kill()
        process.wait()
        for pipe in (process.stdout, process.stderr):
            pipe.close()


def wait_until(condition, seconds=20.0):
    begun = time.monotonic()
    while not condition():
        assert time.monotonic() - begun < seconds, "waited in vain"
        time.sleep(0.002)
    return time.monotonic() - begun


def gone(process):
    return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE


@pytest.mark.parametrize("how", ["script", "module", "package", "command"])
def test_the_main_program_runs_once_however_it_is_started(tmp_path, start, how):
    (tmp_path / "program.py").write_text(BARE)
    (tmp_path / "bundle").mkdir()
    (tmp_path / "bundle" / "__init__.py").touch()
    (tmp_path / "bundle" / "__main__.py").write_text(BARE)
    process = start(
        *{
            "script": ["program.py"],
            "module": ["-m", "program"],
            "package": ["-m", "bundle"],
            "command": ["-c", BARE],
        }[how]
    )
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    first, second = out.splitlines()
    assert first == "imported as __main__"
    assert second.startswith("worker ")
    assert err == ""


def test_modules_in_the_working_directory_shadow_nothing(tmp_path):
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    (folder / "program.py").write_text(GUARDED)
    for name in ("enum", "signal", "socket"):
        (tmp_path / f"{name}.py").write_text("raise RuntimeError('the wrong module')")
    process = subprocess.Popen(
        [sys.executable, str(folder / "program.py")],
        env={**os.environ, "PYTHONPATH": python_path(HERE)},
        cwd=tmp_path,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    _, err = process.communicate(timeout=60)
    assert process.returncode == 0
    assert err == ""


@pytest.mark.parametrize("task", ["stuck", "hold_the_interpreter"])
def test_everything_ends_when_the_parent_is_killed(tmp_path, start, task):
    (tmp_path / "program.py").write_text(GUARDED)
    process = start("program.py", "wait", task, str(tmp_path / "begun"))
    wait_until((tmp_path / "begun").exists)
    children = psutil.Process(process.pid).children(recursive=True)
    assert len(children) == 3  # the fork server, a busy worker and an idle one
    process.kill()
    process.wait()
    wait_until(lambda: all(map(gone, children)), seconds=1.0)


def test_everything_ends_when_the_parent_is_killed_while_starting(tmp_path, start):
    (tmp_path / "program.py").write_text(GUARDED)
    (tmp_path / "endless_module.py").write_text("open('begun', 'w').close()\nwhile True: pass\n")
    process = start("program.py", "preload", "endless_module")
    wait_until((tmp_path / "begun").exists)
    children = psutil.Process(process.pid).children(recursive=True)
    assert len(children) == 1
    process.kill()
    process.wait()
    wait_until(lambda: all(map(gone, children)), seconds=1.0)


def test_orphaned_workers_end_even_without_the_fork_server(tmp_path, start):
    (tmp_path / "program.py").write_text(GUARDED)
    process = start("program.py", "wait", "stuck", str(tmp_path / "begun"))
    wait_until((tmp_path / "begun").exists)
    (server,) = psutil.Process(process.pid).children()
    workers = server.children()
    assert len(workers) == 2
    server.kill()
    process.kill()
    process.wait()
    wait_until(lambda: all(map(gone, workers)), seconds=1.0)


def test_ctrl_c_shows_no_traceback_and_leaves_nothing(tmp_path, start):
    (tmp_path / "program.py").write_text(GUARDED)
    process = start("program.py", "wait", "stuck", str(tmp_path / "begun"))
    wait_until((tmp_path / "begun").exists)
    children = psutil.Process(process.pid).children(recursive=True)
    os.killpg(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=5)
    assert out.splitlines()[-1] == "interrupted"
    assert err == ""
    assert process.returncode == 0
    assert all(map(gone, children))
