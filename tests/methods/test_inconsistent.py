"""Inconsistent systems are called so early, with a proof that can be checked; consistent ones never are."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import sparse
from scipy.io import mmread

import solver_service
from solver_service import Status


def random_system(m: int, n: int, seed: int = 0):
    rng = np.random.default_rng(seed)
    A = sparse.csr_array(sparse.random_array((m, n), density=min(1.0, 6 / n), rng=rng))
    return A, A @ rng.standard_normal(n), rng


def assert_proven(A, b, result, *, within: float = 1.001) -> None:
    assert result.status is Status.INCONSISTENT, (result.advice, result.phases)
    proof = result.certificate
    y = proof.y
    bound = (abs(b @ y) - proof.radius * np.linalg.norm(A.T @ y)) / np.linalg.norm(y)
    assert bound >= proof.bound * (1 - 1e-6)
    assert proof.bound > result.target
    assert proof.radius >= 999 * np.linalg.norm(result.x)
    dense = A.toarray()
    least = np.linalg.norm(b - dense @ np.linalg.lstsq(dense, b)[0])
    assert result.residual_norm <= within * least


@pytest.mark.parametrize("method", ["auto", "cgmn", "ssor_cgls", "lsmr", "direct"])
@pytest.mark.parametrize("size", [1e-1, 1e-3, 1e-5, 1e-7])
def test_a_perturbed_right_side_is_proven_however_small_the_contradiction(method, size):
    """At 1e-7, what rounding of x leaves in the range of A hides the contradiction 300 times over."""
    A, b, rng = random_system(800, 40)
    e = rng.standard_normal(b.size)
    b = b + size * np.linalg.norm(b) * e / np.linalg.norm(e)
    assert_proven(A, b, solver_service.solve(A, b, method=method, rtol=1e-8))


def test_auto_does_not_wear_out_every_method_first():
    A, b, rng = random_system(6_000, 60)
    b = b + 0.1 * rng.standard_normal(b.size)
    result = solver_service.solve(A, b, rtol=1e-8)
    assert_proven(A, b, result)
    assert result.epochs < 100, "sampling alone used to take its 256 epochs"
    assert [p.iterations for p in result.phases if p.method == "direct"] in ([], [1], [2])


def test_a_method_that_tends_to_least_squares_is_stopped_when_it_is_there():
    A, b, rng = random_system(6_000, 60)
    result = solver_service.solve(A, b + rng.standard_normal(b.size), method="coordinate_descent", rtol=1e-8)
    assert result.status is Status.INCONSISTENT
    assert result.epochs < 100, "it would be granted 256 epochs otherwise"


def test_what_empty_rows_prove_does_not_keep_the_rest_running():
    A, b, rng = random_system(6_000, 60)
    A = sparse.csr_array(sparse.vstack([A, sparse.csr_array((1, 60))]))
    b = np.append(b + 0.1 * rng.standard_normal(b.size), 1.0)
    result = solver_service.solve(A, b, rtol=1e-8)
    assert_proven(A, b, result)
    assert result.epochs < 100


@pytest.mark.parametrize("method", ["auto", "cgmn", "kaczmarz", "direct"])
def test_rows_that_depend_on_one_another_in_a_wide_system(method):
    """None of the methods asked for tends to a least-squares solution here, so column sweeps look for one."""
    A, b, rng = random_system(40, 90)
    G = rng.standard_normal((2, 40))
    A, b = sparse.csr_array(sparse.vstack([A, G @ A])), np.concatenate([b, G @ b + [0.1, -0.1]])
    assert_proven(A, b, solver_service.solve(A, b, method=method, rtol=1e-8))


@pytest.mark.parametrize("method", ["auto", "cgmn", "ssor_cgls", "lsmr", "lsqr", "direct"])
@pytest.mark.parametrize("rtol", [0.0, 1e-17, 3e-16])
def test_rounding_of_b_is_no_contradiction(method, rtol):
    A, b, _ = random_system(800, 40)
    assert solver_service.solve(A, b, method=method, rtol=rtol).status is not Status.INCONSISTENT


@pytest.mark.parametrize("decay", [0.5, 1.0, 2.0])
def test_large_solutions_along_small_singular_vectors_are_no_contradiction(decay):
    """Residuals stay for long where x* is large only where A is small."""
    rng = np.random.default_rng(2)
    U, _ = np.linalg.qr(rng.standard_normal((120, 40)))
    V, _ = np.linalg.qr(rng.standard_normal((40, 40)))
    s = np.logspace(0, -6, 40)
    A = (U * s) @ V
    b = A @ (V.T @ (rng.standard_normal(40) * s**-decay))
    for method in ("auto", "cgmn", "ssor_cgls", "lsmr"):
        result = solver_service.solve(A, b, method=method, rtol=1e-10)
        assert result.status is not Status.INCONSISTENT, method


@pytest.mark.parametrize("method", ["cgmn", "kaczmarz"])
def test_a_search_without_a_proof_leaves_the_x_of_the_method(method):
    A = sparse.csr_array(np.diag(np.logspace(0, -9, 30)))
    b = A @ np.ones(30)
    result = solver_service.solve(A, b, method=method, rtol=0.0, max_epochs=3000)
    assert result.status is not Status.INCONSISTENT
    assert result.method == method
    assert result.epochs <= 3000
    assert sum(phase.epochs for phase in result.phases) == pytest.approx(result.epochs)


def test_the_time_limit_holds_while_a_proof_is_sought():
    A, b, rng = random_system(60_000, 3_000)
    b = b + 0.1 * rng.standard_normal(b.size)
    result = solver_service.solve(A, b, method="cgmn", rtol=1e-8, time_limit=0.2)
    assert result.timings.solve < 2.0
    assert result.status in (Status.TIME_LIMIT, Status.INCONSISTENT)


def test_a_certificate_counts_entries_whose_squares_vanish():
    """Aᵀy ≠ 0 here, though ‖Aᵀy‖² is 0 in float64."""
    tiny = 9e-163
    A = np.array([[0.0, 1.0], [tiny, 0.0]])
    for method in ("auto", "cgmn", "lsmr"):
        result = solver_service.solve(A, [0.0, tiny], method=method, rtol=0.0, max_epochs=300)
        assert result.status is not Status.INCONSISTENT, method


@pytest.mark.parametrize("method", ["lsmr", "lsqr"])
def test_a_solution_a_million_times_larger_than_the_iterates_is_not_denied(matrices, method):
    """West0479, κ ≈ 3e11, x* along its small singular vectors: LSMR stalls at ‖x‖ ≈ 20 and ‖x*‖ ≈ 1e6."""
    A = sparse.csr_array(mmread(matrices / "west0479.mtx.gz"), dtype=float)
    _, s, V = np.linalg.svd(A.toarray())
    rng = np.random.default_rng(3)
    for weights in (np.append(np.full(474, 1e-4), 1 / s[474:477]), np.append(np.ones(474), np.full(3, 1e6))):
        for _ in range(3):
            b = A @ (V[:477].T @ (rng.standard_normal(477) * weights))
            result = solver_service.solve(A, b, method=method, rtol=1e-8)
            assert result.status is not Status.INCONSISTENT
