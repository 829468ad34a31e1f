"""``/v1/solve``: a system in, its solution out."""

from __future__ import annotations

import time
from collections.abc import Mapping

from fastapi import APIRouter, Request, Response

from ...tasks.solve import SolveRequest, solve
from ...wire.glimpse import Glimpse, glimpse
from ...wire.replies import JobReply, ResultReply
from ...wire.systems import SYSTEM_PARTS, Content
from ..exchange import Exchange
from ..negotiation import JSON, NPZ, accept_of, choose, media_type, prefers_async
from ..openapi import IDEMPOTENCY_KEY, LOCATION, PREFER, SYSTEM, SYSTEM_BODY, WORK, problems
from ..services import SOLVE, services_of
from ..spool import in_thread
from ..submission import SYSTEM_TYPES, accept_system

router = APIRouter(prefix="/v1", tags=["solve"])


@router.post(
    "/solve",
    summary="Solve a system",
    response_model=ResultReply,
    responses={
        200: {"content": {NPZ: {"schema": {"type": "string", "format": "binary"}}}},
        202: {**LOCATION, "model": JobReply, "description": "With `Prefer: respond-async`: the job"},
        **problems(*SYSTEM, *WORK, "not_acceptable", "unavailable"),
    },
    openapi_extra={"requestBody": SYSTEM_BODY, "parameters": [PREFER, IDEMPOTENCY_KEY]},
)
async def solve_system(request: Request) -> Response:
    """Solves A x = b and answers with the result, whatever its status; nothing is stored.

    A client that hangs up stops the solve. Requests that wait for the same stored matrix are solved together,
    each as it would be alone; `shared` tells how many they were. With `Prefer: respond-async` it becomes a
    job instead. With `Accept: application/x-npz` the reply is a zip with `x.npy` and `result.json`.
    """
    accepted = time.monotonic()
    services = services_of(request)
    if prefers_async(request.headers):
        return await accept_system(request, services, {"Preference-Applied": "respond-async"})
    wanted = choose(accept_of(request.headers), (JSON, NPZ))
    kind, boundary = media_type(request.headers, SYSTEM_TYPES)
    async with Exchange(request, services) as exchange:
        parts = await exchange.receive(kind, boundary, SYSTEM_PARTS)
        seen = await _glimpse(parts)
        reply = await exchange.run_shared(
            solve,
            SolveRequest(parts, accepted, wanted, exchange.reply_path),
            lane=SOLVE,
            key=seen.shareable,
            deadline=services.due(accepted, seen.deadline),
            priority=seen.priority,
        )
        return await exchange.respond(reply)


async def _glimpse(parts: Mapping[str, Content]) -> Glimpse:
    if all(isinstance(part, bytes) for part in parts.values()):
        return glimpse(parts)
    return await in_thread(glimpse, parts)
