"""The life of a job as server-sent events."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any

from fastapi.sse import format_sse_event
from starlette.requests import Request

from ..errors import JobNotFoundError
from ..jobs import Job
from ..jobs import log as job_log
from ..wire.jobs import encode, job_document
from .services import Services

_KEEP_ALIVE_SECONDS = 15.0
_ID = re.compile(r"[0-9]{1,18}", re.ASCII)
_RETRY_MILLISECONDS = 1000


def last_event_id(request: Request) -> int:
    """Return what a reconnecting client has seen last, 0 for nothing."""
    text = request.headers.get("last-event-id", "").strip()
    return int(text) if _ID.fullmatch(text) else 0


def end_id(job: Job) -> int:
    """Return the id of the `end` of an ended job: the one after its last change."""
    return job.revision + 1


async def job_events(services: Services, job: Job, seen: int) -> AsyncGenerator[bytes]:
    """Yield what comes after event `seen`, until the end of the job or of the service.

    Raises
    ------
    QueueFullError
        At the first event, if too many clients are waiting.
    """
    with services.host.feed.guest():
        async for event in _events(services, job, seen):
            yield event


async def _events(services: Services, job: Job, seen: int) -> AsyncIterator[bytes]:
    yield format_sse_event(retry=_RETRY_MILLISECONDS)
    feed = services.host.feed
    while True:
        for revision, kind, data in job_log.since(job.log, seen):
            yield _event(kind, revision, data)
        if not job.active:
            yield _event("end", end_id(job), job_document(job, None))
            return
        seen = job.revision
        while job.revision == seen:
            await feed.wait(job.id, job.revision, _KEEP_ALIVE_SECONDS)
            if services.signal.stopping:
                return
            try:
                job = await feed.read(job.id)
            except JobNotFoundError:
                return
            if job.revision == seen:
                yield format_sse_event(comment="waiting")


def _event(kind: str, id_: int, data: Any) -> bytes:
    return format_sse_event(event=kind, id=str(id_), data_str=encode(data).decode())
