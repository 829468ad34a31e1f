"""The generated parts of docs/benchmarks.md: each lies between two markers that name the script behind it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

PAGE = Path(__file__).parents[1] / "docs" / "benchmarks.md"
FIGURES = PAGE.parent / "figures"


def rewritten(page: str, name: str, content: str) -> str:
    """Put `content` between the markers of `name`; all else stays as it is."""
    begin, end = f"<!-- begin {name} -->", f"<!-- end {name} -->"
    if page.count(begin) != 1 or page.count(end) != 1 or page.index(begin) > page.index(end):
        raise ValueError(f"the page needs the lines {begin!r} and {end!r} once each, in this order")
    before, _, rest = page.partition(begin)
    _, _, after = rest.partition(end)
    return f"{before}{begin}\n\n{content.strip()}\n\n{end}{after}"


def update(name: str, content: str) -> None:
    """Rewrite the part of `name` in the page."""
    PAGE.write_text(rewritten(PAGE.read_text(), name, content))


def conditions(record: dict[str, Any]) -> str:
    """Say when, on what and with what a run was made."""
    said = ", ".join(f"{name} {value}" for name, value in record["environment"].items())
    return f"Run of {record['started'][:10]} ({record['mode']} mode): {said}."
