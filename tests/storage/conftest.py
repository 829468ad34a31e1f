"""A store in an empty folder, and matrices to put into it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from scipy.sparse import random_array

from solver_service.problems.matrix import Matrix
from solver_service.storage import MatrixStore


@pytest.fixture
def store(tmp_path: Path) -> MatrixStore:
    return MatrixStore(tmp_path / "data")


@pytest.fixture
def make_matrix() -> Callable[[int], Matrix]:
    """Make a matrix that depends on the seed alone."""

    def make(seed: int) -> Matrix:
        rng = np.random.default_rng(seed)
        return Matrix.from_any(random_array((30, 20), density=0.2, format="csr", rng=rng))

    return make


@pytest.fixture
def files(tmp_path: Path) -> Callable[[], list[str]]:
    """List all files in the store's folder."""

    def files() -> list[str]:
        root = tmp_path / "data"
        return sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file())

    return files
