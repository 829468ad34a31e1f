"""What `cgmn` and `ssor_cgls` promise, and what they share: restarts, limits, pieces, threads."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import sparse

import solver_service
from solver_service import Status
from solver_service.methods import sweeps, team
from solver_service.methods.cgmn import Cgmn
from solver_service.methods.interruption import Interrupted
from solver_service.methods.monitor import Monitor
from solver_service.methods.options import Options
from solver_service.methods.ssor_cgls import SsorCgls
from solver_service.methods.state import State
from solver_service.problems.gallery import rank_deficient
from solver_service.problems.matrix import Matrix

METHODS = {
    "cgmn": lambda state, b, x0, o: Cgmn(state.swept_rows, b, x0, o),
    "cgmn, columns scaled": lambda state, b, x0, o: Cgmn(state.scaled_rows, b, x0, o),
    "ssor_cgls": lambda state, b, x0, o: SsorCgls(state.swept_columns, b, x0, o),
    "ssor_cgls, rows scaled": lambda state, b, x0, o: SsorCgls(state.scaled_columns, b, x0, o),
}


def random(m: int, n: int, seed: int = 0, density: float = 0.2) -> np.ndarray:
    rng = np.random.default_rng(seed)
    A = sparse.random_array((m, n), density=density, rng=rng, data_sampler=rng.standard_normal).toarray()
    A[np.arange(m), np.arange(m) % n] += 1.0
    return A


def badly_scaled(seed: int = 1) -> np.ndarray:
    rng = np.random.default_rng(seed)
    A = random(60, 30, seed)
    return 10.0 ** rng.uniform(-3, 3, 60)[:, None] * A * 10.0 ** rng.uniform(-3, 3, 30)


@pytest.fixture(params=list(METHODS))
def start(request):
    return METHODS[request.param]


def begin(start, A, b, x0=None, *, target=0.0, threads=1, **limits):
    """A process on A x = b and its monitor."""
    state = State(Matrix.from_any(A))
    x0 = np.zeros(state.A.shape[1]) if x0 is None else x0
    monitor = Monitor(state.raw, b, x0, target=target, **{"max_epochs": 4000.0, **limits})
    monitor.begin()
    return start(state, b, x0, Options(threads=threads)), monitor


def solved(start, A, b, x0=None, *, rtol=1e-10):
    process, monitor = begin(start, A, b, x0)
    while True:
        if process.advance(monitor) is not None:
            break
        norm = np.linalg.norm(b - A @ process.solution())
        if norm <= rtol * np.linalg.norm(b):
            break
        process.check(norm)
    return process.solution()


@pytest.mark.parametrize("shape", [(60, 25), (25, 60), (40, 40), (1, 1), (1, 7), (7, 1)])
def test_every_shape_is_solved(start, shape):
    A = random(*shape)
    b = A @ np.random.default_rng(1).standard_normal(shape[1])
    x = solved(start, A, b)
    assert np.linalg.norm(b - A @ x) <= 1e-10 * np.linalg.norm(b)


def test_zero_rows_and_columns(start):
    A = random(30, 20)
    A[[0, 7, 29]], A[:, [0, 5, 19]] = 0.0, 0.0
    x0 = np.random.default_rng(2).standard_normal(20)
    b = A @ np.ones(20)
    x = solved(start, A, b, x0)
    assert np.linalg.norm(b - A @ x) <= 1e-10 * np.linalg.norm(b)
    np.testing.assert_array_equal(x[[0, 5, 19]], x0[[0, 5, 19]])


def test_it_starts_from_x0(start):
    A = random(40, 30)
    x = np.random.default_rng(3).standard_normal(30)
    near = x + 1e-9 * np.random.default_rng(4).standard_normal(30)
    process, _ = begin(start, A, A @ x, near)
    np.testing.assert_allclose(process.solution(), near, rtol=1e-14)
    far, _ = begin(start, A, A @ x)
    assert process.residual_estimate < 1e-6 * far.residual_estimate


def test_x0_is_not_modified(start):
    A = random(40, 30)
    x0 = np.ones(30)
    process, monitor = begin(start, A, A @ np.arange(30.0), x0)
    process.advance(monitor)
    np.testing.assert_array_equal(x0, 1.0)
    assert not np.array_equal(process.solution(), x0)


@pytest.mark.parametrize("shape", [(20, 50), (50, 20)])
def test_cgmn_gives_the_minimum_norm_solution(shape):
    A = random(*shape)
    b = A @ np.random.default_rng(1).standard_normal(shape[1])
    result = solver_service.solve(A, b, method="cgmn", rtol=1e-12)
    np.testing.assert_allclose(result.x, np.linalg.lstsq(A, b)[0], rtol=1e-8, atol=1e-9)
    assert result.minimum_norm


def test_cgmn_gives_it_on_rank_deficient_systems():
    problem = rank_deficient(60, 15, 10)
    A = problem.A.toarray()
    result = solver_service.solve(A, problem.b, method="cgmn", rtol=1e-12)
    np.testing.assert_allclose(result.x, np.linalg.lstsq(A, problem.b)[0], rtol=1e-8, atol=1e-9)
    # The column forms do not, so the case can tell.
    other = solver_service.solve(A, problem.b, method="ssor_cgls", rtol=1e-12)
    assert np.linalg.norm(other.x) > (1 + 1e-4) * np.linalg.norm(result.x)
    assert not other.minimum_norm


def test_cgmn_with_scaled_columns_gives_the_least_scaled_norm():
    A = badly_scaled()[:20]
    b = A @ np.random.default_rng(1).standard_normal(30)
    x = solved(METHODS["cgmn, columns scaled"], A, b, rtol=1e-13)
    E = 1.0 / np.linalg.norm(A, axis=0)
    expected = E * np.linalg.lstsq(A * E, b)[0]
    np.testing.assert_allclose(x / E, expected / E, rtol=1e-6, atol=1e-8 * np.abs(expected / E).max())
    assert not Cgmn(State(Matrix.from_any(A)).scaled_rows, b, np.zeros(30), Options()).row_space


@pytest.mark.parametrize("zero", [False, True])
def test_ssor_cgls_gives_the_least_squares_solution(zero):
    A = random(60, 20)
    b = np.random.default_rng(5).standard_normal(60)
    if zero:
        A[3] = 0.0
    result = solver_service.solve(A, b, method="ssor_cgls")
    assert result.status in (Status.STAGNATED, Status.INCONSISTENT)
    expected = np.linalg.lstsq(A, b)[0]
    np.testing.assert_allclose(result.residual_norm, np.linalg.norm(b - A @ expected), rtol=1e-10)
    # A solve ends when the contradiction is proven; the method left to itself goes on.
    np.testing.assert_allclose(result.x, expected, rtol=1e-3, atol=1e-4)
    x = solved(METHODS["ssor_cgls"], A, b, rtol=0.0)
    np.testing.assert_allclose(x, expected, rtol=1e-4, atol=1e-5)


def test_ssor_cgls_with_scaled_rows_weighs_the_equations():
    A = badly_scaled()
    b = np.random.default_rng(5).standard_normal(60)
    x = solved(METHODS["ssor_cgls, rows scaled"], A, b, rtol=0.0)
    F = 1.0 / np.linalg.norm(A, axis=1)
    least = np.linalg.norm(F * b - (A * F[:, None]) @ np.linalg.lstsq(A * F[:, None], F * b)[0])
    assert np.linalg.norm(F * (b - A @ x)) == pytest.approx(least, rel=1e-8)


def test_after_the_end_the_solution_is_not_left_again():
    """`ssor_cgls` on rank-deficient inconsistent data blows up where it runs on."""
    problem = rank_deficient(60, 15, 10)
    b = problem.b + np.random.default_rng(1).standard_normal(60)
    best = np.linalg.norm(b - problem.A @ np.linalg.lstsq(problem.A.toarray(), b)[0])
    process, monitor = begin(METHODS["ssor_cgls"], problem.A, b)
    ended = None
    for _ in range(10_000):
        ended = process.advance(monitor)
        norm = np.linalg.norm(b - problem.A @ process.solution())
        if ended is not None:
            break
        process.check(norm)
    assert ended is Status.STAGNATED
    assert np.linalg.norm(b - problem.A @ process.solution()) <= best * (1 + 1e-10)


def test_scaled_forms_are_judged_on_the_unscaled_residual(start):
    A = badly_scaled()
    b = A @ np.random.default_rng(1).standard_normal(30)
    process, monitor = begin(start, A, b)
    for _ in range(6):
        process.advance(monitor)
        norm = np.linalg.norm(b - A @ process.solution())
        process.check(norm)
        assert process.residual_estimate == pytest.approx(norm, rel=0.1)


def test_the_recurrence_of_ssor_cgls_gives_the_residual_itself():
    A = random(40, 30)
    b = A @ np.ones(30)
    process, monitor = begin(METHODS["ssor_cgls"], A, b)
    assert process.residual_estimate == pytest.approx(np.linalg.norm(b), rel=1e-14)
    for _ in range(8):
        process.advance(monitor)
        assert process.residual_estimate == pytest.approx(
            np.linalg.norm(b - A @ process.solution()), rel=1e-6
        )


def spoil(process) -> None:
    """Move x behind the back of the recurrence, as rounding does."""
    process._x += 1e-3


def test_a_lost_residual_restarts_from_x(start):
    A = random(60, 30)
    b = A @ np.random.default_rng(1).standard_normal(30)
    process, monitor = begin(start, A, b)
    for _ in range(12):
        process.advance(monitor)
        process.check(np.linalg.norm(b - A @ process.solution()))
    before = process.residual_estimate
    spoil(process)
    norm = np.linalg.norm(b - A @ process.solution())
    assert norm > 100 * before, "the case must be one where x has left the truth"
    x = process.solution().copy()
    process.check(norm)
    np.testing.assert_allclose(process.solution(), x, rtol=1e-14)
    for _ in range(400):
        if process.advance(monitor) is not None:
            break
        norm = np.linalg.norm(b - A @ process.solution())
        if norm <= 1e-11 * np.linalg.norm(b):
            break
        process.check(norm)
    assert norm <= 1e-11 * np.linalg.norm(b)


def test_a_restart_that_does_not_help_is_the_last(start):
    A = random(60, 30)
    b = A @ np.random.default_rng(1).standard_normal(30)
    process, monitor = begin(start, A, b)
    for _ in range(12):
        process.advance(monitor)
        process.check(np.linalg.norm(b - A @ process.solution()))
    norm = 1e3 * np.linalg.norm(b)  # told that x is far away again and again
    ends = []
    for _ in range(4):
        process.check(norm)
        ends.append(process.advance(monitor))
        process.check(np.linalg.norm(b - A @ process.solution()))
    assert Status.STAGNATED in ends


@pytest.mark.parametrize("norm", [math.inf, math.nan])
def test_a_norm_that_is_no_number_does_not_restart(start, norm):
    A = random(20, 10)
    process, monitor = begin(start, A, A @ np.ones(10))
    process.advance(monitor)
    x = process.solution().copy()
    process.check(norm)
    np.testing.assert_array_equal(process.solution(), x)


def test_work_is_counted(start):
    A = random(30, 20)
    process, monitor = begin(start, A, A @ np.ones(20))
    for _ in range(5):
        process.advance(monitor)
    work = monitor.work
    actions = 30 if isinstance(process, Cgmn) else 20
    assert work.epochs == 2 * work.iterations
    assert work.row_updates == 2 * actions * work.iterations
    assert work.cost > 0.0


@pytest.mark.parametrize("limit", [1.9, 2.0, 7.0, 20.0])
def test_the_limit_is_kept(start, limit):
    A = badly_scaled()
    b = A @ np.ones(30)
    process, monitor = begin(start, A, b, max_epochs=limit)
    status = None
    while status is None:
        status = process.advance(monitor)
    assert status is Status.MAX_EPOCHS
    assert monitor.work.epochs == 2 * (limit // 2)


def test_the_goal_ends_a_piece_of_work():
    A = random(60, 30)
    b = A @ np.random.default_rng(1).standard_normal(30)
    for start in METHODS.values():
        process, monitor = begin(start, A, b, target=1e-2 * np.linalg.norm(b))
        process._steps = 10_000  # a piece would be of more than a thousand steps
        process.advance(monitor)
        process.check(np.linalg.norm(b - A @ process.solution()))
        process.advance(monitor)
        assert monitor.work.iterations < 40
        assert np.linalg.norm(b - A @ process.solution()) <= 1.5e-2 * np.linalg.norm(b)


class TestInPieces:
    """Large systems: each step is cut into pieces of some milliseconds, one thread or several."""

    @pytest.fixture
    def small_blocks(self, monkeypatch):
        monkeypatch.setattr(sweeps, "BLOCK_ENTRIES", 1)
        monkeypatch.setattr(team, "BLOCK_ENTRIES", 40)

    def iterates(self, start, A, b, **options):
        process, monitor = begin(start, A, b, **options)
        found = []
        for _ in range(12):
            process.advance(monitor)
            found.append(process.solution().copy())
            process.check(np.linalg.norm(b - A @ process.solution()))
        return process, found

    def test_the_iterates_are_the_same(self, start, monkeypatch):
        A = random(80, 30)
        b = A @ np.random.default_rng(1).standard_normal(30)
        whole, expected = self.iterates(start, A, b)
        monkeypatch.setattr(sweeps, "BLOCK_ENTRIES", 1)
        monkeypatch.setattr(team, "BLOCK_ENTRIES", 40)
        pieces, found = self.iterates(start, A, b)
        assert whole._most_steps > 0
        assert pieces._most_steps == 0
        for x, y in zip(expected, found, strict=True):
            np.testing.assert_allclose(x, y, rtol=1e-8, atol=1e-9)

    def test_the_clock_is_looked_at_in_every_piece(self, start, small_blocks):
        A = random(80, 30)
        looks = 0

        def should_stop() -> bool:
            nonlocal looks
            looks += 1
            return False

        process, monitor = begin(start, A, A @ np.ones(30), should_stop=should_stop)
        looks = 0
        process.advance(monitor)
        entries = np.count_nonzero(A)
        assert monitor.work.iterations == 1
        assert looks >= 2 * entries // 40

    def test_it_can_be_stopped_within_a_sweep(self, start, small_blocks):
        A = random(80, 30)
        b = A @ np.ones(30)
        countdown = math.inf

        def should_stop() -> bool:
            nonlocal countdown
            countdown -= 1
            return countdown < 0

        process, monitor = begin(start, A, b, should_stop=should_stop)
        countdown = 7
        with pytest.raises(Interrupted):
            process.advance(monitor)
        assert np.isfinite(process.solution()).all()

    def test_its_recurrence_ends_without_dividing_by_zero(self, start, small_blocks):
        A = np.zeros((4, 3))
        A[0, 0] = 2.0
        process, monitor = begin(start, A, np.array([1.0, 0.0, 0.0, 0.0]))
        with np.errstate(all="raise"):
            ends = [process.advance(monitor) for _ in range(6)]
        assert ends[-1] is Status.STAGNATED
        np.testing.assert_allclose(process.solution(), [0.5, 0.0, 0.0], rtol=1e-15)

    def test_nothing_to_reach(self, start, small_blocks):
        A = np.zeros((4, 3))
        A[0, 0] = 2.0
        process, monitor = begin(start, A, np.array([0.0, 1.0, 0.0, 0.0]))
        with np.errstate(all="raise"):
            ends = [process.advance(monitor) for _ in range(3)]
        assert ends[-1] is Status.STAGNATED
        assert not process.solution().any()

    @pytest.mark.parametrize("threads", [2, 3])
    def test_several_threads_reach_the_same_solution(self, start, threads, monkeypatch):
        monkeypatch.setattr(team, "LEAST_ENTRIES", 10)
        monkeypatch.setattr(team, "BLOCK_ENTRIES", 100)
        monkeypatch.setattr(team, "available_threads", lambda: 4)
        A = random(80, 30)
        x = np.random.default_rng(1).standard_normal(30)
        b = A @ x
        process, monitor = begin(start, A, b, threads=threads)
        assert process.threads == threads
        assert process.parameters().threads == threads
        while process.advance(monitor) is None:
            norm = np.linalg.norm(b - A @ process.solution())
            if norm <= 1e-10 * np.linalg.norm(b):
                break
            process.check(norm)
        np.testing.assert_allclose(process.solution(), x, rtol=1e-6, atol=1e-7)

    def test_several_threads_take_the_block_diagonal_operator(self, monkeypatch):
        """One step of cgmn with two threads, against the dense operator of two blocks of rows."""
        monkeypatch.setattr(team, "LEAST_ENTRIES", 10)
        monkeypatch.setattr(team, "available_threads", lambda: 2)
        A = random(40, 30)
        b = A @ np.ones(30)
        process, monitor = begin(METHODS["cgmn"], A, b, threads=2)
        process.advance(monitor)
        unit = A / np.linalg.norm(A, axis=1)[:, None]
        C = np.eye(40) + np.tril(unit @ unit.T, -1)
        ((_, cut), _) = process._parts
        C[cut:, :cut] = 0.0
        B = np.linalg.solve(C, unit)
        rhs = np.linalg.solve(C, b / np.linalg.norm(A, axis=1))
        s = B.T @ rhs
        expected = s * (s @ s) / np.sum((B @ s) ** 2)
        np.testing.assert_allclose(process.solution(), expected, rtol=1e-11, atol=1e-12)
