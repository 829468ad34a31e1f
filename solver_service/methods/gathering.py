"""What is told of k right-hand sides as a whole: worst residuals, total counts."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterable
from dataclasses import replace

import numpy as np

from .result import ColumnResult, Progress, Result, Timings


def gather(results: list[Result], timings: Timings) -> Result:
    """Put k columns together, with the status of the first that did not converge."""
    first = next((r for r in results if not r.converged), results[0])
    worst = max(results, key=lambda r: r.relative_residual)
    guaranteed = {r.minimum_norm for r in results}
    columns = tuple(
        ColumnResult(**{name: getattr(r, name) for name in ColumnResult.__dataclass_fields__})
        for r in results
    )
    return replace(
        first,
        x=np.stack([r.x for r in results], axis=1),
        residual_norm=max(r.residual_norm for r in results),
        relative_residual=worst.relative_residual,
        iterations=sum(r.iterations for r in results),
        epochs=math.fsum(r.epochs for r in results),
        row_updates=sum(r.row_updates for r in results),
        minimum_norm=False if False in guaranteed else (None if guaranteed == {None} else True),
        timings=timings,
        columns=columns,
    )


class Voices:
    """Lets the columns that are at work speak as one.

    Parameters
    ----------
    callback : callable
        Told the whole; what it answers goes to the column that spoke.
    count : int
    """

    def __init__(self, callback: Callable[[Progress], object], count: int) -> None:
        self._callback = callback
        self._count = count
        self._heard: dict[int, Progress] = {}
        self._lock = threading.Lock()

    def of(self, place: int) -> Callable[[Progress], object]:
        """The callback for one column."""
        if self._count == 1:
            return self._callback
        return lambda progress: self._hear(place, progress)

    def _hear(self, place: int, progress: Progress) -> object:
        with self._lock:
            self._heard[place] = progress
            heard = list(self._heard.values())
            whole = Progress(
                sum(one.iterations for one in heard),
                math.fsum(one.epochs for one in heard),
                max(one.seconds for one in heard),
                max(one.relative_residual for one in heard),
                _known(sum, (one.expected_iterations for one in heard)),
                _known(max, (one.eta_seconds for one in heard)),
                _known(max, (one.eta_low for one in heard)),
                _known(max, (one.eta_high for one in heard)),
            )
        return self._callback(whole)  # which may solve something itself


def _known(put_together: Callable[[list[float]], float], values: Iterable[float | None]) -> float | None:
    """One number of many, None if any of them is not known."""
    known = list(values)
    numbers = [value for value in known if value is not None]
    return put_together(numbers) if len(numbers) == len(known) else None
