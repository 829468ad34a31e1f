from __future__ import annotations

import subprocess
import sys
import tomllib
from importlib.metadata import version
from pathlib import Path

import solver_service

PUBLIC = [
    "FieldError",
    "InvalidInputError",
    "Options",
    "Prepared",
    "Progress",
    "Report",
    "Result",
    "SolverServiceError",
    "Status",
    "__version__",
    "prepare",
    "solve",
]
NOT_NUMERICS = {
    "click",
    "fastapi",
    "orjson",
    "pydantic",
    "pydantic_settings",
    "starlette",
    "structlog",
    "uvicorn",
    "uvloop",
    "solver_service.api",
    "solver_service.cli",
    "solver_service.engine",
    "solver_service.settings",
    "solver_service.storage",
    "solver_service.tasks",
    "solver_service.wire",
}


def test_import_brings_numerics_only() -> None:
    code = "import solver_service, sys; print('\\n'.join(sys.modules))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert "solver_service.methods" in loaded.split()
    assert NOT_NUMERICS.isdisjoint(loaded.split())


def test_public_names() -> None:
    assert sorted(solver_service.__all__) == PUBLIC
    for name in solver_service.__all__:
        assert getattr(solver_service, name) is not None


def test_version_is_that_of_the_distribution(root: Path) -> None:
    project = tomllib.loads((root / "pyproject.toml").read_text())["project"]
    assert solver_service.__version__ == version("solver-service") == project["version"]
