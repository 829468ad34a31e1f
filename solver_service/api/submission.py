"""Taking a job in: on record, down to the disk, before it is acknowledged."""

from __future__ import annotations

import asyncio
import re
import secrets
import time
from concurrent.futures import Future
from contextlib import AbstractContextManager, suppress
from dataclasses import replace
from types import TracebackType
from typing import Any, TypeVar

from starlette.requests import Request
from starlette.responses import Response

from ..errors import (
    ConflictError,
    FieldError,
    InvalidInputError,
    JobActiveError,
    MatrixNotFoundError,
    NotFoundError,
    QueueFullError,
    UnavailableError,
)
from ..jobs import Job, NewJob, Spec
from ..methods import Options
from ..storage import Incoming
from ..tasks.jobs import SubmitRequest, submit_job
from ..wire.documents import ResumeBody
from ..wire.jobs import job_document, resume_digest
from ..wire.systems import SYSTEM_PARTS
from ..wire.validation import in_options, parse_json
from .exchange import Exchange
from .middleware import has_body
from .negotiation import JSON, MULTIPART, media_type
from .responses import document_response
from .services import INTAKE, Services
from .spool import in_thread, to_the_end

SYSTEM_TYPES = frozenset({JSON, MULTIPART})
MAX_RESUME_BYTES = 64 * 1024
_KEY = re.compile(r"[\x21-\x7e][\x20-\x7e]{0,253}[\x21-\x7e]|[\x21-\x7e]")

T = TypeVar("T")


async def accept_system(
    request: Request, services: Services, headers: dict[str, str] | None = None
) -> Response:
    """Make a job of the system in the body, and answer 202."""
    accepted = time.monotonic()
    key = idempotency_key(request)
    kind, boundary = media_type(request.headers, SYSTEM_TYPES)
    async with Exchange(request, services) as exchange:
        parts = await exchange.receive(kind, boundary, SYSTEM_PARTS)
        async with _Folder(services) as folder:
            # Not stopped when the client hangs up: whether it was acknowledged is for it to find out.
            submitted = await exchange.run(
                submit_job,
                SubmitRequest(parts, folder.path),
                lane=INTAKE,
                deadline=services.due(accepted, services.settings.max_deadline),
                stop_on_hang_up=False,
            )
            new = NewJob(
                id=_new_id(), spec=submitted.spec, size=submitted.size, digest=submitted.digest, key=key
            )
            return await _put_on_record(services, folder, new, headers)


async def accept_resumption(request: Request, services: Services, id_: str) -> Response:
    """Make a job that goes on from the state of one that has ended, and answer 202."""
    key = idempotency_key(request)
    changes = await _resume_body(request, services)
    old = await services.host.read(services.host.table.get, id_)
    if old.active:
        raise JobActiveError("only a job that has ended can be resumed; cancel it first")
    options = {**old.spec.options, **changes.options}
    with in_options():
        Options.from_mapping(options)
    spec = replace(
        old.spec,
        options=options,
        priority=old.spec.priority if changes.priority is None else changes.priority,
        deadline=changes.deadline,
        resumed_from=old.id,
        seconds_before=0.0 if old.progress is None else float(old.progress["seconds"]),
    )
    asked: dict[str, Any] = changes.model_dump(exclude_none=True)
    async with _Folder(services) as folder:
        await in_thread(folder.take_over, services.host.files.folder(old.id))
        size = await in_thread(folder.size)
        new = NewJob(id=_new_id(), spec=spec, size=size, digest=resume_digest(old.id, asked), key=key)
        return await _put_on_record(services, folder, new)


async def done(future: Future[T]) -> T:
    """Wait for a write to the database: the folder that it is about stays locked until then."""
    return await to_the_end(asyncio.wrap_future(future))


async def job_response(
    services: Services, job: Job, status: int = 200, headers: dict[str, str] | None = None
) -> Response:
    """Return the document of a job as a response."""
    position = None
    with suppress(UnavailableError):  # what is on record is to be told all the same
        position = await services.host.read(services.host.table.position, job) if job.active else None
    return document_response(job_document(job, position), status, headers)


def idempotency_key(request: Request) -> str | None:
    """Return the Idempotency-Key of a request."""
    keys = request.headers.getlist("idempotency-key")
    if not keys:
        return None
    if len(keys) > 1 or _KEY.fullmatch(keys[0]) is None:
        message = "must be one value of 1 to 255 printable ASCII characters"
        raise InvalidInputError(f"Idempotency-Key {message}", errors=[FieldError("Idempotency-Key", message)])
    return keys[0]


async def _put_on_record(
    services: Services, folder: Incoming, new: NewJob, headers: dict[str, str] | None = None
) -> Response:
    host = services.host
    await in_thread(folder.publish, new.id)
    adding = host.table.add(
        new,
        most_queued=services.settings.max_queued_jobs,
        matrix_exists=lambda: _exists(services, new.spec),
    )
    try:
        job, created = await done(adding)
    except (ConflictError, NotFoundError, QueueFullError):
        await in_thread(host.files.remove, new.id)
        raise
    # After any other failure it may be on record all the same; if not, the sweeper removes its files.
    if not created:
        await in_thread(host.files.remove, new.id)
    host.runner.wake()
    host.feed.poke()
    return await job_response(services, job, 202, {**(headers or {}), "Location": f"/v1/jobs/{job.id}"})


def _exists(services: Services, spec: Spec) -> bool:
    try:
        services.store.get(spec.matrix_id)
    except MatrixNotFoundError:
        return False
    services.store.touch(spec.matrix_id)
    return True


async def _resume_body(request: Request, services: Services) -> ResumeBody:
    async with Exchange(request, services) as exchange:
        if not has_body(request.scope):
            return ResumeBody()
        kind, boundary = media_type(request.headers, frozenset({JSON}))
        parts = await exchange.receive(kind, boundary, frozenset(), limit=MAX_RESUME_BYTES)
        content = parts["body"]
        assert isinstance(content, bytes)
        return parse_json(ResumeBody, content) if content.strip() else ResumeBody()


def _new_id() -> str:
    return f"job_{secrets.token_hex(16)}"


class _Folder:
    """The locked folder of a job that is on its way in."""

    def __init__(self, services: Services) -> None:
        self._receiving: AbstractContextManager[Incoming] = services.host.files.receive()

    async def __aenter__(self) -> Incoming:
        return await in_thread(self._receiving.__enter__)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await in_thread(self._receiving.__exit__, None, None, None)
