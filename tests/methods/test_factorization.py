"""Sparse LU: what is predicted against what comes out, and when which strategy is taken."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import sparse

import solver_service
from solver_service.errors import MethodNotApplicableError
from solver_service.methods import factorization, ordering
from solver_service.methods.factorization import analyse, factorise


def grid(k: int, dimensions: int) -> sparse.csr_array:
    T = sparse.diags_array([-np.ones(k - 1), 2.0 * np.ones(k), -np.ones(k - 1)], offsets=[-1, 0, 1])
    A = T
    for _ in range(dimensions - 1):
        A = sparse.kron(A, sparse.eye_array(k)) + sparse.kron(sparse.eye_array(A.shape[0]), T)
    return sparse.csr_array(A)


def scattered(n: int, each: float, seed: int, strength: float = 0.1) -> sparse.csr_array:
    rng = np.random.default_rng(seed)
    A = sparse.random_array((n, n), density=each / n, rng=rng, data_sampler=rng.standard_normal)
    shuffled = sparse.eye_array(n).tocsr()[rng.permutation(n)]
    return sparse.csr_array(A + strength * shuffled)


def convection(k: int, wind: float) -> sparse.csr_array:
    n = k * k
    return sparse.csr_array(
        grid(k, 2) + wind * sparse.diags_array([-np.ones(n - 1), np.ones(n - 1)], offsets=[-1, 1])
    )


def growing(n: int) -> sparse.csr_array:
    """Wilkinson's example with multipliers of 900, which a threshold of 0.001 lets pass: growth 900ⁿ."""
    A = np.eye(n) - 900.0 * np.tri(n, k=-1) + 1e-30 * np.triu(np.ones((n, n)), 1)
    A[:, -1] = 1.0
    return sparse.csr_array(A)


SQUARE = {
    "2-D grid": grid(25, 2),
    "3-D grid": grid(8, 3),
    "convection": convection(20, 50.0),
    "scattered": scattered(400, 3.0, 1),
    "nearly triangular": scattered(500, 1.2, 2, strength=9.0),
    "dense": sparse.csr_array(np.random.default_rng(3).standard_normal((30, 30))),
    "one by one": sparse.csr_array([[3.0]]),
    "growing": growing(12),
}


@pytest.mark.parametrize("name", SQUARE)
def test_solutions_are_those_of_a_dense_solve(name):
    A = SQUARE[name]
    analysis = analyse(A)
    factors = factorise(A, analysis)
    b = np.random.default_rng(4).standard_normal(A.shape[0])
    for x, M in ((factors.solve(b), A.toarray()), (factors.solve_transposed(b), A.toarray().T)):
        expected = np.linalg.solve(M, b)
        np.testing.assert_allclose(x, expected, rtol=0, atol=1e-8 * np.abs(expected).max())
    np.testing.assert_array_equal(np.sort(analysis.order), np.arange(A.shape[0]))


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("each", [0.8, 2.0, 5.0])
def test_fill_stays_below_the_prediction_whatever_the_pivots(seed, each):
    A = scattered(300, each, seed)
    analysis = analyse(A)
    assert not analysis.symmetric
    assert factorise(A, analysis).nnz <= analysis.entries


def test_a_grid_ordered_by_columns_stays_below_the_prediction():
    A = grid(20, 2)
    analysis = factorization._analyse_columns(sparse.csc_array(A), A, np.arange(400))
    assert factorise(A, analysis).nnz <= analysis.entries


@pytest.mark.parametrize("name", ["2-D grid", "3-D grid", "convection"])
def test_fill_on_the_diagonal_is_predicted_exactly(name):
    A = SQUARE[name]
    analysis = analyse(A)
    factors = factorise(A, analysis)
    assert analysis.symmetric
    assert factors.symmetric
    assert factors.nnz == analysis.entries
    L, U = (sparse.csc_array(M) for M in (factors.lu.L, factors.lu.U))
    below, behind = np.diff(L.indptr) - 1.0, np.diff(sparse.csr_array(U).indptr) - 1.0
    assert analysis.flops == pytest.approx(np.sum(below + 2 * below * behind), rel=1e-3)


def test_the_order_keeps_fill_low():
    natural = 2 * 40 * 40**2  # entries of the band
    assert analyse(grid(40, 2)).entries < natural / 2
    assert analyse(grid(40, 2)).entries < 1.1 * 46_000  # SuperLU's own minimum degree


def test_indefinite_diagonals_stay_within_a_factor():
    A = sparse.csr_array(grid(30, 2) - 2.0 * sparse.eye_array(900))
    analysis = analyse(A)
    factors = factorise(A, analysis)
    assert analysis.symmetric
    assert factors.symmetric
    assert factors.nnz <= 3 * analysis.entries


def test_unstable_factors_are_made_anew(monkeypatch):
    A = SQUARE["growing"]
    analysis = analyse(A)
    assert analysis.symmetric
    assert not factorise(A, analysis).symmetric
    b = np.ones(12)
    monkeypatch.setattr(factorization, "_UNSTABLE", np.inf)
    bad = factorise(A, analysis)
    assert bad.symmetric
    with np.errstate(all="ignore"):
        x = bad.solve(b)
    assert not np.linalg.norm(b - A @ x) < 1e-3, "the case must be one that has to be caught"


