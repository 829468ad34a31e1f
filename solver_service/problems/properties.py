"""What can be said about a matrix at the cost of a few passes over it."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from . import components
from .matrix import Matrix


@dataclass(frozen=True, slots=True)
class MatrixProperties:
    """The properties that the service shows of a stored matrix; None is not yet known.

    Parameters
    ----------
    frobenius_norm : float or None
        ‖A‖_F; None if beyond the range of float64, as for the row norms.
    sigma_max : float or None
        Largest singular value.
    stable_rank : float or None
        ‖A‖_F²/σ₁² of the matrix as it is, not scaled.
    symmetric : bool
        Whether A is square and exactly equal to Aᵀ.
    zero_rows, zero_columns : int
        How many rows and columns have no entry.
    duplicates_summed : int
        How many entries of the input were added to an earlier one at the same place.
    components : int or None
        Into how many independent systems A decomposes: connected components of the bipartite graph of rows
        and columns, not counting zero rows and columns.
    row_norm_min, row_norm_max : float or None
        Smallest norm of a row that is not zero (0 if there is none) and largest.
    """

    frobenius_norm: float | None
    sigma_max: float | None
    stable_rank: float | None
    symmetric: bool
    zero_rows: int
    zero_columns: int
    duplicates_summed: int
    components: int | None
    row_norm_min: float | None
    row_norm_max: float | None


def describe(matrix: Matrix) -> MatrixProperties:
    """Compute what takes a few passes; `sigma_max` and `stable_rank` stay None."""
    A = matrix.csr
    n = matrix.shape[1]
    lengths = np.diff(A.indptr)
    used_columns = np.zeros(n, dtype=np.bool_)
    used_columns[A.indices] = True
    zero_rows = int(np.count_nonzero(lengths == 0))
    zero_columns = n - int(np.count_nonzero(used_columns))
    # Scaled by the largest entry, squares neither overflow nor vanish.
    scale = float(np.abs(A.data).max()) if matrix.nnz else 1.0
    filled = np.flatnonzero(lengths)
    squares = np.square(A.data / scale)
    norms = np.sqrt(np.add.reduceat(squares, A.indptr[filled])) if len(filled) else np.zeros(1)
    labels = components.label(matrix)
    return MatrixProperties(
        frobenius_norm=_scaled(scale, float(np.sqrt(squares.sum()))),
        sigma_max=None,
        stable_rank=None,
        symmetric=_is_symmetric(matrix),
        zero_rows=zero_rows,
        zero_columns=zero_columns,
        duplicates_summed=matrix.duplicates_summed,
        components=None if labels is None else labels.count,
        row_norm_min=_scaled(scale, float(norms.min())),
        row_norm_max=_scaled(scale, float(norms.max())),
    )


def _scaled(scale: float, norm: float) -> float | None:
    product = scale * norm
    return product if math.isfinite(product) else None


def _is_symmetric(matrix: Matrix) -> bool:
    A = matrix.csr
    if A.shape[0] != A.shape[1]:
        return False
    T = A.T.tocsr()
    return bool(
        np.array_equal(A.indptr, T.indptr)
        and np.array_equal(A.indices, T.indices)
        and np.array_equal(A.data, T.data)
    )
