"""Text, plain or gzip, read as whole lines and counted against the limits as it is decompressed."""

from __future__ import annotations

import gzip
import zlib
from contextlib import ExitStack
from types import TracebackType
from typing import IO, Self, cast

from ..limits import Limits
from .source import Kind, Source, malformed

_BLOCK = 1 << 18
_MAX_LINE = 1 << 20


class TextReader:
    """A context manager that hands out lines, or blocks of whole lines; each ends with a newline.

    A gzip stream is decompressed block by block, so a bomb is refused when it passes `Limits.max_bytes` (or
    `most`, once its header has told how long it may be) without having been stored anywhere.
    """

    def __init__(self, source: Source, kind: Kind, limits: Limits, field: str) -> None:
        self.most: int | None = None
        self._limits = limits
        self._field = field
        self._text = b""
        self._position = 0  # in _text, of the first byte not yet handed out
        self._count = 0
        self._closing = ExitStack()
        self._stream: IO[bytes] = self._closing.enter_context(source.open())
        if kind is Kind.GZIP:
            unpacked = gzip.GzipFile(fileobj=self._stream, mode="rb")
            self._stream = cast(IO[bytes], self._closing.enter_context(unpacked))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closing.close()

    @property
    def count(self) -> int:
        """Bytes of text read so far."""
        return self._count

    def line(self) -> bytes:
        """Return the next line, empty at the end."""
        while (end := self._text.find(b"\n", self._position) + 1) == 0:
            if not self._fill():
                return self._rest()
        line = self._text[self._position : end]
        self._position = end
        return line

    def block(self) -> bytes:
        """Return some hundred kilobytes of whole lines, empty at the end."""
        while self._fill():
            end = self._text.rfind(b"\n") + 1
            if end:
                self._position = end
                return self._text[:end]
        return self._rest()

    def _rest(self) -> bytes:
        rest, self._text, self._position = self._text[self._position :], b"", 0
        return rest if rest.endswith(b"\n") or not rest else rest + b"\n"

    def _fill(self) -> bool:
        """Drop what was handed out and add what is next in the file; False at its end."""
        self._text, self._position = self._text[self._position :], 0
        if len(self._text) > _MAX_LINE:
            malformed(self._field, f"has a line longer than {_MAX_LINE:,} bytes")
        try:
            chunk = self._stream.read(_BLOCK)
        except EOFError:
            malformed(self._field, "is a gzip file that ends early; it seems to be truncated")
        except (gzip.BadGzipFile, zlib.error):
            malformed(self._field, "is a damaged gzip file")
        self._count += len(chunk)
        self._limits.check_bytes(self._count, self._field)
        if self.most is not None and self._count > self.most:
            malformed(self._field, "is far longer than the entries it declares can make it")
        self._text += chunk
        return bool(chunk)
