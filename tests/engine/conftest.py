"""Pools for the engine's tests; what their workers run is in `pool_tasks`."""

from __future__ import annotations

import asyncio
import functools
import inspect
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import psutil
import pytest

from solver_service.engine import Pool, PoolConfig

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
def no_processes_left() -> Iterator[None]:
    """Check that the test leaves no child process behind that it did not find."""
    before = set(psutil.Process().children())
    yield
    # Not those below a process that was there before: another pool may be replacing a worker.
    new = [child for child in psutil.Process().children() if child not in before]
    left = [*new, *(below for child in new for below in child.children(recursive=True))]
    _, alive = psutil.wait_procs(left, timeout=5)  # one that was told to end may need a moment
    assert not alive, [(child, child.cmdline(), child.parent()) for child in alive]
