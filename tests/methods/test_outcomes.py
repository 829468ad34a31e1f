"""How a solve may end, for every method: limits, cancellation, stalls, proofs, and what is said of it."""

from __future__ import annotations

import math
import time
from fractions import Fraction

import numpy as np
import pytest
from scipy import sparse

import solver_service
from solver_service import Status
from solver_service.methods import METHODS, Options, prepare, run
from solver_service.problems.problem import Problem

ITERATIVE = [name for name in METHODS if name not in ("auto", "direct")]
EPOCHS_PER_STEP = {"kaczmarz": 0.0, "coordinate_descent": 0.0, "cg": 1.0, "lsqr": 2.0, "lsmr": 2.0}


def laplacian(k: int) -> sparse.csr_array:
    T = sparse.diags_array([-np.ones(k - 1), 2 * np.ones(k), -np.ones(k - 1)], offsets=[-1, 0, 1])
    eye = sparse.eye_array(k)
    return sparse.csr_array(sparse.kron(T, eye) + sparse.kron(eye, T))


@pytest.fixture(scope="module")
def spd():
    A = laplacian(12)
    x = np.random.default_rng(0).standard_normal(A.shape[1])
    return A, A @ x, x


@pytest.fixture(scope="module")
def tall():
    rng = np.random.default_rng(1)
    A = sparse.csr_array(sparse.random_array((900, 60), density=0.1, rng=rng))
    x = rng.standard_normal(60)
    return A, A @ x, x


def true_relative(A, b, result) -> float:
    return float(np.linalg.norm(b - A @ result.x) / np.linalg.norm(b))


@pytest.mark.parametrize("method", ITERATIVE)
def test_the_work_limit_is_kept_and_told(spd, method):
    A, b, _ = spd
    result = solver_service.solve(A, b, method=method, rtol=1e-12, max_epochs=5)
    assert result.status is Status.MAX_EPOCHS
    assert result.advice == Status.MAX_EPOCHS.advice != ""
    assert 0 < result.epochs <= 5
    assert result.row_updates == pytest.approx(result.epochs * A.shape[0])
    assert result.relative_residual == pytest.approx(true_relative(A, b, result), rel=1e-9)
    assert result.relative_residual < 1


@pytest.mark.parametrize("method", ITERATIVE)
def test_success_with_the_last_permitted_work_is_success(spd, method):
    A, b, _ = spd
    free = solver_service.solve(A, b, method=method, rtol=1e-4)
    assert free.converged
    last = solver_service.solve(A, b, method=method, rtol=1e-4, max_epochs=free.epochs)
    assert last.status is Status.CONVERGED
    assert last.epochs == free.epochs
    assert last.x.tobytes() == free.x.tobytes()


@pytest.mark.parametrize("method", ["auto", *ITERATIVE])
def test_a_limit_below_one_step_gives_the_start(tall, spd, method):
    A, b, _ = spd if method in ("cg", "ssor_cg") else tall
    result = solver_service.solve(A, b, method=method, max_epochs=1e-9)
    assert (result.status, result.iterations, result.relative_residual) == (Status.MAX_EPOCHS, 0, 1.0)


@pytest.mark.parametrize("method", ["auto", *ITERATIVE])
def test_a_time_limit_ends_the_solve(method):
    A = laplacian(40)
    b = A @ np.random.default_rng(2).standard_normal(A.shape[1])
    started = time.monotonic()
    # Out of reach on purpose: rounding stops every method long before.
    result = solver_service.solve(
        A, b, method="kaczmarz" if method == "auto" else method, rtol=0.0, time_limit=0.05, max_epochs=1e9
    )
    assert time.monotonic() - started < 2.0
    assert result.status in (Status.TIME_LIMIT, Status.STAGNATED)
    assert result.relative_residual == pytest.approx(true_relative(A, b, result), rel=1e-3, abs=1e-15)
    if method in ("kaczmarz", "coordinate_descent"):
        assert result.status is Status.TIME_LIMIT


@pytest.mark.parametrize("method", ["kaczmarz", "coordinate_descent"])
@pytest.mark.parametrize("batch_size", ["auto", 1, 4000])
def test_cancellation_is_seen_within_50_ms_of_work(method, batch_size):
    rng = np.random.default_rng(3)
    A = sparse.csr_array(sparse.random_array((40_000, 4000), density=0.004, rng=rng))
    prepared = prepare(A)
    problem = Problem.build(prepared.matrix, A @ rng.standard_normal(4000))
    options = Options(method=method, batch_size=batch_size, rtol=1e-15, max_epochs=1e6, threads=1)
    asked: list[float] = []

    def should_stop() -> bool:
        # CPU time of this thread, so that a busy machine does not fail the test.
        asked.append(time.thread_time())
        return len(asked) > 20

    for _ in range(2):  # the first run compiles and prepares
        asked.clear()
        result = run(prepared, problem, options, should_stop=should_stop)
    assert result.status is Status.CANCELLED
    assert np.max(np.diff(asked)) < 0.05


