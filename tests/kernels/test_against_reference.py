"""Each compiled kernel against plain NumPy, fed the same index sequence and compared step by step."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import sparse

from solver_service import kernels
from solver_service.kernels import HEAVY_BALL, NESTEROV, RawCSR

M, N = 37, 23
TOLERANCE = {"rtol": 1e-12, "atol": 1e-13}


def unit_rows(m: int, n: int, seed: int) -> np.ndarray:
    A = sparse.random_array((m, n), density=0.25, rng=np.random.default_rng(seed)).toarray()
    A[np.arange(m), np.arange(m) % n] += 1.0  # no empty row
    return A / np.linalg.norm(A, axis=1, keepdims=True)


def spd(n: int) -> np.ndarray:
    G = unit_rows(3 * n, n, 5)
    A = G.T @ G + 0.1 * np.eye(n)
    A[np.abs(A) < 0.02] = 0.0
    d = np.sqrt(np.diag(A))
    return A / np.outer(d, d)


@pytest.fixture(params=[1, 4], ids=lambda batch: f"B={batch}")
def batch(request) -> int:
    return request.param


@pytest.fixture(params=[np.int32, np.int64], ids=["32-bit", "64-bit"])
def raw(request):
    def convert(A: np.ndarray) -> RawCSR:
        S = sparse.csr_array(A)
        S.indices, S.indptr = S.indices.astype(request.param), S.indptr.astype(request.param)
        return RawCSR.of(S)

    return convert


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(7)


def batches(rng: np.random.Generator, count: int, batch: int, steps: int = 12) -> np.ndarray:
    """Batches with repeated rows, too: they must count twice."""
    return rng.integers(count, size=(steps, batch)).astype(np.uint32)


def ramp_of(ramped: bool) -> np.ndarray:
    return np.zeros(1 if ramped else 0)


class Momentum:
    """The rule of the docstrings, on dense vectors, one pair of vectors for each name."""

    def __init__(self, kind: int, beta: float, ramped: bool) -> None:
        self.kind, self.beta, self.ramped, self.t = kind, beta, ramped, 0.0

    def damped(self) -> float:
        if not self.ramped:
            return self.beta
        self.t += 1.0
        return min(self.beta, (self.t - 1.0) / (self.t + 2.0))

    def update(self, beta: float, scale: float, x, y, g):
        if self.kind == NESTEROV:
            new = y - scale * g
            return new, new + beta * (new - x), g @ (new - x)
        new = y - scale * g + beta * (y - x)
        return y, new, g @ (new - y)

    def restarts(self, turn: float) -> bool:
        if self.ramped and turn > 0:
            self.t = 0.0
            return True
        return False

    def forget(self, x, y):
        return (x, x.copy()) if self.kind == NESTEROV else (y.copy(), y)


MOMENTA = [(kind, ramped) for kind in (HEAVY_BALL, NESTEROV) for ramped in (False, True)]


def test_kaczmarz_steps(rng, raw, batch):
    A = unit_rows(M, N, 1)
    b, norms, x = rng.standard_normal(M), rng.random(M) + 0.5, rng.standard_normal(N)
    reference = x.copy()
    for S in batches(rng, M, batch):
        c = A[S] @ reference - b[S]
        total = kernels.kaczmarz_steps(*raw(A), b, norms, S, batch, 0.7, x, np.empty(batch))
        reference = reference - 0.7 / batch * (c @ A[S])
        np.testing.assert_allclose(x, reference, **TOLERANCE)
        np.testing.assert_allclose(total, np.sum((norms[S] * c) ** 2), rtol=1e-12)


@pytest.mark.parametrize(("kind", "ramped"), MOMENTA)
def test_kaczmarz_momentum_steps(rng, raw, batch, kind, ramped):
    A = unit_rows(M, N, 2)
    b, norms, x = rng.standard_normal(M), rng.random(M) + 0.5, rng.standard_normal(N)
    y, g, ramp = x.copy(), np.zeros(N), ramp_of(ramped)
    rule, rx, ry = Momentum(kind, 0.8, ramped), x.copy(), x.copy()
    restarts = 0
    for S in batches(rng, M, batch, steps=60):
        c = A[S] @ ry - b[S]
        total = kernels.kaczmarz_momentum_steps(*raw(A), b, norms, S, batch, 1.1, 0.8, kind, x, y, g, ramp)
        rx, ry, turn = rule.update(rule.damped(), 1.1 / batch, rx, ry, c @ A[S])
        if rule.restarts(turn):
            restarts += 1
            rx, ry = rule.forget(rx, ry)
        np.testing.assert_allclose(x, rx, **TOLERANCE)
        np.testing.assert_allclose(y, ry, **TOLERANCE)
        np.testing.assert_allclose(total, np.sum((norms[S] * c) ** 2), rtol=1e-11)
    assert bool(restarts) == ramped, "the case must exercise restarts where there are any"


def test_kaczmarz_gradient_in_segments(rng, raw):
    A = unit_rows(M, N, 3)
    b, y = rng.standard_normal(M), rng.standard_normal(N)
    S, g = batches(rng, M, 20, steps=1)[0], np.zeros(N)
    for part in (S[:7], S[7:]):
        kernels.kaczmarz_gradient(*raw(A), b, np.ones(M), part, y, g)
    np.testing.assert_allclose(g, (A[S] @ y - b[S]) @ A[S], **TOLERANCE)


def test_least_squares_steps(rng, raw, batch):
    columns = unit_rows(N, M, 4)  # row j is the column âⱼ
    z, b = rng.standard_normal(N), rng.standard_normal(M)
    q = b - z @ columns
    rz, rq = z.copy(), q.copy()
    for S in batches(rng, N, batch):
        kernels.least_squares_steps(*raw(columns), S, batch, 0.6, z, q, np.empty(batch))
        c = columns[S] @ rq
        np.add.at(rz, S, 0.6 / batch * c)
        rq = rq - 0.6 / batch * (c @ columns[S])
        np.testing.assert_allclose(z, rz, **TOLERANCE)
        np.testing.assert_allclose(q, rq, **TOLERANCE)
        np.testing.assert_allclose(q, b - z @ columns, **TOLERANCE)


@pytest.mark.parametrize(("kind", "ramped"), MOMENTA)
def test_least_squares_momentum_steps(rng, raw, batch, kind, ramped):
    columns = unit_rows(N, M, 6)
    z, b = rng.standard_normal(N), rng.standard_normal(M)
    q = b - z @ columns
    zy, gz, qy, gq, ramp = z.copy(), np.zeros(N), q.copy(), np.zeros(M), ramp_of(ramped)
    rule = Momentum(kind, 0.7, ramped)
    rz, rzy, rq, rqy = z.copy(), z.copy(), q.copy(), q.copy()
    for S in batches(rng, N, batch, steps=40):
        kernels.least_squares_momentum_steps(
            *raw(columns), S, batch, 1.2, 0.7, kind, z, zy, gz, q, qy, gq, ramp
        )
        c, beta = columns[S] @ rqy, rule.damped()
        g = np.zeros(N)
        np.add.at(g, S, -c)
        rz, rzy, _ = rule.update(beta, 1.2 / batch, rz, rzy, g)
        rq, rqy, turn = rule.update(beta, 1.2 / batch, rq, rqy, c @ columns[S])
        if rule.restarts(turn):
            rz, rzy = rule.forget(rz, rzy)
            rq, rqy = rule.forget(rq, rqy)
        np.testing.assert_allclose(zy, rzy, **TOLERANCE)
        np.testing.assert_allclose(qy, rqy, **TOLERANCE)
        np.testing.assert_allclose(q, b - z @ columns, **TOLERANCE)


def test_spd_steps(rng, raw, batch):
    A = spd(N)
    c, norms, z = rng.standard_normal(N), rng.random(N) + 0.5, rng.standard_normal(N)
    reference = z.copy()
    for S in batches(rng, N, batch):
        r = A[S] @ reference - c[S]
        total = kernels.spd_steps(*raw(A), c, norms, S, batch, 0.9, z, np.empty(batch))
        np.add.at(reference, S, -0.9 / batch * r)
        np.testing.assert_allclose(z, reference, **TOLERANCE)
        np.testing.assert_allclose(total, np.sum((norms[S] * r) ** 2), rtol=1e-12)


@pytest.mark.parametrize(("kind", "ramped"), MOMENTA)
def test_spd_momentum_steps(rng, raw, batch, kind, ramped):
    A = spd(N)
    c, norms, x = rng.standard_normal(N), rng.random(N) + 0.5, rng.standard_normal(N)
    y, g, ramp = x.copy(), np.zeros(N), ramp_of(ramped)
    rule, rx, ry = Momentum(kind, 0.8, ramped), x.copy(), x.copy()
    for S in batches(rng, N, batch, steps=40):
        kernels.spd_momentum_steps(*raw(A), c, norms, S, batch, 1.1, 0.8, kind, x, y, g, ramp)
        gradient = np.zeros(N)
        np.add.at(gradient, S, A[S] @ ry - c[S])
        rx, ry, turn = rule.update(rule.damped(), 1.1 / batch, rx, ry, gradient)
        if rule.restarts(turn):
            rx, ry = rule.forget(rx, ry)
        np.testing.assert_allclose(x, rx, **TOLERANCE)
        np.testing.assert_allclose(y, ry, **TOLERANCE)


def test_many_batches_in_one_call_equal_one_call_each(rng, raw):
    A = unit_rows(M, N, 8)
    b, norms, order = rng.standard_normal(M), np.ones(M), batches(rng, M, 5, steps=9)
    states = [(np.zeros(N), np.zeros(N), np.zeros(N), np.zeros(1)) for _ in range(2)]
    kernels.kaczmarz_momentum_steps(*raw(A), b, norms, order.ravel(), 5, 1.0, 0.9, NESTEROV, *states[0])
    for S in order:
        kernels.kaczmarz_momentum_steps(*raw(A), b, norms, S, 5, 1.0, 0.9, NESTEROV, *states[1])
    for together, apart in zip(*states, strict=True):
        assert together.tobytes() == apart.tobytes()


def test_residual_of_a_range_of_rows(rng, raw):
    A = unit_rows(M, N, 9)
    b, x, r = rng.standard_normal(M), rng.standard_normal(N), np.zeros(M)
    kernels.residual(*raw(A), b, x, 0, 10, r)
    assert not r[10:].any()
    kernels.residual(*raw(A), b, x, 10, M, r)
    np.testing.assert_allclose(r, b - A @ x, **TOLERANCE)


def test_compensated_residual_survives_cancellation(raw):
    # 1 + 1e17 − 1e17 is 0 in float64 from left to right; compensation keeps the 1.
    A, b, r = np.array([[1e17, -1e17, 1.0]]), np.array([2.0]), np.zeros(1)
    kernels.compensated_residual(*raw(A), b, np.ones(3), r)
    assert r[0] == 1.0
    plain = np.zeros(1)
    kernels.residual(*raw(A), np.array([1.0]), np.ones(3), 0, 1, plain)
    assert plain[0] != 0.0, "the case must be one where plain summation fails"


def test_empty_rows(raw):
    A, b, r = np.zeros((3, 2)), np.array([1.0, 2.0, 3.0]), np.full(3, 9.0)
    A[1, 1] = 2.0
    kernels.residual(*raw(A), b, np.ones(2), 0, 3, r)
    np.testing.assert_array_equal(r, [1.0, 0.0, 3.0])
