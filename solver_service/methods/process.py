"""What every method looks like from the outer loop, and that loop: advance → measure → stop.

The loop can be left and entered again, so that `auto` can go to and fro between methods.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod

import numpy as np

from .block import Vectors
from .monitor import Monitor
from .result import FloatArray, Parameters, Status
from .snapshot import Snapshot, captured, restore

_STALL_FACTOR = 0.9
_DIVERGED = 1e4
_LONGEST_GAP = 16.0
_MOST_POINTS = 256
_KNOWN = 4
_WINDOWS = (0.0, 0.75)
"""Where else to begin with the rate, to see how sure a forecast is; the parts of the work done."""
_UNSURE = 1.25

_CURVES = ("points", "_curve")
_COUNTS = (
    "largest",
    "flat",
    "stalled",
    "idle",
    "cost",
    "_epochs",
    "_measured_at",
    "_looks",
    "_look_at",
    "_bias",
    "_budget",
    "_iterations",
)


class Process(Vectors, ABC):
    """One method at work on one right-hand side."""

    patience: float = 0.0
    """Epochs to grant before a stall may be called."""

    row_space: bool = False
    """Whether from x0 = 0 the iterates stay in the row space: their limit is the minimum-norm solution."""

    factored: bool = False
    """Whether it holds factors of A, so that `error_estimate` is its own."""

    kept: tuple[str, ...] = ()
    """Attributes that are its state: what neither A nor the way it was started gives back."""

    @abstractmethod
    def advance(self, monitor: Monitor) -> Status | None:
        """Do a bounded piece of work, counting it in `monitor.work`, of so many steps as `monitor.allowed`.

        Returns None to go on, ``max_epochs`` if the limit leaves no room for the next piece, ``stagnated`` if
        the method has come to its end.
        """

    @abstractmethod
    def solution(self) -> FloatArray:
        """The iterate x, (n,); valid until the next `advance`."""

    @property
    def residual_estimate(self) -> float | None:
        """An estimate of ‖b − A x‖ at hand, None where each piece of work is worth a measurement."""
        return None

    @property
    def method(self) -> str | None:
        """What really runs, where that is not the method it was started for."""
        return None

    @property
    def unique(self) -> bool:
        """Asked after success: whether it shows that there is no other solution."""
        return False

    @property
    def stationary(self) -> bool:
        """Whether the method sees next to nothing in the residual that A could still reach."""
        return False

    def error_estimate(self, r: FloatArray) -> float | None:  # noqa: ARG002  # most have no factors
        """Asked after success, given r = b − A x: an estimate of ‖x − x*‖ by factors of A, None without."""
        return None

    def check(self, norm: float) -> None:  # most have nothing that could drift
        """Told ‖b − A x‖ of the iterate: recompute what was kept up to date, if it has left the truth."""

    def recover(self, x: FloatArray) -> bool:  # noqa: ARG002  # most have no step to shorten
        """After growth: go on from `x` with shorter steps. False if that cannot help."""
        return False

    def parameters(self) -> Parameters:
        """What the method runs with."""
        return Parameters()

    def capture(self) -> Snapshot:
        """The state between two calls of `advance`."""
        return captured(self, self.kept)

    def restore(self, snapshot: Snapshot) -> None:
        """Take up a captured state; for a process that was started on the same A and b, from any x."""
        self.move_out()
        restore(self, self.kept, snapshot)


class Drive:
    """The outer loop around one process.

    Parameters
    ----------
    process, monitor
    """

    def __init__(self, process: Process, monitor: Monitor) -> None:
        self.process = process
        self._monitor = monitor
        self._pace = _Pace(process.patience, monitor)

    @property
    def forecast(self) -> float:
        """Cost (see `cost`) still to pay until the target, by the decay observed so far; inf if none."""
        return self._pace.forecast(self._monitor.target)

    @property
    def begin(self) -> float:
        """The residual norm with which it began."""
        return self._pace.points[0][1]

    @property
    def spent(self) -> float:
        """Cost paid so far."""
        return self._pace.cost

    def run(self, budget: float = math.inf) -> Status | None:
        """Advance until the measured residual meets the target, a limit is reached, or it no longer falls.

        Parameters
        ----------
        budget : float
            Cost to pay in this call.

        Returns
        -------
        Status or None
            None where the budget is used up. `Interrupted` passes through.
        """
        self._pace.resume(self._monitor, budget)
        return self.go_on()

    def capture(self) -> Snapshot:
        """The state between two pieces of work."""
        return {"process": self.process.capture(), "pace": self._pace.capture()}

    def restore(self, snapshot: Snapshot) -> None:
        """Take up a captured state; `go_on` then finishes the call of `run` in which it was captured."""
        self.process.restore(snapshot["process"])
        self._pace.restore(snapshot["pace"])

    def go_on(self) -> Status | None:
        """As `run`, within what is left of the last budget."""
        process, monitor, pace = self.process, self._monitor, self._pace
        while True:
            monitor.rest()
            ended = process.advance(monitor)
            pace.count(monitor)
            if ended is None and pace.idle > 1:
                ended = Status.STAGNATED  # even after a look at the truth it sees nothing left to do
            estimate = process.residual_estimate
            if ended is None and estimate is not None and estimate <= _DIVERGED * pace.largest:
                monitor.estimate(estimate)
                if not pace.due(monitor, estimate):
                    if pace.exhausted:
                        pace.estimated(estimate)
                        return None
                    continue
            norm = monitor.measure(process.solution(), promising=pace.promising(monitor, estimate))
            if norm <= monitor.target:
                return Status.CONVERGED
            if ended is not None:
                pace.measured(norm, estimate)
                return Status.INCONSISTENT if self._hopeless(final=True) else ended
            if norm > _DIVERGED * pace.largest:
                if not process.recover(monitor.best_x):
                    return Status.STAGNATED
                continue
            process.check(norm)
            pace.measured(norm, process.residual_estimate)
            if len(pace.points) >= _KNOWN:
                monitor.expect(*pace.outlook(monitor.target))
            if monitor.remaining_epochs <= 0.0:
                return Status.MAX_EPOCHS
            if (pace.flat or process.stationary) and self._hopeless(final=pace.stalled):
                return Status.INCONSISTENT
            if pace.stalled:
                return Status.STAGNATED
            if pace.exhausted:
                return None

    def _hopeless(self, *, final: bool) -> bool:
        """Whether the target is proven to be out of reach: asked at the end, before it ever more seldom."""
        pace = self._pace
        if not (final or pace.suspicious):
            return False
        proven = self._monitor.hopeless(self.process.solution())
        pace.skip(self._monitor)
        return proven


class _Pace:
    """When to measure the true residual, and what the measurements say of the rate."""

    def __init__(self, patience: float, monitor: Monitor) -> None:
        self.largest = monitor.best_norm
        self.flat = False
        self.stalled = False
        self.idle = 0  # pieces of work in a row that did nothing
        self.cost = 0.0
        self.points: list[tuple[float, float]] = [(0.0, monitor.best_norm)]
        self._patience = patience
        self._epochs = 0.0
        self._measured_at = 0.0
        self._looks, self._look_at = 0, 1
        self._bias = 1.0
        self._curve: list[tuple[float, float]] = [(0.0, monitor.best_norm)]
        self._budget = math.inf
        self._iterations = 0
        self._seen = (0.0, 0.0, 0)

    def capture(self) -> Snapshot:
        curves = {name: np.array(getattr(self, name)) for name in _CURVES}
        return captured(self, _COUNTS) | curves | {"_seen": list(self._seen)}

    def restore(self, snapshot: Snapshot) -> None:
        restore(self, _COUNTS, snapshot)
        for name in _CURVES:
            setattr(self, name, [(x, y) for x, y in snapshot[name].tolist()])
        epochs, cost, iterations = snapshot["_seen"]
        self._seen = (epochs, cost, iterations)

    def resume(self, monitor: Monitor, budget: float) -> None:
        """Enter the loop (again): what others did meanwhile does not count."""
        self.skip(monitor)
        self._budget = self.cost + budget

    def skip(self, monitor: Monitor) -> None:
        """Leave out of the count what was done since the last."""
        self._seen = (monitor.work.epochs, monitor.work.cost, monitor.work.iterations)

    def count(self, monitor: Monitor) -> None:
        """Take note of the work done."""
        work = monitor.work
        self._epochs += work.epochs - self._seen[0]
        self.cost += work.cost - self._seen[1]
        done = work.iterations - self._seen[2]
        self.idle = 0 if done else self.idle + 1
        self._iterations += done
        self._seen = (work.epochs, work.cost, work.iterations)

    @property
    def exhausted(self) -> bool:
        """Whether the budget is used up."""
        return self.cost >= self._budget

    def due(self, monitor: Monitor, estimate: float) -> bool:
        """Measure when the estimate promises the target, or enough work was done since the last time."""
        since = self._epochs - self._measured_at
        return (
            self.promising(monitor, estimate)
            or self.idle > 0
            or since >= min(_LONGEST_GAP, max(1.0, 0.25 * self._epochs))
            or monitor.remaining_epochs <= 0.0
        )

    def promising(self, monitor: Monitor, estimate: float | None) -> bool:
        """Whether the estimate says that the target is met."""
        return estimate is not None and estimate * self._bias <= monitor.target

    @property
    def suspicious(self) -> bool:
        """Asked where the residual seems to have come to its floor: whether to look into it, or later."""
        self._looks += 1
        if self._looks < self._look_at:
            return False
        self._look_at += 1 + self._look_at // 2
        return True

    def estimated(self, estimate: float) -> None:
        """Note an estimate, brought to the scale of the last measurement, for the forecast."""
        self._note(min(self._bias * estimate, self.points[-1][1]))

    def _note(self, norm: float) -> None:
        self.points.append((self.cost, norm))
        if len(self.points) > _MOST_POINTS:
            del self.points[1:-1:2]

    def measured(self, norm: float, estimate: float | None) -> None:
        if estimate is not None and estimate > 0.0:
            # The estimate lags behind the iterate: learn by how much, so as to look no sooner than it pays.
            self._bias = norm / estimate
        self._measured_at = spent = self._epochs
        best = min(norm, self._curve[-1][1])
        self._note(best)
        if spent > 1.02 * self._curve[-1][0] or len(self._curve) < 2:
            self._curve.append((spent, best))
        # The first value of the last three quarters: sampling makes residuals jump, and a lucky low one must
        # not make the rest look like a stall.
        earlier = next(value for epochs, value in self._curve if epochs >= 0.25 * spent)
        self.flat = best > _STALL_FACTOR * earlier and len(self._curve) > 2
        self.stalled = self.flat and spent >= self._patience

    def outlook(self, target: float) -> tuple[float, float, float, float]:
        """Iterations and cost still needed, and that cost by the least and the most hopeful of rates."""
        if self.cost == 0.0:
            return math.inf, math.inf, math.inf, math.inf
        price = self.forecast(target)
        prices = [self.forecast(target, since) for since in _WINDOWS]
        return (
            price * self._iterations / self.cost,
            price,
            min(price / _UNSURE, *prices),
            max(price * _UNSURE, *prices),
        )

    def forecast(self, target: float, since: float = 0.5) -> float:
        """Extrapolate the decay over the later half of the work, or what came after another part of it."""
        cost, best = self.points[-1]
        if best <= target:
            return 0.0
        before, earlier = next(
            (point for point in self.points[:-1] if point[0] >= since * cost), self.points[-2:][0]
        )
        if not (best < earlier and target > 0.0 and best > 0.0):
            return math.inf
        return math.log(best / target) * (cost - before) / math.log(earlier / best)
