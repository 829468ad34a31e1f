"""Arrays in JSON: nested lists of numbers, or ``{"base64", "dtype", "shape"}``.

Only the types of the entries are checked here, strictly: ``true`` and ``"1"`` are no numbers. Ranges, lengths
and finiteness are the business of `solver_service.problems`, whose errors name the same fields.
"""

from __future__ import annotations

import binascii
import math
from collections.abc import Sequence
from itertools import chain
from typing import Annotated, Any, Literal, NoReturn, TypeAlias

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, PlainValidator, WithJsonSchema
from pydantic_core import PydanticCustomError

FloatArray: TypeAlias = NDArray[np.float64]
IndexArray: TypeAlias = NDArray[np.integer[Any]]


class Base64Array(BaseModel):
    """Raw little-endian numbers in C order. `shape` is needed only for k columns."""

    model_config = ConfigDict(strict=True, extra="forbid")

    base64: str
    dtype: Literal["<f8", "<f4", "<i4", "<i8"]
    shape: list[int] | None = None

    def decode(self) -> NDArray[Any]:
        """Return the array, read-only, of the dtype that was sent."""
        try:
            content = binascii.a2b_base64(self.base64, strict_mode=True)
        except ValueError:
            refuse("invalid_request", "is not valid base64 (standard alphabet, padded)", ".base64")
        dtype = np.dtype(self.dtype)
        if len(content) % dtype.itemsize:
            message = f"holds {len(content)} bytes, not a multiple of {dtype.itemsize}"
            refuse("invalid_request", message, ".base64")
        array = np.frombuffer(content, dtype)
        if self.shape is None:
            return array
        if len(self.shape) not in (1, 2) or min(self.shape) < 0:
            refuse("invalid_request", "must be one or two sizes", ".shape")
        if math.prod(self.shape) != array.size:
            message = f"asks for {math.prod(self.shape)} numbers; base64 holds {array.size}"
            refuse("invalid_request", message, ".shape")
        return array.reshape(self.shape)


def refuse(code: str, message: str, at: str = "") -> NoReturn:
    """Raise an error with one of our codes; `at` is what to append to the name of the field."""
    raise PydanticCustomError(code, "{text}", {"text": message, "at": at})


def float_array(value: object) -> FloatArray:
    """Read numbers, or rows of numbers; entries may be infinite or NaN."""
    if isinstance(value, dict):
        return np.asarray(Base64Array.model_validate(value).decode(), np.float64)
    items = _as_list(value)
    if items and isinstance(items[0], list):
        return _rows(items)
    if not set(map(type, items)) <= {int, float}:
        _refuse_first(items, (int, float), "must be a number")
    return _as_float64(items)


def float_vector(value: object) -> FloatArray:
    """Read numbers in one dimension."""
    array = float_array(value)
    if array.ndim != 1:
        refuse("invalid_request", "must be a flat list of numbers")
    return array


def index_array(value: object) -> IndexArray:
    """Read whole numbers in one dimension."""
    if isinstance(value, dict):
        array = Base64Array.model_validate(value).decode()
        if array.dtype.kind != "i":
            refuse("invalid_request", "must be '<i4' or '<i8' for indices", ".dtype")
        if array.ndim != 1:
            refuse("invalid_request", "must be one size for indices", ".shape")
        return array
    items = _as_list(value)
    if not set(map(type, items)) <= {int}:
        _refuse_first(items, (int,), "must be a whole number")
    try:
        return np.array(items, np.int64)
    except OverflowError:
        entry = next(k for k, item in enumerate(items) if not -(2**63) <= item < 2**63)
        refuse("index_out_of_range", "does not fit in 64 bits", f"[{entry}]")


def _as_list(value: object) -> list[Any]:
    if not isinstance(value, list):
        refuse("invalid_request", 'must be a list of numbers or {"base64", "dtype"}')
    return value


def _rows(rows: list[Any]) -> FloatArray:
    if set(map(type, rows)) != {list}:
        _refuse_first(rows, (list,), "must be a list of numbers, like the first")
    if not set(map(type, chain.from_iterable(rows))) <= {int, float}:
        for k, row in enumerate(rows):
            if not set(map(type, row)) <= {int, float}:
                _refuse_first(row, (int, float), "must be a number", f"[{k}]")
    width = len(rows[0])
    if set(map(len, rows)) != {width}:
        entry = next(k for k, row in enumerate(rows) if len(row) != width)
        message = f"has {len(rows[entry])} numbers, the first has {width}"
        refuse("dimension_mismatch", message, f"[{entry}]")
    return _as_float64(rows)


def _as_float64(items: list[Any]) -> FloatArray:
    try:
        return np.array(items, np.float64)
    except OverflowError:
        refuse("non_finite", "holds an integer beyond the range of float64")


def _refuse_first(items: Sequence[object], kinds: tuple[type, ...], message: str, at: str = "") -> NoReturn:
    entry, item = next((k, item) for k, item in enumerate(items) if type(item) not in kinds)
    if isinstance(item, float) and not math.isfinite(item):
        refuse("non_finite", "must be finite", f"{at}[{entry}]")
    refuse("invalid_request", message, f"{at}[{entry}]")


def _schema(description: str, *kinds: dict[str, Any]) -> WithJsonSchema:
    encoded = Base64Array.model_json_schema()
    return WithJsonSchema({"description": description, "anyOf": [*kinds, encoded]})


_NUMBERS = {"type": "array", "items": {"type": "number"}}

FloatArrayField = Annotated[
    FloatArray,
    PlainValidator(float_array),
    _schema("numbers, or rows of k numbers", _NUMBERS, {"type": "array", "items": _NUMBERS}),
]
FloatVectorField = Annotated[FloatArray, PlainValidator(float_vector), _schema("numbers", _NUMBERS)]
IndexArrayField = Annotated[
    IndexArray,
    PlainValidator(index_array),
    _schema("0-based indices", {"type": "array", "items": {"type": "integer", "minimum": 0}}),
]
