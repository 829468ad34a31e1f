"""The preflight report, against dense algebra."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

import solver_service
from solver_service.methods import report as module
from solver_service.problems.gallery import PROBLEMS
from solver_service.problems.properties import describe

# Not so small that the squares of NumPy's own norms vanish.
LARGE = st.floats(-1e6, 1e6).map(lambda v: v if abs(v) > 1e-100 else 0.0)
ENTRY = st.one_of(st.just(0.0), st.integers(-3, 3).map(float), LARGE)


@st.composite
def matrices(draw):
    m, n = draw(st.integers(1, 7)), draw(st.integers(1, 7))
    row = st.lists(ENTRY, min_size=n, max_size=n)
    dense = np.array(draw(st.lists(row, min_size=m, max_size=m)))
    if draw(st.booleans()) and m == n:
        dense = np.tril(dense) + np.tril(dense, -1).T
    return dense


def check_range(found, values):
    positive = values[values > 0]
    if positive.size:
        assert found.smallest == pytest.approx(positive.min(), rel=1e-12)
        assert found.largest == pytest.approx(positive.max(), rel=1e-12)
        assert found.spread == pytest.approx(positive.max() / positive.min(), rel=1e-12)
    else:
        assert (found.smallest, found.largest, found.spread) == (0.0, 0.0, 1.0)


@settings(max_examples=300, deadline=None)
@given(matrices())
def test_against_dense_algebra(dense):
    report = solver_service.prepare(dense).report
    m, n = dense.shape
    pattern = (dense != 0).astype(float)
    assert (report.shape, report.nnz) == ((m, n), np.count_nonzero(dense))
    assert report.zero_rows.first == tuple(np.flatnonzero(~dense.any(axis=1)))
    assert report.zero_columns.first == tuple(np.flatnonzero(~dense.any(axis=0)))
    assert (report.zero_rows.count, report.zero_columns.count) == (
        len(report.zero_rows.first),
        len(report.zero_columns.first),
    )
    check_range(report.row_norms, np.linalg.norm(dense, axis=1))
    check_range(report.column_norms, np.linalg.norm(dense, axis=0))
    check_range(report.entries, np.abs(dense).ravel())
    assert report.symmetric == (m == n and np.array_equal(dense, dense.T))
    assert report.positive_diagonal == (m == n and bool(np.all(np.diag(dense) > 0)))
    for row, first, multiple in report.duplicate_rows.pairs:
        assert first < row
        np.testing.assert_allclose(dense[row], multiple * dense[first], rtol=1e-14)
    work = report.estimated_work
    assert work.one_pass == report.nnz
    # Multiplications of non-zeros in AᵀA and AAᵀ, counted one by one.
    assert work.gram_columns == np.einsum("ij,ik->", pattern, pattern)
    assert work.gram_rows == np.einsum("ij,kj->", pattern, pattern)
    assert (work.sparse_lu is None) == (m != n)
    assert report.components.count == describe(solver_service.prepare(dense).matrix).components
    assert sum(entries for _, _, entries in report.components.largest) == report.nnz


@pytest.mark.parametrize("name", list(PROBLEMS))
def test_memory_is_what_preparing_takes(name):
    prepared = solver_service.prepare(PROBLEMS[name]().A)
    memory = prepared.report.estimated_memory_bytes
    state = solver_service.prepare(prepared.matrix).state
    assert memory.matrix == state.nbytes
    _ = state.shuffled_rows.chunk(0)
    assert state.nbytes - memory.matrix == memory.row_methods
    state = solver_service.prepare(prepared.matrix).state
    _ = state.AT, state.shuffled_columns.chunk(0)
    assert state.nbytes - memory.matrix == memory.column_methods


def test_components_come_largest_first():
    blocks = sparse.block_diag([np.ones((1, 2)), np.ones((3, 3)), np.ones((2, 1))])
    padded = sparse.block_diag([sparse.csr_array((1, 1)), blocks])
    found = solver_service.prepare(padded).report.components
    assert found.count == 3
    assert found.largest == ((3, 3, 9), (1, 2, 2), (2, 1, 2))


def test_lists_are_bounded_and_counts_are_not():
    k = 500
    eye = sparse.eye_array(k, format="csr")
    A = sparse.vstack([eye, -2 * eye, sparse.csr_array((k, k))])
    A = sparse.hstack([A, sparse.csr_array((3 * k, k))])
    report = solver_service.prepare(A).report
    assert (report.zero_rows.count, report.zero_rows.first) == (k, tuple(range(2 * k, 2 * k + 10)))
    assert (report.zero_columns.count, report.zero_columns.first) == (k, tuple(range(k, k + 10)))
    assert (report.duplicate_rows.count, report.duplicate_rows.groups) == (k, k)
    assert report.duplicate_rows.pairs == tuple((k + i, i, -2.0) for i in range(10))
    assert (report.components.count, len(report.components.largest)) == (k, 10)


def test_a_clean_matrix_is_not_warned_of():
    assert solver_service.prepare(PROBLEMS["poisson2d"]().A).report.warnings == ()


@pytest.mark.parametrize(
    ("dense", "sentence"),
    [
        ([[1.0, 2.0], [0.0, 0.0]], "1 row is empty: it is consistent only where b is 0"),
        ([[1.0], [0.0], [0.0]], "2 rows are empty: they are consistent only where b is 0"),
        ([[1.0, 0.0, 2.0]], "1 unknown is in no equation"),
        ([[1.0, 0.0, 0.0]], "2 unknowns are in no equation"),
        ([[1.0, 2.0], [1.0, 1.0], [2.0, 4.0]], "(row 2 of row 0)"),
        ([[1.0, 0.0], [0.0, 1.0]], "A is 2 independent systems, the largest 1 × 1: they"),
        ([[1e9, 1e9], [1.0, 2.0]], "row norms spread over 6e+08"),
        ([[1e9, 1.0], [1e9, 2.0]], "column norms spread over 6e+08"),
        ([[0.0]], "A has no entries"),
    ],
)
def test_warnings_are_plain_sentences(dense, sentence):
    (warning,) = solver_service.prepare(np.array(dense)).report.warnings
    assert sentence in warning


@pytest.mark.parametrize("scale", [1e-300, 1e300])
def test_extreme_scales(scale):
    report = solver_service.prepare(scale * np.array([[3.0, 4.0], [0.0, 1.0]])).report
    assert report.row_norms.smallest == pytest.approx(scale)
    assert report.row_norms.largest == pytest.approx(5 * scale)
    assert report.column_norms.largest == pytest.approx(np.sqrt(17) * scale)
    both = solver_service.prepare([[1e300, 0.0], [0.0, 3e-300], [0.0, 4e-300]]).report
    assert (both.row_norms.smallest, both.row_norms.largest) == (3e-300, 1e300)
    assert both.column_norms.smallest == pytest.approx(5e-300)


def test_it_is_built_once_and_frozen(monkeypatch):
    prepared = solver_service.prepare(np.ones((3, 2)))
    first = prepared.report
    assert isinstance(first, solver_service.Report)
    monkeypatch.setattr(module, "build_report", None)
    assert prepared.report is first
    with pytest.raises(dataclasses.FrozenInstanceError):
        first.nnz = 0


def test_a_matrix_too_large_to_be_searched_for_components(monkeypatch):
    monkeypatch.setattr(module.components, "_LONGEST", 3)
    report = solver_service.prepare(np.eye(3)).report
    assert (report.components.count, report.components.largest) == (None, ())
    assert report.warnings == ()
