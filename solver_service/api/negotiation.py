"""Content types in both directions: what a body is, and which reply the client takes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from python_multipart.multipart import parse_options_header
from starlette.datastructures import Headers

from ..errors import NotAcceptableError, UnsupportedMediaTypeError

JSON: Final = "application/json"
MULTIPART: Final = "multipart/form-data"
NPY: Final = "application/x-npy"
NPZ: Final = "application/x-npz"
OCTETS: Final = "application/octet-stream"

FILE_TYPES: Final = frozenset(
    {
        "",
        "application/octet-stream",
        "application/gzip",
        "application/x-gzip",
        "application/zip",
        NPZ,
        NPY,
        "application/x-www-form-urlencoded",  # what `curl --data-binary` says unless told otherwise
        "text/plain",
        "text/x-matrix-market",
        "application/x-matrix-market",
    }
)
"""Types under which a matrix file may come; its content decides what it is."""


def media_type(headers: Mapping[str, str], accepted: Sequence[str] | frozenset[str]) -> tuple[str, str]:
    """Return the body's media type and its multipart boundary ("" if none).

    Raises
    ------
    UnsupportedMediaTypeError
        If the type is not in `accepted`, or the body is compressed, or in a charset other than UTF-8.
    """
    encoding = headers.get("content-encoding", "identity").strip().lower()
    if encoding not in ("", "identity"):
        raise UnsupportedMediaTypeError(
            "Content-Encoding is not supported: send the body as it is (a Matrix Market file may be a .gz)"
        )
    kind, options = parse_options_header(headers.get("content-type"))
    name = kind.decode("latin-1").strip()
    charset = options.get(b"charset", b"utf-8").decode("latin-1").strip().lower()
    if name not in accepted or (name == JSON and charset not in ("utf-8", "utf8", "us-ascii")):
        listed = ", ".join(sorted(item for item in accepted if item and not item.endswith("urlencoded")))
        raise UnsupportedMediaTypeError(f"the Content-Type must be one of {listed}")
    return name, options.get(b"boundary", b"").decode("latin-1")


def accept_of(headers: Headers) -> str:
    """Return the Accept header, put together if it came in several lines."""
    return ", ".join(headers.getlist("accept"))


def choose(accept: str, offered: Sequence[str]) -> str:
    """Return the offered media type that an Accept header likes best; the first offered wins a tie.

    Raises
    ------
    NotAcceptableError
        If it likes none of them.
    """
    if not accept.strip():
        return offered[0]
    ranges = [_media_range(item) for item in accept.split(",") if item.strip()]
    quality = {kind: _quality(kind, ranges) for kind in offered}
    best = max(offered, key=lambda kind: quality[kind])
    if quality[best] <= 0.0:
        raise NotAcceptableError(f"this call can answer with {' or '.join(offered)}")
    return best


def _media_range(text: str) -> tuple[str, float]:
    name, *parameters = (part.strip().lower() for part in text.split(";"))
    for parameter in parameters:
        key, _, value = parameter.partition("=")
        if key.strip() == "q":
            return name, _number(value.strip())
    return name, 1.0


def _number(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        return 0.0
    return value if 0.0 <= value <= 1.0 else 0.0


def _quality(kind: str, ranges: Sequence[tuple[str, float]]) -> float:
    group = kind.partition("/")[0] + "/*"
    for wanted in (kind, group, "*/*"):  # the most specific range decides
        found = [quality for name, quality in ranges if name == wanted]
        if found:
            return max(found)
    return 0.0


def prefers_async(headers: Headers) -> bool:
    """Whether a Prefer header asks for an answer before the work is done (RFC 7240)."""
    preferences = ",".join(headers.getlist("prefer")).split(",")
    return any(item.partition(";")[0].strip().lower() == "respond-async" for item in preferences)
