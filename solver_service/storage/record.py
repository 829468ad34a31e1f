"""What is known about a stored matrix."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

MATRIX_ID = re.compile(r"mat_[0-9a-f]{32}", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class MatrixRecord:
    """A stored matrix, without its entries.

    Attributes
    ----------
    id : str
        ``mat_`` and 32 hex digits of a hash of the content.
    name : str or None
        As given when the content was first stored.
    shape : tuple of int
        Rows and columns.
    nnz : int
        Stored entries.
    bytes : int
        Size of the three arrays.
    created_at : datetime
        When it was stored, in UTC.
    properties : mapping
        JSON values by name; None where not known.
    """

    id: str
    name: str | None
    shape: tuple[int, int]
    nnz: int
    bytes: int
    created_at: datetime
    properties: Mapping[str, Any] = field(default_factory=dict)

    def to_document(self) -> dict[str, Any]:
        """Return the JSON form; times are RFC 3339."""
        return {
            "id": self.id,
            "name": self.name,
            "shape": list(self.shape),
            "nnz": self.nnz,
            "bytes": self.bytes,
            "created_at": self.created_at.astimezone(UTC).isoformat().replace("+00:00", "Z"),
            "properties": dict(self.properties),
        }

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> MatrixRecord:
        """Invert `to_document`; raise KeyError, TypeError or ValueError if it is damaged."""
        m, n = document["shape"]
        return cls(
            id=str(document["id"]),
            name=document["name"],
            shape=(int(m), int(n)),
            nnz=int(document["nnz"]),
            bytes=int(document["bytes"]),
            created_at=datetime.fromisoformat(document["created_at"]),
            properties=dict(document["properties"]),
        )
