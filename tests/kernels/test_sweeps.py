"""Whole sweeps and their acceleration against dense algebra: each is a matrix that can be written down."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest
from scipy import sparse
from scipy.linalg import solve_triangular

from solver_service import kernels
from solver_service.kernels import RawCSR

M, N = 31, 19
STEPS = 10
TOLERANCE = {"rtol": 1e-11, "atol": 1e-12}


@pytest.fixture(params=[np.int32, np.int64], ids=["32-bit", "64-bit"])
def raw(request):
    """The arrays of a dense matrix, read-only, with indices of each size."""

    def convert(A: np.ndarray) -> RawCSR:
        S = sparse.csr_array(A)
        S.indices, S.indptr = S.indices.astype(request.param), S.indptr.astype(request.param)
        arrays = RawCSR.of(S)
        for array in arrays:
            array.flags.writeable = False
        return arrays

    return convert


@pytest.fixture(params=[0.6, 1.0, 1.5], ids=lambda omega: f"ω={omega}")
def omega(request) -> float:
    return request.param


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(11)


@pytest.fixture
def A() -> np.ndarray:
    """Rows and columns of many scales; row 4, the last row, column 3 and the last column are zero."""
    rng = np.random.default_rng(2)
    A = sparse.random_array((M, N), density=0.3, rng=rng, data_sampler=rng.standard_normal).toarray()
    A[np.arange(M), np.arange(M) % N] += 1.0
    A *= np.exp(rng.normal(size=M))[:, None] * np.exp(rng.normal(size=N))
    A[[4, M - 1]] = 0.0
    A[:, [3, N - 1]] = 0.0
    return A


def weights(A: np.ndarray) -> np.ndarray:
    """1/‖aᵢ‖, 0 for a row of zeros."""
    norms = np.linalg.norm(A, axis=1)
    return np.divide(1.0, norms, out=np.zeros_like(norms), where=norms > 0.0)


def preconditioned(unit: np.ndarray, omega: float) -> tuple[np.ndarray, np.ndarray]:
    """C = I + ω·tril(ÂÂᵀ, −1), and B = C⁻¹Â."""
    C = np.eye(len(unit)) + omega * np.tril(unit @ unit.T, -1)
    return C, solve_triangular(C, unit, lower=True)


def spd(n: int) -> np.ndarray:
    """Symmetric positive definite with unit diagonal, and sparse."""
    rng = np.random.default_rng(5)
    G = sparse.random_array((3 * n, n), density=0.12, rng=rng, data_sampler=rng.standard_normal).toarray()
    G[np.arange(n), np.arange(n)] += 1.0
    A = G.T @ G + 0.2 * np.eye(n)
    d = np.sqrt(np.diag(A))
    return A / np.outer(d, d)


class Cgls:
    """CGLS on a dense operator, as in the textbook; `A` gives the true residual of what x stands for."""

    def __init__(self, operator: np.ndarray, rhs: np.ndarray) -> None:
        self.operator, self.r = operator, rhs.copy()
        self.z = np.zeros(operator.shape[1])
        self.s = operator.T @ rhs
        self.p = self.s.copy()

    def step(self) -> None:
        gamma = self.s @ self.s
        q = self.operator @ self.p
        alpha = gamma / (q @ q)
        self.z = self.z + alpha * self.p
        self.r = self.r - alpha * q
        self.s = self.operator.T @ self.r
        self.p = self.s + (self.s @ self.s) / gamma * self.p


class TestRows:
    def test_a_forward_sweep_gives_the_preconditioned_residual(self, raw, A, rng, omega):
        w, x, b = weights(A), rng.standard_normal(N), rng.standard_normal(M)
        C, _ = preconditioned(w[:, None] * A, omega)
        h, u = x.copy(), np.full(M, 9.0)
        squares = kernels.forward_rows(*raw(A), w, omega, b, h, u, 0, M)
        expected = np.linalg.solve(C, w * (b - A @ x))
        np.testing.assert_allclose(u, expected, **TOLERANCE)
        assert squares == pytest.approx(expected @ expected, rel=1e-12)
        np.testing.assert_allclose(h, x + omega * (w * u) @ A, **TOLERANCE)

    def test_a_forward_sweep_is_a_sweep_of_kaczmarz(self, raw, A, rng, omega):
        w, x, b = weights(A), rng.standard_normal(N), rng.standard_normal(M)
        h = x.copy()
        kernels.forward_rows(*raw(A), w, omega, b, h, np.empty(M), 0, M)
        for i in np.flatnonzero(w):
            x = x + omega * (b[i] - A[i] @ x) / (A[i] @ A[i]) * A[i]
        np.testing.assert_allclose(h, x, **TOLERANCE)

    def test_apply_is_the_product_with_the_preconditioned_matrix(self, raw, A, rng, omega):
        w, p = weights(A), rng.standard_normal(N)
        _, B = preconditioned(w[:, None] * A, omega)
        u = np.full(M, 9.0)
        squares = kernels.apply_rows(*raw(A), w, omega, p.copy(), u, 0, M)
        np.testing.assert_allclose(u, B @ p, **TOLERANCE)
        assert squares == pytest.approx(u @ u, rel=1e-12)

    def test_its_transpose_after_a_step_of_the_residual(self, raw, A, rng, omega):
        w, q, r = weights(A), rng.standard_normal(M), rng.standard_normal(M)
        _, B = preconditioned(w[:, None] * A, omega)
        moved, s = r.copy(), np.zeros(N)
        squares = kernels.apply_rows_transposed(*raw(A), w, omega, 0.7, q, moved, s, 0, M)
        np.testing.assert_allclose(moved, r - 0.7 * q, **TOLERANCE)
        np.testing.assert_allclose(s, B.T @ moved, **TOLERANCE)
        assert squares == pytest.approx(moved @ moved, rel=1e-12)

    def test_the_two_are_adjoint(self, raw, A, rng, omega):
        w, p, r = weights(A), rng.standard_normal(N), rng.standard_normal(M)
        Bp, s = np.empty(M), np.zeros(N)
        kernels.apply_rows(*raw(A), w, omega, p.copy(), Bp, 0, M)
        kernels.apply_rows_transposed(*raw(A), w, omega, 0.0, Bp, r, s, 0, M)
        assert Bp @ r == pytest.approx(p @ s, rel=1e-12)

    def test_a_forward_and_a_backward_sweep_are_the_symmetric_sweep_of_kaczmarz(self, raw, A, rng, omega):
        # x − Q x is ω(2 − ω)·BᵀB x (Björck & Elfving 1979), Q the double sweep with b = 0.
        w, x = weights(A), rng.standard_normal(N)
        swept = x.copy()
        filled = np.flatnonzero(w)
        for i in [*filled, *filled[::-1]]:
            swept = swept - omega * (A[i] @ swept) / (A[i] @ A[i]) * A[i]
        u, s = np.empty(M), np.zeros(N)
        kernels.apply_rows(*raw(A), w, omega, x.copy(), u, 0, M)
        kernels.apply_rows_transposed(*raw(A), w, omega, 0.0, u, u.copy(), s, 0, M)
        np.testing.assert_allclose(omega * (2.0 - omega) * s, x - swept, **TOLERANCE)

    @pytest.mark.parametrize("cuts", [[0, M], [0, 1, 4, 5, 17, M], list(range(M + 1))])
    def test_ranges_add_up_to_the_whole_bit_for_bit(self, raw, A, rng, cuts):
        B, w, x, b = raw(A), weights(A), rng.standard_normal(N), rng.standard_normal(M)
        ranges = list(pairwise(cuts))
        for whole, forward in (
            (lambda h, u, *part: kernels.forward_rows(*B, w, 1.2, b, h, u, *part), True),
            (lambda h, u, *part: kernels.apply_rows(*B, w, 1.2, h, u, *part), True),
            (lambda h, u, *part: kernels.apply_rows_transposed(*B, w, 1.2, 0.3, b, u, h, *part), False),
        ):
            once, parts = (x.copy(), b.copy()), (x.copy(), b.copy())
            total = whole(*once, 0, M)
            sums = [whole(*parts, *part) for part in (ranges if forward else reversed(ranges))]
            assert sum(sums) == pytest.approx(total, rel=1e-13)
            for one, other in zip(once, parts, strict=True):
                assert one.tobytes() == other.tobytes()

    def test_rows_outside_the_range_are_not_touched(self, raw, A, rng):
        w, b = weights(A), rng.standard_normal(M)
        h, u = rng.standard_normal(N), np.full(M, 9.0)
        kernels.forward_rows(*raw(A), w, 1.0, b, h, u, 5, 11)
        assert (u[:5] == 9.0).all()
        assert (u[11:] == 9.0).all()
        assert (u[5:11] != 9.0).all()

    def test_empty_ranges_do_nothing(self, raw, A, rng):
        w, s, r = weights(A), rng.standard_normal(N), rng.standard_normal(M)
        before = s.copy(), r.copy()
        for place in (0, 7, M):
            assert kernels.forward_rows(*raw(A), w, 1.0, r, s, r, place, place) == 0.0
            assert kernels.apply_rows_transposed(*raw(A), w, 1.0, 1.0, r, r, s, place, place) == 0.0
        np.testing.assert_array_equal(s, before[0])
        np.testing.assert_array_equal(r, before[1])

    def test_rows_of_weight_zero_are_left_out(self, raw, A, rng):
        """Whatever their entries and right-hand side are."""
        w, b = weights(A), rng.standard_normal(M)
        full = A.copy()
        full[4] = 3.0
        outcomes = []
        for matrix in (A, full):
            h, u, s, r = np.ones(N), np.empty(M), np.zeros(N), b.copy()
            kernels.forward_rows(*raw(matrix), w, 1.0, b, h, u, 0, M)
            kernels.apply_rows_transposed(*raw(matrix), w, 1.0, 0.0, u, r, s, 0, M)
            assert u[4] == 0.0
            outcomes.append((h, u, s))
        for one, other in zip(*outcomes, strict=True):
            np.testing.assert_array_equal(one, other)


class TestColumns:
    """The same with C = I + ω·triu(ÂᵀÂ, 1); the arrays are those of Aᵀ."""

    def operator(self, A: np.ndarray, omega: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """w, C and ÂC⁻¹."""
        w = weights(A.T)
        unit = A * w
        C = np.eye(N) + omega * np.triu(unit.T @ unit, 1)
        return w, C, np.linalg.solve(C.T, unit.T).T

    def test_a_backward_sweep(self, raw, A, rng, omega):
        w, C, B = self.operator(A, omega)
        s, p = rng.standard_normal(N), rng.standard_normal(N)
        direction, t, q = p.copy(), np.full(N, 9.0), np.zeros(M)
        kernels.backward_columns(*raw(A.T), w, omega, 0.4, s, direction, t, q, 0, N)
        np.testing.assert_allclose(direction, s + 0.4 * p, **TOLERANCE)
        np.testing.assert_allclose(t, w * np.linalg.solve(C, direction), **TOLERANCE)
        np.testing.assert_allclose(q, B @ direction, **TOLERANCE)
        np.testing.assert_allclose(q, A @ t, **TOLERANCE)

    def test_a_forward_sweep(self, raw, A, rng, omega):
        w, _, B = self.operator(A, omega)
        r = rng.standard_normal(M)
        h, s = r.copy(), np.full(N, 9.0)
        squares = kernels.forward_columns(*raw(A.T), w, omega, h, s, 0, N)
        np.testing.assert_allclose(s, B.T @ r, **TOLERANCE)
        assert squares == pytest.approx(s @ s, rel=1e-12)
        np.testing.assert_allclose(h, r - omega * A @ (w * s), **TOLERANCE)

    def test_a_forward_sweep_is_a_sweep_of_coordinate_descent(self, raw, A, rng, omega):
        w, _, _ = self.operator(A, omega)
        r = rng.standard_normal(M)
        h = r.copy()
        kernels.forward_columns(*raw(A.T), w, omega, h, np.empty(N), 0, N)
        for j in np.flatnonzero(w):
            r = r - omega * (A[:, j] @ r) / (A[:, j] @ A[:, j]) * A[:, j]
        np.testing.assert_allclose(h, r, **TOLERANCE)

    def test_the_two_are_adjoint(self, raw, A, rng, omega):
        w = weights(A.T)
        p, r = rng.standard_normal(N), rng.standard_normal(M)
        q, s = np.zeros(M), np.empty(N)
        kernels.backward_columns(*raw(A.T), w, omega, 0.0, p, np.zeros(N), np.empty(N), q, 0, N)
        kernels.forward_columns(*raw(A.T), w, omega, r.copy(), s, 0, N)
        assert q @ r == pytest.approx(p @ s, rel=1e-12)

    @pytest.mark.parametrize("cuts", [[0, 1, 3, 4, 11, N], list(range(N + 1))])
    def test_ranges_add_up_to_the_whole_bit_for_bit(self, raw, A, rng, cuts):
        B, w, s, r = raw(A.T), weights(A.T), rng.standard_normal(N), rng.standard_normal(M)
        ranges = list(pairwise(cuts))
        backward = [(np.ones(N), np.empty(N), np.zeros(M)) for _ in range(2)]
        kernels.backward_columns(*B, w, 1.2, 0.4, s, *backward[0], 0, N)
        for part in reversed(ranges):
            kernels.backward_columns(*B, w, 1.2, 0.4, s, *backward[1], *part)
        forward = [(r.copy(), np.empty(N)) for _ in range(2)]
        total = kernels.forward_columns(*B, w, 1.2, *forward[0], 0, N)
        sums = [kernels.forward_columns(*B, w, 1.2, *forward[1], *part) for part in ranges]
        assert sum(sums) == pytest.approx(total, rel=1e-13)
        for once, parts in (backward, forward):
            for one, other in zip(once, parts, strict=True):
                assert one.tobytes() == other.tobytes()

    def test_zero_columns_get_nothing(self, raw, A, rng):
        w = weights(A.T)
        t, q, s = np.empty(N), np.zeros(M), np.empty(N)
        kernels.backward_columns(*raw(A.T), w, 1.0, 0.0, rng.standard_normal(N), np.zeros(N), t, q, 0, N)
        kernels.forward_columns(*raw(A.T), w, 1.0, rng.standard_normal(M), s, 0, N)
        assert (t[[3, N - 1]] == 0.0).all()
        assert (s[[3, N - 1]] == 0.0).all()
        assert np.isfinite(t).all()


class TestSymmetric:
    """Eisenstat's trick against the dense E⁻¹ÂE⁻ᵀ, E = I/ω + L."""

    def parts(self, raw, omega: float):
        A = spd(N)
        B = raw(A)
        row = np.repeat(np.arange(N), np.diff(B.indptr.astype(np.int64)))
        middle = np.flatnonzero(B.indices == row).astype(B.indptr.dtype)
        return A, (*B, middle), np.eye(N) / omega + np.tril(A, -1)

    def test_substitution(self, raw, rng, omega):
        _, arrays, E = self.parts(raw, omega)
        b, z = rng.standard_normal(N), np.empty(N)
        kernels.forward_substitution(*arrays, omega, b, z)
        np.testing.assert_allclose(z, np.linalg.solve(E, b), **TOLERANCE)

    def test_substitution_in_place(self, raw, rng, omega):
        _, arrays, E = self.parts(raw, omega)
        b = rng.standard_normal(N)
        z = b.copy()
        kernels.forward_substitution(*arrays, omega, z, z)
        np.testing.assert_allclose(z, np.linalg.solve(E, b), **TOLERANCE)

    def test_the_residual_in_the_scale_of_the_caller(self, raw, rng, omega):
        _, arrays, E = self.parts(raw, omega)
        norms, z = rng.random(N) + 0.1, rng.standard_normal(N)
        squares = kernels.lower_product(*arrays, omega, norms, z)
        assert squares == pytest.approx(np.sum((norms * (E @ z)) ** 2), rel=1e-12)

    def test_cg_step_by_step(self, raw, rng, omega):
        A, arrays, E = self.parts(raw, omega)
        operator = np.linalg.solve(E, np.linalg.solve(E, A).T)
        b = rng.standard_normal(N)
        r = np.linalg.solve(E, b)
        x, p, t, z = np.zeros(N), r.copy(), np.empty(N), np.empty(N)
        scalars = np.array([r @ r, 1.0])
        y, rr, pp = np.zeros(N), r.copy(), r.copy()
        for _ in range(STEPS):
            assert kernels.advance_symmetric(*arrays, omega, x, r, p, t, z, scalars, 1, 0.0) == 1
            gamma, delta = rr @ rr, pp @ operator @ pp
            y = y + gamma / delta * pp
            rr = rr - gamma / delta * (operator @ pp)
            pp = rr + (rr @ rr) / gamma * pp
            np.testing.assert_allclose(scalars, [rr @ rr, delta], rtol=1e-8)
            np.testing.assert_allclose(x, np.linalg.solve(E.T, y), rtol=1e-9, atol=1e-10)
            np.testing.assert_allclose(r, rr, rtol=1e-8, atol=1e-10)
            np.testing.assert_allclose(r, np.linalg.solve(E, b - A @ x), rtol=1e-8, atol=1e-10)
        assert scalars[0] < 0.01 * (b @ b), "the case must be one where CG gets somewhere"

    def test_indefinite_matrices_are_noticed_and_leave_x_as_it_is(self, raw, rng):
        A = np.eye(N)
        A[0, 1] = A[1, 0] = 2.0  # eigenvalues 3 and −1
        B = raw(A)
        row = np.repeat(np.arange(N), np.diff(B.indptr.astype(np.int64)))
        middle = np.flatnonzero(B.indices == row).astype(B.indptr.dtype)
        E = np.eye(N) + np.tril(A, -1)
        operator = np.linalg.solve(E, np.linalg.solve(E, A).T)
        values, vectors = np.linalg.eigh(operator)
        assert values[0] < 0.0
        p = vectors[:, 0].copy()
        r, x, t, z = p.copy(), np.full(N, 5.0), np.empty(N), np.empty(N)
        scalars = np.array([r @ r, 1.0])
        assert kernels.advance_symmetric(*B, middle, 1.0, x, r, p, t, z, scalars, 5, 0.0) == 0
        assert scalars[1] == pytest.approx(values[0], rel=1e-12)
        np.testing.assert_array_equal(x, 5.0)
        assert r.tobytes() == p.tobytes()


