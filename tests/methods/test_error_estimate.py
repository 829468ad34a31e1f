"""Estimates of ‖x − x*‖: near the truth where x* is unique, None where they could only mislead."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import sparse

import solver_service
from solver_service.methods.error_estimate import Trail
from solver_service.problems.formats import read_matrix
from solver_service.problems.gallery import PROBLEMS
from solver_service.problems.limits import Limits

UNIQUE = """tall_random measured_case tomography least_squares_grid ill_conditioned poisson2d spd_random
convection_diffusion""".split()
FULL_RANK = "ash219 ash958 well1850 illc1033 abtaha2 1138_bus bcsstk16 cage8 sherman1 west0479".split()


@pytest.mark.parametrize("rtol", [1e-6, 1e-8, 1e-12])
@pytest.mark.parametrize("name", UNIQUE)
def test_within_a_factor_of_ten_on_the_gallery(name, rtol):
    problem = PROBLEMS[name]()
    result = solver_service.solve(problem.A, problem.b, rtol=rtol)
    assert result.converged
    error = np.linalg.norm(result.x - problem.x)
    assert result.error_estimate is not None
    assert error / 10 <= result.error_estimate <= 10 * error


@pytest.mark.parametrize("method", ["cgmn", "ssor_cgls", "lsmr", "kaczmarz", "coordinate_descent"])
def test_every_iterative_method_has_one(method):
    rng = np.random.default_rng(0)
    A = rng.standard_normal((400, 60)) * np.logspace(0, -1, 60)
    x = rng.standard_normal(60)
    result = solver_service.solve(A, A @ x, method=method, rtol=1e-7)
    error = np.linalg.norm(result.x - x)
    assert error / 10 <= result.error_estimate <= 10 * error


@pytest.mark.parametrize("name", FULL_RANK)
@pytest.mark.parametrize("rtol", [1e-6, 1e-10])
def test_within_a_factor_of_ten_on_real_matrices(matrices, name, rtol):
    (path,) = matrices.glob(f"{name}.*")
    A = read_matrix(path, Limits()).csr
    x = np.random.default_rng(0).standard_normal(A.shape[1])
    result = solver_service.solve(A, A @ x, rtol=rtol)
    assert result.converged
    error = np.linalg.norm(result.x - x)
    assert error / 10 <= result.error_estimate <= 10 * error


@pytest.mark.parametrize("exponent", [-600, -40, 40, 600])
def test_it_is_in_the_units_of_x(exponent):
    problem = PROBLEMS["poisson2d"]()
    plain = solver_service.solve(problem.A, problem.b, rtol=1e-5, method="ssor_cg")
    scaled = solver_service.solve(
        np.ldexp(problem.A.toarray(), exponent), problem.b, rtol=1e-5, method="ssor_cg"
    )
    assert scaled.error_estimate == pytest.approx(np.ldexp(plain.error_estimate, -exponent), rel=1e-6)


def test_there_is_none_where_the_solution_is_not_unique_or_not_found():
    wide = PROBLEMS["wide_random"]()
    assert solver_service.solve(wide.A, wide.b, rtol=1e-10).error_estimate is None
    unused = PROBLEMS["zero_column"]()
    assert solver_service.solve(unused.A, unused.b).error_estimate is None
    rng = np.random.default_rng(1)
    A = rng.standard_normal((300, 20)) @ rng.standard_normal((20, 30))
    assert solver_service.solve(A, A @ np.ones(30), method="direct").error_estimate is None
    tall = rng.standard_normal((300, 20))
    inconsistent = solver_service.solve(tall, rng.standard_normal(300))
    assert inconsistent.error_estimate is None
    stopped = solver_service.solve(tall, tall @ np.ones(20), method="lsmr", rtol=1e-12, max_epochs=4)
    assert stopped.error_estimate is None


def test_a_trail_needs_a_clearly_worse_iterate_not_too_far_back():
    x = np.ones(3)
    trail = Trail(16.0)
    trail.passed(0.5 * x, 9.0)  # no better than half the start: not a mark
    assert trail.estimate(x, 1.0) is None
    trail.passed(0.75 * x, 4.0)
    assert trail.estimate(x, 1.0) == pytest.approx(0.25 * np.sqrt(3) / np.sqrt(15))
    assert trail.estimate(x, 3.0) is None
    assert trail.estimate(x, 1e-6) is None
    trail.passed(0.9 * x, 2.0)
    assert trail.estimate(x, 1.0) == pytest.approx(0.1 * np.sqrt(3) / np.sqrt(3))
    assert trail.estimate(x, 0.0) == 0.0


def test_the_gram_factor_knows_when_columns_depend_on_one_another():
    rng = np.random.default_rng(3)
    A = sparse.csr_array(rng.standard_normal((80, 12)))
    good = solver_service.solve(A, A @ np.ones(12), method="direct", rtol=1e-12)
    assert good.error_estimate is not None
    twice = sparse.csr_array(sparse.hstack([A, A[:, :1]]))
    assert solver_service.solve(twice, twice @ np.ones(13), method="direct").error_estimate is None
