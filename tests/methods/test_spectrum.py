"""Estimates of the spectrum against dense eigenvalues."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import sparse

from solver_service.methods import sigma_max
from solver_service.methods.shuffled import ShuffledRows
from solver_service.methods.spectrum import COARSE, FINE, row_spectrum, singular_values, symmetric_spectrum
from solver_service.methods.systems import UnitDiagonal
from solver_service.problems.gallery import comparisons
from solver_service.problems.matrix import Matrix


def random(m: int, n: int, density: float = 0.1, seed: int = 0) -> sparse.csr_array:
    return sparse.csr_array(sparse.random_array((m, n), density=density, rng=np.random.default_rng(seed)))


def test_singular_values_of_small_matrices_are_exact_and_leave_zeros_out():
    rng = np.random.default_rng(1)
    A = rng.standard_normal((30, 4)) @ rng.standard_normal((4, 9))
    values, settled = singular_values(sparse.csr_array(A), 12)
    assert settled
    dense = np.linalg.svd(A, compute_uv=False)[:4]
    assert values[0] == pytest.approx(dense[0], rel=1e-10)
    assert values[-1] == pytest.approx(dense[-1], rel=1e-6)


@pytest.mark.parametrize("by_columns", [False, True])
def test_rounding_does_not_bring_zeros_back(by_columns):
    # A·1 = 0. Some steps after both ends of the spectrum have settled the null space shows up in v, or in u.
    A = comparisons(2_000, 60).A
    unit = ShuffledRows(sparse.csr_array(A.T) if by_columns else A, whole=True).chunk(0).csr
    squares = np.linalg.svd(unit.toarray(), compute_uv=False) ** 2 / unit.shape[0]
    spectrum = row_spectrum(unit, FINE)
    assert spectrum.lambda_max == pytest.approx(squares[0], rel=1e-2)
    assert spectrum.mu == pytest.approx(squares[squares > 1e-12][-1], rel=1e-2)


@pytest.mark.parametrize("shape", [(500, 80), (80, 500), (200, 200)])
def test_estimates_lie_inside_the_spectrum_and_near_its_top(shape):
    rows = ShuffledRows(random(*shape), whole=True).chunk(0)
    w = np.linalg.eigvalsh(
        (rows.csr @ rows.csr.T if shape[0] < shape[1] else rows.csr.T @ rows.csr).toarray()
    )
    w /= rows.csr.shape[0]
    for steps in (COARSE, FINE):
        spectrum = row_spectrum(rows.csr, steps)
        assert 0.9 * w[-1] <= spectrum.lambda_max <= w[-1] * (1 + 1e-12)
        assert spectrum.mu >= w[w > 1e-12].min() * (1 - 1e-6)
        assert spectrum.safe_lambda >= w[-1]


def test_a_sample_of_a_tall_matrix_does_not_underestimate():
    A = random(40_000, 50)
    rows = ShuffledRows(A, whole=True).chunk(0)
    w = np.linalg.eigvalsh((rows.csr.T @ rows.csr).toarray()) / rows.csr.shape[0]
    for system in (ShuffledRows(A), ShuffledRows(A, whole=True)):
        assert system.spectrum.sampled
        assert w[-1] * 0.97 <= system.spectrum.safe_lambda <= 1.3 * w[-1]


def test_symmetric_spectrum_shows_indefiniteness():
    G = random(300, 100)
    positive = UnitDiagonal.of(sparse.csr_array(G.T @ G + sparse.eye_array(100)))
    w = np.linalg.eigvalsh(positive.csr.toarray()) / 100
    assert 0.95 * w[-1] <= positive.spectrum.lambda_max <= w[-1] * (1 + 1e-12)
    assert positive.fine_spectrum.mu >= w[0] * (1 - 1e-9)
    indefinite = sparse.csr_array(np.array([[1.0, 2.0], [2.0, 1.0]]))
    assert symmetric_spectrum(indefinite, COARSE).mu < 0


@pytest.mark.parametrize("scale", [1e-200, 1.0, 1e200])
def test_sigma_max(scale):
    A = random(300, 120, seed=4) * scale
    expected = np.linalg.svd(A.toarray() / scale, compute_uv=False)[0] * scale
    assert sigma_max(Matrix.from_any(A)) == pytest.approx(expected, rel=1e-3)


def test_sigma_max_of_nothing():
    assert sigma_max(Matrix.from_any(sparse.csr_array((4, 3)))) == 0.0
