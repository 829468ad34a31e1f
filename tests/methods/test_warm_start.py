"""Starts from earlier solutions: what is kept of them, and what comes of projecting b on their images."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import sparse

from solver_service import InvalidInputError, prepare
from solver_service.methods import Solutions
from solver_service.problems.gallery import PROBLEMS
from solver_service.problems.matrix import Matrix
from solver_service.storage import read_snapshot, write_snapshot

RNG = np.random.default_rng(3)


def matrix():
    return Matrix.from_any(sparse.csr_array(RNG.standard_normal((40, 25))))


def kept(A, xs):
    found = Solutions.none(A.shape)
    for x in xs:
        found = found.with_solution(A, x)
    return found


def test_a_right_side_in_the_span_is_hit():
    A = matrix()
    xs = RNG.standard_normal((3, 25)) * [[1e-3], [1.0], [1e5]]
    x = 2.0 * xs[0] - 3e-3 * xs[1] + 1e-6 * xs[2]
    start = kept(A, xs).start(A, A.csr @ x)
    assert np.allclose(start.x0, x, rtol=1e-10, atol=1e-13)
    assert start.relative_residuals[0] < 1e-12


def test_it_is_the_projection():
    A = matrix()
    xs = RNG.standard_normal((4, 25))
    b = A.csr @ (xs.sum(axis=0) + 0.2 * RNG.standard_normal(25))
    start = kept(A, xs).start(A, b)
    images = A.csr @ xs.T
    c, *_ = np.linalg.lstsq(images, b)
    assert np.allclose(start.x0, xs.T @ c, rtol=1e-10)
    residual = np.linalg.norm(b - images @ c) / np.linalg.norm(b)
    assert start.relative_residuals == pytest.approx((residual,))


def test_what_gains_little_is_left():
    A = matrix()
    found = kept(A, RNG.standard_normal((2, 25)))
    b = A.csr @ RNG.standard_normal(25)
    images = np.column_stack([found.images, b / np.linalg.norm(b)])
    assert np.linalg.svd(images)[1][-1] > 0.2
    assert found.start(A, b) is None
    assert Solutions.none(A.shape).start(A, b) is None
    assert found.start(A, np.zeros(40)) is None


def test_many_right_sides_are_judged_one_by_one():
    A = matrix()
    xs = RNG.standard_normal((2, 25))
    found = kept(A, xs)
    B = np.stack([A.csr @ xs[1], A.csr @ RNG.standard_normal(25), np.zeros(40)], axis=1)
    start = found.start(A, B)
    assert start.x0.shape == (25, 3)
    assert np.allclose(start.x0[:, 0], xs[1])
    assert not start.x0[:, 1:].any()
    assert start.relative_residuals[0] < 1e-12
    assert start.relative_residuals[1:] == (1.0, 1.0)
    assert start.x0[:, 0].tobytes() == found.start(A, B[:, 0]).x0.tobytes(), "the same bits as alone"
    assert kept(A, [xs.T]).start(A, B[:, 0]) is not None


def test_the_newest_are_kept():
    A = matrix()
    xs = RNG.standard_normal((11, 25))
    found = kept(A, xs)
    assert found.images.shape == (40, 8)
    assert found.version == 11
    assert found.start(A, A.csr @ xs[10]).relative_residuals[0] < 1e-12
    assert found.start(A, A.csr @ xs[3]).relative_residuals[0] < 1e-12
    assert found.start(A, A.csr @ xs[2]) is None


def test_what_adds_nothing_changes_nothing():
    A = matrix()
    xs = RNG.standard_normal((2, 25))
    found = kept(A, xs)
    for x in [xs[0], -1e9 * xs[1], xs[0] + xs[1], np.zeros(25), xs.T]:
        assert found.with_solution(A, x) is found


def test_neighbours_are_told_apart_and_what_is_too_near_is_not_kept():
    A = matrix()
    x, y = RNG.standard_normal((2, 25))
    found = kept(A, [x, x + 1e-3 * y])
    assert found.version == 2
    assert found.start(A, A.csr @ y).relative_residuals[0] < 1e-11, "their difference is worth having"
    assert kept(A, [x, x + 1e-6 * y]).version == 1


def test_whatever_comes_it_stays_finite():
    tiny, huge = sparse.csr_array(1e-300 * np.eye(3)), sparse.csr_array(1e300 * np.eye(3))
    for A in (Matrix.from_any(tiny), Matrix.from_any(huge)):
        found = Solutions.none((3, 3))
        for x in ([1e300, 0, 0], [0, 1e-300, 0], [1.0, 2.0, 3.0], [np.nan, 0, 0], [np.inf, 0, 0]):
            found = found.with_solution(A, np.array(x))
        assert np.isfinite(found.images).all()
        assert np.isfinite(found.solutions).all()
        for b in ([1e300, 1e300, 0], [1e-300, 0, 0], [1.0, 2.0, 3.0], [5e-324, 0, 0]):
            start = found.start(A, np.array(b))
            assert start is None or np.isfinite(start.x0).all()
    singular = Matrix.from_any(sparse.csr_array(np.ones((3, 3))))
    assert Solutions.none((3, 3)).with_solution(singular, np.array([1.0, -1.0, 0.0])).version == 0


def test_it_survives_being_stored(tmp_path):
    A = matrix()
    found = kept(A, RNG.standard_normal((3, 25)))
    write_snapshot(tmp_path / "file", found.pack())
    read = Solutions.unpack(read_snapshot(tmp_path / "file"), A.shape)
    b = A.csr @ RNG.standard_normal(25) + 99.0 * found.images[:, 0]
    assert read.version == 3
    assert found.start(A, b) is not None
    assert read.start(A, b).x0.tobytes() == found.start(A, b).x0.tobytes()
    with pytest.raises(InvalidInputError, match="no solutions"):
        Solutions.unpack(found.pack(), (25, 40))


@pytest.mark.parametrize(
    "changed",
    [
        {"version": -1},
        {"version": True},
        {"version": "1"},
        {"images": [[1.0]]},
        {"images": np.ones((2, 40), dtype=complex)},
        {"images": np.ones(40)},
        {"images": np.ones((3, 40))},
        {"images": np.full((2, 40), np.nan)},
        {"solutions": np.ones((2, 24))},
        {"solutions": np.full((2, 25), np.inf)},
        {"images": np.ones((9, 40)), "solutions": np.ones((9, 25))},
    ],
    ids=str,
)
def test_what_is_none_of_it_is_refused(changed):
    A = matrix()
    packed = kept(A, RNG.standard_normal((2, 25))).pack()
    Solutions.unpack(packed, A.shape)
    with pytest.raises(InvalidInputError, match="no solutions"):
        Solutions.unpack(packed | changed, A.shape)


def test_a_series_of_neighbours_takes_less_work():
    problem = PROBLEMS["poisson2d"]()
    prepared = prepare(problem.A)
    found = Solutions.none(prepared.matrix.shape)
    cold = warm = 0
    for step in range(6):
        b = problem.b * np.cos(0.1 * step * np.linspace(0.0, 1.0, problem.b.size))
        start = found.start(prepared.matrix, b)
        result = prepared.solve(b, method="ssor_cg", rtol=1e-8, x0=None if start is None else start.x0)
        assert result.converged
        if step > 1:
            warm += result.iterations
            cold += prepared.solve(b, method="ssor_cg", rtol=1e-8).iterations
        found = found.with_solution(prepared.matrix, result.x)
    assert warm < 0.7 * cold
