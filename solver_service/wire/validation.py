"""From pydantic's errors to ours: one code, field paths such as ``matrix.row[3]``, no echo of the input."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from ..errors import (
    DimensionMismatchError,
    FieldError,
    IndexOutOfRangeError,
    InvalidInputError,
    MalformedJsonError,
    NonFiniteError,
)
from ..methods.options import OPTIONS

Model = TypeVar("Model", bound=BaseModel)

MAX_ERRORS = 20
_MAX_NAME = 80
_OPTION_NAMES = frozenset(spec.name for spec in OPTIONS) | {"warm_start"}
_KINDS: dict[str, type[InvalidInputError]] = {
    "finite_number": NonFiniteError,
    **{kind.code: kind for kind in (NonFiniteError, DimensionMismatchError, IndexOutOfRangeError)},
}


def parse_json(model: type[Model], content: bytes, field: str = "") -> Model:
    """Read a JSON document.

    Parameters
    ----------
    model : type of BaseModel
        Strict; what the document must be.
    content : bytes
        UTF-8.
    field : str
        Where the document stands in the request; empty for the whole body.

    Raises
    ------
    MalformedJsonError
        With line and column.
    InvalidInputError
        Or the subclass that fits, with at most 20 fields named.
    """
    try:
        return model.model_validate_json(content)
    except ValidationError as error:
        raise translate(error, field) from None
    except RecursionError:
        raise MalformedJsonError(f"{field or 'the body'} is nested too deeply") from None


def translate(error: ValidationError, field: str = "") -> InvalidInputError:
    """Turn a failed validation into the error to send."""
    details = error.errors(include_url=False, include_input=False)
    if details[0]["type"] == "json_invalid":
        reason = str(details[0]["ctx"]["error"])
        return MalformedJsonError(f"{field or 'the body'} is not valid JSON: {reason}")
    found = [item for detail in details[:MAX_ERRORS] for item in _explain(detail, field)][:MAX_ERRORS]
    kinds = {kind for kind, _ in found}
    kind = kinds.pop() if len(kinds) == 1 else InvalidInputError
    errors = [entry for _, entry in found]
    more = f" (and {len(details) - 1} more)" if len(details) > 1 else ""
    return kind(f"{errors[0].field} {errors[0].message}{more}", errors=errors)


def _explain(detail: Any, field: str) -> Iterator[tuple[type[InvalidInputError], FieldError]]:
    context = detail.get("ctx", {})
    cause = context.get("error")
    path = _path(detail["loc"], field) + context.get("at", "")
    if isinstance(cause, InvalidInputError):  # raised inside a validator by a lower layer
        for entry in cause.errors or [FieldError("", cause.detail)]:
            yield type(cause), FieldError(f"{path}.{entry.field}".rstrip("."), entry.message)
        return
    yield _KINDS.get(detail["type"], InvalidInputError), FieldError(path or "body", _message(detail))


def _path(location: tuple[int | str, ...], field: str) -> str:
    path = field
    for step in location:
        if isinstance(step, int):
            path += f"[{step}]"
        else:
            path += f".{step[:_MAX_NAME]}" if path else step[:_MAX_NAME]
    return path


def _message(detail: Any) -> str:
    match detail["type"]:
        case "missing":
            return "is required"
        case "extra_forbidden":
            return "is not a known field"
        case "model_type":
            return "must be an object"
    text = str(detail["msg"]).replace("Input should", "must")
    return text[0].lower() + text[1:]


@contextmanager
def in_options() -> Iterator[None]:
    """Add ``options.`` to the names of fields in errors about options."""
    try:
        yield
    except InvalidInputError as error:
        fields = [
            FieldError(f"options.{field}", message) if field in _OPTION_NAMES else FieldError(field, message)
            for field, message in error.errors
        ]
        raise type(error)(error.detail, errors=fields) from None
