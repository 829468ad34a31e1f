"""The one table from error codes to HTTP status and title, and the RFC 9457 problem document."""

from __future__ import annotations

from typing import Any, Final

from ..errors import InvalidInputError, SolverServiceError
from .validation import MAX_ERRORS

MEDIA_TYPE: Final = "application/problem+json"

PROBLEMS: Final[dict[str, tuple[int, str]]] = {
    "malformed_json": (400, "The body is not valid JSON"),
    "malformed_matrix": (400, "A file breaks its own format"),
    "malformed_multipart": (400, "The multipart body is malformed"),
    "unauthorized": (401, "A valid API key is needed"),
    "forbidden": (403, "This key may not do that"),
    "not_found": (404, "There is nothing at this address"),
    "job_not_found": (404, "There is no such job"),
    "matrix_not_found": (404, "There is no such matrix"),
    "no_solution": (404, "The job ended without a solution"),
    "method_not_allowed": (405, "This address does not support that method"),
    "not_acceptable": (406, "None of the accepted media types can be produced"),
    "request_timeout": (408, "The request took too long"),
    "idempotency_conflict": (409, "The idempotency key was used with other content"),
    "matrix_in_use": (409, "The matrix is in use"),
    "job_active": (409, "The job is still active"),
    "solution_not_ready": (409, "The solution is not ready yet"),
    "payload_too_large": (413, "The body is too large"),
    "unsupported_media_type": (415, "The body's media type is not supported"),
    "invalid_request": (422, "The request is not valid"),
    "dimension_mismatch": (422, "Shapes do not fit each other"),
    "index_out_of_range": (422, "An index lies outside the shape"),
    "non_finite": (422, "A number is not finite"),
    "unknown_method": (422, "There is no such method"),
    "method_not_applicable": (422, "The method cannot be used here"),
    "resource_limit": (422, "The input is larger than this service accepts"),
    "rate_limited": (429, "Too many requests"),
    "internal": (500, "Internal error"),
    "unavailable": (503, "The service cannot do this now"),
    "queue_full": (503, "Too much work is waiting"),
    "shutting_down": (503, "The service is stopping"),
    "worker_lost": (503, "A worker process died or is missing"),
    "out_of_memory": (503, "Not enough memory or disk space"),
}
"""code → (HTTP status, title), in the order of the contract."""

TRY_LATER: Final = frozenset(code for code, (status, _) in PROBLEMS.items() if status in (429, 503))
"""Codes that come with `Retry-After`."""


def status_of(code: str) -> int:
    """Return the HTTP status of a code."""
    return PROBLEMS[code][0]


def problem_document(code: str, detail: str, request_id: str, **members: object) -> dict[str, Any]:
    """Return the RFC 9457 document of one error."""
    status, title = PROBLEMS[code]
    return {
        "type": f"urn:solver-service:problem:{code}",
        "title": title,
        "status": status,
        "detail": detail,
        "code": code,
        "request_id": request_id,
        **members,
    }


def problem_of(error: SolverServiceError, request_id: str) -> dict[str, Any]:
    """Return the document of an error of ours; input errors say which fields are wrong."""
    if not isinstance(error, InvalidInputError):
        return problem_document(error.code, error.detail, request_id)
    errors = [entry._asdict() for entry in error.errors[:MAX_ERRORS]]
    return problem_document(error.code, error.detail, request_id, errors=errors)
