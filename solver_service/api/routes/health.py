"""``/health``: is the process alive, and can it solve now."""

from __future__ import annotations

import asyncio

from fastapi import APIRouter, Request, Response

from ...errors import OutOfMemoryError, ShuttingDownError, UnavailableError, WorkerLostError
from ...wire.replies import HealthReply
from ..openapi import problems
from ..responses import json_response
from ..services import services_of

PING_SECONDS = 3.0

router = APIRouter(prefix="/health", tags=["health"])


@router.get("/live", summary="Is the process alive?", response_model=HealthReply)
async def live() -> Response:
    """Answers 200 as long as the event loop turns."""
    return json_response(HealthReply(status="alive"))


@router.get(
    "/ready",
    summary="Can it solve now?",
    response_model=HealthReply,
    responses=problems("unavailable", "shutting_down", "worker_lost", "out_of_memory"),
)
async def ready(request: Request) -> Response:
    """Answers 200 when all workers are warm, storage can be written and the database answers, else 503."""
    services = services_of(request)
    if services.signal.stopping:
        raise ShuttingDownError("the service is stopping")
    if not services.pool.ready:
        raise WorkerLostError("the workers are not all warm yet")
    if not await services.storage_writable():
        raise OutOfMemoryError("the data folder cannot be written", retry_after=30)
    try:
        async with asyncio.timeout(PING_SECONDS):
            await services.host.read(services.host.table.ping)
    except TimeoutError:
        raise UnavailableError("the database does not answer") from None
    return json_response(HealthReply(status="ready"))
