"""``/v1/jobs``: solves that are on record from acknowledgement to removal."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, nullcontext
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from fastapi.sse import EventSourceResponse
from starlette.responses import StreamingResponse

from ...jobs import Job, State, solution_name
from ...tasks.jobs import SolutionRequest, export_solution
from ...wire.jobs import job_item
from ...wire.replies import JobPage, JobReply, SolutionReply
from ..events import end_id, job_events, last_event_id
from ..exchange import Exchange
from ..negotiation import JSON, NPY, accept_of, choose
from ..openapi import (
    IDEMPOTENCY_KEY,
    LAST_EVENT_ID,
    LOCATION,
    RESUME_BODY,
    SYSTEM,
    SYSTEM_BODY,
    WORK,
    problems,
)
from ..responses import FileResponse, document_response
from ..services import INTAKE, Services, services_of
from ..spool import in_thread
from ..submission import accept_resumption, accept_system, done, job_response

router = APIRouter(prefix="/v1/jobs", tags=["jobs"])

MAX_WAIT = 60.0


@router.post(
    "",
    summary="Submit a job",
    status_code=202,
    response_model=JobReply,
    responses={
        202: LOCATION,
        **problems(*SYSTEM, *WORK, "unavailable"),
    },
    openapi_extra={"requestBody": SYSTEM_BODY, "parameters": [IDEMPOTENCY_KEY]},
)
async def submit(request: Request) -> Response:
    """Stores the system durably, then answers with the job: from then on it is never lost.

    With an `Idempotency-Key` a retry of the same content gets the same job.
    """
    return await accept_system(request, services_of(request))


@router.get(
    "", summary="List jobs", response_model=JobPage, responses=problems("invalid_request", "unavailable")
)
async def list_jobs(
    request: Request,
    state: Annotated[State | None, Query(description="only jobs in this state")] = None,
    limit: Annotated[int, Query(ge=1, le=500)] = 50,
    cursor: Annotated[
        str | None, Query(max_length=200, description="`next_cursor` of the page before")
    ] = None,
) -> Response:
    """Newest first, without results."""
    host = services_of(request).host
    jobs, following = await host.read(host.table.list, state, limit, cursor)
    positions = await host.read(host.table.positions, jobs)
    items = [job_item(job, positions.get(job.number)) for job in jobs]
    return document_response({"items": items, "next_cursor": following})


@router.get(
    "/{id}",
    summary="One job",
    response_model=JobReply,
    responses=problems("job_not_found", "invalid_request", "unavailable", "queue_full"),
)
async def show(
    request: Request,
    id: str,  # noqa: A002  # its name in the path
    wait: Annotated[
        float, Query(ge=0, le=MAX_WAIT, allow_inf_nan=False, description="seconds to wait for its end")
    ] = 0.0,
) -> Response:
    """With `wait` it answers when the job has ended or the time is up."""
    services = services_of(request)
    return await job_response(services, await _await_end(services, id, wait))


@router.get(
    "/{id}/solution",
    summary="The solution of a job",
    response_model=SolutionReply,
    responses={
        200: {"content": {NPY: {"schema": {"type": "string", "format": "binary"}}}},
        **problems(
            *WORK, "job_not_found", "no_solution", "solution_not_ready", "not_acceptable", "unavailable"
        ),
    },
)
async def solution(request: Request, id: str) -> Response:  # noqa: A002  # its name in the path
    """`x` with the certificate of an inconsistent system, or x alone as a NumPy file."""
    accepted = time.monotonic()
    services = services_of(request)
    wanted = choose(accept_of(request.headers), (JSON, NPY))
    job = await services.host.feed.read(id)
    name = solution_name(job)
    if wanted == NPY:
        file, size = await in_thread(services.host.files.folder(job.id).open_solution, name)
        return FileResponse(file, size, NPY, {"Content-Disposition": f'attachment; filename="{id}.npy"'})
    async with Exchange(request, services) as exchange:
        reply = await exchange.run(
            export_solution,
            SolutionRequest(job.id, name, job.result, exchange.reply_path),
            lane=INTAKE,
            deadline=services.due(accepted, None),
        )
        return await exchange.respond(reply)


@router.get(
    "/{id}/events",
    summary="Follow a job",
    response_class=StreamingResponse,  # not EventSourceResponse: errors would be given its media type too
    responses={
        200: {
            "content": {EventSourceResponse.media_type: {"schema": {"type": "string"}}},
            "description": "Server-sent events",
        },
        204: {"description": "On reconnecting after `end`: there is nothing more"},
        **problems("job_not_found", "unavailable", "queue_full"),
    },
    openapi_extra={"parameters": [LAST_EVENT_ID]},
)
async def events(request: Request, id: str) -> Response:  # noqa: A002  # its name in the path
    """`progress` about twice a second while it runs, `state` when that changes, `end` with the job.

    A client that reconnects with `Last-Event-ID` gets the changes of state and the convergence curve that it
    has missed.
    """
    services = services_of(request)
    job = await services.host.feed.read(id)
    seen = last_event_id(request)
    if not job.active and seen >= end_id(job):
        return Response(status_code=204)
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    if request.scope.get("head"):
        return Response(None, 200, headers, EventSourceResponse.media_type)  # no body to wait for
    stream = job_events(services, job, min(seen, job.revision))
    first = await anext(stream)  # here it may still be refused
    return EventSourceResponse(_put_back(first, stream), 200, headers)


@router.post(
    "/{id}/cancel",
    summary="Stop a job",
    status_code=202,
    response_model=JobReply,
    responses={
        200: {"model": JobReply, "description": "It had ended before; nothing changes"},
        **problems("job_not_found", "unavailable"),
    },
)
async def cancel(request: Request, id: str) -> Response:  # noqa: A002  # its name in the path
    """Stops at the next check; the best x so far stays readable, with its true residual."""
    services = services_of(request)
    host = services.host
    before = await host.feed.read(id)
    job = await done(host.table.request_stop(id))
    host.runner.look()
    host.runner.wake()
    host.feed.poke()
    stopped = job.active or (before.active and job.state is State.CANCELLED)
    return await job_response(services, job, 202 if stopped else 200)


@router.post(
    "/{id}/resume",
    summary="Go on with a job that has ended",
    status_code=202,
    response_model=JobReply,
    responses={
        202: LOCATION,
        **problems(
            "malformed_json",
            "job_not_found",
            "matrix_not_found",
            "request_timeout",
            "no_solution",
            "idempotency_conflict",
            "job_active",
            "payload_too_large",
            "unsupported_media_type",
            "invalid_request",
            "unavailable",
            "queue_full",
            "shutting_down",
            "out_of_memory",
        ),
    },
    openapi_extra={"requestBody": RESUME_BODY, "parameters": [IDEMPOTENCY_KEY]},
)
async def resume(request: Request, id: str) -> Response:  # noqa: A002  # its name in the path
    """A new job that goes on from the saved state, with other limits or another tolerance.

    `max_epochs` counts the earlier work, `time_limit` does not.
    """
    return await accept_resumption(request, services_of(request), id)


@router.delete(
    "/{id}",
    summary="Remove a job",
    status_code=204,
    response_class=Response,
    responses=problems("job_not_found", "job_active", "unavailable"),
)
async def delete(request: Request, id: str) -> Response:  # noqa: A002  # its name in the path
    """Removes an ended job and its solution."""
    host = services_of(request).host
    job = await done(host.table.delete(id))
    await in_thread(host.files.remove, job.id)
    host.feed.poke()
    return Response(status_code=204)


async def _put_back(first: bytes, stream: AsyncGenerator[bytes]) -> AsyncIterator[bytes]:
    async with aclosing(stream):
        yield first
        async for event in stream:
            yield event


async def _await_end(services: Services, id_: str, seconds: float) -> Job:
    feed = services.host.feed
    end = time.monotonic() + seconds
    job = await feed.read(id_)
    with feed.guest() if job.active and seconds > 0.0 else nullcontext():
        while job.active and time.monotonic() < end and not services.signal.stopping:
            await feed.wait(id_, job.revision, end - time.monotonic())
            job = await feed.read(id_)
    return job
