"""`History`: the convergence curve of a solve, bounded and log-spaced in epochs."""

from __future__ import annotations

from dataclasses import astuple

from .result import HistoryPoint
from .snapshot import Snapshot

_LENGTH = 200
_RATIO = 1.02


class History:
    """At most some 200 points: where there are more, those too near to one another give way."""

    def __init__(self) -> None:
        self._points: list[HistoryPoint] = []
        self._ratio = _RATIO

    @property
    def points(self) -> tuple[HistoryPoint, ...]:
        """All that are kept."""
        return tuple(self._points)

    def record(self, point: HistoryPoint) -> None:
        """Add the newest point; with no work since the last it replaces that, if it is exact."""
        points = self._points
        if points and points[-1].iterations == point.iterations:
            if point.exact:
                points[-1] = point
            return
        # A point too near to the one before gives way, but only to one that is at least as good.
        near = len(points) > 1 and point.epochs < self._ratio * points[-2].epochs
        if near and (point.exact or not points[-1].exact):
            points[-1] = point
        elif not near:
            points.append(point)
        if len(points) > _LENGTH:
            self._ratio *= self._ratio
            self._thin()

    def _thin(self) -> None:
        kept = self._points[:1]
        for point in self._points[1:-1]:
            if point.epochs >= self._ratio * kept[-1].epochs:
                kept.append(point)
        self._points = [*kept, self._points[-1]]

    def capture(self) -> Snapshot:
        """The points, and how near two of them may be."""
        return {"points": [list(astuple(point)) for point in self._points], "ratio": self._ratio}

    @classmethod
    def restored(cls, snapshot: Snapshot) -> History:
        """Go on from what was captured."""
        history = cls()
        history._points = [HistoryPoint(*point) for point in snapshot["points"]]
        history._ratio = snapshot["ratio"]
        return history