class Rows:
    """`advance_rows` with its state, and what it must equal."""

    size = N

    def __init__(self, raw: Callable[[np.ndarray], RawCSR], A: np.ndarray, b: np.ndarray, omega: float):
        w = weights(A)
        self.A, self.b = A, b
        C, self.operator = preconditioned(w[:, None] * A, omega)
        self.rhs = np.linalg.solve(C, w * b)
        self.x, self.r, self.s = np.zeros(N), np.empty(M), np.zeros(N)
        self.q, self.h = np.empty(M), np.zeros(N)
        squares = kernels.forward_rows(*raw(A), w, omega, b, self.h, self.r, 0, M)
        kernels.apply_rows_transposed(*raw(A), w, omega, 0.0, self.r, self.r, self.s, 0, M)
        self.p = self.s.copy()
        self.scalars = np.array([self.s @ self.s, squares, 0.0])
        self.arrays = (*raw(A), w, omega)

    def advance(self, steps: int, goal: float = 0.0) -> int:
        vectors = (self.x, self.r, self.s, self.p, self.q, self.h)
        return kernels.advance_rows(*self.arrays, *vectors, self.scalars, steps, goal)

    def x_of(self, z: np.ndarray) -> np.ndarray:
        return z


class Columns:
    """`advance_columns` likewise."""

    def __init__(self, raw: Callable[[np.ndarray], RawCSR], A: np.ndarray, b: np.ndarray, omega: float):
        w = weights(A.T)
        self.A, self.b = A, b
        unit = A * w
        C = np.eye(N) + omega * np.triu(unit.T @ unit, 1)
        self.operator = np.linalg.solve(C.T, unit.T).T
        self._back = w[:, None] * np.linalg.inv(C)
        self.rhs = b
        self.x, self.r, self.s, self.p = np.zeros(N), b.copy(), np.empty(N), np.zeros(N)
        self.t, self.q, self.h = np.empty(N), np.empty(M), b.copy()
        gamma = kernels.forward_columns(*raw(A.T), w, omega, self.h, self.s, 0, N)
        self.scalars = np.array([gamma, b @ b, 0.0])
        self.arrays = (*raw(A.T), w, omega)

    def advance(self, steps: int, goal: float = 0.0) -> int:
        vectors = (self.x, self.r, self.s, self.p, self.t, self.q, self.h)
        return kernels.advance_columns(*self.arrays, *vectors, self.scalars, steps, goal)

    def x_of(self, z: np.ndarray) -> np.ndarray:
        return self._back @ z


