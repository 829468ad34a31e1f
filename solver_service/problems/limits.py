"""How large an input may be. Readers ask before they allocate."""

from __future__ import annotations

from dataclasses import dataclass

from ..errors import FieldError, ResourceLimitError


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Bounds on one matrix or array. The defaults fit a large workstation.

    Parameters
    ----------
    max_rows, max_columns : int
        Largest m and n. Vectors of these lengths are allocated.
    max_entries : int
        Most stored entries of a matrix (both halves of a symmetric one), or numbers of a dense array.
    max_bytes : int
        Most bytes of a file after decompression.
    """

    max_rows: int = 100_000_000
    max_columns: int = 100_000_000
    max_entries: int = 500_000_000
    max_bytes: int = 16 * 2**30

    def check_shape(self, rows: int, columns: int, field: str = "matrix") -> None:
        """Raise `ResourceLimitError` if a matrix of this shape is too large."""
        _check(rows, self.max_rows, field, "rows")
        _check(columns, self.max_columns, field, "columns")

    def check_entries(self, entries: int, field: str = "matrix") -> None:
        """Raise `ResourceLimitError` if there are too many entries."""
        _check(entries, self.max_entries, field, "entries")

    def check_bytes(self, size: int, field: str = "matrix") -> None:
        """Raise `ResourceLimitError` if the (decompressed) content is too long."""
        _check(size, self.max_bytes, field, "bytes when decompressed")


DEFAULT_LIMITS = Limits()


def _check(value: int, most: int, field: str, what: str) -> None:
    if value > most:
        message = f"has {value:,} {what}; at most {most:,} are accepted here"
        raise ResourceLimitError(f"{field} {message}", errors=[FieldError(field, message)])
