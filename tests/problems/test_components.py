import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st

from solver_service.problems import components
from solver_service.problems.components import label, split
from solver_service.problems.matrix import Matrix


def brute_force(dense):
    """Sets of rows and columns that entries connect, by first row, found by flooding."""
    left, found = list(np.flatnonzero(dense.any(axis=1))), []
    while left:
        rows, columns = {left[0]}, set()
        while True:
            more_columns = set(np.flatnonzero(dense[sorted(rows)].any(axis=0)))
            more_rows = set(np.flatnonzero(dense[:, sorted(more_columns)].any(axis=1)))
            if (more_rows, more_columns) == (rows, columns):
                break
            rows, columns = more_rows, more_columns
        found.append((sorted(rows), sorted(columns)))
        left = [i for i in left if i not in rows]
    return found


@st.composite
def sparse_matrices(draw):
    m, n = draw(st.integers(1, 9)), draw(st.integers(1, 9))
    entries = draw(
        st.lists(st.tuples(st.integers(0, m - 1), st.integers(0, n - 1)), max_size=m + n, unique=True)
    )
    dense = np.zeros((m, n))
    for k, place in enumerate(entries):
        dense[place] = k + 1.0
    return dense


@settings(max_examples=300, deadline=None)
@given(sparse_matrices())
def test_blocks_are_those_that_flooding_finds(dense):
    blocks = split(Matrix.from_any(dense))
    assert [(b.rows.tolist(), b.columns.tolist()) for b in blocks] == brute_force(dense)
    rebuilt = np.zeros_like(dense)
    for block in blocks:
        rebuilt[np.ix_(block.rows, block.columns)] = block.matrix.csr.toarray()
        canonical = Matrix.from_any(dense[np.ix_(block.rows, block.columns)])
        assert block.matrix.id == canonical.id
        assert block.matrix.csr.indices.dtype == canonical.csr.indices.dtype
        assert block.matrix.csr.indptr.dtype == canonical.csr.indptr.dtype
        assert block.matrix.csr.has_canonical_format
    np.testing.assert_array_equal(rebuilt, dense)


def test_labels_mark_what_is_empty():
    labels = label(Matrix.from_any([[0.0, 0.0, 5.0], [0.0, 0.0, 0.0], [1.0, 0.0, 0.0]]))
    assert labels.count == 2
    assert labels.rows.tolist() == [0, -1, 1]
    assert labels.columns.tolist() == [1, -1, 0]


@pytest.mark.parametrize("dense", [np.ones((3, 2)), np.diag([1.0, 2.0, 3.0])])
def test_nothing_mutable_is_shared(dense):
    matrix = Matrix.from_any(sp.csr_array(dense))
    blocks = split(matrix)
    arrays = [matrix.csr.data, matrix.csr.indices, matrix.csr.indptr]
    for rows, columns, part in blocks:
        arrays += [rows, columns, part.csr.data, part.csr.indices, part.csr.indptr]
    for k, array in enumerate(arrays):
        assert not any(np.shares_memory(array, other) for other in arrays[:k])
        if k > 2:
            array[:] = 0
    np.testing.assert_array_equal(matrix.csr.toarray(), dense)


def test_a_block_does_not_keep_the_memory_of_the_others():
    first, _ = split(Matrix.from_any(sp.block_diag([np.ones((9, 9))] * 2)))
    for array in (*first[:2], first.matrix.csr.data, first.matrix.csr.indices, first.matrix.csr.indptr):
        assert array.base is None or array.base.size <= array.size


def test_no_entries_no_blocks():
    assert split(Matrix.from_any((3, 4))) == []


def test_what_is_too_large_to_be_searched_is_one_block(monkeypatch):
    dense = np.zeros((4, 4))
    dense[1, 0] = dense[2, 3] = 1.0
    matrix = Matrix.from_any(dense)
    assert len(split(matrix)) == 2
    monkeypatch.setattr(components, "_LONGEST", 8)
    assert label(matrix) is None
    (block,) = split(matrix)
    assert (block.rows.tolist(), block.columns.tolist()) == ([1, 2], [0, 3])
    np.testing.assert_array_equal(block.matrix.csr.toarray(), np.eye(2))
