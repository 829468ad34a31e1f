"""Independent systems inside one: connected components of the bipartite graph of rows and columns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array, csr_array
from scipy.sparse.csgraph import connected_components

from .matrix import Matrix

_LONGEST = 2**31
"""SciPy's graph routines number nodes and edges with 32 bits."""


@dataclass(frozen=True, eq=False, slots=True)
class Labels:
    """Which component each row, (m,), and each column, (n,), belongs to; −1 where it has no entry.

    Components are numbered by their first rows.
    """

    count: int
    rows: NDArray[np.intp]
    columns: NDArray[np.intp]


class Block(NamedTuple):
    """A[rows][:, columns] for ascending `rows` and `columns`, which no other block has, with its entries."""

    rows: NDArray[np.intp]
    columns: NDArray[np.intp]
    matrix: Matrix


def label(matrix: Matrix) -> Labels | None:
    """Number the components that have an entry; None if the matrix is too large to be searched."""
    A = matrix.csr
    m, n = matrix.shape
    if max(m + n, matrix.nnz) >= _LONGEST:
        return None
    rows = np.repeat(np.arange(m), np.diff(A.indptr))
    ones = np.ones(matrix.nnz, dtype=np.int8)
    graph = coo_array((ones, (rows, A.indices.astype(np.int64) + m)), shape=(m + n, m + n))
    total, found = connected_components(graph, directed=False)
    # Renumbered: rows and columns without entries are components to SciPy, and its order is not documented.
    filled = np.flatnonzero(np.diff(A.indptr))
    first = np.full(total, m)
    first[found[filled[::-1]]] = filled[::-1]  # the last one assigned stays
    order = np.argsort(first, kind="stable")
    count = int(np.count_nonzero(first < m))
    number = np.full(total, -1, dtype=np.intp)
    number[order[:count]] = np.arange(count)
    return Labels(count, number[found[:m]], number[found[m:]])


def split(matrix: Matrix, labels: Labels | None = None) -> list[Block]:
    """Split A into its components with at least one entry, in the order of their first rows. Cost: O(nnz).

    `labels` are those that `label` finds, where they are known.
    Rows and columns without entries are in no block. A matrix too large to be searched comes back as one.
    The arrays are new: neither shared between blocks nor with the matrix.
    """
    A = matrix.csr
    n = matrix.shape[1]
    labels = labels or label(matrix)
    if labels is None:
        used = np.bincount(A.indices, minlength=n) > 0
        labels = Labels(1, np.where(np.diff(A.indptr) > 0, 0, -1), np.where(used, 0, -1))
    rows, row_starts = _by_label(labels.rows, labels.count)
    columns, column_starts = _by_label(labels.columns, labels.count)
    place = np.zeros(n, dtype=A.indices.dtype)
    place[columns] = np.arange(columns.size) - np.repeat(column_starts[:-1], np.diff(column_starts))
    B = A[rows]
    indices = place[B.indices]  # still ascending in each row, as columns keep their order inside a block
    blocks = []
    for k in range(labels.count):
        first, last = row_starts[k], row_starts[k + 1]
        left, right = column_starts[k], column_starts[k + 1]
        indptr = B.indptr[first : last + 1] - B.indptr[first]
        entries = slice(B.indptr[first], B.indptr[last])
        parts = (B.data[entries].copy(), indices[entries].copy(), indptr)
        csr = csr_array(parts, shape=(int(last - first), int(right - left)))
        blocks.append(Block(rows[first:last].copy(), columns[left:right].copy(), Matrix.trusted(csr)))
    return blocks


def _by_label(labels: NDArray[np.intp], count: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return the members label by label, ascending in each, and where each label starts, (count + 1,)."""
    order = np.argsort(labels, kind="stable")
    members = order[np.count_nonzero(labels < 0) :]
    starts = np.zeros(count + 1, dtype=np.intp)
    np.cumsum(np.bincount(labels[members], minlength=count), out=starts[1:])
    return members, starts
