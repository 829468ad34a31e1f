"""`ssor_cg`: definite matrices of either sign, and the way out of indefinite ones."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import sparse

import solver_service
from solver_service import Status
from solver_service.errors import MethodNotApplicableError
from solver_service.methods.monitor import Monitor
from solver_service.methods.ssor_cg import SsorCg
from solver_service.methods.state import State
from solver_service.problems.gallery import poisson2d
from solver_service.problems.matrix import Matrix

N = 100


@pytest.fixture(scope="module")
def definite() -> np.ndarray:
    """The Laplacian of a grid, its unknowns scaled over six decades."""
    d = 10.0 ** np.random.default_rng(1).uniform(-3, 3, N)
    return poisson2d(10).A.toarray() * np.outer(d, d)


def begin(A, b, x0=None, **limits):
    state = State(Matrix.from_any(sparse.csr_array(A)))
    x0 = np.zeros(len(b)) if x0 is None else x0
    monitor = Monitor(state.raw, b, x0, target=0.0, **{"max_epochs": 2000.0, **limits})
    monitor.begin()
    return SsorCg(state, b, x0), monitor


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_definite_matrices_of_either_sign(definite, sign):
    b = sign * definite @ np.ones(N)
    result = solver_service.solve(sign * definite, b, method="ssor_cg", rtol=1e-10)
    assert result.converged
    assert [phase.method for phase in result.phases] == ["ssor_cg"]
    assert result.iterations < N / 2


def test_the_sign_makes_no_difference(definite):
    b = np.random.default_rng(2).standard_normal(N)
    plus, minus = begin(definite, b), begin(-definite, -b)
    for process, monitor in (plus, minus):
        for _ in range(10):
            process.advance(monitor)
    assert plus[0].solution().tobytes() == minus[0].solution().tobytes()


def test_the_scale_of_the_unknowns_makes_no_difference(definite):
    """Up to rounding: D^(−½)AD^(−½) is the same."""
    A, x = poisson2d(10).A.toarray(), np.ones(N)
    d = np.sqrt(np.diag(definite) / np.diag(A))
    plain, scaled = begin(A, A @ x), begin(definite, d * (A @ x))
    for process, monitor in (plain, scaled):
        for _ in range(8):
            process.advance(monitor)
    np.testing.assert_allclose(scaled[0].solution() * d, plain[0].solution(), rtol=1e-9)


def test_the_estimate_is_the_residual_of_the_caller(definite):
    b = definite @ np.random.default_rng(3).standard_normal(N)
    process, monitor = begin(definite, b)
    assert process.residual_estimate == pytest.approx(np.linalg.norm(b), rel=1e-12)
    for _ in range(10):
        process.advance(monitor)
        norm = np.linalg.norm(b - definite @ process.solution())
        assert process.residual_estimate == pytest.approx(norm, rel=1e-6)


def test_it_starts_from_x0(definite):
    x = np.random.default_rng(3).standard_normal(N)
    process, _ = begin(definite, definite @ x, x)
    np.testing.assert_allclose(process.solution(), x, rtol=1e-15)
    assert process.residual_estimate <= 1e-13 * np.linalg.norm(definite @ x)


def test_indefinite_matrices_are_left(definite):
    A = poisson2d(10).A.toarray() - 1.0 * np.eye(N)  # the diagonal stays positive, some eigenvalues do not
    assert np.linalg.eigvalsh(A)[0] < 0.0
    assert (np.diag(A) > 0.0).all()
    b = A @ np.random.default_rng(3).standard_normal(N)
    process, monitor = begin(A, b)
    status = None
    while status is None:
        status = process.advance(monitor)
    assert status is Status.STAGNATED
    assert process.indefinite
    assert np.isfinite(process.solution()).all()
    result = solver_service.solve(A, b, method="ssor_cg")
    assert result.status is Status.STAGNATED
    auto = solver_service.solve(A, b)
    assert auto.converged


def test_rounding_is_not_taken_for_indefiniteness(definite):
    b = definite @ np.ones(N)
    process, monitor = begin(definite, b)
    status = None
    while status is None:
        status = process.advance(monitor)
        process.check(np.linalg.norm(b - definite @ process.solution()))
    assert not process.indefinite
    assert np.linalg.norm(b - definite @ process.solution()) <= 1e-12 * np.linalg.norm(b)


def test_a_lost_residual_restarts_and_a_restart_that_does_not_help_ends_it(definite):
    b = definite @ np.ones(N)
    process, monitor = begin(definite, b)
    for _ in range(10):
        process.advance(monitor)
    process._x *= 1.5
    norm = np.linalg.norm(b - definite @ process.solution())
    process.check(norm)
    assert process.residual_estimate == pytest.approx(norm, rel=1e-10)
    assert process.advance(monitor) is None
    process.check(2.0 * norm)
    assert process.advance(monitor) is Status.STAGNATED


@pytest.mark.parametrize("norm", [math.inf, math.nan])
def test_a_norm_that_is_no_number_does_not_restart(definite, norm):
    process, monitor = begin(definite, definite @ np.ones(N))
    process.advance(monitor)
    process.check(norm)
    assert process.advance(monitor) is None


def test_one_unknown():
    for value in (2.0, -4.0, 1e-200, 1e200):
        result = solver_service.solve([[value]], [3.0 * value], method="ssor_cg")
        assert result.converged
        assert result.x[0] == pytest.approx(3.0, rel=1e-15)
        assert result.iterations == 1


@pytest.mark.parametrize("limit", [0.5, 1.0, 5.5])
def test_the_limit_is_kept(definite, limit):
    process, monitor = begin(definite, definite @ np.ones(N), max_epochs=limit)
    status = None
    while status is None:
        status = process.advance(monitor)
    assert status is Status.MAX_EPOCHS
    assert monitor.work.epochs == monitor.work.iterations == int(limit)
    assert monitor.work.row_updates == N * int(limit)


@pytest.mark.parametrize(
    "A",
    [
        [[1.0, 2.0], [0.0, 1.0]],
        [[1.0, 2.0], [2.0, -1.0]],
        [[0.0, 1.0], [1.0, 2.0]],
        [[1.0, 0.0], [0.0, 1.0], [0.0, 0.0]],
    ],
    ids=["not symmetric", "both signs", "a zero", "not square"],
)
def test_what_it_cannot_take_is_refused(A):
    with pytest.raises(MethodNotApplicableError, match="ssor_cg"):
        solver_service.solve(A, np.ones(len(A)), method="ssor_cg")
