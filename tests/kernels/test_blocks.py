"""Kernels for several right-hand sides at once: each column gets the bits of the kernel for one."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from numba.core.errors import TypingError
from scipy import sparse

from solver_service import kernels
from solver_service.kernels import HEAVY_BALL, NESTEROV, RawCSR

M, N = 61, 29
WIDTHS = [2, 3, 4, 5, 8, 12, 16, 28]
MOMENTA = [(kind, ramped) for kind in (HEAVY_BALL, NESTEROV) for ramped in (False, True)]


def ragged(m: int, n: int, seed: int) -> np.ndarray:
    """Rows of 0, 1, 2, 3, … entries, in no order."""
    rng = np.random.default_rng(seed)
    A = np.zeros((m, n))
    for i in range(m):
        length = min(rng.integers(9) if i % 7 else i, n)
        A[i, rng.choice(n, length, replace=False)] = rng.standard_normal(length)
    return A


def spd(n: int) -> np.ndarray:
    G = ragged(3 * n, n, 5)
    A = G.T @ G + 0.1 * np.eye(n)
    A[np.abs(A) < 0.3] = 0.0
    np.fill_diagonal(A, np.abs(A).sum(axis=1) + 0.1)
    d = np.sqrt(np.diag(A))
    return A / np.outer(d, d)


@pytest.fixture(params=[np.int32, np.int64], ids=["32-bit", "64-bit"])
def index(request) -> type:
    return request.param


def raw(A: np.ndarray, index: type = np.int32, writeable: bool = True) -> RawCSR:
    S = sparse.csr_array(A)
    S.indices, S.indptr = S.indices.astype(index), S.indptr.astype(index)
    arrays = RawCSR.of(S)
    for array in arrays:
        array.flags.writeable = writeable
    return arrays


def weights(A: np.ndarray) -> np.ndarray:
    """Of unit rows, with rows left out that are not empty."""
    norms = np.linalg.norm(A, axis=1)
    w = np.divide(1.0, norms, out=np.zeros(norms.size), where=norms > 0)
    w[[4, 11]] = 0.0
    return w


class Each(np.ndarray):
    """A scalar for each column."""


class Ramps(np.ndarray):
    """An array of one number for each column, or an empty one for all."""


def each(values: np.ndarray) -> np.ndarray:
    return np.array(values, dtype=float).view(Each)


def ramps(values: np.ndarray) -> np.ndarray:
    return np.array(values, dtype=float).view(Ramps)


def column(argument: Any, j: int) -> Any:
    """What the kernel for one vector is given for an argument of that for blocks."""
    if isinstance(argument, Each):
        return float(argument[j])
    if isinstance(argument, Ramps):
        return np.array(argument[j : j + 1])
    if getattr(argument, "ndim", 0) == 2:
        return argument[:, j].copy()
    return argument


def same(a: Any, b: Any) -> bool:
    """Bit for bit, but one NaN is as good as another."""
    a, b = np.asarray(a), np.asarray(b)
    return np.array_equal(a, b, equal_nan=True) and np.array_equal(*(np.signbit(v[a == a]) for v in (a, b)))


def agree(block: Callable[..., None], single: Callable[..., Any], *arguments: Any, sums: bool = True) -> list:
    """Compare all that changes, and sums with what is returned; gives the arguments after the block."""
    own = [getattr(a, "ndim", 0) == 2 or isinstance(a, Each | Ramps) for a in arguments]
    together = [np.array(a) if mine else a for a, mine in zip(arguments, own, strict=True)]
    width = next(a.shape[1] for a in together if getattr(a, "ndim", 0) == 2)
    totals = np.full(width, 9.0)
    block(*together, *([totals] if sums else []))
    for j in range(width):
        alone = [column(a, j) for a in arguments]
        total = single(*alone)
        for k, (mine, all_of_them) in enumerate(zip(alone, together, strict=True)):
            if type(arguments[k]) is Ramps:
                assert same(mine, all_of_them[j : j + 1]), (block, k, j)
            elif getattr(all_of_them, "ndim", 0) == 2:
                assert same(mine, all_of_them[:, j]), (block, k, j)
        if sums:
            assert same(totals[j], total), (block, j)
    return [*together, totals]


@pytest.fixture(params=WIDTHS, ids=lambda width: f"W={width}")
def blocks(request) -> Callable[..., np.ndarray]:
    """Makes blocks; the second column is not even numbers, or too large, and must not disturb the others."""
    rng = np.random.default_rng(3)

    def make(*shape: int) -> np.ndarray:
        V = rng.standard_normal((*shape, request.param))
        if len(shape) == 1:
            V[::5, 1] = [np.nan, np.inf, -np.inf, 1e200, -0.0][request.param % 5]
        return V

    return make


class TestSweeps:
    ranges = pytest.mark.parametrize("part", [(0, M), (5, 17), (8, 8), (M - 1, M)])

    @ranges
    @pytest.mark.parametrize("omega", [0.7, 1.0])
    @pytest.mark.parametrize("writeable", [True, False])
    def test_rows(self, blocks, part, omega, writeable):
        A = ragged(M, N, 1)
        arrays, w = raw(A, writeable=writeable), weights(A)
        B, H, U, alphas = blocks(M), blocks(N), blocks(M), each(blocks())
        agree(kernels.forward_rows_block, kernels.forward_rows, *arrays, w, omega, B, H, U, *part)
        agree(kernels.apply_rows_block, kernels.apply_rows, *arrays, w, omega, H, U, *part)
        agree(
            kernels.apply_rows_transposed_block,
            kernels.apply_rows_transposed,
            *(*arrays, w, omega, alphas, U, B, H, *part),
        )

    @ranges
    @pytest.mark.parametrize("omega", [0.7, 1.0])
    def test_columns(self, blocks, part, omega):
        A = ragged(M, N, 2)
        arrays, w = raw(A), weights(A)
        S, P, T, Q, betas = blocks(M), blocks(M), blocks(M), blocks(N), each(blocks())
        backward = (*arrays, w, omega, betas, S, P, T, Q, *part)
        agree(kernels.backward_columns_block, kernels.backward_columns, *backward, sums=False)
        agree(kernels.forward_columns_block, kernels.forward_columns, *arrays, w, omega, Q, S, *part)

    def test_64_bit_indices(self, blocks):
        A = ragged(M, N, 1)
        arguments = (*raw(A, np.int64), weights(A), 1.0, blocks(N), blocks(M), 0, M)
        agree(kernels.apply_rows_block, kernels.apply_rows, *arguments)

    @pytest.mark.parametrize("omega", [0.7, 1.0, 1.4])
    def test_symmetric(self, blocks, omega):
        A = spd(N)
        arrays = raw(A)
        row = np.repeat(np.arange(N), np.diff(arrays.indptr.astype(np.int64)))
        arrays = (*arrays, np.flatnonzero(arrays.indices == row).astype(arrays.indptr.dtype), omega)
        B, Z, P, R, X = (blocks(N) for _ in range(5))
        norms = np.random.default_rng(1).random(N) + 0.1
        agree(kernels.forward_substitution_block, kernels.forward_substitution, *arrays, B, Z, sums=False)
        agree(kernels.lower_product_block, kernels.lower_product, *arrays, norms, Z)
        T, Z, deltas, totals = np.empty_like(P), np.empty_like(P), each(blocks()), each(blocks())
        squares = [kernels.squared_norm(r.copy()) for r in R.T]
        alone = [[v[:, j].copy() for v in (X, R, P, T, Z)] for j in range(R.shape[1])]
        scalars = [np.array([square, 1.0]) for square in squares]
        done = [
            kernels.advance_symmetric(*arrays, *vectors, pair, 1, 0.0)
            for vectors, pair in zip(alone, scalars, strict=True)
        ]
        kernels.symmetric_products_block(*arrays, P, T, Z, deltas)
        kernels.symmetric_update_block(squares / deltas, T, Z, X, R, totals)
        kernels.next_directions(totals / squares, R, P, P)
        assert done.count(1) >= len(done) - 1, "only the disturbed column may stop at once"
        for j in np.flatnonzero(done):
            assert scalars[j].tolist() == [totals[j], deltas[j]]
            for mine, block in zip(alone[j], (X, R, P, T, Z), strict=True):
                assert same(mine, block[:, j])


class TestProducts:
    @pytest.mark.parametrize("writeable", [True, False])
    def test_residuals(self, blocks, writeable):
        arrays = raw(ragged(M, N, 6), writeable=writeable)
        B, X, R = blocks(M), blocks(N), blocks(M)
        agree(kernels.compensated_residual_block, kernels.compensated_residual, *arrays, B, X, R, sums=False)
        agree(
            kernels.compensated_residual_block,
            kernels.compensated_residual,
            *(*arrays, np.abs(B) * 1e-17, X, R),
            sums=False,
        )

    @pytest.mark.parametrize("cuts", [(), (256,), (256, 768)])
    def test_squares_of_residuals(self, blocks, cuts):
        A = ragged(1000, N, 6)
        B, X = blocks(1000), blocks(N)
        totals, lows = np.zeros((2, X.shape[1]))
        room = np.full((kernels.BLOCK, X.shape[1]), np.nan)
        for start, stop in pairwise([0, *cuts, 1000]):
            kernels.residual_squares_block(*raw(A), B, X, start, stop, room, totals, lows)
        r = np.empty(1000)
        for j in range(X.shape[1]):
            kernels.residual(
                *raw(A), np.ascontiguousarray(B[:, j]), np.ascontiguousarray(X[:, j]), 0, 1000, r
            )
            assert same(totals[j] + lows[j], kernels.squared_norm(r)), j


class TestVectors:
    @pytest.mark.parametrize("size", [0, 1, 3, 4, 255, 256, 257, 1000])
    def test_norms_and_updates(self, blocks, size):
        V, Q, scalars = blocks(size) * 1e3, blocks(size), each(blocks())
        agree(kernels.squared_norms, kernels.squared_norm, V)
        agree(kernels.reduce_residuals, reduce_residual, scalars, Q, V, blocks(size))
        agree(kernels.add_scaled, add_multiple, scalars, Q, V, sums=False)
        agree(kernels.next_directions, next_direction, scalars, Q, V, blocks(size), sums=False)

    def test_norms_of_blocks_that_fall_and_rise(self):
        """The compensation has two branches; each column must take its own."""
        V = np.outer(10.0 ** np.linspace(-9, 9, 1500), np.ones(8))
        V[:, ::2] = V[::-1, ::2]
        V += 0.1 * np.random.default_rng(0).standard_normal(V.shape) * V
        agree(kernels.squared_norms, kernels.squared_norm, V)


@np.errstate(invalid="ignore")
def reduce_residual(alpha: float, q: np.ndarray, r: np.ndarray, h: np.ndarray) -> float:
    r -= alpha * q
    h[:] = r
    return kernels.squared_norm(r)


@np.errstate(invalid="ignore")
def add_multiple(alpha: float, p: np.ndarray, x: np.ndarray) -> None:
    x += alpha * p


@np.errstate(invalid="ignore")
def next_direction(beta: float, s: np.ndarray, p: np.ndarray, h: np.ndarray) -> None:
    p[:] = s + beta * p
    h[:] = p


@pytest.fixture(params=[1, 4, 7], ids=lambda batch: f"B={batch}")
def batch(request) -> int:
    return request.param


def sample(rows: int, batch: int, steps: int = 9) -> np.ndarray:
    """Batches with rows that are repeated, or share unknowns."""
    return np.random.default_rng(8).integers(rows, size=steps * batch).astype(np.uint32)


@pytest.fixture(params=MOMENTA, ids=["heavy ball", "heavy ball, ramped", "Nesterov", "Nesterov, ramped"])
def momentum(request) -> tuple[int, bool]:
    return request.param


def start_of(ramped: bool, blocks: Callable[..., np.ndarray]) -> np.ndarray:
    return ramps(np.abs(np.floor(5 * blocks()))) if ramped else ramps(np.zeros(0))


class TestSampled:
    def system(self, blocks, rows: int = M):
        norms = np.random.default_rng(5).random(rows) + 0.5
        return (*raw(ragged(rows, N, 4)), blocks(rows), norms)

    def test_kaczmarz(self, blocks, batch):
        system, order = self.system(blocks), sample(M, batch)
        X, C, G = blocks(N), blocks(batch), blocks(N)
        agree(kernels.kaczmarz_steps_block, kernels.kaczmarz_steps, *system, order, batch, 0.7, X, C)
        agree(kernels.kaczmarz_gradient_block, kernels.kaczmarz_gradient, *system, order, X, G)

    def test_kaczmarz_with_momentum(self, blocks, batch, momentum):
        kind, ramped = momentum
        arguments = (*self.system(blocks), sample(M, batch), batch, 0.9, 0.8, kind)
        X, Y, G = blocks(N), blocks(N), np.zeros_like(blocks(N))
        agree(
            kernels.kaczmarz_momentum_steps_block,
            kernels.kaczmarz_momentum_steps,
            *(*arguments, X, Y, G, start_of(ramped, blocks)),
        )

    def test_least_squares(self, blocks, batch):
        arrays, order = raw(ragged(M, N, 4)), sample(M, batch)
        Z, Q, C, GQ = blocks(M), blocks(N), blocks(batch), blocks(N)
        steps = (*arrays, order, batch, 0.7, Z, Q, C)
        agree(kernels.least_squares_steps_block, kernels.least_squares_steps, *steps, sums=False)
        gradient = (*arrays, order, Q, Z, GQ)
        agree(kernels.least_squares_gradient_block, kernels.least_squares_gradient, *gradient, sums=False)

    def test_least_squares_with_momentum(self, blocks, batch, momentum):
        kind, ramped = momentum
        arguments = (*raw(ragged(M, N, 4)), sample(M, batch), batch, 0.9, 0.8, kind)
        vectors = (blocks(M), blocks(M), blocks(M), blocks(N), blocks(N), blocks(N))
        start = start_of(ramped, blocks)
        agree(
            kernels.least_squares_momentum_steps_block,
            kernels.least_squares_momentum_steps,
            *(*arguments, *vectors, start),
            sums=False,
        )
        agree(
            kernels.least_squares_update_block,
            kernels.least_squares_update,
            *(kind, 0.3, 0.8, start, *vectors),
            sums=False,
        )

    def test_spd(self, blocks, batch):
        system, order = self.system(blocks, N), sample(N, batch)
        Z, C, G = blocks(N), blocks(batch), blocks(N)
        agree(kernels.spd_steps_block, kernels.spd_steps, *system, order, batch, 0.7, Z, C)
        agree(kernels.spd_gradient_block, kernels.spd_gradient, *system, order, Z, G)

    def test_spd_with_momentum(self, blocks, batch, momentum):
        kind, ramped = momentum
        arguments = (*self.system(blocks, N), sample(N, batch), batch, 0.9, 0.8, kind)
        X, Y, G = blocks(N), blocks(N), np.zeros_like(blocks(N))
        agree(
            kernels.spd_momentum_steps_block,
            kernels.spd_momentum_steps,
            *(*arguments, X, Y, G, start_of(ramped, blocks)),
        )

    @pytest.mark.parametrize("kind", [HEAVY_BALL, NESTEROV])
    def test_columns_restart_each_at_its_own_time(self, kind):
        A = ragged(M, N, 4)
        A /= np.maximum(np.linalg.norm(A, axis=1, keepdims=True), 1e-3)
        system = (*raw(A), np.random.default_rng(0).standard_normal((M, 8)), np.ones(M))
        X, ramp = np.random.default_rng(1).standard_normal((N, 8)), np.zeros(8)
        Y, G, times = X.copy(), np.zeros((N, 8)), []
        for order in sample(M, 20, steps=200).reshape(-1, 20):
            state = (X, Y, G, ramps(ramp))
            *_, X, Y, G, ramp, _ = agree(
                kernels.kaczmarz_momentum_steps_block,
                kernels.kaczmarz_momentum_steps,
                *(*system, order, 20, 3.0, 0.9, kind, *state),
            )
            times.append(ramp == 0.0)
        restarts = np.array(times)
        assert restarts.any(axis=0).all(), "the case must make every column restart"
        assert (restarts.any(axis=1) & ~restarts.all(axis=1)).sum() > 3, "and not all together"


class TestMomentumByParts:
    @pytest.mark.parametrize("kind", [HEAVY_BALL, NESTEROV])
    def test_updates_and_restarts(self, blocks, kind):
        X, Y, G, betas = blocks(N), blocks(N), blocks(N), each(blocks())
        turns = agree(kernels.momentum_update_block, kernels.momentum_update, kind, 0.3, betas, X, Y, G)[-1]
        start = ramps(np.arange(1.0, turns.size + 1.0))

        def restart_if(kind: int, turn: float, x: np.ndarray, y: np.ndarray, ramp: np.ndarray) -> None:
            if turn > 0.0:
                kernels.restart(kind, x, y, ramp)

        arguments = (kind, each(turns), X, Y, start)
        after = agree(kernels.restart_columns, restart_if, *arguments, sums=False)[-2]
        assert ((after == 0.0) == (turns > 0.0)).all()

    def test_without_ramps_nothing_restarts(self, blocks):
        X, Y, turns = blocks(N), blocks(N), np.abs(blocks())
        x, y = X.copy(), Y.copy()
        kernels.restart_columns(NESTEROV, turns, X, Y, np.zeros(0))
        np.testing.assert_array_equal(X, x)
        np.testing.assert_array_equal(Y, y)

    def test_damped_betas(self):
        start = np.array([0.0, 1.0, 2.0, 300.0])
        ramp, betas = start.copy(), np.empty(4)
        kernels.damped_betas(0.3, ramp, betas)
        assert betas.tolist() == [kernels.damped_beta(0.3, start[j : j + 1].copy()) for j in range(4)]
        assert ramp.tolist() == (start + 1.0).tolist()
        kernels.damped_betas(0.3, np.zeros(0), betas)
        assert betas.tolist() == [0.3] * 4


def test_blocks_that_are_not_row_major_are_refused():
    """Loads ignore strides: a wrong layout would read what it must not."""
    V = np.asfortranarray(np.ones((6, 4)))
    with pytest.raises(TypingError):
        kernels.squared_norms(V, np.empty(4))
    with pytest.raises(TypingError):
        kernels.squared_norms(np.ones((6, 8))[:, ::2], np.empty(4))
    with pytest.raises(TypingError):
        kernels.squared_norms(np.ones((6, 4), dtype=np.float32), np.empty(4))


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_new_blocks_begin_at_a_cache_line(size):
    held = [kernels.zero_block(size, 5) for _ in range(20)]
    for V in held:
        assert V.shape == (size, 5)
        assert V.flags.c_contiguous
        assert V.ctypes.data % 64 == 0
        assert not V.any()
        V[:] = 1.0
