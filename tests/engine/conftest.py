"""Pools for the engine's tests; what their workers run is in `pool_tasks`."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import importlib
import inspect
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from solver_service.engine import Call, Pool, PoolConfig

# Workers import the tasks by name, and get their module path from this process.
sys.path.insert(0, str(Path(__file__).parent))


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> None:
    """Give up on a test that waits for ever; a signal would leave the event loop of the module stuck."""
    test = pyfuncitem.obj
    if inspect.iscoroutinefunction(test):

        @functools.wraps(test)
        async def limited(**arguments: object) -> None:
            async with asyncio.timeout(60):
                await test(**arguments)

        pyfuncitem.obj = limited


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
async def pool(anyio_backend: str) -> AsyncIterator[Pool]:
    """Two warm workers, shared by the tests of a module; every test must leave them idle."""
    async with Pool(PoolConfig(lanes={"main": 2}, queue_size=4, grace_seconds=0.1)) as pool:
        await pool.wait_ready()
        yield pool


@pytest.fixture(scope="module")
async def single(anyio_backend: str) -> AsyncIterator[Pool]:
    """One warm worker; every test must leave it idle."""
    config = PoolConfig(lanes={"main": 1}, grace_seconds=0.1, memory_limit_bytes=64 << 20)
    async with Pool(config) as pool:
        yield pool
        assert pool.stats.busy == pool.stats.queued == 0


@pytest.fixture
def eventually() -> Callable[..., object]:
    """Wait until a condition holds, and return its value; fail after some seconds."""

    async def wait(condition: Callable[[], object], seconds: float = 20.0) -> object:
        end = time.monotonic() + seconds
        while not (value := condition()):
            assert time.monotonic() < end, "waited in vain"
            await asyncio.sleep(0.001)
        return value

    return wait


@pytest.fixture
def released() -> list[str]:
    """Names of the shared calls that were released."""
    return []


@pytest.fixture
def submit(released: list[str]) -> Callable[..., Call[Any]]:
    """Submit a shared call."""

    def submit(pool: Pool, part: Any, key: Any = "A", task: Any = None, **options: Any) -> Call[Any]:
        return pool.submit_shared(
            task or importlib.import_module("shared_tasks").work,
            part,
            lane="main",
            key=key,
            on_release=lambda: released.append(part.name),
            **options,
        )

    return submit


@pytest.fixture
def held(eventually: Callable[..., Any], tmp_path: Path) -> Callable[[Pool], Any]:
    """Keep a worker of a pool busy within a context, so that calls wait for the end of it."""

    @contextlib.asynccontextmanager
    async def held(pool: Pool) -> AsyncIterator[None]:
        await pool.wait_ready()
        path = tmp_path / "held"
        task = importlib.import_module("pool_tasks").until_released
        call = pool.submit(task, str(path), lane="main")
        await eventually(path.exists)
        yield
        path.unlink()
        await call.answer()

    return held


@pytest.fixture
def together(single: Pool, held: Any, submit: Any) -> Callable[..., Any]:
    """Submit calls that share the worker."""

    async def together(*parts: Any, **options: Any) -> list[Call[Any]]:
        async with held(single):
            return [submit(single, part, **options) for part in parts]

    return together


@pytest.fixture
def no_processes_left() -> Iterator[None]:
    """Check that the test leaves no child process behind that it did not find."""
    before = set(psutil.Process().children())
    yield
    # Not those below a process that was there before: another pool may be replacing a worker.
    new = [child for child in psutil.Process().children() if child not in before]
    left = [*new, *(below for child in new for below in child.children(recursive=True))]
    _, alive = psutil.wait_procs(left, timeout=5)  # one that was told to end may need a moment
    assert not alive, [(child, child.cmdline(), child.parent()) for child in alive]
