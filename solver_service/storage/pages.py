"""Pages of lists: how long they may be, and the cursors from one to the next."""

from __future__ import annotations

import base64
import re
from typing import Final, NoReturn

from ..errors import FieldError, InvalidInputError

MAX_LIMIT: Final = 500


def check_limit(limit: int) -> None:
    """Raise `InvalidInputError` unless a page may have so many items."""
    if not 1 <= limit <= MAX_LIMIT:
        _refuse("limit", f"must be from 1 to {MAX_LIMIT}")


def make_cursor(place: str) -> str:
    """Return the cursor of a place in a list, in ASCII: clients hand it back, and do not look into it."""
    return base64.urlsafe_b64encode(place.encode("ascii")).decode("ascii").rstrip("=")


def parse_cursor(cursor: str, pattern: re.Pattern[str]) -> re.Match[str]:
    """Return what `pattern` finds in the place that a cursor names; `InvalidInputError` if it is not ours."""
    try:
        place = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode("ascii")
    except ValueError:
        place = ""
    match = pattern.fullmatch(place)
    if match is None or make_cursor(place) != cursor:  # decoding forgives much
        _refuse("cursor", "is not one that this service gave")
    return match


def _refuse(field: str, message: str) -> NoReturn:
    raise InvalidInputError(f"{field} {message}", errors=[FieldError(field, message)])
