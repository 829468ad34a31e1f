"""From the bytes of a request to a system A x = b. Runs in a worker: all of it may be large or hostile."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from pydantic import ValidationError
from pydantic_core import from_json

from ..errors import FieldError, MalformedJsonError, MalformedMultipartError, PayloadTooLargeError
from ..methods import require_warm_start
from ..methods.options import Options
from ..problems.formats import read_array, read_matrix
from ..problems.limits import Limits
from ..problems.matrix import Matrix
from .arrays import FloatArray
from .documents import (
    CooMatrix,
    InlineMatrix,
    JobStart,
    MatrixBody,
    ScalarFields,
    StartBody,
    StoredMatrix,
    SystemBody,
    VectorBody,
)
from .validation import in_options, parse_json, translate

Content: TypeAlias = bytes | Path
"""A body or a part of it: small ones as bytes, large ones as a file."""

SYSTEM_PARTS = frozenset({"matrix", "matrix_id", "b", "x0", "options", "priority", "deadline"})
"""The parts of a multipart system."""

_SNIFF = 1024


@dataclass(frozen=True, slots=True)
class InputLimits:
    """How large the parts of a request may be: matrices and arrays, and JSON texts in bytes."""

    problem: Limits
    max_json_bytes: int


@dataclass(frozen=True, slots=True, eq=False)
class System:
    """A request to solve. `matrix` is the id of a stored one or the matrix itself; `b` is still unchecked.

    `x0` may name a job whose solution is meant. `warm_start` asks for a start from earlier solutions.
    """

    matrix: str | Matrix
    b: FloatArray
    x0: FloatArray | JobStart | None
    options: Options
    warm_start: bool
    priority: int
    deadline: float | None

    def __post_init__(self) -> None:
        if self.warm_start:
            with in_options():
                require_warm_start(self.options, start_given=self.x0 is not None)


def read_system_content(parts: Mapping[str, Content], limits: InputLimits) -> System:
    """Read a system from the parts of a multipart body, or from a JSON body under the name ``body``."""
    if "body" in parts:
        return read_system(parts["body"], limits)
    return read_system_parts(parts, limits)


def read_system(body: Content, limits: InputLimits) -> System:
    """Read a system from a JSON body."""
    document = parse_json(SystemBody, _json(body, limits, "the body"))
    named = document.matrix
    return System(
        matrix=named.id if isinstance(named, StoredMatrix) else build_matrix(named, limits.problem),
        b=document.b,
        x0=document.x0,
        options=document.options.options,
        warm_start=document.options.warm_start,
        priority=document.priority,
        deadline=document.deadline,
    )


def read_system_parts(parts: Mapping[str, Content], limits: InputLimits) -> System:
    """Read a system from the parts of a multipart body."""
    if ("matrix" in parts) == ("matrix_id" in parts):
        raise MalformedMultipartError("the body needs exactly one of the parts matrix and matrix_id")
    if "b" not in parts:
        raise MalformedMultipartError("the part b is missing")
    values = {
        name: _scalar(parts[name], limits, name)
        for name in ("options", "priority", "deadline")
        if name in parts
    }
    try:
        fields = ScalarFields.model_validate(values)
    except ValidationError as error:
        raise translate(error) from None
    return System(
        matrix=_text(parts["matrix_id"]) if "matrix_id" in parts else read_any(parts["matrix"], limits),
        b=_array(parts["b"], limits, "b"),
        x0=_start(parts["x0"], limits) if "x0" in parts else None,
        options=fields.options.options,
        warm_start=fields.options.warm_start,
        priority=fields.priority,
        deadline=fields.deadline,
    )


def read_any(content: Content, limits: InputLimits) -> Matrix:
    """Read a matrix from a file of any known format, or from a COO or CSR document."""
    if _looks_like_json(content):
        return read_matrix_document(content, limits)
    return read_matrix(content, limits.problem, field="matrix")


def read_matrix_document(content: Content, limits: InputLimits) -> Matrix:
    """Read a COO or CSR document."""
    document = parse_json(MatrixBody, _json(content, limits, "matrix"), "matrix")
    return build_matrix(document.root, limits.problem)


def build_matrix(document: InlineMatrix, limits: Limits) -> Matrix:
    """Check the numbers of a document and make the matrix."""
    limits.check_shape(document.shape[0], document.shape[1], "matrix.shape")
    limits.check_entries(len(document.data), "matrix.data")
    if isinstance(document, CooMatrix):
        return Matrix.from_coo(document.shape, document.row, document.col, document.data, field="matrix")
    return Matrix.from_csr(document.shape, document.indptr, document.indices, document.data, field="matrix")


def _array(content: Content, limits: InputLimits, field: str) -> FloatArray:
    if _looks_like_json(content):
        return parse_json(VectorBody, _json(content, limits, field), field).root
    return read_array(content, limits.problem, field=field)


def _start(content: Content, limits: InputLimits) -> FloatArray | JobStart | None:
    if _looks_like_json(content):
        start: FloatArray | JobStart | None = parse_json(StartBody, _json(content, limits, "x0"), "x0").root
        return start
    return read_array(content, limits.problem, field="x0")


def _scalar(content: Content, limits: InputLimits, field: str) -> object:
    try:
        return from_json(_json(content, limits, field))
    except ValueError as error:
        message = f"is not valid JSON: {error}"
        raise MalformedJsonError(f"{field} {message}", errors=[FieldError(field, message)]) from None


def _text(content: Content) -> str:
    return "" if isinstance(content, Path) else content[:100].decode("ascii", "replace").strip()


def _json(content: Content, limits: InputLimits, field: str) -> bytes:
    size = content.stat().st_size if isinstance(content, Path) else len(content)
    if size > limits.max_json_bytes:
        raise PayloadTooLargeError(
            f"{field} holds {size:,} bytes of JSON; at most {limits.max_json_bytes:,} are accepted here: "
            "send the arrays as files (.npz, .npy, Matrix Market) by multipart/form-data"
        )
    return content.read_bytes() if isinstance(content, Path) else content


def _looks_like_json(content: Content) -> bool:
    if isinstance(content, Path):
        with content.open("rb") as file:
            start = file.read(_SNIFF)
    else:
        start = content[:_SNIFF]
    return start.lstrip()[:1] in (b"{", b"[")
