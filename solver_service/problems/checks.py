"""Checks of single arrays: each returns a clean array or raises an error that names the entry."""

from __future__ import annotations

import operator
from typing import Any, NoReturn, SupportsIndex, TypeAlias, cast

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array, issparse

from ..errors import (
    DimensionMismatchError,
    FieldError,
    IndexOutOfRangeError,
    InvalidInputError,
    NonFiniteError,
    ResourceLimitError,
)

FloatArray: TypeAlias = NDArray[np.float64]
IndexArray: TypeAlias = NDArray[np.signedinteger[Any]]
CSR: TypeAlias = "csr_array[np.float64, tuple[int, int]]"  # subscripted for the type checker only

MAX_DIMENSION = 2**48  # an array of offsets this long fits no address space


def fail(error: type[InvalidInputError], field: str, message: str) -> NoReturn:
    """Raise `error` saying that `field` `message`."""
    raise error(f"{field} {message}", errors=[FieldError(field, message)])


def check_shape(shape: object, field: str) -> tuple[int, int]:
    """Return (m, n), both at least 1."""
    try:
        sizes = tuple(shape)  # type: ignore[var-annotated, arg-type]  # anything may come in
    except TypeError:
        sizes = ()
    if len(sizes) != 2:
        fail(InvalidInputError, f"{field}.shape", "must be two whole numbers, rows and columns")
    m, n = (_dimension(size, f"{field}.shape[{axis}]") for axis, size in enumerate(sizes))
    return m, n


def _dimension(size: object, field: str) -> int:
    if isinstance(size, (bool, np.bool_)) or not hasattr(size, "__index__"):
        fail(InvalidInputError, field, "must be a whole number")
    value = operator.index(cast(SupportsIndex, size))
    if value < 1:
        fail(InvalidInputError, field, f"is {value}; a matrix needs at least one row and one column")
    if value > MAX_DIMENSION:
        fail(ResourceLimitError, field, "is larger than any computer can hold")
    return value


def index_array(values: object, field: str) -> NDArray[np.integer[Any]]:
    """Return one-dimensional integers of any width; floats and booleans are refused."""
    array = plain_array(values, field)
    if array.ndim != 1:
        fail(InvalidInputError, field, f"must be one-dimensional, not of shape {array.shape}")
    if array.size == 0:
        return np.empty(0, np.int32)
    if array.dtype.kind in "Of" and not isinstance(values, np.ndarray):
        _refuse_huge_integers(values, field)
    if array.dtype.kind not in "iu":
        fail(InvalidInputError, field, f"must hold whole numbers of an integer type, not {array.dtype}")
    return array


def _refuse_huge_integers(values: object, field: str) -> None:
    # NumPy turns Python integers beyond 64 bits into floats or objects.
    items = list(values)  # type: ignore[call-overload]  # plain_array made a 1-D array of it
    if all(type(item) is int for item in items):
        entry = next(k for k, item in enumerate(items) if not -(2**63) <= item < 2**63)
        fail(IndexOutOfRangeError, f"{field}[{entry}]", "does not fit in 64 bits")


def check_indices(values: object, bound: int, field: str, noun: str) -> IndexArray:
    """Return indices that all lie in [0, bound), as int32 where that suffices; `noun` is what they count."""
    array = index_array(values, field)
    if array.size and (int(array.min()) < 0 or int(array.max()) >= bound):
        entry = int(np.argmax((array < 0) | (array >= bound)))
        there = f"there are {bound} {noun}s (0 to {bound - 1})" if bound > 1 else f"there is one {noun} (0)"
        fail(IndexOutOfRangeError, f"{field}[{entry}]", f"is {array[entry]}, but {there}")
    return narrow(array, bound)


def check_pointers(values: object, length: int, field: str) -> IndexArray:
    """Return `length` non-falling offsets that start at 0."""
    array = index_array(values, field)
    if len(array) != length:
        fail(DimensionMismatchError, field, f"has length {len(array)}; the shape asks for {length}")
    if array[0] != 0:
        fail(InvalidInputError, f"{field}[0]", f"is {array[0]}; offsets start at 0")
    falling = array[1:] < array[:-1]
    if falling.any():
        entry = int(np.argmax(falling)) + 1
        fail(InvalidInputError, f"{field}[{entry}]", f"is {array[entry]}, below {array[entry - 1]} before it")
    return narrow(array, int(array[-1]))


def narrow(array: NDArray[np.integer[Any]], largest: int) -> IndexArray:
    """Return integers in [0, largest] as int32 if that suffices, else int64; copied only if needed."""
    return np.require(array, np.int32 if largest < 2**31 else np.int64, ["C", "A"])


def real_array(values: object, field: str) -> FloatArray:
    """Return a C-contiguous float64 array of any number of dimensions, copied only if needed.

    Complex numbers, strings, dates and objects are refused. Entries may be NaN or infinite: `check_finite`.
    """
    array = plain_array(values, field)
    if array.dtype.kind == "O":
        array = _from_objects(array, field)
    check_real(array.dtype, field)
    with np.errstate(over="ignore"):  # a long double beyond float64 becomes infinite and is reported as such
        return np.require(array, np.float64, ["C", "A"])


def check_real(dtype: np.dtype[Any], field: str) -> None:
    """Raise `InvalidInputError` unless the type holds real numbers."""
    if dtype.kind == "c":
        message = "is complex; only real systems are solved (use the real one of twice the size)"
        fail(InvalidInputError, field, message)
    if dtype.kind not in "biuf":
        fail(InvalidInputError, field, f"must hold real numbers, not {dtype}")


def _from_objects(array: NDArray[Any], field: str) -> FloatArray:
    real = (int, float, np.integer, np.floating)
    for entry, item in enumerate(array.flat):
        if not isinstance(item, real):
            name = f"{field}{position(entry, array.shape)}"
            fail(InvalidInputError, name, f"must be a real number, not {type(item).__name__}")
    try:
        return array.astype(np.float64)
    except OverflowError:
        fail(NonFiniteError, field, "holds an integer beyond the range of float64")


def plain_array(values: object, field: str) -> NDArray[Any]:
    """Return `values` as an ndarray of whatever type; sparse, masked and ragged input is refused."""
    if issparse(values):
        fail(InvalidInputError, field, "must be dense, not a sparse array")
    if isinstance(values, np.ma.MaskedArray) and np.ma.is_masked(values):
        fail(InvalidInputError, field, "has masked entries; fill them first")
    try:
        return np.asarray(values)
    except (TypeError, ValueError, OverflowError, RecursionError):
        fail(InvalidInputError, field, "must be a rectangular array of numbers")


def check_finite(array: FloatArray, field: str) -> None:
    """Raise `NonFiniteError` naming the first entry that is NaN or infinite."""
    with np.errstate(over="ignore", invalid="ignore"):
        if np.isfinite(array.sum()):  # a finite sum proves that every term is finite
            return
    bad = ~np.isfinite(array)
    if bad.any():
        entry = int(np.argmax(bad))
        name = f"{field}{position(entry, array.shape)}"
        fail(NonFiniteError, name, f"must be finite, not {array.flat[entry]}")


def position(entry: int, shape: tuple[int, ...]) -> str:
    """Return the place of a flat (C order) entry as ``[i][j]``."""
    return "".join(f"[{k}]" for k in np.unravel_index(entry, shape))
