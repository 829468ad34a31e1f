"""``/v1/matrices``: matrices stored once, by content."""

from __future__ import annotations

import time
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from ...errors import FieldError, InvalidInputError, MalformedMultipartError
from ...methods import Tuning
from ...storage import FORMAT, MatrixRecord, MatrixStore
from ...tasks.learning import newest_version
from ...tasks.matrices import ExportRequest, StoreRequest, export_matrix, store_matrix
from ...wire.replies import MatrixPage, MatrixReply, PartReply, PreparedReply, PropertiesReply
from ..exchange import Exchange
from ..negotiation import FILE_TYPES, JSON, MULTIPART, NPZ, OCTETS, accept_of, choose, media_type
from ..openapi import MATRIX_BODY, READING, WORK, problems
from ..responses import json_response
from ..services import INTAKE, services_of
from ..spool import in_thread
from ..submission import done

router = APIRouter(prefix="/v1/matrices", tags=["matrices"])

BODY_TYPES = FILE_TYPES | {JSON, MULTIPART}
PARTS = frozenset({"matrix"})


@router.post(
    "",
    summary="Store a matrix",
    status_code=201,
    response_model=MatrixReply,
    responses={
        200: {
            "model": MatrixReply,
            "description": "The same content was stored before; its first name stays",
        },
        **problems(*READING, *WORK),
    },
    openapi_extra={"requestBody": MATRIX_BODY},
)
async def store(
    request: Request,
    name: Annotated[str | None, Query(max_length=200, description="what people call it")] = None,
) -> Response:
    """Stores a matrix under the hash of its content: JSON, a multipart part `matrix`, or the file itself."""
    accepted = time.monotonic()
    services = services_of(request)
    if name is not None and not name.isprintable():
        message = "must be printable"
        raise InvalidInputError(f"name {message}", errors=[FieldError("name", message)])
    kind, boundary = media_type(request.headers, BODY_TYPES)
    async with Exchange(request, services) as exchange:
        parts = await exchange.receive(kind, boundary, PARTS)
        if not parts:
            raise MalformedMultipartError("the part matrix is missing")
        content = parts["matrix" if kind == MULTIPART else "body"]
        # Not stopped when the client hangs up: it is stored under the same id when it is sent again.
        stored = await exchange.run(
            store_matrix,
            StoreRequest(content, name, must_be_json=kind == JSON),
            lane=INTAKE,
            deadline=services.due(accepted, services.settings.max_deadline),
            stop_on_hang_up=False,
        )
    document = await in_thread(matrix_reply, services.store, stored.record)
    return json_response(
        document, 201 if stored.created else 200, {"Location": f"/v1/matrices/{document.id}"}
    )


@router.get(
    "", summary="List the stored matrices", response_model=MatrixPage, responses=problems("invalid_request")
)
async def list_matrices(
    request: Request,
    limit: Annotated[int, Query(ge=1, le=500)] = 50,
    cursor: Annotated[
        str | None, Query(max_length=200, description="`next_cursor` of the page before")
    ] = None,
) -> Response:
    """Newest first."""
    return json_response(await in_thread(_page, services_of(request).store, limit, cursor))


@router.get(
    "/{id}", summary="One stored matrix", response_model=MatrixReply, responses=problems("matrix_not_found")
)
async def show(request: Request, id: str) -> Response:  # noqa: A002  # its name in the path
    """What is known of a matrix."""
    store = services_of(request).store
    return json_response(await in_thread(lambda: matrix_reply(store, store.get(id))))


@router.delete(
    "/{id}",
    summary="Remove a stored matrix",
    status_code=204,
    response_class=Response,
    responses=problems("matrix_not_found", "matrix_in_use"),
)
async def delete(request: Request, id: str) -> Response:  # noqa: A002  # its name in the path
    """Refused while a job needs it. Solves that are running with it are not disturbed."""
    services = services_of(request)
    await done(services.host.table.remove_matrix(id, lambda: services.store.take_away(id)))
    return Response(status_code=204)


@router.get(
    "/{id}/content",
    summary="The matrix itself",
    response_class=Response,
    responses={
        200: {"content": {NPZ: {"schema": {"type": "string", "format": "binary"}}}},
        **problems(*WORK, "matrix_not_found", "not_acceptable"),
    },
)
async def content(request: Request, id: str) -> Response:  # noqa: A002  # its name in the path
    """A file that `scipy.sparse.load_npz` reads."""
    accepted = time.monotonic()
    services = services_of(request)
    wanted = choose(accept_of(request.headers), (NPZ, OCTETS))
    async with Exchange(request, services) as exchange:
        reply = await exchange.run(
            export_matrix,
            ExportRequest(id, wanted, exchange.reply_path),
            lane=INTAKE,
            deadline=services.due(accepted, None),
        )
        return await exchange.respond(reply, {"Content-Disposition": f'attachment; filename="{id}.npz"'})


def _page(store: MatrixStore, limit: int, cursor: str | None) -> MatrixPage:
    records, following = store.list(limit, cursor)
    return MatrixPage(items=[matrix_reply(store, record) for record in records], next_cursor=following)


def matrix_reply(store: MatrixStore, record: MatrixRecord) -> MatrixReply:
    """Return what is told of a stored matrix."""
    usage, parts = store.usage_of(record), store.prepared.parts(record.id)
    version = newest_version(store.prepared, record.id)
    prepared = PreparedReply(
        format=FORMAT,
        bytes=sum(part.bytes for part in parts),
        parts=[PartReply(name=part.name, bytes=part.bytes) for part in parts],
        tuning=Tuning(version).label if version else None,
    )
    return MatrixReply(
        id=record.id,
        name=record.name,
        shape=list(record.shape),
        nnz=record.nnz,
        bytes=record.bytes,
        created_at=record.created_at,
        last_used_at=usage.last_used,
        uses=usage.uses,
        properties=PropertiesReply(
            **{name: record.properties.get(name) for name in PropertiesReply.model_fields}
        ),
        prepared=prepared if parts else None,
    )
