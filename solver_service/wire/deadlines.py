"""Finding the deadline of a request without parsing it.

A system's `deadline` stands in its body, which only a worker parses; but the queue, and the watch over solves
that cannot be stopped from inside, should know it before. So it is looked for with a pattern. The worker,
which parses the body, has the last word on what the request says.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Mapping
from pathlib import Path

from .systems import Content

_EDGE_BYTES = 64 * 1024
_MEMBER = re.compile(rb'"deadline"\s*:\s*([0-9.eE+-]{1,40})')


def find_deadline(parts: Mapping[str, Content]) -> float | None:
    """Return the deadline in seconds, None if there is none, infinity if there may be one out of sight.

    Parameters
    ----------
    parts : mapping of str to Content
        The parts of a multipart body, or the whole of a JSON body as ``body``. Of a file only both ends are
        read.
    """
    if "body" not in parts:
        content = parts.get("deadline", b"")
        return _positive([content]) if isinstance(content, bytes) else None
    body = parts["body"]
    if isinstance(body, bytes):
        return _positive(_MEMBER.findall(body))
    found = _positive(_MEMBER.findall(_edges(body)))
    return math.inf if found is None else found


def _edges(path: Path) -> bytes:
    with path.open("rb") as file:
        head = file.read(_EDGE_BYTES)
        file.seek(max(len(head), file.seek(0, os.SEEK_END) - _EDGE_BYTES))
        return head + b"\n" + file.read()


def _positive(texts: list[bytes]) -> float | None:
    """Return the largest that is a positive number: where there are several, the last one counts, or none."""
    numbers = []
    for text in texts:
        try:
            numbers.append(float(text))
        except ValueError:
            continue
    return max((number for number in numbers if number > 0 and math.isfinite(number)), default=None)
