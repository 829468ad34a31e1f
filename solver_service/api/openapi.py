"""The reference: request bodies that handlers read raw, and problem documents for each call."""

from __future__ import annotations

from typing import Any, Final

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from ..wire.documents import MatrixBody, ResumeBody, SystemBody, options_schema
from ..wire.errors import MEDIA_TYPE, PROBLEMS, status_of
from ..wire.replies import ProblemReply
from .negotiation import JSON, MULTIPART

_FILE: Final = {"type": "string", "format": "binary"}

_COO_EXAMPLE: Final = {
    "format": "coo",
    "shape": [3, 2],
    "row": [0, 1, 2],
    "col": [0, 1, 1],
    "data": [1.0, 2.0, 3.0],
}
_CSR_EXAMPLE: Final = {
    "format": "csr",
    "shape": [3, 2],
    "indptr": [0, 1, 2, 3],
    "indices": [0, 1, 1],
    "data": [1.0, 2.0, 3.0],
}

SYSTEM_BODY: Final[dict[str, Any]] = {
    "required": True,
    "content": {
        JSON: {
            "schema": SystemBody.model_json_schema(),
            "examples": {
                "coo": {
                    "summary": "A whole system",
                    "value": {"matrix": _COO_EXAMPLE, "b": [1.0, 2.0, 3.0], "options": {"rtol": 1e-8}},
                },
                "stored": {
                    "summary": "A stored matrix, two right-hand sides",
                    "value": {
                        "matrix": {"id": "mat_00000000000000000000000000000000"},
                        "b": [[1.0, 0.0], [2.0, 1.0], [3.0, 1.5]],
                    },
                },
                "base64": {
                    "summary": "b as raw little-endian numbers",
                    "value": {
                        "matrix": _CSR_EXAMPLE,
                        "b": {"base64": "AAAAAAAA8D8AAAAAAAAAQAAAAAAAAAhA", "dtype": "<f8"},
                    },
                },
            },
        },
        MULTIPART: {
            "schema": {
                "type": "object",
                "required": ["b"],
                "additionalProperties": False,
                "description": "exactly one of matrix and matrix_id",
                "properties": {
                    "matrix": {
                        **_FILE,
                        "description": "Matrix Market (plain or gzip), SciPy .npz, .npy or JSON",
                    },
                    "matrix_id": {"type": "string"},
                    "b": {**_FILE, "description": ".npy, Matrix Market or JSON"},
                    "x0": {**_FILE, "description": 'like b, or {"job": "…"}'},
                    "options": options_schema(),
                    "priority": {"type": "integer", "minimum": -10, "maximum": 10},
                    "deadline": {"type": "number", "exclusiveMinimum": 0},
                },
            },
            "encoding": {"options": {"contentType": JSON}},
        },
    },
}

MATRIX_BODY: Final[dict[str, Any]] = {
    "required": True,
    "content": {
        JSON: {
            "schema": MatrixBody.model_json_schema(),
            "examples": {
                "coo": {"summary": "By coordinates", "value": _COO_EXAMPLE},
                "csr": {"summary": "By compressed rows", "value": _CSR_EXAMPLE},
            },
        },
        MULTIPART: {
            "schema": {
                "type": "object",
                "required": ["matrix"],
                "additionalProperties": False,
                "properties": {"matrix": _FILE},
            }
        },
        "application/octet-stream": {
            "schema": {**_FILE, "description": "Matrix Market (plain or gzip), SciPy .npz or .npy"}
        },
    },
}

RESUME_BODY: Final[dict[str, Any]] = {
    "required": False,
    "content": {
        JSON: {
            "schema": ResumeBody.model_json_schema(),
            "examples": {"more work": {"value": {"options": {"max_epochs": 100000}}}},
        }
    },
}

IDEMPOTENCY_KEY: Final[dict[str, Any]] = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "schema": {"type": "string", "minLength": 1, "maxLength": 255},
    "description": "chosen by the client: a retry of the same content with the same key gets the same job",
}

LAST_EVENT_ID: Final[dict[str, Any]] = {
    "name": "Last-Event-ID",
    "in": "header",
    "required": False,
    "schema": {"type": "string"},
    "description": "the id that was seen last: what came after it is sent",
}

LOCATION: Final[dict[str, Any]] = {
    "headers": {"Location": {"schema": {"type": "string"}, "description": "the job"}}
}

PREFER: Final[dict[str, Any]] = {
    "name": "Prefer",
    "in": "header",
    "required": False,
    "schema": {"type": "string"},
    "description": "`respond-async` makes a job of it (RFC 7240)",
}

_EVERYWHERE: Final = ("internal",)

READING: Final = (
    "malformed_json",
    "malformed_matrix",
    "malformed_multipart",
    "request_timeout",
    "payload_too_large",
    "unsupported_media_type",
    "invalid_request",
    "dimension_mismatch",
    "index_out_of_range",
    "non_finite",
    "resource_limit",
)
"""What may be wrong with a body that holds a matrix."""

SYSTEM: Final = (
    *READING,
    "matrix_not_found",
    "job_not_found",
    "no_solution",
    "idempotency_conflict",
    "solution_not_ready",
    "unknown_method",
    "method_not_applicable",
)
"""What may be wrong with a body that holds a system."""

WORK: Final = ("queue_full", "shutting_down", "worker_lost", "out_of_memory")
"""What may keep a worker from doing its part."""


def problems(*codes: str) -> dict[int | str, dict[str, Any]]:
    """Return the `responses` of a call that may fail with these codes."""
    by_status: dict[int | str, dict[str, Any]] = {}
    for code in (*codes, *_EVERYWHERE):
        listed = by_status.setdefault(status_of(code), {"model": ProblemReply, "description": ""})
        listed["description"] = f"{listed['description']}, `{code}`".removeprefix(", ")
    return by_status


def install(app: FastAPI) -> None:
    """Make `app` describe errors with the media type that they have."""

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            schema = get_openapi(
                title=app.title, version=app.version, description=app.description, routes=app.routes
            )
            _mark_problems(schema)
            for name in ("HTTPValidationError", "ValidationError"):
                schema["components"]["schemas"].pop(name, None)
            app.openapi_schema = schema
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]  # FastAPI's documented way to extend it


def _mark_problems(schema: dict[str, Any]) -> None:
    statuses = {str(status) for status, _ in PROBLEMS.values()}
    for path in schema["paths"].values():
        for operation in path.values():
            if operation["responses"].get("422", {}).get("description") == "Validation Error":
                del operation["responses"]["422"]  # FastAPI adds it wherever there are parameters
            for status, response in operation["responses"].items():
                if status in statuses and JSON in response.get("content", {}):
                    response["content"] = {MEDIA_TYPE: response["content"][JSON]}
