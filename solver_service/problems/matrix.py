"""`Matrix`: the one checked form in which a matrix reaches any solver."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from ..errors import NonFiniteError
from . import layouts
from .checks import CSR, fail, narrow

_HASH_CHUNK = 1 << 18


@dataclass(frozen=True, eq=False, repr=False)
class Matrix:
    """A sparse m × n matrix (m, n ≥ 1) in canonical form; nothing after this gate checks it again.

    Build one with `from_any`, `from_coo` or `from_csr`. Arrays that are canonical already are shared with the
    caller, not copied: nothing ever writes to them, nor should the caller while the matrix is in use.

    Parameters
    ----------
    csr : csr_array
        float64; indices sorted in each row, no duplicates, no explicit zeros (so no −0), all entries finite,
        all indices inside the shape; int32 indices and offsets where m, n and nnz are below 2³¹, else int64.
    duplicates_summed : int
        How many entries of the input were added to an earlier one at the same place.
    """

    csr: CSR
    duplicates_summed: int = 0

    def __repr__(self) -> str:
        m, n = self.shape
        return f"Matrix({m} × {n}, {self.nnz} entries)"

    @property
    def shape(self) -> tuple[int, int]:
        """(m, n)."""
        return self.csr.shape

    @property
    def nnz(self) -> int:
        """Number of stored entries, all non-zero."""
        return int(self.csr.indptr[-1])

    @cached_property
    def id(self) -> str:
        """Name by content: ``mat_`` and 32 hex digits of the SHA-256 of the canonical CSR.

        Hashed are ``m n nnz`` and a newline in ASCII, then offsets and indices as little-endian int64 and the
        entries as little-endian float64.
        """
        m, n = self.shape
        digest = hashlib.sha256(f"{m} {n} {self.nnz}\n".encode("ascii"))
        for array, dtype in ((self.csr.indptr, "<i8"), (self.csr.indices, "<i8"), (self.csr.data, "<f8")):
            for start in range(0, len(array), _HASH_CHUNK):
                digest.update(np.ascontiguousarray(array[start : start + _HASH_CHUNK], dtype=dtype).data)
        return f"mat_{digest.hexdigest()[:32]}"

    @classmethod
    def from_any(cls, A: object, *, field: str = "A") -> Matrix:
        """Check and canonicalise whatever ``scipy.sparse.csr_array`` takes.

        Parameters
        ----------
        A : sparse array or matrix of any format, dense array_like of two dimensions, tuple, or Matrix
            Real: bool, integers and floats of any width. Tuples as in SciPy: ``(m, n)`` (no entries),
            ``(data, (row, col))``, ``(data, indices, indptr)``.
        field : str
            What errors call it.

        Raises
        ------
        InvalidInputError
            Complex numbers, objects, strings, not two dimensions, no rows or no columns, falling offsets.
        DimensionMismatchError, IndexOutOfRangeError, NonFiniteError
            With the entry named, such as ``A.col[7]``.
        """
        if isinstance(A, Matrix):
            return A
        return cls.from_checked(layouts.any_to_csr(A, field), field=field)

    @classmethod
    def from_coo(
        cls, shape: object, row: object, col: object, data: object, *, field: str = "matrix"
    ) -> Matrix:
        """Build from entries ``data[k]`` at ``(row[k], col[k])``, in any order; duplicates are summed.

        Raises
        ------
        InvalidInputError, DimensionMismatchError, IndexOutOfRangeError, NonFiniteError
            With the entry named, such as ``matrix.col[7]``.
        """
        return cls.from_checked(layouts.coo_to_csr(shape, row, col, data, field), field=field)

    @classmethod
    def from_csr(
        cls, shape: object, indptr: object, indices: object, data: object, *, field: str = "matrix"
    ) -> Matrix:
        """Build from compressed rows: row i is ``indices[indptr[i]:indptr[i + 1]]`` and the same of ``data``.

        Raises
        ------
        InvalidInputError, DimensionMismatchError, IndexOutOfRangeError, NonFiniteError
            With the entry named, such as ``matrix.indices[7]``.
        """
        return cls.from_checked(layouts.compressed_to_csr(shape, indptr, indices, data, field), field=field)

    @classmethod
    def from_checked(cls, parts: layouts.Parts, *, field: str = "matrix") -> Matrix:
        """Canonicalise arrays that `layouts` has checked; they are copied only if they have to change."""
        csr = _assemble(parts.shape, parts.indptr, parts.indices, parts.data)
        merged = parts.merged
        owned = parts.owned
        if not csr.has_canonical_format:
            if not owned:
                csr, owned = csr.copy(), True
            before = len(csr.data)
            csr.sum_duplicates()
            merged += before - len(csr.data)
        if merged and not np.isfinite(csr.data).all():
            entry = int(np.argmax(~np.isfinite(csr.data)))
            i, j = np.searchsorted(csr.indptr, entry, side="right") - 1, csr.indices[entry]
            fail(NonFiniteError, field, f"has duplicate entries at row {i}, column {j} whose sum overflows")
        if np.count_nonzero(csr.data) != len(csr.data):
            if not owned:
                csr = csr.copy()
            csr.eliminate_zeros()
        return cls.trusted(_assemble(csr.shape, csr.indptr, csr.indices, csr.data), merged)

    @classmethod
    def trusted(cls, csr: CSR, duplicates_summed: int = 0) -> Matrix:
        """Wrap a matrix known to be canonical, such as one from storage; nothing is checked or copied."""
        csr.has_sorted_indices = True
        csr.has_canonical_format = True
        return cls(csr, duplicates_summed)


def csr_of_arrays(
    shape: tuple[int, int], indptr: NDArray[Any], indices: NDArray[Any], data: NDArray[np.float64]
) -> CSR:
    """Put canonical arrays together as they are; nothing is checked, read or copied."""
    if indptr.dtype == np.int32:
        csr = csr_array((data, indices, indptr), shape=shape)
    else:
        # That would read all of the indices, to see whether 32 bits do.
        csr = csr_array(shape, dtype=np.float64)
        csr.indptr, csr.indices, csr.data = indptr, indices, data
    csr.has_sorted_indices = True
    csr.has_canonical_format = True
    return csr


def _assemble(
    shape: tuple[int, int], indptr: NDArray[Any], indices: NDArray[Any], data: NDArray[np.float64]
) -> CSR:
    largest = max(*shape, len(data))
    parts = (data, narrow(indices, largest), narrow(indptr, largest))
    return csr_array(parts, shape=shape)
