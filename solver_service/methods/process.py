"""What every method looks like from the outer loop, and that loop: advance → measure → stop."""

from __future__ import annotations

import math
from typing import Protocol

from .monitor import Monitor
from .result import FloatArray, Parameters, Status

_STALL_FACTOR = 0.9
_DIVERGED = 1e4
_DRIFTED = 0.1
_LONGEST_GAP = 16.0


class Process(Protocol):
    """One method at work on one right-hand side."""

    patience: float
    """Epochs to grant before a stall may be called."""

    def advance(self, monitor: Monitor) -> Status | None:
        """Do a bounded piece of work, counting it in `monitor.work`, within `monitor.remaining_epochs`.

        Returns None to go on, ``max_epochs`` if the limit leaves no room for the next piece, ``stagnated`` if
        the method has come to its end.
        """

    @property
    def residual_estimate(self) -> float | None:
        """An estimate of ‖b − A x‖ at hand, None where each piece of work is worth a measurement."""

    @property
    def unique(self) -> bool:
        """Asked after success: whether it shows that there is no other solution."""

    def solution(self) -> FloatArray:
        """The iterate x, (n,); valid until the next `advance`."""

    def resync(self) -> None:
        """Recompute what is kept up to date step by step, after the estimate left the truth."""

    def recover(self, x: FloatArray) -> bool:
        """After growth: go on from `x` with shorter steps. False if that cannot help."""

    def parameters(self) -> Parameters:
        """What the method runs with."""


def drive(process: Process, monitor: Monitor, *, forecast_limit: float | None = None) -> Status | None:
    """Advance until the measured residual meets the target, a limit is reached, or it no longer falls.

    Parameters
    ----------
    process, monitor
    forecast_limit : float or None
        Give up as soon as the observed decay promises more epochs than this.

    Returns
    -------
    Status or None
        None if given up because of `forecast_limit`. `Interrupted` passes through.
    """
    pace = _Pace(process.patience, forecast_limit, monitor)
    while True:
        monitor.tick()
        ended = process.advance(monitor)
        estimate = process.residual_estimate
        if ended is None and estimate is not None and estimate <= _DIVERGED * pace.largest:
            monitor.estimate(estimate)
            if not pace.due(monitor, estimate):
                continue
        norm = monitor.measure(process.solution())
        if norm <= monitor.target:
            return Status.CONVERGED
        if estimate is not None and abs(estimate - norm) > _DRIFTED * norm:
            process.resync()
        if ended is not None:
            return ended
        if norm > _DIVERGED * pace.largest:
            if not process.recover(monitor.best_x):
                return Status.STAGNATED
            continue
        pace.measured(monitor, norm, estimate)
        if monitor.remaining_epochs <= 0.0:
            return Status.MAX_EPOCHS
        if pace.stalled:
            return Status.STAGNATED
        if pace.hopeless(monitor):
            return None


class _Pace:
    """When to measure the true residual, and what the measurements say of the rate."""

    def __init__(self, patience: float, forecast_limit: float | None, monitor: Monitor) -> None:
        self.largest = monitor.best_norm
        self.stalled = False
        self._patience = patience
        self._forecast_limit = forecast_limit
        self._start = monitor.work.epochs
        self._last = self._start
        self._bias = 1.0
        self._points: list[tuple[float, float]] = [(0.0, monitor.best_norm)]

    def due(self, monitor: Monitor, estimate: float) -> bool:
        """Measure when the estimate promises the target, or enough work was done since the last time."""
        since = monitor.work.epochs - self._last
        spent = monitor.work.epochs - self._start
        return (
            estimate * self._bias <= monitor.target
            or since >= min(_LONGEST_GAP, max(1.0, 0.25 * spent))
            or monitor.remaining_epochs <= 0.0
        )

    def measured(self, monitor: Monitor, norm: float, estimate: float | None) -> None:
        if estimate is not None and estimate > 0.0:
            # The estimate lags behind the iterate: learn by how much, so as to look no sooner than it pays.
            self._bias = norm / estimate
        self._last = monitor.work.epochs
        spent = self._last - self._start
        best = min(norm, self._points[-1][1])
        if spent > 1.02 * self._points[-1][0] or len(self._points) < 2:
            self._points.append((spent, best))
        if spent >= self._patience:
            # The first value of the last three quarters: sampling makes residuals jump, and a lucky low one
            # must not make the rest look like a stall.
            earlier = next(value for epochs, value in self._points if epochs >= 0.25 * spent)
            self.stalled = best > _STALL_FACTOR * earlier and len(self._points) > 2

    def hopeless(self, monitor: Monitor) -> bool:
        if self._forecast_limit is None:
            return False
        spent, best = self._points[-1]
        earlier = next(point for point in self._points if point[0] >= 0.4 * spent)
        if spent < 2.0:
            return False
        decay = math.log(earlier[1] / best) if best > 0.0 else math.inf
        if decay <= 0.0:
            return True
        needed = math.log(best / monitor.target) if monitor.target > 0.0 else math.inf
        return needed * (spent - earlier[0]) / decay > self._forecast_limit
