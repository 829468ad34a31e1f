"""The application in two forms: in process, and as a real server in a thread."""

from __future__ import annotations

import io
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import psutil
import pytest
from scipy.sparse import diags_array
from starlette.testclient import TestClient

from solver_service import log
from solver_service.api.app import create_app
from solver_service.api.server import bind, make_server, url_of
from solver_service.api.services import Services
from solver_service.settings import Settings


@pytest.fixture(scope="session", autouse=True)
def logged() -> Iterator[io.StringIO]:
    """What the application logs, as JSON lines."""
    stream = io.StringIO()
    log.configure("info", "json", stream)
    yield stream
    log.configure("warning", "json", sys.__stderr__)


COO = {"format": "coo", "shape": [3, 2], "row": [0, 1, 2], "col": [0, 1, 1], "data": [1.0, 2.0, 3.0]}


def _wait_until(condition: Callable[[], object], seconds: float = 30.0) -> None:
    end = time.monotonic() + seconds
    pause = threading.Event()
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        pause.wait(0.002)


class LiveServer:
    """A server in a thread, seen from outside by its address and from inside by its services."""

    def __init__(self, settings: Settings) -> None:
        app = create_app(settings)
        self.services: Services = app.state.services
        self.data_dir = settings.data_dir
        self._socket = bind("127.0.0.1", 0)
        self.url = url_of(self._socket)
        others = psutil.Process().children()
        started = threading.Event()
        self._server = make_server(app, settings, started.set)
        self._thread = threading.Thread(target=self._server.run, args=([self._socket],))
        self._thread.start()
        assert started.wait(30)
        _wait_until(lambda: self.services.pool.ready)
        (self._fork_server,) = [child for child in psutil.Process().children() if child not in others]

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    @property
    def workers(self) -> list[psutil.Process]:
        return self._fork_server.children()

    @property
    def seconds_worked(self) -> float:
        """Time that the workers have computed, of all lanes."""
        return sum(worker.cpu_times().user for worker in self.workers)

    def client(self, **options: Any) -> httpx2.Client:
        return httpx2.Client(base_url=self.url, timeout=60.0, trust_env=False, **options)

    def spooled(self) -> list[Path]:
        return [path for path in (self.data_dir / "spool").rglob("*") if path.is_file()]

    def begin_stop(self) -> None:
        self._server.handle_exit(15, None)

    def refuse_work(self) -> None:
        """Do what a signal does, but keep the connections."""
        self._server._loop.call_soon_threadsafe(self.services.stop)

    def stop(self) -> None:
        if self._thread.is_alive():
            self.begin_stop()
        self._thread.join(20)
        self._socket.close()
        assert not self._thread.is_alive()


@pytest.fixture(scope="session")
def wait_until() -> Callable[..., None]:
    return _wait_until


@pytest.fixture(scope="session")
def live() -> Callable[..., AbstractContextManager[LiveServer]]:
    """Start a server of one's own."""
    return _live


@contextmanager
def _live(folder: Path, **settings: Any) -> Iterator[LiveServer]:
    server = LiveServer(Settings(**{"data_dir": folder, "workers": 1, **settings}))
    try:
        yield server
    finally:
        server.stop()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    """A server with one worker, shared by a module; every test must leave it idle."""
    with _live(tmp_path_factory.mktemp("server")) as running:
        yield running


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """A client of an application without sockets."""
    settings = Settings(
        data_dir=tmp_path_factory.mktemp("data"),
        workers=1,
        max_body_bytes=4_000_000,
        max_json_bytes=1_000_000,
        max_rows=100_000,
        max_columns=100_000,
    )
    with TestClient(create_app(settings)) as client:
        yield client


@pytest.fixture(scope="session")
def system() -> dict[str, Any]:
    """A small consistent system; x = (1, 1)."""
    return {"matrix": COO, "b": [1.0, 2.0, 3.0]}


@pytest.fixture(scope="session")
def endless() -> dict[str, Any]:
    """A system that takes hours: a long thin rod, one equation at a time."""
    n = 2000
    A = diags_array([-np.ones(n - 1), 2 * np.ones(n), -np.ones(n - 1)], offsets=[-1, 0, 1]).tocoo()
    x = np.sin(np.arange(n))
    matrix = {
        "format": "coo",
        "shape": [n, n],
        "row": A.row.tolist(),
        "col": A.col.tolist(),
        "data": A.data.tolist(),
    }
    options = {
        "method": "kaczmarz",
        "momentum": "none",
        "batch_size": 1,
        "rtol": 1e-13,
        "max_epochs": 1e12,
    }
    return {"matrix": matrix, "b": (A @ x).tolist(), "options": options}
