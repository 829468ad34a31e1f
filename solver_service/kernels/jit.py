"""The one place where numba is set up: serial, without the GIL, cached on disk."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias, TypeVar, cast

import numba
import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csc_array, csr_array

F = TypeVar("F", bound=Callable[..., Any])
T = TypeVar("T", bound=np.generic)

FloatArray: TypeAlias = NDArray[np.float64]
UnsignedArray: TypeAlias = NDArray[np.unsignedinteger[Any]]

ONE = np.uint64(1)
TWO = np.uint64(2)


def _cache_folder() -> Path | None:
    """Find where compiled kernels may be kept, None if nowhere.

    numba looks for changes in the file of a kernel, but not in those of the kernels inlined into it; so the
    folder is named by the content of them all.
    """
    here = Path(__file__).parent
    content = b"".join(path.read_bytes() for path in sorted(here.glob("*.py")))
    name = f"solver-service-{hashlib.sha256(content).hexdigest()[:16]}"
    named = os.environ.get("NUMBA_CACHE_DIR")
    roots = [Path(named)] if named else [here / "__pycache__", *_user_caches()]
    for folder in (root / name for root in roots):
        with suppress(OSError):
            folder.mkdir(parents=True, exist_ok=True)
            if os.access(folder, os.W_OK | os.X_OK):
                return folder
    return None


def _user_caches() -> Iterator[Path]:
    if named := os.environ.get("XDG_CACHE_HOME"):
        yield Path(named)
    with suppress(RuntimeError):  # no home is known
        yield Path.home() / ".cache"


CACHE = _cache_folder()
"""Folder of compiled kernels. Without one each process compiles for itself, which takes seconds."""


# `_nrt` and the two about wrappers are numba's target options, though not documented ones.
_OPTIONS: dict[str, Any] = {"nogil": True, "error_model": "numpy", "_nrt": False}
_WITHIN: dict[str, Any] = {"forceinline": True, "no_cpython_wrapper": True, "no_cfunc_wrapper": True}


def kernel(function: F) -> F:
    """Compile on first use; division by zero gives inf or NaN as in NumPy.

    Without numba's run-time memory management, for kernels allocate nothing: where it is on, a call of one
    kernel by another counts references to the arrays, atomically, which costs more than a short row.
    """
    config: Any = numba.config
    before = config.CACHE_DIR
    config.CACHE_DIR = "" if CACHE is None else str(CACHE)  # read by njit, here and now
    try:
        return cast(F, numba.njit(cache=CACHE is not None, **_OPTIONS)(function))
    finally:
        config.CACHE_DIR = before


def inlined(function: F) -> F:
    """Compile as part of each kernel that calls it, whatever its size."""
    return cast(F, numba.njit(**_OPTIONS, **_WITHIN)(function))


class RawCSR(NamedTuple):
    """CSR arrays as the kernels want them: *unsigned* indices spare the wrap-around checks.

    `indptr` (m + 1,) and `indices` (nnz,) are uint32 or uint64, `data` (nnz,) is float64. All are read-only:
    numba takes arrays that are not for another type, and stored matrices are mapped read-only in any case.
    """

    indptr: UnsignedArray
    indices: UnsignedArray
    data: FloatArray

    @classmethod
    def of(cls, A: csr_array) -> RawCSR:
        """View the arrays of a canonical `A` without copying."""
        unsigned = np.uint32 if A.indices.dtype.itemsize == 4 else np.uint64
        return cls(
            _read_only(np.ascontiguousarray(A.indptr).view(unsigned)),
            _read_only(np.ascontiguousarray(A.indices).view(unsigned)),
            _read_only(np.ascontiguousarray(A.data, dtype=np.float64).view()),
        )

    @property
    def rows(self) -> int:
        """Number of rows."""
        return int(self.indptr.size) - 1

    @property
    def nnz(self) -> int:
        """Number of stored entries."""
        return int(self.data.size)


def _read_only(view: NDArray[T]) -> NDArray[T]:
    view.flags.writeable = False
    return view


def pattern_of(A: csr_array | csc_array) -> tuple[UnsignedArray, UnsignedArray]:
    """View `indptr` and `indices` without copying."""
    unsigned = np.uint32 if A.indices.dtype.itemsize == 4 else np.uint64
    return A.indptr.view(unsigned), A.indices.view(unsigned)
