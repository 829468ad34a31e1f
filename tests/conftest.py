"""Fixtures for all tests: the folder of real matrices, a running service, and a PostgreSQL server."""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]


def load(path: Path) -> ModuleType:
    """Import a file that belongs to no package."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def root() -> Path:
    """The checkout."""
    return ROOT


@pytest.fixture(scope="session")
def matrices() -> Path:
    """The folder of real matrices, which are no part of the project; without it the test is skipped."""
    named = os.environ.get("SOLVER_SERVICE_TEST_MATRICES")
    folder = Path(named) if named else ROOT.parent / "shared" / "matrices"
    if not (folder / "INDEX.tsv").is_file():
        pytest.skip(f"no real matrices in {folder}: set SOLVER_SERVICE_TEST_MATRICES to their folder")
    return folder


@pytest.fixture(scope="session")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a real `solver-service serve` with one worker, started once for all tests."""
    local_service = load(ROOT / "examples" / "local_service.py").local_service
    log = tmp_path_factory.mktemp("service") / "service.log"
    with local_service(log, settings={"SOLVER_SERVICE_WORKERS": "1"}) as (address, _):
        yield address


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[Any]:
    """A PostgreSQL server (`Server` of postgres.py); without its programs the test is skipped."""
    postgres = load(ROOT / "tests" / "postgres.py")
    reason = postgres.why_not()
    if reason is not None:
        pytest.skip(reason)
    with postgres.server() as server:
        yield server


@pytest.fixture
def postgres_url(postgres_server: Any) -> Iterator[str]:
    """The URL of a fresh, empty database, which is removed at the end of the test."""
    with postgres_server.database() as url:
        yield url