@pytest.mark.parametrize("weak", [0.0, 1e-9])
def test_diagonals_that_are_no_pivots_are_left_alone(weak):
    n = 100
    B = sparse.diags_array([np.ones(n - 1), np.full(n, weak), np.ones(n - 1)], offsets=[-1, 0, 1])
    A = sparse.csr_array(B)
    A.eliminate_zeros()
    assert not analyse(A).symmetric


def test_structurally_singular_matrices_have_no_analysis_and_are_refused():
    A = sparse.csr_array(np.array([[1.0, 1.0, 1.0], [1.0, 0.0, 0.0], [1.0, 0.0, 0.0]]))
    assert analyse(A) is None
    assert not factorization.structurally_nonsingular(A)
    for b in ([1.0, 2.0, 3.0], [0.0, 0.0, 0.0]):
        with pytest.raises(MethodNotApplicableError):
            solver_service.solve(A, b, method="direct")
    for empty in (sparse.csr_array((4, 4)), sparse.csr_array(np.diag([1.0, 0.0, 2.0]))):
        assert analyse(empty) is None


@pytest.mark.parametrize(
    "A", [np.ones((2, 2)), np.array([[1.0, 2.0, 0.0], [2.0, 4.0, 0.0], [5.0, 0.0, 1.0]])]
)
def test_a_zero_pivot_is_no_factors_and_a_result(A):
    A = sparse.csr_array(A)
    analysis = analyse(A)
    assert factorise(A, analysis) is None
    inconsistent = solver_service.solve(A, [1.0, 3.0, 0.0][: A.shape[0]], method="direct")
    assert not inconsistent.converged
    consistent = solver_service.solve(A, A @ np.ones(A.shape[0]), method="direct")
    assert consistent.converged, "the Gram form takes any rank"
    assert [phase.method for phase in consistent.phases] == ["direct", "direct"]


def test_matrices_too_large_for_superlu_are_refused(monkeypatch):
    monkeypatch.setattr("solver_service.methods.direct._MOST_ENTRIES", 3)
    assert solver_service.solve(np.eye(3), np.ones(3), method="direct").converged
    with pytest.raises(MethodNotApplicableError, match="3 entries at most"):
        solver_service.solve(np.eye(4), np.ones(4), method="direct")


def test_the_cost_tells_cheap_from_impossible_without_factorising():
    cheap, dear = analyse(grid(60, 2)), analyse(scattered(20_000, 6.0, 5))
    assert 1e6 < cheap.cost < 1e8
    assert dear.cost > 1e11


def test_an_order_is_given_up_where_factors_are_hopeless(monkeypatch):
    A = scattered(2000, 5.0, 6)
    full = analyse(A)
    monkeypatch.setattr(ordering, "_HOPELESS", 1e6)
    hopeless = analyse(A)
    np.testing.assert_array_equal(np.sort(hopeless.order), np.arange(2000))
    assert hopeless.flops > full.flops > 1e6


@pytest.mark.parametrize("symmetric", [True, False])
def test_dense_rows_do_not_spoil_order_and_prediction(symmetric):
    n = 3000
    A = sparse.lil_array(sparse.diags_array([np.full(n, 9.0), np.ones(n - 1)], offsets=[0, 1]))
    A[n // 2, :] = 1.0
    A[n // 2, n // 2] = 9.0
    if symmetric:
        A.setdiag(1.0, -1)
        A[:, n // 2] = 1.0
        A[n // 2, n // 2] = 9.0 * n
    A = sparse.csr_array(A)
    analysis = analyse(A)
    assert analysis.symmetric == symmetric
    assert analysis.entries < 20 * n
    factors = factorise(A, analysis)
    assert factors.nnz < 20 * n
    b = A @ np.ones(n)
    np.testing.assert_allclose(factors.solve(b), np.ones(n), rtol=1e-9)


@pytest.mark.parametrize("seed", range(4))
def test_columns_left_to_dense_rows_come_last_whatever_the_tree(seed):
    rng = np.random.default_rng(seed)
    n, dense = 2000, [300, 900, 1500]
    A = sparse.lil_array(sparse.diags_array([np.full(n, 9.0), np.ones(n - 1)], offsets=[0, 1]))
    A[np.arange(0, n - 1, 50), np.arange(1, n, 50)] = 0.0  # many trees
    for i in dense:
        A[i, :] = rng.uniform(0.5, 1.0, n)
        A[i, i] = 9.0
    A = sparse.csr_array(A)
    A.eliminate_zeros()
    analysis = analyse(A)
    assert sorted(analysis.order[-3:]) == dense
    assert factorise(A, analysis).nnz < 20 * n


def test_the_state_finds_everything_once():
    state = solver_service.prepare(grid(10, 2)).state
    assert state.analysis is state.analysis
    assert state.factors is state.factors
    assert state.structurally_nonsingular
    assert state.factor_cost == state.analysis.cost
    before = state.nbytes
    assert before >= state.factors.nnz * 12
    wide = solver_service.prepare(np.ones((2, 3))).state
    assert wide.analysis is None
    assert not wide.structurally_nonsingular
    assert wide.factor_cost == np.inf
