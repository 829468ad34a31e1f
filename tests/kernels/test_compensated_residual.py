"""The residual as if in twice the precision, against exact fractions."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from scipy import sparse

from solver_service.kernels import RawCSR, compensated_residual, residual

UNIT = 2.0**-53


def exact(A: np.ndarray, b: np.ndarray, x: np.ndarray) -> list[Fraction]:
    return [
        Fraction(beta) - sum(Fraction(a) * Fraction(v) for a, v in zip(row, x.tolist(), strict=True))
        for row, beta in zip(A.tolist(), b.tolist(), strict=True)
    ]


def cancelling(seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A system whose residual is some 10⁻¹⁶ of its terms: b is A x, rounded."""
    rng = np.random.default_rng(seed)
    A = rng.standard_normal((20, 30)) * 10.0 ** rng.uniform(-8, 8, size=(20, 30))
    A[rng.random(A.shape) < 0.3] = 0.0
    x = rng.standard_normal(30)
    return A, np.array([float(-value) for value in exact(A, np.zeros(20), x)]), x


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("index", [np.int32, np.int64], ids=["32-bit", "64-bit"])
def test_it_is_right_to_twice_the_precision(seed, index):
    A, b, x = cancelling(seed)
    S = sparse.csr_array(A)
    S.indices, S.indptr = S.indices.astype(index), S.indptr.astype(index)
    raw = RawCSR.of(S)
    for array in raw:
        array.flags.writeable = False
    r, plain = np.empty(20), np.empty(20)
    compensated_residual(*raw, b, x, r)
    residual(*raw, b, x, 0, 20, plain)
    true = exact(A, b, x)
    # Ogita, Rump & Oishi (2005), proposition 5.5: u·|r| + γₙ²·(|b| + |A||x|), with γₙ near n·u.
    bounds = UNIT * np.abs([float(value) for value in true]) + (31 * UNIT) ** 2 * (
        np.abs(b) + np.abs(A) @ np.abs(x)
    )
    errors = np.array([abs(float(Fraction(value) - t)) for value, t in zip(r.tolist(), true, strict=True)])
    assert (errors <= bounds).all()
    coarse = np.array(
        [abs(float(Fraction(value) - t)) for value, t in zip(plain.tolist(), true, strict=True)]
    )
    assert (coarse > bounds).any(), "the case must be one where plain arithmetic fails"


def test_the_rounding_of_a_single_product_is_seen():
    """Which takes a fused multiply-add: (1 + 2⁻³⁰)² is 1 + 2⁻²⁹ in float64, and 2⁻⁶⁰ is left."""
    a = 1.0 + 2.0**-30
    raw = RawCSR.of(sparse.csr_array(np.array([[a]])))
    r = np.empty(1)
    compensated_residual(*raw, np.array([1.0 + 2.0**-29]), np.array([a]), r)
    assert r[0] == -(2.0**-60)


def test_empty_rows_leave_b():
    raw = RawCSR.of(sparse.csr_array((3, 2)))
    r = np.empty(3)
    compensated_residual(*raw, np.array([1.0, -2.0, 0.0]), np.ones(2), r)
    np.testing.assert_array_equal(r, [1.0, -2.0, 0.0])
