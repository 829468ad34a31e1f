"""Where bytes come from, and what they are."""

from __future__ import annotations

import io
from dataclasses import dataclass
from enum import Enum, auto
from pathlib import Path
from typing import BinaryIO, NoReturn

from ...errors import FieldError, MalformedMatrixError

BYTE_ORDER_MARK = b"\xef\xbb\xbf"
RECOGNISED = "recognised are Matrix Market (plain or gzip), SciPy .npz and NumPy .npy, by their content"

# Deflate cannot expand more than this; so a compressed size bounds what an archive can truthfully declare.
MAX_EXPANSION = 1032


class Kind(Enum):
    """A file format, told by the first bytes."""

    MATRIX_MARKET = auto()
    GZIP = auto()
    NPZ = auto()
    NPY = auto()


@dataclass(frozen=True, slots=True)
class Source:
    """Bytes in memory or a file; opened afresh for each pass."""

    content: Path | bytes

    def open(self) -> BinaryIO:
        """Open at the beginning."""
        return io.BytesIO(self.content) if isinstance(self.content, bytes) else self.content.open("rb")

    @property
    def size(self) -> int:
        """Number of bytes, as stored."""
        return len(self.content) if isinstance(self.content, bytes) else self.content.stat().st_size

    def kind(self, field: str) -> Kind:
        """Recognise the format, or raise `MalformedMatrixError` that says which there are."""
        with self.open() as stream:
            start = stream.read(64)
        if not start:
            malformed(field, f"is empty; {RECOGNISED}")
        if start.startswith(b"\x1f\x8b"):
            return Kind.GZIP
        if start.startswith((b"PK\x03\x04", b"PK\x05\x06")):
            return Kind.NPZ
        if start.startswith(b"\x93NUMPY"):
            return Kind.NPY
        if not is_matrix_market(start):
            malformed(field, f"is of no known format; {RECOGNISED}")
        return Kind.MATRIX_MARKET


def is_matrix_market(start: bytes) -> bool:
    """Tell whether text begins with the Matrix Market banner."""
    return start.removeprefix(BYTE_ORDER_MARK).lower().startswith(b"%%matrixmarket")


def malformed(field: str, message: str) -> NoReturn:
    """Raise `MalformedMatrixError` saying that `field` `message`."""
    raise MalformedMatrixError(f"{field} {message}", errors=[FieldError(field, message)])
