"""`read_matrix` and `read_array`: recognise a file and read it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array

from ...errors import InvalidInputError
from .. import layouts
from ..checks import FloatArray, fail, real_array
from ..limits import DEFAULT_LIMITS, Limits
from ..matrix import Matrix
from .matrix_market import Coordinates, read_matrix_market
from .numpy_files import Archive, read_npy, read_sparse_npz
from .source import Kind, Source


def read_matrix(source: Path | bytes, limits: Limits = DEFAULT_LIMITS, field: str = "matrix") -> Matrix:
    """Read a matrix from a file or from bytes.

    Parameters
    ----------
    source : Path or bytes
        Matrix Market (coordinate or array; real, integer or pattern; general, symmetric or skew-symmetric;
        plain or gzip), SciPy ``.npz`` (csr, csc, coo, bsr, dia) or a two-dimensional NumPy ``.npy``.
    limits : Limits
        Compared with the header before anything is allocated, and with the content as it is decompressed.
    field : str
        What errors call it.

    Raises
    ------
    MalformedMatrixError
        The file breaks its own format, with the line or array; or is of no known format.
    IndexOutOfRangeError, NonFiniteError
        With the line or entry.
    InvalidInputError
        Complex numbers, no rows or no columns.
    ResourceLimitError
        Larger than `limits`.
    OSError
        The path cannot be opened.
    """
    origin = Source(source)
    kind = origin.kind(field)
    if kind is Kind.NPZ:
        with Archive(origin, limits, field) as archive:
            parts = read_sparse_npz(archive, limits, field)
    elif kind is Kind.NPY:
        array = _read_plain_npy(origin, limits, field)
        if array.ndim == 2:
            limits.check_shape(array.shape[0], array.shape[1], field)
        parts = layouts.dense_to_csr(array, field)
    else:
        content = read_matrix_market(origin, kind, limits, field)
        if isinstance(content, Coordinates):
            parts = layouts.coo_to_csr(*content, field)
        else:
            parts = layouts.dense_to_csr(content, field)
    return Matrix.from_checked(parts, field=field)


def read_array(source: Path | bytes, limits: Limits = DEFAULT_LIMITS, field: str = "b") -> FloatArray:
    """Read a right-hand side or starting vector from a file or from bytes.

    Parameters
    ----------
    source : Path or bytes
        NumPy ``.npy`` of one or two dimensions, kept as they are; Matrix Market, where m × 1 is a vector
        (m,); ``.npz`` with one plain array, or a sparse matrix, of which m × 1 is a vector (m,).
    limits, field
        As in `read_matrix`.

    Returns
    -------
    ndarray of float64, (m,) or (m, k)
        Entries of a ``.npy`` may be NaN or infinite: `Problem.build` names those.

    Raises
    ------
    MalformedMatrixError, InvalidInputError, ResourceLimitError, OSError
        As in `read_matrix`.
    """
    origin = Source(source)
    kind = origin.kind(field)
    if kind is Kind.NPY:
        array = real_array(_read_plain_npy(origin, limits, field), field)
    elif kind is Kind.NPZ:
        with Archive(origin, limits, field) as archive:
            if len(archive.names) == 1:
                array = real_array(archive.read(archive.names[0]), field)
            else:
                parts = read_sparse_npz(archive, limits, field)
                limits.check_entries(parts.shape[0] * parts.shape[1], field)
                array = _vector(Matrix.from_checked(parts, field=field).csr.toarray())
    else:
        content = read_matrix_market(origin, kind, limits, field)
        if isinstance(content, Coordinates):
            limits.check_entries(content.shape[0] * content.shape[1], field)
            places = (content.data, (content.row, content.col))
            content = coo_array(places, shape=content.shape).toarray()
        array = _vector(content)
    if array.ndim not in (1, 2):
        fail(InvalidInputError, field, f"must have one or two dimensions, not shape {array.shape}")
    return array


def _vector(array: FloatArray) -> FloatArray:
    column = array[:, 0] if array.shape[1] == 1 else array
    return np.require(column, np.float64, ["C", "A"])


def _read_plain_npy(source: Source, limits: Limits, field: str) -> NDArray[Any]:
    with source.open() as stream:
        return read_npy(stream, source.size, limits, field)
