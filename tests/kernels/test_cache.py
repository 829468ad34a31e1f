"""Where compiled kernels are kept: by content of the sources, and nowhere rather than fail."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import solver_service

PACKAGE = Path(solver_service.__file__).parent
SOLVE = "import solver_service; print(solver_service.solve([[2.0]], [4.0], method='kaczmarz').x)"
FOLDER = "from solver_service.kernels import jit; print(jit.CACHE)"


@pytest.fixture
def copy(tmp_path) -> Path:
    """A copy of the package, without anything compiled."""
    shutil.copytree(PACKAGE, tmp_path / "solver_service", ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


def python(code: str, copy: Path, **environment: str) -> str:
    kept = {name: value for name, value in os.environ.items() if name != "NUMBA_CACHE_DIR"}
    return subprocess.run(
        [sys.executable, "-c", code],
        cwd=copy,
        env=kept | {"PYTHONPATH": str(copy)} | environment,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()


def test_a_change_in_an_inlined_kernel_is_noticed_by_its_callers(copy):
    assert python(SOLVE, copy) == "[2.]"
    before = python(FOLDER, copy)
    products = copy / "solver_service" / "kernels" / "products.py"
    text = products.read_text()
    assert "return even + odd" in text
    products.write_text(text.replace("return even + odd", "return 2.0 * (even + odd)"))
    assert python(FOLDER, copy) != before
    assert python(SOLVE, copy) != "[2.]", "a dot product twice too large must show"


def test_the_cache_is_where_it_is_asked_for(copy):
    assert python(FOLDER, copy).startswith(str(copy / "solver_service" / "kernels" / "__pycache__"))
    asked = copy / "elsewhere"
    assert python(f"{SOLVE}; {FOLDER}", copy, NUMBA_CACHE_DIR=str(asked)).endswith(next(asked.iterdir()).name)
    assert list(asked.rglob("*.nbi"))


def test_without_a_writable_folder_everything_still_works(copy):
    nowhere = copy / "file"
    nowhere.write_text("in the way")
    assert python(f"{SOLVE}; {FOLDER}", copy, NUMBA_CACHE_DIR=str(nowhere)).split() == ["[2.]", "None"]