def test_cancelling_returns_the_latest_iterate_when_it_is_the_best(spd):
    A, b, _ = spd
    seen: list[float] = []

    def callback(progress):
        seen.append(progress.relative_residual)
        return len(seen) >= 4

    result = solver_service.solve(A, b, method="coordinate_descent", rtol=1e-12, callback=callback)
    assert result.status is Status.CANCELLED
    assert result.relative_residual == pytest.approx(min(seen), rel=1e-9)
    assert result.relative_residual == pytest.approx(true_relative(A, b, result), rel=1e-9)


def test_cancelling_before_the_first_measurement_still_gives_the_iterate(tall):
    A, b, _ = tall
    big = sparse.csr_array(sparse.vstack([A] * 40))
    prepared = prepare(big)
    asked: list[int] = []

    def should_stop() -> bool:
        asked.append(1)
        return len(asked) > 2

    result = run(
        prepared,
        Problem.build(prepared.matrix, np.tile(b, 40)),
        Options(method="kaczmarz", batch_size=1, rtol=1e-14),
        should_stop=should_stop,
    )
    assert result.status is Status.CANCELLED
    assert 0 < result.epochs < 1
    assert result.relative_residual < 0.9


def test_a_deadline_in_the_past_gives_the_start(tall):
    A, b, _ = tall
    prepared = prepare(A)
    result = run(prepared, Problem.build(prepared.matrix, b), Options(), deadline=time.monotonic() - 1)
    assert (result.status, result.relative_residual) == (Status.TIME_LIMIT, 1.0)


def contradicting(tall):
    A, b, _ = tall
    twice = sparse.csr_array(sparse.vstack([A, A[:3]]))
    return twice, np.concatenate([b, b[:3] + 1.0])


def perturbed(tall):
    A, b, _ = tall
    return A, b + 0.1 * np.random.default_rng(4).standard_normal(b.size)


def zero_row(tall):
    A, b, _ = tall
    return sparse.csr_array(sparse.vstack([A, sparse.csr_array((1, A.shape[1]))])), np.append(b, 1.0)


def out_of_range(tall):
    A, _, _ = tall
    Q, _ = np.linalg.qr(A.toarray(), mode="complete")
    return A, Q[:, -1].copy()


@pytest.mark.parametrize("method", ["auto", "kaczmarz", "coordinate_descent", "lsqr", "lsmr"])
@pytest.mark.parametrize("case", [contradicting, perturbed, zero_row, out_of_range])
def test_inconsistent_systems_come_with_a_proof(tall, case, method):
    A, b = case(tall)
    result = solver_service.solve(A, b, method=method, rtol=1e-8)
    assert result.status is Status.INCONSISTENT
    assert result.advice
    least = np.linalg.norm(b - A @ np.linalg.lstsq(A.toarray(), b)[0])
    proof = result.certificate
    y = proof.y
    bound = (abs(b @ y) - proof.radius * np.linalg.norm(A.T @ y)) / np.linalg.norm(y)
    assert bound >= proof.bound * (1 - 1e-6)
    assert result.target < proof.bound <= least * (1 + 1e-9)
    assert proof.radius >= 999 * np.linalg.norm(result.x)
    assert result.residual_norm <= least * 1.001, "the best least-squares iterate is returned"
    worst = result.worst_equations
    r = b - A @ result.x
    assert 0 < len(worst) <= 10
    assert abs(worst[0].residual) == pytest.approx(np.max(np.abs(r)), rel=1e-6)
    assert r[worst[0].row] == pytest.approx(worst[0].residual, rel=1e-6, abs=1e-12)


def test_an_ill_conditioned_consistent_system_is_never_called_inconsistent():
    H = 1.0 / (np.arange(60)[:, None] + np.arange(12) + 1.0)  # a tall Hilbert matrix: κ ≈ 1e16
    b = H @ np.ones(12)
    for method in ("auto", "kaczmarz", "coordinate_descent", "lsqr", "lsmr"):
        result = solver_service.solve(H, b, method=method, rtol=1e-14)
        assert result.status is not Status.INCONSISTENT, method
        if not result.converged:
            assert result.advice


