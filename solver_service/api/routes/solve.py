"""``/v1/solve``: a system in, its solution out."""

from __future__ import annotations

import time
from collections.abc import Mapping

from fastapi import APIRouter, Request, Response

from ...tasks.solve import SolveRequest, solve
from ...wire.deadlines import find_deadline
from ...wire.replies import ResultReply
from ...wire.systems import SYSTEM_PARTS, Content
from ..exchange import Exchange
from ..negotiation import JSON, MULTIPART, NPZ, accept_of, choose, media_type
from ..openapi import SYSTEM_BODY, problems
from ..services import services_of
from ..spool import in_thread

router = APIRouter(prefix="/v1", tags=["solve"])

BODY_TYPES = frozenset({JSON, MULTIPART})


@router.post(
    "/solve",
    summary="Solve a system",
    response_model=ResultReply,
    responses={
        200: {"content": {NPZ: {"schema": {"type": "string", "format": "binary"}}}},
        **problems(
            "malformed_json",
            "malformed_matrix",
            "malformed_multipart",
            "matrix_not_found",
            "not_acceptable",
            "request_timeout",
            "payload_too_large",
            "unsupported_media_type",
            "invalid_request",
            "dimension_mismatch",
            "index_out_of_range",
            "non_finite",
            "unknown_method",
            "method_not_applicable",
            "resource_limit",
            "queue_full",
            "shutting_down",
            "worker_lost",
            "out_of_memory",
        ),
    },
    openapi_extra={"requestBody": SYSTEM_BODY},
)
async def solve_system(request: Request) -> Response:
    """Solves A x = b and answers with the result, whatever its status; nothing is stored.

    A client that hangs up stops the solve. With `Accept: application/x-npz` the reply is a zip with `x.npy`
    and `result.json`.
    """
    accepted = time.monotonic()
    services = services_of(request)
    wanted = choose(accept_of(request.headers), (JSON, NPZ))
    kind, boundary = media_type(request.headers, BODY_TYPES)
    async with Exchange(request, services) as exchange:
        parts = await exchange.receive(kind, boundary, SYSTEM_PARTS)
        deadline = services.due(accepted, await _deadline(parts))
        task = SolveRequest(parts, accepted, wanted, exchange.reply_path)
        return await exchange.respond(await exchange.run(solve, task, lane="solve", deadline=deadline))


async def _deadline(parts: Mapping[str, Content]) -> float | None:
    if all(isinstance(part, bytes) for part in parts.values()):
        return find_deadline(parts)
    return await in_thread(find_deadline, parts)
