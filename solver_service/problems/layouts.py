"""From every layout of a sparse matrix to checked, not yet canonical, CSR arrays.

SciPy believes the arrays it is given: an index outside the shape would reach compiled code. So the arrays are
checked here first, and only then handed to SciPy's conversions.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import bsr_array, coo_array, csc_array, dia_array, issparse

from ..errors import DimensionMismatchError, FieldError, InvalidInputError, NonFiniteError
from .checks import (
    FloatArray,
    check_finite,
    check_indices,
    check_pointers,
    check_real,
    check_shape,
    fail,
    index_array,
    plain_array,
    real_array,
)


class Parts(NamedTuple):
    """CSR arrays with indices inside the shape and finite entries; maybe unsorted, with duplicates and zeros.

    `owned` tells that nobody else holds the arrays, `merged` how many duplicates were summed on the way.
    """

    shape: tuple[int, int]
    indptr: NDArray[Any]
    indices: NDArray[Any]
    data: FloatArray
    owned: bool
    merged: int = 0


def coo_to_csr(shape: object, row: object, col: object, data: object, field: str) -> Parts:
    """Check coordinates and compress them by rows."""
    m, n = check_shape(shape, field)
    rows = check_indices(row, m, f"{field}.row", "row")
    columns = check_indices(col, n, f"{field}.col", "column")
    entries = _entries(data, f"{field}.data")
    if not len(rows) == len(columns) == len(entries):
        lengths = f"{len(rows)}, {len(columns)} and {len(entries)}"
        fail(DimensionMismatchError, field, f"has row, col and data of different lengths: {lengths}")
    csr = coo_array((entries, (rows, columns)), shape=(m, n)).tocsr()
    return Parts((m, n), csr.indptr, csr.indices, csr.data, owned=True, merged=len(entries) - len(csr.data))


def compressed_to_csr(
    shape: object, indptr: object, indices: object, data: object, field: str, *, by: str = "row"
) -> Parts:
    """Check compressed rows, or with ``by="column"`` compressed columns (CSC)."""
    m, n = check_shape(shape, field)
    major, minor, noun = (m, n, "column") if by == "row" else (n, m, "row")
    pointers = check_pointers(indptr, major + 1, f"{field}.indptr")
    inner = check_indices(indices, minor, f"{field}.indices", noun)
    entries = _entries(data, f"{field}.data")
    if not pointers[-1] == len(inner) == len(entries):
        lengths = f"{pointers[-1]}, {len(inner)} and {len(entries)}"
        fail(DimensionMismatchError, field, f"has indptr[-1], indices and data that do not agree: {lengths}")
    if by == "row":
        return Parts((m, n), pointers, inner, entries, owned=False)
    csr = csc_array((entries, inner, pointers), shape=(m, n)).tocsr()
    return Parts((m, n), csr.indptr, csr.indices, csr.data, owned=True)


def blocks_to_csr(shape: object, indptr: object, indices: object, data: object, field: str) -> Parts:
    """Check block compressed rows (BSR): `data` has shape (blocks, rows of a block, columns of a block)."""
    m, n = check_shape(shape, field)
    entries = real_array(data, f"{field}.data")
    if entries.ndim != 3 or 0 in entries.shape[1:] or m % entries.shape[1] or n % entries.shape[2]:
        fail(
            DimensionMismatchError,
            f"{field}.data",
            f"of shape {entries.shape} does not tile a {m} × {n} matrix",
        )
    check_finite(entries, f"{field}.data")
    count, height, width = entries.shape
    pointers = check_pointers(indptr, m // height + 1, f"{field}.indptr")
    inner = check_indices(indices, n // width, f"{field}.indices", "block column")
    if not pointers[-1] == len(inner) == count:
        lengths = f"{pointers[-1]}, {len(inner)} and {count}"
        fail(DimensionMismatchError, field, f"has indptr[-1], indices and data that do not agree: {lengths}")
    csr = bsr_array((entries, inner, pointers), shape=(m, n)).tocsr()
    return Parts((m, n), csr.indptr, csr.indices, csr.data, owned=True)


def diagonals_to_csr(shape: object, offsets: object, data: object, field: str) -> Parts:
    """Check diagonals (DIA): ``A[i, i + offsets[d]] = data[d, i + offsets[d]]``."""
    m, n = check_shape(shape, field)
    which = index_array(offsets, f"{field}.offsets")
    entries = real_array(data, f"{field}.data")
    if entries.ndim != 2 or len(entries) != len(which):
        fail(
            DimensionMismatchError,
            f"{field}.data",
            f"has shape {entries.shape}; it needs a row for each of {len(which)} offsets",
        )
    if len(np.unique(which)) != len(which):
        fail(InvalidInputError, f"{field}.offsets", "names a diagonal twice")
    inside = (which < n) & (which > -m)
    kept = np.asarray(which[inside], dtype=np.int64)
    coo = dia_array((entries[inside], kept), shape=(m, n)).tocoo()
    if not np.isfinite(coo.data).all():
        entry = int(np.argmax(~np.isfinite(coo.data)))
        place = f"at row {coo.row[entry]}, column {coo.col[entry]}"
        fail(NonFiniteError, f"{field}.data", f"must be finite, not {coo.data[entry]} ({place})")
    csr = coo.tocsr()
    return Parts((m, n), csr.indptr, csr.indices, csr.data, owned=True)


def dense_to_csr(A: object, field: str) -> Parts:
    """Check a dense matrix and keep its non-zeros."""
    array = real_array(A, field)
    if array.ndim != 2:
        fail(InvalidInputError, field, f"must be a matrix of two dimensions, not of shape {array.shape}")
    m, n = check_shape(array.shape, field)
    check_finite(array, field)
    csr = coo_array(array).tocsr()
    return Parts((m, n), csr.indptr, csr.indices, csr.data, owned=True)


def any_to_csr(A: object, field: str) -> Parts:
    """Check a sparse array of any format, a dense matrix, or one of SciPy's tuples."""
    if isinstance(A, tuple):
        return _tuple_to_csr(A, field)
    if issparse(A):
        return _sparse_to_csr(A, field)
    if plain_array(A, field).ndim == 0:
        fail(InvalidInputError, field, f"must be a sparse or dense matrix, not {type(A).__name__}")
    return dense_to_csr(A, field)