@pytest.mark.parametrize("form", [Rows, Columns])
class TestConjugateGradients:
    def test_step_by_step(self, raw, A, rng, omega, form):
        b = rng.standard_normal(M)
        run = form(raw, A, b, omega)
        reference = Cgls(run.operator, run.rhs)
        for _ in range(STEPS):
            assert run.advance(1) == 1
            reference.step()
            scale = np.linalg.norm(reference.s)
            np.testing.assert_allclose(run.x, run.x_of(reference.z), rtol=1e-7, atol=1e-9)
            np.testing.assert_allclose(run.r, reference.r, rtol=1e-8, atol=1e-10)
            np.testing.assert_allclose(run.s, reference.s, rtol=1e-6, atol=1e-7 * scale)
            squares = [reference.s @ reference.s, reference.r @ reference.r]
            np.testing.assert_allclose(run.scalars[:2], squares, rtol=1e-6)

    def test_many_steps_in_one_call_equal_one_call_each(self, raw, A, rng, form):
        b = rng.standard_normal(M)
        together, apart = form(raw, A, b, 1.0), form(raw, A, b, 1.0)
        assert together.advance(STEPS) == STEPS
        for _ in range(STEPS):
            assert apart.advance(1) == 1
        for name in ("x", "r", "s", "scalars"):
            assert getattr(together, name).tobytes() == getattr(apart, name).tobytes()

    def test_it_ends_at_the_goal_and_not_before(self, raw, A, rng, form):
        b = A @ rng.standard_normal(N)
        squares = []
        run = form(raw, A, b, 1.0)
        for _ in range(STEPS):
            run.advance(1)
            squares.append(run.scalars[1])
        assert squares == sorted(squares, reverse=True)
        for place in (0, 3, 8):
            again = form(raw, A, b, 1.0)
            assert again.advance(STEPS, squares[place]) == place + 1
            assert again.advance(STEPS, squares[place]) == 0, "there is nothing more to do"
        assert form(raw, A, b, 1.0).advance(0) == 0

    def test_it_comes_to_rest_on_consistent_systems(self, raw, A, rng, form):
        # Long after the end: the recurrence must neither divide by zero nor leave the solution again.
        b = A @ rng.standard_normal(N)
        run = form(raw, A, b, 1.0)
        run.advance(400)
        assert np.isfinite(run.x).all()
        assert np.isfinite(run.scalars).all()
        assert np.linalg.norm(b - A @ run.x) < 1e-8 * np.linalg.norm(b)

    def test_no_right_hand_side_takes_no_step(self, raw, A, form):
        run = form(raw, A, np.zeros(M), 1.0)
        assert run.advance(5) == 0
        assert not run.x.any()

    def test_what_no_row_or_column_can_reach_takes_no_step(self, raw, A, form):
        b = np.zeros(M)
        b[4] = 1.0  # row 4 is zero: the gradient vanishes although the residual does not
        run = form(raw, A, b, 1.0)
        assert run.advance(5) == 0
        assert np.isfinite(run.scalars).all()
        assert not run.x.any()

    def test_a_direction_that_vanished_ends_it(self, raw, A, rng, form):
        run = form(raw, A, rng.standard_normal(M), 1.0)
        run.p[:] = 0.0
        if form is Columns:
            run.s[:] = 0.0
        assert run.scalars[0] > 0.0
        assert run.advance(5) == 0
        assert run.scalars[0] == 0.0
        assert not run.x.any()

    def test_one_unknown_takes_one_step(self, raw, form):
        A = np.zeros((M, N))
        A[:, 5] = np.arange(1.0, M + 1)
        run = form(raw, A, 3.0 * A[:, 5], 1.0)
        run.advance(1)
        np.testing.assert_allclose(run.x, 3.0 * np.eye(N)[5], rtol=1e-13)
        run.advance(20)
        np.testing.assert_allclose(run.x, 3.0 * np.eye(N)[5], rtol=1e-13)


def test_relaxation_matters(raw, A, rng):
    """Or the tests above would not tell one ω from another."""
    b = A @ rng.standard_normal(N)
    runs = [Rows(raw, A, b, omega) for omega in (0.6, 1.5)]
    for run in runs:
        run.advance(3)
    assert not np.allclose(runs[0].x, runs[1].x, rtol=1e-3)
