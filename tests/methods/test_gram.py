"""The rectangular form of `direct`: a Cholesky factor of the Gram matrix of the short side."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import sparse

import solver_service
from solver_service import Status
from solver_service.errors import MethodNotApplicableError
from solver_service.methods import gram_factor, registry
from solver_service.methods.gram_factor import GramFactor
from solver_service.problems.gallery import rank_deficient


def random(m: int, n: int, seed: int = 0) -> sparse.csr_array:
    rng = np.random.default_rng(seed)
    A = sparse.random_array((m, n), density=0.2, rng=rng, data_sampler=rng.standard_normal).toarray()
    A[np.arange(m), np.arange(m) % n] += 1.0
    return sparse.csr_array(A)


def test_the_factor_is_that_of_the_shifted_gram_matrix():
    A = random(60, 20)
    factor = GramFactor.of(A, lambda: None)
    G = (A.T @ A).toarray()
    L = np.tril(factor.factor)
    np.testing.assert_allclose(L @ L.T, G + factor.shift * np.diag(np.diag(G)), rtol=1e-12, atol=1e-12)
    v = np.random.default_rng(1).standard_normal(20)
    np.testing.assert_allclose(factor.solve(v), np.linalg.solve(L @ L.T, v), rtol=1e-10)
    assert factor.shift < 1e-12


def test_pieces_give_the_same_bits_and_look_at_the_clock(monkeypatch):
    A = random(60, 20)
    whole = GramFactor.of(A, lambda: None)
    monkeypatch.setattr(gram_factor, "BLOCK_ENTRIES", 50)
    ticks: list[int] = []
    pieces = GramFactor.of(A, lambda: ticks.append(1))
    assert whole.factor.tobytes() == pieces.factor.tobytes()
    assert len(ticks) >= np.sum(np.diff(A.indptr) ** 2) // 50


@pytest.mark.parametrize("empty", [0, 3, 19])
def test_empty_columns_and_any_rank_are_factored(empty):
    A = random(60, 20).toarray()
    A[:, empty] = 0.0
    A[:, 7] = A[:, 8]
    factor = GramFactor.of(sparse.csr_array(A), lambda: None)
    assert np.isfinite(factor.factor).all()
    assert factor.solve(np.eye(20)[empty] * 0.0 + A.T @ np.ones(60))[empty] == 0.0


@pytest.mark.parametrize("shape", [(80, 20), (20, 80), (1, 5), (5, 1)])
def test_consistent_systems(shape):
    A = random(*shape)
    b = A @ np.random.default_rng(1).standard_normal(shape[1])
    result = solver_service.solve(A, b, method="direct", rtol=1e-12)
    assert result.converged
    assert result.epochs == 0.0
    assert result.iterations <= 3
    np.testing.assert_allclose(result.x, np.linalg.lstsq(A.toarray(), b)[0], rtol=1e-8, atol=1e-9)


def test_the_wide_form_gives_the_minimum_norm():
    A = random(20, 80).toarray()
    A[7] = 2.0 * A[8]
    b = A @ np.random.default_rng(1).standard_normal(80)
    result = solver_service.solve(A, b, method="direct", rtol=1e-12, minimum_norm=True)
    assert result.converged
    assert result.minimum_norm
    np.testing.assert_allclose(result.x, np.linalg.lstsq(A, b)[0], rtol=1e-7, atol=1e-8)


@pytest.mark.parametrize("by_columns", [False, True])
def test_rank_deficient_systems(by_columns):
    problem = rank_deficient(60, 15, 10)
    A = sparse.csr_array(problem.A.T) if by_columns else problem.A
    b = A @ np.ones(A.shape[1])
    result = solver_service.solve(A, b, method="direct", rtol=1e-11)
    assert result.converged


def test_ill_conditioned_systems_take_a_few_steps_more():
    A = random(200, 40).toarray() * 10.0 ** np.linspace(0, -6, 40)
    U = np.linalg.qr(np.random.default_rng(2).standard_normal((40, 40)))[0]
    A = A @ U
    b = A @ np.ones(40)
    result = solver_service.solve(A, b, method="direct", rtol=1e-12)
    assert result.converged


def test_inconsistent_data_get_the_least_squares_solution():
    A = random(80, 20)
    b = np.random.default_rng(1).standard_normal(80)
    result = solver_service.solve(A, b, method="direct")
    assert result.status in (Status.INCONSISTENT, Status.STAGNATED)
    expected = np.linalg.lstsq(A.toarray(), b)[0]
    assert result.residual_norm == pytest.approx(np.linalg.norm(b - A @ expected), rel=1e-12)
    np.testing.assert_allclose(result.x, expected, rtol=1e-8, atol=1e-9)


def test_it_starts_from_x0_and_keeps_what_no_equation_holds():
    A = random(60, 20).toarray()
    A[:, 4] = 0.0
    x0 = np.full(20, 5.0)
    b = A @ np.ones(20)
    result = solver_service.solve(A, b, method="direct", x0=x0)
    assert result.converged
    assert result.x[4] == 5.0


def test_the_factor_is_kept_for_the_next_right_hand_side(monkeypatch):
    A = random(60, 20)
    prepared = solver_service.prepare(A)
    first = prepared.solve(A @ np.ones(20), method="direct")
    monkeypatch.setattr(GramFactor, "of", None)
    second = prepared.solve(A @ np.ones(20), method="direct")
    assert first.x.tobytes() == second.x.tobytes()


def test_too_long_a_short_side_is_refused(monkeypatch):
    monkeypatch.setattr(registry, "MOST_ROWS", 10)
    with pytest.raises(MethodNotApplicableError, match="short side of at most 10"):
        solver_service.solve(random(30, 20), np.ones(30), method="direct")


def test_a_poor_factor_still_makes_conjugate_gradients(monkeypatch):
    """With a large shift the factor is a poor preconditioner; n steps are enough all the same."""
    monkeypatch.setattr(gram_factor, "_SHIFT", 1e16)
    for A in (random(60, 12), random(12, 60)):
        b = A @ np.random.default_rng(1).standard_normal(A.shape[1])
        result = solver_service.solve(A, b, method="direct", rtol=1e-9)
        assert result.converged
        assert 3 < result.iterations <= 13


def test_a_tall_matrix_of_full_rank_has_one_solution_which_is_that_of_least_norm():
    rng = np.random.default_rng(11)
    A = rng.standard_normal((40, 10))
    x = rng.standard_normal(10)
    result = solver_service.solve(A, A @ x, method="direct", minimum_norm=True)
    assert result.converged
    assert result.minimum_norm is None
    np.testing.assert_allclose(result.x, x, rtol=1e-9)
