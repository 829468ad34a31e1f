"""Copies of selected rows, scaled to unit norm."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import sparse

from solver_service.kernels import RawCSR, gather_unit_rows, pattern_of

M, N = 30, 12


@pytest.fixture(params=[np.int32, np.int64], ids=["32-bit", "64-bit"])
def matrix(request) -> sparse.csr_array:
    rng = np.random.default_rng(6)
    A = sparse.random_array((M, N), density=0.3, rng=rng, data_sampler=rng.standard_normal).toarray()
    A[[2, 11]] = 0.0
    A[3] *= 1e100
    S = sparse.csr_array(A)
    S.indices, S.indptr = S.indices.astype(request.param), S.indptr.astype(request.param)
    return S


def gather(S: sparse.csr_array, rows: np.ndarray, places: np.ndarray) -> tuple[sparse.csr_array, np.ndarray]:
    """Row places[k] of the copy is row rows[k]."""
    source = RawCSR.of(S)
    lengths = np.zeros(rows.size + 1, dtype=S.indptr.dtype)
    lengths[places + 1] = np.diff(S.indptr)[rows]
    indptr = np.cumsum(lengths, dtype=S.indptr.dtype)
    size = int(indptr[-1])
    # Filled with what would be noticed if it stayed.
    indices = np.full(size, N - 1, dtype=S.indices.dtype)
    copy = sparse.csr_array((np.full(size, np.nan), indices, indptr), shape=(rows.size, N))
    norms = np.full(rows.size, np.nan)
    kind = source.indptr.dtype
    gather_unit_rows(*source, rows.astype(kind), places.astype(kind), *pattern_of(copy), copy.data, norms)
    return copy, norms


@pytest.mark.parametrize("count", [0, 1, 9, M])
def test_rows_are_copied_to_their_places_and_scaled(matrix, count):
    rng = np.random.default_rng(count)
    rows, places = rng.permutation(M)[:count], rng.permutation(count)
    before = matrix.data.copy()
    copy, norms = gather(matrix, rows, places)
    dense = matrix.toarray()
    for row, place in zip(rows, places, strict=True):
        norm = np.linalg.norm(dense[row])
        assert norms[place] == pytest.approx(norm, rel=1e-14, abs=0.0)
        np.testing.assert_allclose(copy.toarray()[place], dense[row] / (norm or 1.0), rtol=1e-14)
    np.testing.assert_array_equal(matrix.data, before)


def test_rows_may_be_taken_twice(matrix):
    copy, norms = gather(matrix, np.array([5, 5, 1]), np.array([2, 0, 1]))
    assert copy.toarray()[0].tobytes() == copy.toarray()[2].tobytes()
    assert norms[0] == norms[2]


def test_stored_zeros_stay_and_have_norm_zero(matrix):
    data = matrix.data.copy()
    first, last = matrix.indptr[4:6]
    assert last > first
    data[first:last] = 0.0
    S = sparse.csr_array((data, matrix.indices, matrix.indptr), shape=matrix.shape)
    copy, norms = gather(S, np.array([4, 0]), np.array([0, 1]))
    assert norms[0] == 0.0
    assert copy.indptr[1] == last - first
    np.testing.assert_array_equal(copy.toarray()[0], 0.0)
