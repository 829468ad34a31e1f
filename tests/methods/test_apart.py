"""Disconnected blocks, solved apart."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import sparse

import solver_service
from solver_service import Status
from solver_service.methods import Options, Prepared, Tuning, apart, auto, learn, run
from solver_service.methods.state import State
from solver_service.problems import gallery
from solver_service.problems.matrix import Matrix
from solver_service.problems.problem import Problem


@pytest.fixture(autouse=True)
def always_search(monkeypatch):
    """Blocks are searched for even where that is dear, and cost next to nothing."""
    monkeypatch.setattr(auto, "_SELDOM", 0.0)
    monkeypatch.setattr(apart, "_BLOCK", 0.0)
    monkeypatch.setattr(apart.cost, "gram", lambda *_: 1e-3)
    monkeypatch.setattr(auto.Race, "factorisations", lambda _: iter(()))


def blocks(*names: str) -> tuple[sparse.csr_array, np.ndarray]:
    """Block diagonal, with rows and columns shuffled, and empty ones among them."""
    rng = np.random.default_rng(1)
    parts = [gallery.PROBLEMS[name]() for name in names]
    A = sparse.block_diag([part.A for part in parts] + [sparse.csr_array((2, 3))], format="csr")
    x = np.concatenate([*(part.x for part in parts), np.zeros(3)])
    rows, columns = rng.permutation(A.shape[0]), rng.permutation(A.shape[1])
    A = sparse.csr_array(A[rows][:, columns])
    return A, A @ x[columns]


def last(result):
    phase = result.phases[-1]
    assert "blocks, solved apart" in phase.reason
    return phase


@pytest.mark.parametrize("rtol", [1e-6, 1e-11])
def test_blocks_are_solved_apart_and_meet_the_target_together(rtol):
    A, b = blocks("ill_conditioned", "poisson2d", "wide_random", "convection_diffusion")
    result = solver_service.solve(A, b, rtol=rtol)
    assert result.converged
    assert np.linalg.norm(b - A @ result.x) <= rtol * np.linalg.norm(b) * (1 + 1e-9)
    assert last(result).reason.startswith("4 disconnected blocks")
    assert result.method in solver_service.methods.METHODS
    assert result.method != "auto"
    assert sum(phase.iterations for phase in result.phases) == result.iterations
    assert sum(phase.epochs for phase in result.phases) == pytest.approx(result.epochs)


def test_the_minimum_norm_solution_is_that_of_the_blocks():
    A, b = blocks("wide_random", "rank_deficient", "ill_conditioned")
    result = solver_service.solve(A, b, rtol=1e-11, minimum_norm=True)
    assert result.converged
    last(result)
    assert result.minimum_norm is True
    expected = np.linalg.lstsq(A.toarray(), b)[0]
    np.testing.assert_allclose(result.x, expected, atol=1e-7 * np.linalg.norm(expected))


def test_a_contradiction_in_one_block_does_not_keep_the_others_from_being_solved():
    A, b = blocks("ill_conditioned", "tall_random")
    wrong = b.copy()
    labels = State(Matrix.from_any(A)).labels
    wrong[np.flatnonzero(labels.rows == 1)[:3]] += 1.0
    result = solver_service.solve(A, wrong, rtol=1e-8)
    assert result.status is Status.INCONSISTENT
    assert result.certificate.bound > result.target
    best = np.linalg.norm(wrong - A @ np.linalg.lstsq(A.toarray(), wrong)[0])
    assert result.residual_norm <= best * 1.001


def test_a_start_is_kept_and_zero_blocks_stay_zero():
    A, b = blocks("ill_conditioned", "poisson2d")
    labels = State(Matrix.from_any(A)).labels
    b[labels.rows == 0] = 0.0
    x0 = np.linspace(-1.0, 1.0, A.shape[1])
    result = solver_service.solve(A, b, x0=x0, rtol=1e-9)
    assert result.converged
    last(result)
    idle = labels.columns < 0
    np.testing.assert_array_equal(result.x[idle], x0[idle])


@pytest.mark.parametrize("how", ["time", "stop", "epochs"])
def test_limits_of_the_whole_hold_in_the_blocks(how):
    A, b = blocks("ill_conditioned", "poisson2d", "convection_diffusion")
    calls: list[int] = []

    def callback(_):
        calls.append(1)
        return how == "stop" and len(calls) > 8

    limits = {"time": {"time_limit": 1e-3}, "epochs": {"max_epochs": 30}, "stop": {}}[how]
    result = solver_service.solve(A, b, rtol=1e-14, callback=callback, **limits)
    expected = {"time": Status.TIME_LIMIT, "stop": Status.CANCELLED, "epochs": Status.MAX_EPOCHS}[how]
    assert result.status in (expected, Status.CONVERGED, Status.STAGNATED)
    assert math.isfinite(result.relative_residual)
    assert result.epochs <= limits.get("max_epochs", math.inf) * (1 + 1e-9)
    assert result.relative_residual <= 1.0


def test_one_block_is_no_blocks():
    problem = gallery.PROBLEMS["ill_conditioned"]()
    result = solver_service.solve(problem.A, problem.b)
    assert result.converged
    assert not any("apart" in phase.reason for phase in result.phases)


def test_blocks_with_nothing_to_do_do_not_end_it():
    rng = np.random.default_rng(2)
    parts = [rng.standard_normal((6, 3)) for _ in range(12)]
    A = sparse.csr_array(sparse.block_diag(parts))
    x = rng.standard_normal(36)
    x[:12] = 0.0  # four blocks with b = 0 before all others
    result = solver_service.solve(A, A @ x, rtol=1e-9)
    assert result.converged
    last(result)
    np.testing.assert_allclose(result.x, x, atol=1e-7)


def test_blocks_that_were_solved_apart_are_so_at_once_the_next_time():
    A, b = blocks("tall_random", "poisson2d")
    prepared = Prepared(Matrix.from_any(A))
    lessons = []
    first = run(prepared, Problem.build(prepared.matrix, b), Options(threads=1), lessons=lessons)
    assert "solved apart" in first.reason
    assert len(first.phases) > 1
    again = Prepared(prepared.matrix, tuning=learn(Tuning(), lessons)).solve(-b, threads=1)
    assert again.converged
    assert [phase.method for phase in again.phases] == [first.method]
    assert "solved apart; it has met the target in earlier solves" in again.reason