def _sparse_to_csr(A: Any, field: str) -> Parts:
    if A.ndim != 2:
        fail(InvalidInputError, field, f"must be a matrix of two dimensions, not of shape {A.shape}")
    check_real(A.dtype, field)
    match A.format:
        case "csr" | "csc":
            by = "row" if A.format == "csr" else "column"
            return compressed_to_csr(A.shape, A.indptr, *trim(A.indptr, A.indices, A.data), field, by=by)
        case "bsr":
            return blocks_to_csr(A.shape, A.indptr, *trim(A.indptr, A.indices, A.data), field)
        case "dia":
            return diagonals_to_csr(A.shape, A.offsets, A.data, field)
    try:
        coo = A.tocoo()
    except ValueError:  # a list of lists or dictionary whose insides were tampered with
        fail(InvalidInputError, field, "is not a valid sparse array")
    return coo_to_csr(coo.shape, coo.row, coo.col, coo.data, field)


def trim(indptr: object, indices: object, data: object) -> tuple[NDArray[Any], NDArray[Any]]:
    """Leave out the spare room that SciPy allows behind the last entry of indices and data."""
    pointers, inner, entries = np.asarray(indptr), np.asarray(indices), np.asarray(data)
    if pointers.size and pointers.dtype.kind in "iu" and inner.ndim and entries.ndim:
        end = int(pointers.flat[-1])
        return inner[:end], entries[:end]
    return inner, entries


def _tuple_to_csr(A: tuple[Any, ...], field: str) -> Parts:
    if len(A) == 2 and all(plain_array(size, field).ndim == 0 for size in A):
        m, n = check_shape(A, field)
        return Parts((m, n), np.zeros(m + 1, np.int32), np.zeros(0, np.int32), np.zeros(0), owned=True)
    if len(A) == 2 and isinstance(A[1], (tuple, list, np.ndarray)) and len(A[1]) == 2:
        rows = index_array(A[1][0], f"{field}.row")
        columns = index_array(A[1][1], f"{field}.col")
        return coo_to_csr((_extent(rows), _extent(columns)), rows, columns, A[0], field)
    if len(A) == 3:
        data, indices, indptr = A
        inner, pointers = index_array(indices, f"{field}.indices"), index_array(indptr, f"{field}.indptr")
        return compressed_to_csr((len(pointers) - 1, _extent(inner)), pointers, inner, data, field)
    message = "as a tuple must be (m, n), (data, (row, col)) or (data, indices, indptr)"
    raise InvalidInputError(f"{field} {message}", errors=[FieldError(field, message)])


def _extent(indices: NDArray[Any]) -> int:
    return int(indices.max()) + 1 if indices.size else 0


def _entries(data: object, field: str) -> FloatArray:
    entries = real_array(data, field)
    if entries.ndim != 1:
        fail(InvalidInputError, field, f"must be one-dimensional, not of shape {entries.shape}")
    check_finite(entries, field)
    return entries
