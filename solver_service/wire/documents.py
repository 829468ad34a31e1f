"""What JSON requests look like: a matrix, and a system A x = b."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, PlainValidator, RootModel, WithJsonSchema

from ..errors import FieldError, InvalidInputError, NonFiniteError
from ..methods.options import OPTIONS, Options, OptionSpec
from .arrays import FloatArrayField, FloatVectorField, IndexArrayField, float_array, refuse

WARM_START = OptionSpec(
    name="warm_start",
    kind="string",
    default="none",
    help="auto: start from earlier such solutions with the same stored matrix, where that is nearer",
    choices=("none", "auto"),
)
"""The option that exists over HTTP only."""

HTTP_DEFAULTS = {"threads": 1}
"""Defaults that differ from those of the Python API: a service shares its cores."""

HTTP_OPTIONS: tuple[OptionSpec, ...] = (*OPTIONS, WARM_START)

Priority = Annotated[int, Field(ge=-10, le=10, description="higher first")]
Deadline = Annotated[
    float,
    Field(gt=0, allow_inf_nan=False, description="seconds from acceptance to answer, queueing included"),
]
Size = Annotated[int, Field(ge=1)]
Shape = Annotated[list[Size], Field(min_length=2, max_length=2, description="rows, columns")]


class Document(BaseModel):
    """Base of all request documents: strict types, no unknown fields."""

    model_config = ConfigDict(strict=True, extra="forbid", arbitrary_types_allowed=True)


class CooMatrix(Document):
    """A matrix by coordinates; duplicates are summed."""

    format: Literal["coo"]
    shape: Shape
    row: IndexArrayField
    col: IndexArrayField
    data: FloatVectorField


class CsrMatrix(Document):
    """A matrix by compressed rows."""

    format: Literal["csr"]
    shape: Shape
    indptr: IndexArrayField
    indices: IndexArrayField
    data: FloatVectorField


class StoredMatrix(Document):
    """A matrix that was stored before."""

    id: Annotated[str, Field(max_length=100)]


InlineMatrix: TypeAlias = CooMatrix | CsrMatrix
_FORMATS: dict[str, type[InlineMatrix]] = {"coo": CooMatrix, "csr": CsrMatrix}


def inline_matrix(value: object) -> InlineMatrix:
    """Read a COO or CSR document."""
    if not isinstance(value, dict):
        refuse("invalid_request", "must be an object")
    name = value.get("format")
    kind = _FORMATS.get(name) if isinstance(name, str) else None
    if kind is None:
        refuse("invalid_request", 'must be "coo" or "csr"', ".format")
    return kind.model_validate(value)


def any_matrix(value: object) -> InlineMatrix | StoredMatrix:
    """Read a COO or CSR document, or a reference to a stored matrix."""
    if not isinstance(value, dict) or not value.keys() & {"id", "format"}:
        refuse("invalid_request", 'must be an object with "id", or with "format": "coo" or "csr"')
    return StoredMatrix.model_validate(value) if "id" in value else inline_matrix(value)


class JobStart(Document):
    """The solution of a job, as where to start."""

    job: Annotated[str, Field(max_length=100)]


def start(value: object) -> Any:
    """Read `x0`: numbers, or a reference to the job whose x is meant."""
    if isinstance(value, dict) and "job" in value:
        return JobStart.model_validate(value)
    return None if value is None else float_array(value)


@dataclass(frozen=True, slots=True)
class HttpOptions:
    """Options as they come over HTTP.

    Parameters
    ----------
    options : Options
    warm_start : bool
        Whether to start from earlier solutions, where there are some.
    """

    options: Options
    warm_start: bool


def http_options(value: object) -> HttpOptions:
    """Read `options`: those of the Python API and `warm_start`; `threads` is 1 unless given."""
    if not isinstance(value, Mapping):
        refuse("invalid_request", "must be an object")
    values = dict(value)
    for name, item in values.items():
        if isinstance(item, float) and not math.isfinite(item):
            message = "must be finite"
            raise NonFiniteError(f"option {name[:80]} {message}", errors=[FieldError(name[:80], message)])
    warm_start = values.pop(WARM_START.name, WARM_START.default)
    problem = WARM_START.check(warm_start)
    if problem is not None:
        raise InvalidInputError(problem, errors=[FieldError(WARM_START.name, problem)])
    for name, default in HTTP_DEFAULTS.items():
        if values.get(name) is None:
            values[name] = default
    return HttpOptions(Options.from_mapping(values), warm_start == "auto")


def options_schema() -> dict[str, Any]:
    """Return the JSON schema of `options`, made from the one list of options."""
    return {
        "type": "object",
        "additionalProperties": False,
        "properties": {spec.name: _option_schema(spec) for spec in HTTP_OPTIONS},
    }


def _option_schema(spec: OptionSpec) -> dict[str, Any]:
    default = HTTP_DEFAULTS.get(spec.name, spec.default)
    kind: dict[str, Any] = {"type": spec.kind}
    if spec.minimum is not None:
        kind["exclusiveMinimum" if spec.exclusive_minimum else "minimum"] = spec.minimum
    if spec.maximum is not None:
        kind["exclusiveMaximum" if spec.exclusive_maximum else "maximum"] = spec.maximum
    kinds: list[dict[str, Any]] = [] if spec.kind == "string" and spec.choices else [kind]
    if spec.choices:
        kinds.append({"type": "string", "enum": list(spec.choices)})
    if spec.nullable:
        kinds.append({"type": "null"})
    body = kinds[0] if len(kinds) == 1 else {"anyOf": kinds}
    return {**body, "default": default, "description": spec.help}


def _one_of(*kinds: type[Document]) -> WithJsonSchema:
    return WithJsonSchema({"oneOf": [kind.model_json_schema() for kind in kinds]})


class MatrixBody(RootModel[Any]):
    """A COO or CSR document as the whole body."""

    root: Annotated[InlineMatrix, PlainValidator(inline_matrix), _one_of(CooMatrix, CsrMatrix)]


class VectorBody(RootModel[Any]):
    """A right-hand side or a start as a JSON text of its own."""

    root: FloatArrayField


class StartBody(RootModel[Any]):
    """A start `x0` as a JSON text of its own."""

    root: Annotated[Any, PlainValidator(start)]


class SystemBody(Document):
    """A system A x = b with how to solve it."""

    matrix: Annotated[
        InlineMatrix | StoredMatrix,
        PlainValidator(any_matrix),
        _one_of(CooMatrix, CsrMatrix, StoredMatrix),
    ]
    b: FloatArrayField
    x0: Annotated[
        Any,
        PlainValidator(start),
        WithJsonSchema(
            {
                "description": "where to start, like b but with n entries; or the x of a job",
                "anyOf": [{"type": "array"}, JobStart.model_json_schema(), {"type": "null"}],
            }
        ),
    ] = None
    priority: Priority = 0
    deadline: Deadline | None = None
    options: Annotated[Any, PlainValidator(http_options), WithJsonSchema(options_schema())] = Field(
        default_factory=lambda: http_options({})
    )


RESUMABLE = frozenset({"max_epochs", "time_limit", "rtol", "atol"})
"""Options that may change when a job is resumed: its state belongs to all others."""


def resume_options(value: object) -> Any:
    """Read the options to change."""
    if not isinstance(value, Mapping):
        refuse("invalid_request", "must be an object")
    for name in value:
        if name not in RESUMABLE:
            message = f"cannot be changed by resuming; {', '.join(sorted(RESUMABLE))} can"
            refuse("invalid_request", message, f".{name[:80]}")
    options = http_options(value).options
    return {name: getattr(options, name) for name in value}


def _resume_schema() -> dict[str, Any]:
    everything = options_schema()
    properties = {name: dict(everything["properties"][name]) for name in sorted(RESUMABLE)}
    for schema in properties.values():
        del schema["default"]  # what is not given stays as it was
    return {**everything, "properties": properties}


class ResumeBody(Document):
    """How to go on with a job that has ended."""

    options: Annotated[Any, PlainValidator(resume_options), WithJsonSchema(_resume_schema())] = Field(
        default_factory=dict
    )
    priority: Priority | None = None
    deadline: Deadline | None = None


class ScalarFields(Document):
    """The fields of a system that are single values, as multipart sends them."""

    priority: Priority = 0
    deadline: Deadline | None = None
    options: Annotated[Any, PlainValidator(http_options)] = Field(default_factory=lambda: http_options({}))