def test_a_stall_is_not_called_inconsistent_without_proof_and_names_the_worst_equations(tall):
    A, b, _ = tall
    result = solver_service.solve(A, b, method="kaczmarz", rtol=0.0)
    assert result.status is Status.STAGNATED
    assert result.relative_residual < 1e-14
    assert result.certificate is None
    assert result.advice
    sizes = [abs(w.residual) for w in result.worst_equations]
    assert sizes == sorted(sizes, reverse=True)
    assert len(sizes) == 10


def test_numerically_singular_systems_are_a_result_not_an_error():
    A = np.array([[1.0, 2.0], [2.0, 4.0]])
    consistent = solver_service.solve(A, [1.0, 2.0])
    assert consistent.converged
    explicit = solver_service.solve(A, [1.0, 3.0], method="direct")
    assert "sparse LU" in explicit.phases[0].reason
    assert explicit.status in (Status.STAGNATED, Status.INCONSISTENT)
    assert np.isfinite(explicit.x).all()


def test_indefinite_matrices_do_not_trap_coordinate_descent():
    rng = np.random.default_rng(5)
    G = rng.standard_normal((40, 40))
    A = G + G.T
    np.fill_diagonal(A, 6.0)  # positive diagonal, but indefinite
    assert np.linalg.eigvalsh(A)[0] < 0
    x = rng.standard_normal(40)
    result = solver_service.solve(A, A @ x, method="coordinate_descent", rtol=1e-3)
    assert result.converged
    assert "least-squares" in result.reason


def test_a_step_that_is_too_long_ends_finite():
    rng = np.random.default_rng(6)
    A = rng.standard_normal((200, 20))
    b = A @ rng.standard_normal(20)
    result = solver_service.solve(A, b, method="kaczmarz", batch_size=100, step_size=500.0)
    assert result.status is Status.STAGNATED
    assert np.isfinite(result.x).all()
    assert result.relative_residual <= 1.0


def test_an_explicit_method_keeps_its_own_x_when_no_proof_is_found(tall):
    """The proof is sought with LSMR; its x must not be passed off as that of another method."""
    A = sparse.diags_array(np.logspace(0, -7, 50)).tocsr()
    b = A @ np.ones(50) + 0.0
    result = solver_service.solve(
        sparse.vstack([A, A]), np.concatenate([b, b]), method="kaczmarz", rtol=1e-12
    )
    assert result.method == "kaczmarz"
    assert result.phases[0].method == "kaczmarz"
    assert sum(phase.epochs for phase in result.phases) == pytest.approx(result.epochs)


def exact_residual(A, b, x) -> float:
    rows = [
        Fraction(float(b_i))
        - sum(Fraction(float(a)) * Fraction(float(v)) for a, v in zip(row, x, strict=True))
        for row, b_i in zip(A, b, strict=True)
    ]
    return math.sqrt(float(sum(r * r for r in rows)))


@pytest.mark.parametrize("method", ["auto", "direct", "lsqr", "lsmr"])
def test_the_reported_residual_is_the_exact_one_even_where_x_is_huge(method):
    """κ = 1e9 and random b: ‖A‖‖x‖ exceeds ‖b‖ so far that rounded products would hide the residual."""
    rng = np.random.default_rng(7)
    for _ in range(20):
        U, _ = np.linalg.qr(rng.standard_normal((12, 12)))
        V, _ = np.linalg.qr(rng.standard_normal((12, 12)))
        A, b = U @ np.diag(np.logspace(0, -9, 12)) @ V, rng.standard_normal(12)
        result = solver_service.solve(A, b, method=method, rtol=3e-9, max_epochs=2000)
        exact = exact_residual(A, b, result.x)
        assert result.residual_norm == pytest.approx(exact, rel=1e-6)
        assert result.converged == (exact <= result.target * (1 + 1e-12))


def test_consistent_systems_with_wildly_different_rows_are_not_called_inconsistent():
    rng = np.random.default_rng(8)
    for ratio in (1e6, 1e10, 1e13, 1e16, 1e20):
        A = np.zeros((80, 50))
        A[:40, :25], A[40:, 25:] = ratio * rng.standard_normal((40, 25)), rng.standard_normal((40, 25))
        b = A @ rng.standard_normal(50)
        for method in ("auto", "lsmr", "kaczmarz"):
            result = solver_service.solve(A, b, method=method, rtol=1e-25)
            assert result.status is not Status.INCONSISTENT, (ratio, method)


