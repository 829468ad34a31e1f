"""Every error, from whatever layer, as one problem document."""

from __future__ import annotations

from typing import Any

import orjson
from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Match
from starlette.types import Scope

from ..errors import FieldError, InvalidInputError, SolverServiceError
from ..wire import errors as problems
from ..wire.validation import MAX_ERRORS

_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")


def install(app: FastAPI) -> None:
    """Answer all exceptions of handlers and of the router with problem documents."""
    app.add_exception_handler(SolverServiceError, _ours)
    app.add_exception_handler(HTTPException, _of_the_framework)
    app.add_exception_handler(RequestValidationError, _of_parameters)


def problem_response(error: SolverServiceError, request_id: str) -> Response:
    """Return the response for one of our errors."""
    document = problems.problem_of(error, request_id)
    headers = {} if error.retry_after is None else {"Retry-After": str(error.retry_after)}
    return respond(document, headers)


def internal_error(request_id: str) -> Response:
    """Return the response for what should not have happened; it tells nothing of the cause."""
    detail = "something went wrong here; the log has the cause under the request id"
    return respond(problems.problem_document("internal", detail, request_id), {})


def respond(document: dict[str, Any], headers: dict[str, str]) -> Response:
    """Return a problem document as a response."""
    return Response(orjson.dumps(document), document["status"], headers, problems.MEDIA_TYPE)


def request_id(request: Request) -> str:
    """Return the id of the request, which the middleware chose."""
    return str(request.scope.get("request_id", ""))


async def _ours(request: Request, error: Exception) -> Response:
    assert isinstance(error, SolverServiceError)
    if error.code == "internal":
        return internal_error(request_id(request))
    response = problem_response(error, request_id(request))
    if error.code == "unsupported_media_type" and "content-encoding" in request.headers:
        response.headers["Accept-Encoding"] = "identity"
    return response


async def _of_parameters(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    errors = []
    for detail in error.errors()[:MAX_ERRORS]:
        name = ".".join(str(step)[:80] for step in detail["loc"][1:]) or str(detail["loc"][0])
        message = str(detail["msg"]).replace("Input should", "must").replace("String should", "must")
        errors.append(FieldError(name, message))
    first = errors[0]
    return await _ours(request, InvalidInputError(f"{first.field} {first.message}", errors=errors))


async def _of_the_framework(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    id_ = request_id(request)
    match error.status_code:
        case 404:
            detail = "there is nothing at this address; /docs lists all calls"
            return respond(problems.problem_document("not_found", detail, id_), {})
        case 405:
            allowed = ", ".join(allowed_methods(request.app.routes, request.scope))
            detail = f"this address supports {allowed}"
            return respond(problems.problem_document("method_not_allowed", detail, id_), {"Allow": allowed})
    return internal_error(id_)


def allowed_methods(routes: list[BaseRoute], scope: Scope) -> list[str]:
    """Return the methods that some route supports at the path of `scope`."""
    plain = {key: scope[key] for key in ("type", "path", "root_path", "headers", "query_string", "app")}
    found = [
        method
        for method in _METHODS
        if any(route.matches({**plain, "method": method})[0] is Match.FULL for route in routes)
    ]
    return [*found, "HEAD"] if "GET" in found and "HEAD" not in found else found
