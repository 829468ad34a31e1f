"""Matrix Market: https://math.nist.gov/MatrixMarket/formats.html.

SciPy's parser is fast, but trusts its input: it reads ``1.5D+05`` as 1.5 and an integer ``5.5`` as 5, ignores
what follows on a line, and some files with NUL bytes or without a final newline crash the process (one is in
scipy#19949). So every line is matched against the grammar first, and the parser is given a header of our
making followed by lines that matched.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import IO, Any, NamedTuple, NoReturn, cast

import numpy as np
from numpy.typing import NDArray
from scipy.io import mmread

from ...errors import (
    FieldError,
    IndexOutOfRangeError,
    InvalidInputError,
    MalformedMatrixError,
    NonFiniteError,
)
from ..checks import FloatArray, check_shape, fail
from ..limits import Limits
from .source import BYTE_ORDER_MARK, MAX_EXPANSION, Kind, Source, is_matrix_market, malformed
from .text import TextReader

_MAX_HEADER = 1 << 22
_ROOM = 1 << 26  # bytes of comments and blank lines that any file may have
_ROOM_PER_ENTRY = 256

_INDICES = rb"\d++[ \t]++\d++"
_REAL = rb"-?+(?>\d++(?:\.\d*+)?+|\.\d++)(?:[eE][+-]?+\d++)?+"
_INTEGER = rb"-?+\d++"
_NOT_FINITE = re.compile(rb"[+-]?(nan|inf|infinity)\b", re.IGNORECASE)
_REPORT = re.compile(r"(?:Line (\d+): )?(.*)", re.DOTALL)


class Coordinates(NamedTuple):
    """Entries ``data[k]`` at ``(row[k], col[k])``; both halves of a symmetric matrix."""

    shape: tuple[int, int]
    row: NDArray[Any]
    col: NDArray[Any]
    data: NDArray[Any]


@dataclass(frozen=True, slots=True)
class Header:
    """What a file declares: `entries` lines of content after `lines` lines of header."""

    layout: str
    values: str
    symmetry: str
    shape: tuple[int, int]
    entries: int
    lines: int

    @property
    def line_pattern(self) -> re.Pattern[bytes]:
        """The grammar of any number of lines of content, blank ones included."""
        value = {"pattern": b"", "real": _REAL, "integer": _INTEGER}[self.values]
        content = value if self.layout == "array" else _INDICES + (rb"[ \t]++" + value if value else b"")
        return re.compile(rb"(?:[ \t]*+(?:" + content + rb"[ \t]*+)?+\r?+\n)*+")

    @property
    def expectation(self) -> str:
        """What a line must look like, in words."""
        value = "a whole number" if self.values == "integer" else "a decimal number"
        if self.layout == "array":
            return value
        return "'row column'" + ("" if self.values == "pattern" else f" and {value}")


def read_matrix_market(source: Source, kind: Kind, limits: Limits, field: str) -> Coordinates | FloatArray:
    """Read a real matrix: `Coordinates` from the coordinate layout, an ndarray from the array layout.

    Raises
    ------
    MalformedMatrixError, IndexOutOfRangeError, NonFiniteError
        With the line.
    InvalidInputError
        If the matrix is complex.
    ResourceLimitError
        Before anything is allocated.
    """
    with TextReader(source, kind, limits, field) as text:
        header = _read_header(text, limits, field)
        available = source.size if kind is Kind.MATRIX_MARKET else source.size * MAX_EXPANSION
        shortest = 2 if header.layout == "array" else 4
        if header.entries * shortest > available + 1:
            malformed(field, f"declares {header.entries:,} entries, more than a file of its size can hold")
        text.most = _ROOM + _ROOM_PER_ENTRY * header.entries
        content = _parse(_Body(text, header, field), header, field)
    values = content if isinstance(content, np.ndarray) else content.data
    if not np.isfinite(values).all():
        with TextReader(source, kind, limits, field) as text:
            _name_non_finite(text, header, field)
    return content


def _read_header(text: TextReader, limits: Limits, field: str) -> Header:
    banner = text.line().removeprefix(BYTE_ORDER_MARK)
    if not is_matrix_market(banner):
        malformed(field, "is a gzip file of something else than a Matrix Market file")
    words = banner.decode("latin-1").lower().split()
    if len(words) != 5 or words[1] != "matrix":
        _bad_line(field, 1, "must be '%%MatrixMarket matrix' and three words: layout, values, symmetry")
    layout, values, symmetry = words[2:]
    values = {"double": "real", "unsigned-integer": "integer"}.get(values, values)
    if values == "complex" or symmetry == "hermitian":
        fail(InvalidInputError, field, "is complex; only real systems are solved")
    for word, known in (
        (layout, ("coordinate", "array")),
        (values, ("real", "integer", "pattern")),
        (symmetry, ("general", "symmetric", "skew-symmetric")),
    ):
        if word not in known:
            _bad_line(field, 1, f"one of {', '.join(known)} must stand where something else does")
    if values == "pattern" and (layout == "array" or symmetry == "skew-symmetric"):
        _bad_line(field, 1, "a pattern can be neither an array nor skew-symmetric")
    lines, sizes = 1, b""
    while not sizes or sizes.startswith(b"%"):
        line = text.line()
        lines += 1
        if not line:
            malformed(field, "ends before its line of sizes")
        if text.count > _MAX_HEADER + (1 << 18):
            malformed(field, f"has a header longer than {_MAX_HEADER:,} bytes")
        sizes = line.strip()
    count = 2 if layout == "array" else 3
    numbers = sizes.split()
    if len(numbers) != count or not all(re.fullmatch(rb"\d{1,19}", number) for number in numbers):
        names = "rows and columns" if count == 2 else "rows, columns and entries"
        _bad_line(field, lines, f"must be {count} whole numbers, {names}")
    m, n = check_shape((int(numbers[0]), int(numbers[1])), field)
    if symmetry != "general" and m != n:
        _bad_line(field, lines, f"a {symmetry} matrix must be square, not {m} × {n}")
    limits.check_shape(m, n, field)
    if layout == "array":
        entries = {"general": m * n, "symmetric": n * (n + 1) // 2}.get(symmetry, n * (n - 1) // 2)
        limits.check_entries(m * n, field)
    else:
        entries = int(numbers[2])
        limits.check_entries(entries if symmetry == "general" else 2 * entries, field)
    return Header(layout, values, symmetry, (m, n), entries, lines)


class _Body:
    """What the parser reads: a plain header, then lines that matched the grammar. `read` sets `error`."""

    def __init__(self, text: TextReader, header: Header, field: str) -> None:
        self.error: Exception | None = None
        self._text = text
        self._header = header
        self._field = field
        self._pattern = header.line_pattern
        self._line = header.lines
        sizes = (*header.shape, header.entries) if header.layout == "coordinate" else header.shape
        # Integers are read as reals, so that none is too large.
        values = "pattern" if header.values == "pattern" else "real"
        banner = f"%%MatrixMarket matrix {header.layout} {values} {header.symmetry}\n"
        self._ready = memoryview((banner + " ".join(map(str, sizes)) + "\n").encode("ascii"))

    def read(self, size: int = -1) -> bytes:
        """Return at most `size` bytes; nothing at the end and after an error."""
        if not self._ready and self.error is None:
            try:
                self._ready = memoryview(self._checked_block())
            except Exception as error:  # C++ frames lie between here and the caller, who raises it again
                self.error = error
        part = self._ready if size < 0 else self._ready[:size]
        self._ready = self._ready[len(part) :]
        return bytes(part)

    def _checked_block(self) -> bytes:
        block = self._text.block()
        match = self._pattern.match(block)
        end = match.end() if match else 0
        if end < len(block):
            number = self._line + block.count(b"\n", 0, end) + 1
            line = block[end : block.index(b"\n", end)]
            words = line.split()
            if words and _NOT_FINITE.fullmatch(words[-1]):
                _bad_line(self._field, number, "the value must be finite", NonFiniteError)
            _bad_line(self._field, number, f"must be {self._header.expectation}")
        self._line += block.count(b"\n")
        return block


def _parse(body: _Body, header: Header, field: str) -> Coordinates | FloatArray:
    try:
        content = mmread(cast(IO[bytes], body), spmatrix=False)
    except (ValueError, OverflowError, IndexError, RuntimeError) as error:
        if body.error is None:
            _explain(str(error), header, field)
    while rest := body.read():  # to the end, where gzip keeps its checksum
        if rest.strip():
            malformed(field, f"has more than the {header.entries:,} entries it declares")
    if body.error is not None:
        raise body.error
    if isinstance(content, np.ndarray):
        return content
    if header.symmetry == "skew-symmetric" and ((content.row == content.col) & (content.data != 0)).any():
        malformed(field, "is skew-symmetric but has entries on its diagonal")
    return Coordinates(header.shape, content.row, content.col, content.data)


def _explain(report: str, header: Header, field: str) -> NoReturn:
    match = _REPORT.fullmatch(report)
    line, text = match.groups() if match else (None, report)
    if text.startswith("Truncated"):
        malformed(field, f"ends early: it declares {header.entries:,} entries and holds fewer")
    # The parser counts from the two lines of header that it was given.
    number = int(line) - 2 + header.lines if line else 0
    m, n = header.shape
    if "ndex out of" in text or "nteger out of" in text:
        message = f"an index lies outside 1 to {m} for rows or 1 to {n} for columns"
        _bad_line(field, number, message, IndexOutOfRangeError)
    if text.startswith("Too many"):
        _bad_line(field, number, f"is one more than the {header.entries:,} entries declared")
    if number:
        _bad_line(field, number, f"must be {header.expectation}")
    malformed(field, "is not a valid Matrix Market file")


def _name_non_finite(text: TextReader, header: Header, field: str) -> NoReturn:
    number = 0
    while line := text.line():
        number += 1
        if number > header.lines and (words := line.split()) and not math.isfinite(float(words[-1])):
            _bad_line(field, number, "the value is beyond the range of float64", NonFiniteError)
    raise NonFiniteError(f"{field} must be finite", errors=[FieldError(field, "must be finite")])


def _bad_line(
    field: str, number: int, message: str, error: type[InvalidInputError] = MalformedMatrixError
) -> NoReturn:
    raise error(f"{field}, line {number}: {message}", errors=[FieldError(field, f"line {number}: {message}")])