def test_tiny_rows_are_rows_too():
    e = 1e-170
    A = np.array([[1.0, 0.0], [0.0, e], [0.0, e]])
    result = solver_service.solve(A, [0.0, e, e], method="kaczmarz")
    assert result.converged
    np.testing.assert_allclose(result.x, [0.0, 1.0], rtol=1e-6)
    assert solver_service.solve(A, [0.0, e, e]).status is not Status.INCONSISTENT


def test_a_start_beyond_float64_and_no_time_give_a_finite_result():
    A = [[1e80, 0.0], [0.0, 1.0], [1.0, 1.0]]
    result = solver_service.solve(A, [1.0, 2.0, 3.0], x0=[1e300, 1.0], time_limit=1e-9)
    assert result.status is Status.TIME_LIMIT
    assert np.isfinite([result.residual_norm, result.relative_residual, *result.x]).all()


@pytest.mark.parametrize("method", ["lsmr", "lsqr"])
def test_a_time_limit_keeps_and_counts_what_was_done(method):
    A = laplacian(150)
    b = A @ np.random.default_rng(9).standard_normal(A.shape[1])
    result = solver_service.solve(A, b, method=method, rtol=1e-13, time_limit=0.7)
    assert result.status is Status.TIME_LIMIT
    assert result.iterations > 0
    assert result.relative_residual < 0.9


def test_one_cancelled_column_stops_them_all(tall):
    A, b, _ = tall
    result = solver_service.solve(
        A, np.stack([b] * 5, axis=1), method="kaczmarz", rtol=1e-13, callback=lambda _: np.True_
    )
    assert [c.status for c in result.columns] == [Status.CANCELLED] * 5


def test_minimum_norm_is_not_claimed_without_a_solution(tall):
    A, b, _ = tall
    assert solver_service.solve(A, b, method="lsmr", max_epochs=4).minimum_norm is False
    assert solver_service.solve(A, 0 * b, x0=np.ones(60)).minimum_norm is True


def test_the_curve_counts_equations_that_nothing_can_meet(tall):
    A, b = zero_row(tall)
    result = solver_service.solve(A, b, method="kaczmarz", rtol=1e-6)
    assert result.history[-1].relative_residual == pytest.approx(result.relative_residual, rel=1e-3)
    assert result.phases[-1].relative_residual == pytest.approx(result.relative_residual, rel=1e-3)
    nothing = solver_service.solve(sparse.csr_array((3, 3)), [1.0, 0.0, 0.0])
    assert "empty rows" in nothing.reason
    assert nothing.history[-1].relative_residual == 1.0


def test_a_proof_that_is_sought_leaves_no_trace_in_the_curve():
    A = np.diag([1.0, -1.0, 1e-3]) + np.diag([1.0, 0.0], 1) + np.diag([1.0, 0.0], -1)
    result = solver_service.solve(A, A @ np.ones(3), method="cg", rtol=1e-300)
    assert result.status is Status.STAGNATED
    assert result.history[-1].relative_residual == pytest.approx(result.relative_residual)
    assert "proof" in result.phases[-1].reason


def test_small_systems_take_small_steps():
    result = solver_service.solve([[2.0]], [4.0], method="kaczmarz")
    assert result.epochs == 1


def test_coordinate_descent_corrects_its_drifting_residual(tall):
    A, b, _ = tall
    result = solver_service.solve(A, b, x0=np.full(60, 1e12), method="coordinate_descent", rtol=1e-8)
    assert result.converged


def test_entries_that_disprove_positive_definiteness_do_no_harm():
    A = np.array([[1e-200, 1.0], [1.0, 1e-200]])
    result = solver_service.solve(A, [1.0, 2.0], method="coordinate_descent")
    assert result.converged


def test_the_caller_may_change_x0_after_the_solve():
    x0 = np.zeros(2)
    result = solver_service.solve(np.eye(2), [0.0, 0.0], x0=x0)
    assert not np.shares_memory(result.x, x0)


def test_fill_is_predicted_before_superlu_sees_the_matrix():
    A = laplacian(100)
    assert solver_service.prepare(A).state.factor_cost < 1e9
    rng = np.random.default_rng(10)
    B = sparse.csr_array(sparse.random_array((20_000, 20_000), density=7 / 20_000, rng=rng))
    state = solver_service.prepare(B + sparse.eye_array(20_000)).state
    assert state.factor_cost > 1e11
