"""A table of jobs in an empty database of either kind, with a clock that can be put forward."""

from __future__ import annotations

import os
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine

from solver_service.jobs import Job, NewJob, Spec
from solver_service.storage.database import JobTable, migrate, open_engine

MATRIX = "mat_" + "0" * 32


class Clock:
    def __init__(self) -> None:
        self.moment = datetime(2030, 1, 1, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.moment

    def forward(self, seconds: float) -> None:
        self.moment += timedelta(seconds=seconds)


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty database, not migrated."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/jobs.db"
    return str(request.getfixturevalue("postgres_url"))


@pytest.fixture
def engine(url: str) -> Iterator[Engine]:
    engine = open_engine(url)
    migrate(engine)
    yield engine
    engine.dispose()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def table(engine: Engine, clock: Clock) -> Iterator[JobTable]:
    table = JobTable(engine, clock=clock)
    yield table
    table.close()


@pytest.fixture
def make() -> Callable[..., NewJob]:
    """Make a new job; the arguments are those of its spec, or `key` and `digest`."""

    def make(*, key: str | None = None, digest: str = "d", size: int = 100, **spec: Any) -> NewJob:
        spec = {"matrix_id": MATRIX, "shape": (30, 20), "nnz": 90} | spec
        return NewJob(id=f"job_{uuid.uuid4().hex}", spec=Spec(**spec), size=size, digest=digest, key=key)

    return make


@pytest.fixture
def add(table: JobTable, make: Callable[..., NewJob]) -> Callable[..., Job]:
    """Put a new job on record."""

    def add(**arguments: Any) -> Job:
        adding = table.add(make(**arguments), most_queued=10_000, matrix_exists=lambda: True)
        return adding.result(30)[0]

    return add


@pytest.fixture
def start(root: Path, url: str) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Start a Python process; its script finds `table`, `new()` and the arguments."""
    running = []
    head = """
import sys, os, time, uuid
from solver_service.jobs import *
from solver_service.storage.database import JobTable, migrate, open_engine
url, *arguments = sys.argv[1:]
def new(**spec):
    spec = Spec(**({"matrix_id": "mat_" + "0" * 32, "shape": (3, 2), "nnz": 4} | spec))
    return NewJob(id="job_" + uuid.uuid4().hex, spec=spec, size=1, digest="d")
def open_table():
    return JobTable(open_engine(url))
"""

    def start(script: str, *arguments: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-c", head + script, url, *arguments],
            env=os.environ | {"PYTHONPATH": str(root)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        running.append(process)
        return process

    yield start
    for process in running:
        process.kill()
        process.communicate()
