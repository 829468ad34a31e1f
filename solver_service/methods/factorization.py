"""Sparse LU of square matrices: its cost, told from the pattern, and the factors (SuperLU, Li 2005).

SuperLU can neither be stopped nor asked what it is about to do. So the columns are ordered here, elimination
tree and column counts tell the size of the factors, and only then, if at all, are the numbers factorised, in
that very order.

Two strategies:

* Where the pattern is nearly symmetric and the diagonal usable, rows and columns are ordered alike by minimum
  degree on A + Aᵀ, and the diagonal is preferred as pivot. Such factors are checked on one solve, and made
  anew in the other way if they turn out to be unstable. The size is exact if all pivots are on the diagonal.
* Otherwise columns are ordered by minimum degree on AᵀA and rows by partial pivoting. The size is that for
  the worst choice of pivots; nearly dense rows are left out, as COLAMD does: with them, it is an estimate.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csc_array, csr_array
from scipy.sparse.linalg import SuperLU, splu

from ..kernels import (
    RawCSR,
    backward_error,
    column_counts,
    diagonal_census,
    elimination_tree,
    maximum_matching,
    merged_row_counts,
    pattern_of,
    postorder,
    renumbered,
    renumbered_columns,
    row_stars,
    shared_entries,
    transposed,
)
from .ordering import IndexArray, column_order, dense_from, symmetric_order
from .parts import COUNT, FLAG, NUMBER, Form, flat, vector
from .result import FloatArray

_NEARLY_SYMMETRIC = 0.8
_DIAGONAL_THRESHOLD = 0.001
_WEAK_DIAGONAL = 0.1
_UNSTABLE = 1e-10
_FLOPS_FOR_PANELS = 300.0
_PANEL = 8  # SuperLU writes past its arrays where this or `relax` exceeds its own default

_PER_FLOP = 0.066
_PER_ENTRY = 18.0
_PER_COLUMN = 80.0
_PER_MATRIX = 150_000.0


@dataclass(frozen=True, eq=False)
class Analysis:
    """What is known of the factors of a structurally non-singular matrix before there are any.

    Parameters
    ----------
    symmetric : bool
        Whether rows are ordered as the columns and pivots sought on the diagonal.
    order : ndarray of uint32, (n,)
        order[k] is the column to eliminate at step k; in symmetric mode the row, too.
    entries : int
        Predicted entries of L and U together, with both diagonals.
    flops : float
        Predicted additions, multiplications and divisions.
    """

    symmetric: bool
    order: IndexArray
    entries: int
    flops: float

    @property
    def cost(self) -> float:
        """Nanoseconds that factorising takes on one core, by constants fitted once: no clock is asked.

        Within a third on grids, meshes and circuits in symmetric mode. In the other it is as pessimistic as
        the pattern of AᵀA: about right on random matrices, ten times too much on nearly triangular ones.
        """
        return (
            _PER_FLOP * self.flops + _PER_ENTRY * self.entries + _PER_COLUMN * self.order.size + _PER_MATRIX
        )

    @property
    def nbytes(self) -> int:
        """Bytes held."""
        return self.order.nbytes


def analysis_form(n: int) -> Form[Analysis]:
    """The form of what is known of n columns."""
    return flat(Analysis, symmetric=FLAG, order=vector(np.uint32, n), entries=COUNT, flops=NUMBER)


@dataclass(frozen=True, eq=False)
class Factors:
    """L and U of A with its columns, and in symmetric mode its rows, in another order."""

    lu: SuperLU
    order: NDArray[np.intp]
    symmetric: bool

    def solve(self, b: FloatArray) -> FloatArray:
        """The x of A x = b, up to rounding."""
        x = np.empty_like(b)
        x[self.order] = self.lu.solve(b[self.order] if self.symmetric else b)
        return x

    def solve_transposed(self, b: FloatArray) -> FloatArray:
        """The x of Aᵀ x = b, up to rounding."""
        y: FloatArray = self.lu.solve(b[self.order], "T")  # type: ignore[call-overload]  # the stubs lack `trans`
        if not self.symmetric:
            return y
        x = np.empty_like(b)
        x[self.order] = y
        return x

    @property
    def nnz(self) -> int:
        """Entries held, some of them zeros within dense blocks."""
        return int(self.lu.nnz)

    @property
    def nbytes(self) -> int:
        """Bytes held, nearly."""
        return 12 * self.nnz + self.order.nbytes


def structurally_nonsingular(A: csr_array) -> bool:
    """Whether some choice of one entry from each row takes one from each column as well."""
    return A.shape[0] == A.shape[1] and _matching(A.tocsc()) is not None


def analyse(A: csr_array) -> Analysis | None:
    """Choose a strategy, order the columns, predict the factors; None if A is structurally singular."""
    n = A.shape[0]
    columns = A.tocsc()
    missing, weak = diagonal_census(*pattern_of(columns), columns.data, _DIAGONAL_THRESHOLD)
    if missing == 0 and weak <= _WEAK_DIAGONAL * n:
        shared = shared_entries(*pattern_of(A), *pattern_of(columns))
        if shared - n >= _NEARLY_SYMMETRIC * (A.nnz - n):
            return _analyse_symmetric(columns if shared == A.nnz else _with_transpose(columns))
    column_of = _matching(columns) if missing else np.arange(n, dtype=np.uint32)
    return None if column_of is None else _analyse_columns(columns, A, column_of)


def factorise(A: csr_array, analysis: Analysis) -> Factors | None:
    """Factorise a structurally non-singular A, None where a pivot is exactly zero."""
    if analysis.symmetric:
        factors = _factorise(A, analysis)
        if factors is not None and _stable(A, factors):
            return factors
        analysis = _analyse_columns(A.tocsc(), A, np.arange(A.shape[0], dtype=np.uint32))
    return _factorise(A, analysis)


def _factorise(A: csr_array, analysis: Analysis) -> Factors | None:
    n = A.shape[0]
    columns, order = A.tocsc(), analysis.order
    place = _inverse(order) if analysis.symmetric else np.arange(n, dtype=np.uint32)
    indptr, indices = np.empty(n + 1, dtype=np.int32), np.empty(A.nnz, dtype=np.int32)
    data = np.empty(A.nnz)
    renumbered_columns(
        *pattern_of(columns),
        columns.data,
        order,
        place,
        indptr.view(np.uint32),
        indices.view(np.uint32),
        data,
    )
    B = csc_array((data, indices, indptr), shape=A.shape)
    B.has_canonical_format = True  # there are no duplicates, and SuperLU does not mind the order of rows
    try:
        lu = splu(
            B,
            permc_spec="NATURAL",
            diag_pivot_thresh=_DIAGONAL_THRESHOLD if analysis.symmetric else 1.0,
            panel_size=_PANEL if analysis.flops > _FLOPS_FOR_PANELS * analysis.entries else 1,
            relax=1,
        )
    except RuntimeError:  # exactly singular
        return None
    return Factors(lu, order.astype(np.intp), analysis.symmetric)


def _stable(A: csr_array, factors: Factors) -> bool:
    """Whether one solve, for b = A·(1, …, 1), has so small a backward error that refinement works."""
    with np.errstate(all="ignore"):
        b = A @ np.ones(A.shape[1])
        return backward_error(*RawCSR.of(A), b, factors.solve(b)) <= _UNSTABLE


def _analyse_symmetric(both: csc_array) -> Analysis:
    n = both.shape[0]
    order = symmetric_order(both)
    graph = np.empty(n + 1, dtype=np.uint32), np.empty(both.nnz, dtype=np.uint32)
    renumbered(*pattern_of(both), order, _inverse(order), *graph)
    parent, post = _tree(graph)
    counts = _counts(graph, parent, post)[post]
    return _predicted(counts, counts, symmetric=True, order=order[post])


def _analyse_columns(columns: csc_array, A: csr_array, column_of: IndexArray) -> Analysis:
    n = A.shape[0]
    dense = np.diff(A.indptr) > dense_from(n)
    # A dense row fills others once it is a pivot, so the columns that have to be left to such rows come last.
    last = np.zeros(n, dtype=bool)
    last[column_of[dense]] = True
    order, first_part = np.flatnonzero(last).astype(np.uint32), np.flatnonzero(~last).astype(np.uint32)
    if first_part.size:
        part = columns if first_part.size == n else columns[:, first_part]
        rows = A if first_part.size == n else csr_array(part)
        order = np.concatenate([first_part[column_order(part, rows)], order])
    first = np.where(dense, n + 1, n).astype(np.uint32)
    graph = np.empty(n + 1, dtype=np.uint32), np.empty(columns.nnz, dtype=np.uint32)
    row_stars(*pattern_of(columns), order, first, *graph)
    parent, post = _tree(graph)
    post = np.concatenate([post[~last[order[post]]], post[last[order[post]]]])
    behind = np.empty_like(graph[0]), np.empty_like(graph[1])
    transposed(*graph, *behind)
    upper = _counts(behind, parent, post)[post]
    lower = np.empty(n, dtype=np.int64)
    merged_row_counts(first, parent, lower)
    lower = np.clip(lower[post] + np.count_nonzero(dense), 1, np.arange(n, 0, -1))
    return _predicted(lower, upper, symmetric=False, order=order[post])


def _predicted(
    lower: NDArray[np.int64], upper: NDArray[np.int64], *, symmetric: bool, order: IndexArray
) -> Analysis:
    """Add up what columns of `lower` and rows of `upper` entries take."""
    below, behind = lower - 1.0, upper - 1.0
    flops = float(np.sum(below + 2.0 * below * behind))
    return Analysis(symmetric, order, int(lower.sum() + upper.sum()), flops)


def _with_transpose(columns: csc_array) -> csc_array:
    ones = np.ones(columns.nnz, dtype=np.int8)
    A = csc_array((ones, columns.indices, columns.indptr), shape=columns.shape)
    return csc_array(A + A.T)


def _tree(graph: tuple[IndexArray, IndexArray]) -> tuple[IndexArray, IndexArray]:
    n = graph[0].size - 1
    parent, post = np.empty((2, n), dtype=np.uint32)
    room = np.empty((3, n + 1), dtype=np.uint32)
    elimination_tree(*graph, parent, room[0])
    postorder(parent, post, room)
    return parent, post


def _counts(graph: tuple[Any, Any], parent: IndexArray, post: IndexArray) -> NDArray[np.int64]:
    counts = np.empty(parent.size, dtype=np.int64)
    column_counts(*graph, parent, post, counts, np.empty((4, parent.size), dtype=np.uint32))
    return counts


def _matching(columns: csc_array) -> IndexArray | None:
    """The column matched with each row, None if some have none."""
    n = columns.shape[0]
    row_of, column_of = np.empty((2, n), dtype=np.uint32)
    indptr, indices = pattern_of(columns)
    pairs = maximum_matching(indptr, indices, row_of, column_of, np.empty((4, n), dtype=indptr.dtype))
    return column_of if pairs == n else None


def _inverse(order: IndexArray) -> IndexArray:
    place = np.empty_like(order)
    place[order] = np.arange(order.size, dtype=order.dtype)
    return place
