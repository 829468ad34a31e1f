"""Real matrices, b = A·x for a seeded normal x, under default options; skipped where there are none."""

from __future__ import annotations

import numpy as np
import pytest

import solver_service
from solver_service.problems.formats import read_matrix
from solver_service.problems.limits import Limits

NAMES = """ash958 well1850 illc1033 abtaha2 football_massey Chem97Zt lp_afiro 1138_bus sherman1 Maragal_2
20ng_bow_train ct_parallel_64 lp_osa_07 bcsstk16 cage8 minnesota_laplacian GL7d11 w8a""".split()
INCONSISTENT = """Maragal_2 football_massey illc1033 illc1850 insteval_fe koenigsee_rays well1033
well1850""".split()
CONSISTENT = (
    """cr42 crew1 lp_25fv47 lp_afiro lp_israel lp_maros_r7 lp_osa_07 lp_ship04s model1 nemsafm""".split()
)


@pytest.fixture(scope="module")
def load(matrices):
    def read(name: str):
        (path,) = matrices.glob(f"{name}.*")
        return read_matrix(path, Limits()).csr

    return read


@pytest.mark.parametrize("name", NAMES)
def test_default_options_reach_the_tolerance(load, name):
    A = load(name)
    b = A @ np.random.default_rng(0).standard_normal(A.shape[1])
    result = solver_service.solve(A, b)
    assert result.converged, (result.status, result.reason, result.phases)
    assert np.linalg.norm(b - A @ result.x) <= 1.000001e-6 * np.linalg.norm(b)


@pytest.mark.parametrize("name", INCONSISTENT)
def test_least_squares_data_is_called_inconsistent_and_proven(load, matrices, name):
    A = load(name)
    b = np.load(matrices / "rhs" / f"{name}_b.npz")["b"].astype(float).ravel()
    result = solver_service.solve(A, b, rtol=1e-8)
    assert result.status == "inconsistent"
    y = result.certificate.y
    bound = (abs(b @ y) - result.certificate.radius * np.linalg.norm(A.T @ y)) / np.linalg.norm(y)
    assert bound > result.target
    assert result.certificate.radius >= 999 * np.linalg.norm(result.x)


@pytest.mark.parametrize("name", CONSISTENT)
def test_right_sides_of_linear_programmes_are_consistent(load, matrices, name):
    A = load(name)
    b = np.load(matrices / "rhs" / f"{name}_b.npz")["b"].astype(float).ravel()
    assert solver_service.solve(A, b, rtol=1e-8).converged
