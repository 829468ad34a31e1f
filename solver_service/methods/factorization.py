"""Sparse LU of square matrices: what it will cost, told from the pattern, and the factors (SuperLU, Li 2005).

SuperLU can neither be stopped nor asked what it is about to do. So the columns are ordered first, elimination
tree and column counts tell the size of the factors, and only then, if at all, are the numbers factorised, in that
very order.

Two strategies:

* Where the pattern is nearly symmetric and the diagonal usable, rows and columns are ordered alike by minimum
  degree on A + Aᵀ, and the diagonal is preferred as pivot. Such factors are checked on one solve, and made anew
  in the other way if they turn out to be unstable.
* Otherwise columns are ordered by COLAMD and rows by partial pivoting. The size is that for the worst choice of
  pivots, from the pattern of AᵀA; nearly dense rows are left out, as COLAMD does: with them, it is an estimate.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csc_array, csr_array
from scipy.sparse.linalg import SuperLU, spilu, splu

from ..kernels import symbolic
from .result import FloatArray

IndexArray: TypeAlias = NDArray[np.uint32]

_NEARLY_SYMMETRIC = 0.8
_DIAGONAL_THRESHOLD = 0.001
_WEAK_DIAGONAL = 0.1
_UNSTABLE = 1e-10
_DENSE_ROW = 10.0
_NEGLIGIBLE = 1e-30
_FLOPS_FOR_PANELS = 300.0
_PANEL = 8

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
        """Nanoseconds that factorising takes on one core, by constants fitted once: the same on every machine.

        Within a fifth on grids, meshes and circuits in symmetric mode. In the other it is as pessimistic as the
        pattern of AᵀA: a third too much on random matrices, a hundred times on ones that are nearly triangular.
        """
        return (
            _PER_FLOP * self.flops
            + _PER_ENTRY * self.entries
            + _PER_COLUMN * self.order.size
            + _PER_MATRIX
        )

    @property
    def nbytes(self) -> int:
        """Bytes held."""
        return self.order.nbytes


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
    return A.shape[0] == A.shape[1] and _matching(csc_array(A)) is not None


def analyse(A: csr_array) -> Analysis | None:
    """Choose a strategy, order the columns, predict the factors; None if A is structurally singular."""
    n = A.shape[0]
    columns = csc_array(A)
    missing, weak = symbolic.diagonal_census(*_pattern(columns), columns.data, _DIAGONAL_THRESHOLD)
    if missing == 0 and weak <= _WEAK_DIAGONAL * n:
        shared = symbolic.shared_entries(*_pattern(A), *_pattern(columns))
        if shared - n >= _NEARLY_SYMMETRIC * (A.nnz - n):
            return _analyse_symmetric(columns, exact=shared == A.nnz)
    column_of = _matching(columns) if missing else _identity(n)
    return None if column_of is None else _analyse_columns(columns, column_of)


def factorise(A: csr_array, analysis: Analysis) -> Factors | None:
    """Factorise a structurally non-singular A, None where a pivot is exactly zero."""
    if analysis.symmetric:
        factors = _factorise(A, analysis)
        if factors is not None and _stable(A, factors):
            return factors
        analysis = _analyse_columns(csc_array(A), _identity(A.shape[0]))
    return _factorise(A, analysis)


def _factorise(A: csr_array, analysis: Analysis) -> Factors | None:
    order = analysis.order.astype(np.intp)
    if analysis.symmetric:
        rows = A[order]
        indices = _inverse(analysis.order).view(np.int32)[rows.indices]
        B = csc_array(csr_array((rows.data, indices, rows.indptr), shape=A.shape))
    else:
        B = csc_array(A)[:, order]
    B.has_canonical_format = True
    panel = _PANEL if analysis.flops > _FLOPS_FOR_PANELS * analysis.entries else 1
    try:
        lu = splu(
            B,
            permc_spec="NATURAL",
            diag_pivot_thresh=_DIAGONAL_THRESHOLD if analysis.symmetric else 1.0,
            panel_size=panel,
            relax=1,
        )
    except RuntimeError:  # exactly singular
        return None
    return Factors(lu, order, analysis.symmetric)


def _stable(A: csr_array, factors: Factors) -> bool:
    """Whether the solution for b = A·(1, …, 1) has |b − A x| ≤ ω (|A| |x| + |b|), so small that refinement works."""
    absolute = csr_array((np.abs(A.data), A.indices, A.indptr), shape=A.shape)
    with np.errstate(all="ignore"):
        b = A @ np.ones(A.shape[1])
        x = factors.solve(b)
        return bool(np.all(np.abs(b - A @ x) <= _UNSTABLE * (absolute @ np.abs(x) + np.abs(b))))


def _analyse_symmetric(columns: csc_array, *, exact: bool) -> Analysis:
    n = columns.shape[0]
    both = _pattern(columns)
    if not exact:
        ones = np.ones(columns.nnz, dtype=np.int8)
        A = csc_array((ones, columns.indices, columns.indptr), shape=columns.shape)
        both = _pattern(csc_array(A + A.T))
    # Minimum degree takes quadratic time where a node has very many neighbours, so these come last without it.
    dense = np.diff(both[0]) > _dense(n)
    sparse_part, order = np.flatnonzero(~dense), np.flatnonzero(dense).astype(np.uint32)
    if sparse_part.size:
        part = columns if sparse_part.size == n else columns[sparse_part][:, sparse_part]
        first = _superlu_order(part, _identity(sparse_part.size), "MMD_AT_PLUS_A")
        order = np.concatenate([sparse_part.astype(np.uint32)[first], order])
    graph = np.empty(n + 1, dtype=np.uint32), np.empty(both[1].size, dtype=np.uint32)
    symbolic.renumbered(*both, order, _inverse(order), *graph)
    parent, post = _tree(graph)
    counts = _counts(graph, parent, post)
    return _predicted(counts, counts, symmetric=True, order=order[post])


def _analyse_columns(columns: csc_array, column_of: IndexArray) -> Analysis:
    m, n = columns.shape
    order = _superlu_order(columns, column_of, "COLAMD")
    first = np.full(m, n, dtype=np.uint32)
    rows = np.bincount(columns.indices, minlength=m)
    dense = rows > _dense(n)
    first[dense] = n + 1
    graph = np.empty(n + 1, dtype=np.uint32), np.empty(columns.nnz, dtype=np.uint32)
    symbolic.row_stars(*_pattern(columns), order, first, *graph)
    parent, post = _tree(graph)
    ones = np.ones(columns.nnz, dtype=np.int8)
    behind = csc_array(csr_array((ones, graph[1].view(np.int32), graph[0].view(np.int32)), shape=(n, n)))
    upper = _counts(_pattern(behind), parent, post)
    lower = np.empty(n, dtype=np.int64)
    symbolic.merged_row_counts(first, parent, lower)
    # Dense rows count as if they were pivot rows at the very end.
    lower = np.clip(lower + np.count_nonzero(dense), 1, n - np.arange(n))
    return _predicted(lower, upper, symmetric=False, order=order)


def _predicted(
    lower: NDArray[np.int64], upper: NDArray[np.int64], *, symmetric: bool, order: IndexArray
) -> Analysis:
    """Add up what columns of `lower` and rows of `upper` entries take."""
    below, behind = lower - 1.0, upper - 1.0
    flops = float(np.sum(below + 2.0 * below * behind))
    return Analysis(symmetric, order, int(lower.sum() + upper.sum()), flops)


def _superlu_order(columns: csc_array, column_of: IndexArray, spec: str) -> IndexArray:
    """The order in which SuperLU would eliminate the columns.

    It gives it away with factors only; so it is asked for incomplete ones that drop all but a diagonal of ones, to
    which the matching moves entries: work of the order of the entries, which no values can make fail.
    """
    indices, ones = np.empty(columns.nnz, dtype=np.uint32), np.empty(columns.nnz)
    symbolic.rows_to_diagonal(*_pattern(columns), column_of, indices, ones, _NEGLIGIBLE)
    stand_in = csc_array((ones, indices.view(np.int32), columns.indptr), shape=columns.shape)
    stand_in.has_canonical_format = True  # rows need not be sorted for this
    factors = spilu(
        stand_in,
        drop_tol=1.0,
        fill_factor=1.0,
        drop_rule="basic",
        permc_spec=spec,
        diag_pivot_thresh=0.0,
        panel_size=1,
        relax=1,
    )
    return _inverse(factors.perm_c.astype(np.uint32))


def _dense(n: int) -> float:
    """Rows with more entries are nearly dense; the rule and the factor are those of COLAMD (Davis et al. 2004)."""
    return max(16.0, _DENSE_ROW * math.sqrt(n))


def _tree(graph: tuple[IndexArray, IndexArray]) -> tuple[IndexArray, IndexArray]:
    n = graph[0].size - 1
    parent, post = np.empty((2, n), dtype=np.uint32)
    room = np.empty((3, n + 1), dtype=np.uint32)
    symbolic.elimination_tree(*graph, parent, room[0])
    symbolic.postorder(parent, post, room)
    return parent, post


def _counts(graph: tuple[Any, Any], parent: IndexArray, post: IndexArray) -> NDArray[np.int64]:
    counts = np.empty(parent.size, dtype=np.int64)
    symbolic.column_counts(*graph, parent, post, counts, np.empty((4, parent.size), dtype=np.uint32))
    return counts


def _matching(columns: csc_array) -> IndexArray | None:
    """Which column each row is matched with, None if not every row is."""
    n = columns.shape[0]
    column_of, row_of = np.empty((2, n), dtype=np.uint32)
    room = np.empty((4, n), dtype=np.uint32)
    pairs = symbolic.maximum_matching(*_pattern(columns), row_of, column_of, room)
    return column_of if pairs == n else None


def _pattern(A: csr_array | csc_array) -> tuple[Any, Any]:
    unsigned = np.uint32 if A.indices.dtype.itemsize == 4 else np.uint64
    return A.indptr.view(unsigned), A.indices.view(unsigned)


def _identity(n: int) -> IndexArray:
    return np.arange(n, dtype=np.uint32)


def _inverse(order: IndexArray) -> IndexArray:
    place = np.empty_like(order)
    place[order] = _identity(order.size)
    return place
