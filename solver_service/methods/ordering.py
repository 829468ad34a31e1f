"""The order in which to eliminate columns: minimum degree, given up where LU would take forever."""

from __future__ import annotations

import math
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csc_array, csr_array

from ..kernels import minimum_degree

IndexArray: TypeAlias = NDArray[np.uint32]

_HOPELESS = 3e12  # flops; minutes for SuperLU
_PATIENCE = 30_000_000  # entries of lists to go through; about a second
_PASSES = 8  # as often as this through all of them at least; grids take half
_DENSE_ROW = 10.0


def dense_from(n: int) -> float:
    """Rows with more entries are nearly dense: the rule of AMD and COLAMD (Davis et al. 2004)."""
    return max(16.0, _DENSE_ROW * math.sqrt(n))


def symmetric_order(both: csc_array) -> IndexArray:
    """Order a graph given by the symmetric pattern of A + Aᵀ; nearly dense nodes come last.

    Where factors are hopeless, or the search takes very long, the end of the order is arbitrary.
    """
    counts = np.diff(both.indptr)
    dense = counts > dense_from(counts.size)
    return _order(
        counts.size,
        start=both.indptr[:-1],
        length=np.where(dense, 0, counts),
        cliques=np.zeros_like(counts),
        lists=both.indices,
        weight=~dense,
        alive=~dense,
        degree=counts,
    )


def column_order(columns: csc_array, rows: csr_array) -> IndexArray:
    """Order the columns of A by the graph of AᵀA, in which rows are cliques; nearly dense rows are left out.

    No column may be empty. The end of the order may be arbitrary, as that of `symmetric_order`.
    """
    m, n = rows.shape
    cliques, members = np.diff(columns.indptr), np.diff(rows.indptr)
    members = np.where(members > dense_from(n), 0, members)
    neighbours = np.add.reduceat(np.maximum(members[columns.indices] - 1, 0), columns.indptr[:-1])
    return _order(
        n,
        start=np.concatenate([columns.indptr[:-1], columns.nnz + rows.indptr[:-1]]),
        length=np.concatenate([cliques, members]),
        cliques=np.concatenate([cliques, np.zeros_like(members)]),
        lists=np.concatenate([n + columns.indices, rows.indices]),
        weight=np.arange(n + m) < n,
        alive=np.concatenate([np.ones(n, dtype=bool), members > 0]),
        degree=np.concatenate([neighbours, members]),
    )


def _order(
    n: int,
    *,
    start: NDArray[Any],
    length: NDArray[Any],
    cliques: NDArray[Any],
    lists: NDArray[Any],
    weight: NDArray[Any],
    alive: NDArray[Any],
    degree: NDArray[Any],
) -> IndexArray:
    nodes = weight.size
    room = np.empty(lists.size + lists.size // 4 + nodes, dtype=np.uint32)
    room[: lists.size] = lists
    owner, step, head, bucket = np.empty((4, nodes + 1), dtype=np.uint32)
    minimum_degree(
        start.astype(np.uint32),
        length.astype(np.uint32),
        cliques.astype(np.uint32),
        room,
        np.int64(lists.size),
        weight.astype(np.int64),
        alive.astype(np.int64),
        degree.astype(np.int64),
        _HOPELESS,
        max(_PATIENCE, _PASSES * lists.size),
        owner,
        step,
        head,
        bucket,
        np.empty((4, nodes), dtype=np.uint32),
    )
    merged_with = np.where(owner[:nodes] < nodes, owner[:nodes], np.arange(nodes, dtype=np.uint32))
    while not np.array_equal(merged_with, further := merged_with[merged_with]):
        merged_with = further
    return np.argsort(step[merged_with[:n]], kind="stable").astype(np.uint32)
