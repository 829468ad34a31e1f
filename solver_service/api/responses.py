"""Responses that FastAPI does not have: JSON of ours, and an open file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, BinaryIO

from pydantic import BaseModel
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from ..wire.jobs import encode
from .spool import in_thread

CHUNK_BYTES = 1 << 18


def json_response(
    document: BaseModel, status: int = 200, headers: Mapping[str, str] | None = None
) -> Response:
    """Return a reply document as a response; times are RFC 3339 in UTC."""
    return document_response(document.model_dump(), status, headers)


def document_response(
    document: Mapping[str, Any], status: int = 200, headers: Mapping[str, str] | None = None
) -> Response:
    """Return a document of plain values as a response; times are RFC 3339 in UTC."""
    return Response(encode(document), status, headers, "application/json")


class FileResponse(Response):
    """Sends an open file and closes it.

    Parameters
    ----------
    file : binary file
        At its start.
    size : int
        Bytes to send.
    media_type : str
    headers : mapping, optional
    """

    def __init__(
        self, file: BinaryIO, size: int, media_type: str, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(None, 200, {**(headers or {}), "Content-Length": str(size)}, media_type)
        self._file = file

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the response (ASGI)."""
        del scope, receive
        try:
            await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
            while chunk := await in_thread(self._file.read, CHUNK_BYTES):
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        finally:
            self._file.close()
