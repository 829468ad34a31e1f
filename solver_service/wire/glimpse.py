"""What a request to solve seems to say, without parsing it.

A system's `deadline`, `priority` and matrix stand in its body, which only a worker parses; but the queue, and
the watch over solves that cannot be stopped from inside, should know them before. So they are looked for with
a pattern. The worker, which parses the body, has the last word on what the request says: a wrong guess costs
time, and never changes an answer.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from .systems import Content

_EDGE_BYTES = 64 * 1024
_MEMBER = re.compile(rb'"(deadline|priority|threads|id)"\s*:\s*"?([\w.+-]{1,40})')
_MATRIX = re.compile(rb"mat_[0-9a-f]{32}")
_HIGHEST_PRIORITY = 10


@dataclass(frozen=True, slots=True)
class Glimpse:
    """What seems to be asked for.

    Parameters
    ----------
    deadline : float or None
        In seconds: None if there is none, infinity if there may be one out of sight.
    priority : int
    shareable : str or None
        Id of the stored matrix that is to be solved with; None for a request that others cannot join: it
        brings its matrix, or wants several threads.
    """

    deadline: float | None
    priority: int
    shareable: str | None


def glimpse(parts: Mapping[str, Content]) -> Glimpse:
    """Look at a request.

    Parameters
    ----------
    parts : mapping of str to Content
        The parts of a multipart body, or the whole of a JSON body as ``body``. Of a file only both ends are
        read.
    """
    body = parts.get("body")
    found = _members(parts.get("options", b"")) if body is None else _members(body)
    if body is None:
        found |= {name: _field(parts, name) for name in ("deadline", "priority")}
        found["id"] = _field(parts, "matrix_id")
    deadline = _positive(found["deadline"])
    return Glimpse(
        math.inf if deadline is None and isinstance(body, Path) else deadline,
        _priority(found["priority"]),
        _matrix(found["id"]) if all(threads == b"1" for threads in found["threads"]) else None,
    )


def _members(text: Content) -> dict[str, list[bytes]]:
    found: dict[str, list[bytes]] = {"deadline": [], "priority": [], "threads": [], "id": []}
    for name, value in _MEMBER.findall(_edges(text) if isinstance(text, Path) else text):
        found[name.decode()].append(value)
    return found


def _field(parts: Mapping[str, Content], name: str) -> list[bytes]:
    content = parts.get(name)
    return [content.strip()] if isinstance(content, bytes) else []


def _edges(path: Path) -> bytes:
    with path.open("rb") as file:
        head = file.read(_EDGE_BYTES)
        file.seek(max(len(head), file.seek(0, os.SEEK_END) - _EDGE_BYTES))
        return head + b"\n" + file.read()


def _positive(texts: Iterable[bytes]) -> float | None:
    """Return the largest that is a positive number: where there are several, the last one counts, or none."""
    numbers = []
    for text in texts:
        try:
            numbers.append(float(text))
        except ValueError:
            continue
    return max((number for number in numbers if number > 0 and math.isfinite(number)), default=None)


def _priority(texts: list[bytes]) -> int:
    """Return the last, if it is a priority."""
    try:
        priority = int(texts[-1]) if texts else 0
    except ValueError:
        return 0
    return priority if abs(priority) <= _HIGHEST_PRIORITY else 0


def _matrix(texts: list[bytes]) -> str | None:
    """Return the last, if it is the id of a matrix."""
    return texts[-1].decode() if texts and _MATRIX.fullmatch(texts[-1]) else None
