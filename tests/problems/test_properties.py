import numpy as np
import pytest
import scipy.sparse as sp

from solver_service.problems.matrix import Matrix
from solver_service.problems.properties import describe


def test_against_dense_algebra():
    rng = np.random.default_rng(3)
    dense = rng.normal(size=(30, 20)) * (rng.random((30, 20)) < 0.2)
    dense[4] = dense[:, 7] = 0.0
    found = describe(Matrix.from_any(dense))
    norms = np.linalg.norm(dense, axis=1)
    assert found.frobenius_norm == pytest.approx(np.linalg.norm(dense), rel=1e-14)
    assert found.row_norm_min == pytest.approx(norms[norms > 0].min(), rel=1e-14)
    assert found.row_norm_max == pytest.approx(norms.max(), rel=1e-14)
    assert found.zero_rows == np.count_nonzero(norms == 0)
    assert found.zero_columns == np.count_nonzero(~dense.any(axis=0))
    assert found.sigma_max is None
    assert found.stable_rank is None
    assert not found.symmetric


def test_symmetric_needs_equal_values_not_only_pattern():
    A = np.array([[2.0, 1.0, 0.0], [1.0, 2.0, 3.0], [0.0, 3.0, 2.0]])
    assert describe(Matrix.from_any(A)).symmetric
    A[0, 1] = np.nextafter(1.0, 2.0)
    assert not describe(Matrix.from_any(A)).symmetric
    assert not describe(Matrix.from_any([[0.0, 1.0], [0.0, 0.0]])).symmetric
    assert not describe(Matrix.from_any(np.ones((2, 3)))).symmetric


def test_components_are_independent_systems():
    blocks = sp.block_diag([np.ones((2, 3)), np.ones((1, 1)), np.ones((4, 2))], format="csr")
    assert describe(Matrix.from_any(blocks)).components == 3
    padded = sp.block_diag([blocks, sp.csr_array((2, 3))], format="csr")
    found = describe(Matrix.from_any(padded))
    assert (found.components, found.zero_rows, found.zero_columns) == (3, 2, 3)


def test_duplicates_are_counted():
    assert describe(Matrix.from_coo((1, 2), [0, 0, 0], [1, 1, 1], [1.0, 1.0, 1.0])).duplicates_summed == 2


def test_no_entries_at_all():
    found = describe(Matrix.from_any((3, 4)))
    assert (found.frobenius_norm, found.row_norm_min, found.row_norm_max) == (0.0, 0.0, 0.0)
    assert (found.zero_rows, found.zero_columns, found.components) == (3, 4, 0)


@pytest.mark.parametrize("scale", [1e-300, 1e300, 5e-324])
def test_norms_neither_overflow_nor_vanish(scale):
    found = describe(Matrix.from_any([[3 * scale, 4 * scale], [0.0, 0.0]]))
    assert found.frobenius_norm == pytest.approx(5 * scale)
    assert found.row_norm_max == found.row_norm_min == found.frobenius_norm


def test_a_norm_beyond_float64_is_unknown():
    found = describe(Matrix.from_any(np.full((2, 2), 1.7e308)))
    assert found.frobenius_norm is None
    assert found.row_norm_max is None
