"""The contract suite: every method on every problem of the gallery, its edge cases included."""

from __future__ import annotations

import numpy as np
import pytest

import solver_service
from solver_service import Status, errors
from solver_service.methods import METHODS
from solver_service.problems.gallery import PROBLEMS

KNOWN_SLOW = {
    # Sampling needs some κ̄·ln(1/ε) row updates: out of reach within the default limit, and said so.
    ("kaczmarz", "ill_conditioned"),
    ("kaczmarz", "convection_diffusion"),
    ("coordinate_descent", "ill_conditioned"),
    ("coordinate_descent", "convection_diffusion"),
}


@pytest.fixture(scope="module", params=sorted(PROBLEMS))
def problem(request):
    return PROBLEMS[request.param]()


@pytest.fixture(params=list(METHODS))
def method(request) -> str:
    return request.param


def run(problem, method, **options):
    """Solve, or skip where the method says that it does not fit the matrix."""
    try:
        return solver_service.solve(problem.A, problem.b, method=method, **options)
    except errors.MethodNotApplicableError as error:
        assert method in ("cg", "direct", "ssor_cg")
        m, n = problem.A.shape
        dense = problem.A.toarray()
        if method == "direct":
            assert m == n
            assert np.linalg.matrix_rank(dense) < n
        else:
            signs = np.sign(np.diagonal(dense))
            definite = signs.all() and np.ptp(signs) == 0
            assert m != n or not np.array_equal(dense, dense.T) or (method == "ssor_cg" and not definite)
        if method not in error.detail:
            raise
        return None


def test_converges_truly_or_says_why(problem, method):
    before = (problem.A.data.tobytes(), problem.A.indices.tobytes(), problem.b.tobytes())
    result = run(problem, method)
    assert before == (problem.A.data.tobytes(), problem.A.indices.tobytes(), problem.b.tobytes())
    if result is None:
        return
    assert np.isfinite(result.x).all()
    residual = np.linalg.norm(problem.b - problem.A @ result.x)
    b_norm = np.linalg.norm(problem.b)
    assert result.target == pytest.approx(1e-6 * b_norm)
    assert result.residual_norm == pytest.approx(residual, rel=1e-6, abs=1e-14 * (1 + b_norm))
    assert result.relative_residual == pytest.approx(
        residual / b_norm if b_norm else 0.0, rel=1e-6, abs=1e-14
    )
    assert result.converged == (result.status is Status.CONVERGED) == (result.residual_norm <= result.target)
    assert result.status is not Status.INCONSISTENT, "every problem of the gallery is consistent"
    definite_enough = method not in ("cg", "ssor_cg") or problem.spd or result.converged
    if (method, problem.name) not in KNOWN_SLOW and definite_enough:
        assert result.converged, (result.status, result.relative_residual, result.phases)
    assert bool(result.advice) == (not result.converged)


def test_counts_and_phases_add_up(problem, method):
    result = run(problem, method)
    if result is None:
        return
    assert sum(p.iterations for p in result.phases) == result.iterations
    assert sum(p.epochs for p in result.phases) == pytest.approx(result.epochs)
    if result.phases:
        assert [p.method for p in result.phases if "proof" not in p.reason][-1] == result.method
        assert all(p.reason for p in result.phases)
    if method != "auto":
        passes = problem.A.shape[1] if method in ("coordinate_descent", "ssor_cgls") else problem.A.shape[0]
        assert result.row_updates == pytest.approx(result.epochs * passes)
    history = result.history
    assert history[0].relative_residual == pytest.approx(1.0 if problem.b.any() else 0.0)
    assert [p.epochs for p in history] == sorted(p.epochs for p in history)


def test_same_seed_same_bits_and_a_second_b_on_the_prepared_matrix(problem, method):
    first = run(problem, method, seed=3, max_epochs=200)
    if first is None:
        return
    prepared = solver_service.prepare(problem.A)
    other = prepared.solve(2.0 * problem.b, method=method, seed=3, max_epochs=200)
    again = prepared.solve(problem.b, method=method, seed=3, max_epochs=200)
    assert again.x.tobytes() == first.x.tobytes()
    assert again.iterations == first.iterations
    assert other.status == first.status
    np.testing.assert_allclose(other.relative_residual, first.relative_residual, rtol=0.5, atol=1e-13)


def test_row_methods_return_the_minimum_norm_solution(problem, method):
    if (method, problem.name) == ("kaczmarz", "badly_scaled_rows"):
        return  # the stopping rule does not see the row of norm 10⁻⁹ beside the one of norm 10⁹
    if problem.minimum_norm is None or "minimum_norm" not in METHODS[method].options:
        return
    result = run(problem, method, minimum_norm=True, rtol=1e-10)
    if result is None or not result.converged:
        return
    assert result.minimum_norm in (True, None)
    scale = np.linalg.norm(problem.minimum_norm)
    np.testing.assert_allclose(result.x, problem.minimum_norm, atol=1e-4 * scale)
