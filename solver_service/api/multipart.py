"""A streaming reader of multipart/form-data: known parts only, each at most once, nothing unbounded."""

from __future__ import annotations

from collections.abc import Callable

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from ..errors import FieldError, MalformedMultipartError
from ..wire.systems import Content
from .buffer import Buffer

_MAX_HEADERS = 8
_MAX_HEADER_BYTES = 1024
_AS_IS = (b"binary", b"8bit", b"7bit")


class MultipartSink:
    """Takes a multipart body piece by piece and keeps each part in a buffer of its own.

    Parameters
    ----------
    boundary : str
        From the Content-Type.
    names : frozenset of str
        The parts that may come.
    new_buffer : callable
        Makes the buffer of a part.
    """

    def __init__(self, boundary: str, names: frozenset[str], new_buffer: Callable[[], Buffer]) -> None:
        if not boundary:
            raise MalformedMultipartError("the Content-Type names no boundary")
        self._names = names
        self._new_buffer = new_buffer
        self._buffers: dict[str, Buffer] = {}
        self._current: Buffer | None = None
        self._headers: dict[bytes, bytes] = {}
        self._header_name = b""
        self._header_value = b""
        self._ended = False
        try:
            self._parser = MultipartParser(
                boundary.encode("latin-1"),
                {
                    "on_part_begin": self._begin_part,
                    "on_header_field": self._add_header_name,
                    "on_header_value": self._add_header_value,
                    "on_header_end": self._end_header,
                    "on_headers_finished": self._open_part,
                    "on_part_data": self._add_data,
                    "on_end": self._end,
                },
                max_header_count=_MAX_HEADERS,
                max_header_size=_MAX_HEADER_BYTES,
            )
        except FormParserError:
            raise MalformedMultipartError("the boundary is too long") from None

    def write(self, data: bytes) -> None:
        """Take the next piece of the body."""
        try:
            self._parser.write(data)
        except FormParserError:
            raise MalformedMultipartError("the body is not valid multipart/form-data") from None

    def finish(self) -> dict[str, Content]:
        """Return the parts by name; the files stay the caller's to discard."""
        if not self._ended:
            raise MalformedMultipartError("the body ends before its closing boundary")
        return {name: buffer.finish() for name, buffer in self._buffers.items()}

    def discard(self) -> None:
        """Remove all files."""
        for buffer in self._buffers.values():
            buffer.discard()

    @property
    def on_disk(self) -> bool:
        """Whether a part has become a file."""
        return any(buffer.on_disk for buffer in self._buffers.values())

    def _begin_part(self) -> None:
        self._headers = {}

    def _add_header_name(self, data: bytes, start: int, end: int) -> None:
        self._header_name += data[start:end]

    def _add_header_value(self, data: bytes, start: int, end: int) -> None:
        self._header_value += data[start:end]

    def _end_header(self) -> None:
        self._headers[self._header_name.lower()] = self._header_value
        self._header_name = self._header_value = b""

    def _open_part(self) -> None:
        kind, options = parse_options_header(self._headers.get(b"content-disposition", b"").decode("latin-1"))
        name = options.get(b"name", b"").decode("latin-1")
        if kind != b"form-data" or not name:
            raise MalformedMultipartError("a part has no Content-Disposition: form-data with a name")
        if self._headers.get(b"content-transfer-encoding", b"binary").lower() not in (
            b"binary",
            b"8bit",
            b"7bit",
        ):
            raise MalformedMultipartError(
                "Content-Transfer-Encoding is not supported; send the bytes as they are"
            )
        if name not in self._names:
            shown = name[:40]
            raise MalformedMultipartError(
                f"there is an unknown part {shown!r}; known are {', '.join(sorted(self._names))}",
                errors=[FieldError(shown, "is not a part of this call")],
            )
        if name in self._buffers:
            raise MalformedMultipartError(f"the part {name} comes twice")
        self._current = self._buffers[name] = self._new_buffer()

    def _add_data(self, data: bytes, start: int, end: int) -> None:
        if self._current is not None:
            self._current.write(data[start:end])

    def _end(self) -> None:
        self._ended = True
