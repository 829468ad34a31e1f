"""The Markdown table: milliseconds for each system and contestant."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from .summary import Table

UNSOLVED = "–"


def milliseconds(seconds: float) -> str:
    """Write three digits, as many as are worth reading; ``–`` where unsolved."""
    if math.isinf(seconds):
        return UNSOLVED
    value = 1e3 * seconds
    return f"{value:,.0f}" if value >= 99.95 else f"{value:.3g}"


def markdown(table: Table, contestants: Sequence[str], labels: Mapping[str, str] | None = None) -> str:
    """Write one row for each system: the best in bold, ``–`` for not within the limit, nothing for others.

    `labels` maps a system to what stands in the second column, its shape.
    """
    labels = labels or {}
    head = ["system", "m × n", *contestants]
    rows = [head, ["---", "---", *("---:" for _ in contestants)]]
    for system, times in table.items():
        best = min((times[name] for name in contestants if name in times), default=math.inf)
        cells = []
        for name in contestants:
            text = milliseconds(times[name]) if name in times else ""
            cells.append(f"**{text}**" if text and times[name] == best < math.inf else text)
        rows.append([system, labels.get(system, ""), *cells])
    return "\n".join(f"| {' | '.join(row)} |" for row in rows) + "\n"
