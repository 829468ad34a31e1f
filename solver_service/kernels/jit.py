"""The one place where numba is set up: serial, without the GIL, cached on disk."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias, TypeVar, cast

import numba
import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

F = TypeVar("F", bound=Callable[..., Any])

FloatArray: TypeAlias = NDArray[np.float64]
UnsignedArray: TypeAlias = NDArray[np.unsignedinteger[Any]]

ONE = np.uint64(1)
TWO = np.uint64(2)


def kernel(function: F) -> F:
    """Compile on first use; division by zero gives inf or NaN as in NumPy.

    Kernels are inlined where they call each other: as calls, numba counts references to the
    arrays, atomically, which costs more than a short row. Inlined, the compiler sees that the counts cancel.
    """
    return cast(F, numba.njit(nogil=True, cache=True, error_model="numpy", forceinline=True)(function))


class RawCSR(NamedTuple):
    """CSR arrays as the kernels want them: *unsigned* indices spare the wrap-around checks.

    `indptr` (m + 1,) and `indices` (nnz,) are uint32 or uint64, `data` (nnz,) is float64.
    """

    indptr: UnsignedArray
    indices: UnsignedArray
    data: FloatArray

    @classmethod
    def of(cls, A: csr_array) -> RawCSR:
        """View the arrays of a canonical `A` without copying."""
        unsigned = np.uint32 if A.indices.dtype.itemsize == 4 else np.uint64
        return cls(
            np.ascontiguousarray(A.indptr).view(unsigned),
            np.ascontiguousarray(A.indices).view(unsigned),
            np.ascontiguousarray(A.data, dtype=np.float64),
        )

    def head(self, rows: int) -> RawCSR:
        """View the first `rows` rows."""
        stop = int(self.indptr[rows])
        return RawCSR(self.indptr[: rows + 1], self.indices[:stop], self.data[:stop])

    @property
    def rows(self) -> int:
        """Number of rows."""
        return int(self.indptr.size) - 1

    @property
    def nnz(self) -> int:
        """Number of stored entries."""
        return int(self.data.size)
