"""How progress, limits and cancellation reach the numerics, which know nothing of jobs or clients."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from copy import copy
from dataclasses import dataclass

import numpy as np

from ..kernels import RawCSR
from .error_estimate import Trail
from .history import History
from .interruption import Interrupted
from .residuals import ResidualNorm
from .result import FloatArray, Forecast, HistoryPoint, Progress, Status
from .snapshot import Capture, Holder, Snapshot, Within
from .team import blocks, parts
from .together import perform

SILENCE = 0.2
"""Seconds without a word to the callback."""
_UNSURE = 2.0
"""By what factor a predicted cost may be off."""


@dataclass(slots=True)
class Work:
    """What was done: momentum updates or outer steps, rows (columns) touched, passes over A, and `cost`."""

    iterations: int = 0
    row_updates: int = 0
    epochs: float = 0.0
    cost: float = 0.0

    def capture(self) -> list[float]:
        """All four."""
        return [self.iterations, self.row_updates, self.epochs, self.cost]


@dataclass(frozen=True, slots=True)
class _Outlook:
    """What is expected at the end: iterations, cost, and the band in which the cost should lie."""

    iterations: float
    cost: float
    low: float
    high: float


class Monitor:
    """Watches one right-hand side through all methods that are tried on it.

    Parameters
    ----------
    A : RawCSR
        The matrix, m × n.
    b : ndarray, (m,)
    x0 : ndarray, (n,)
        The best x until another was measured.
    target : float
        Residual norm to reach: max(rtol·‖b‖, atol).
    max_epochs : float
    deadline : float or None
        On the clock of `time.monotonic`, seconds.
    should_stop : callable or None
        Asked often (every 10 ms of work or so); True ends the solve with status ``cancelled``.
    left_out : float
        Norm of the part of b that belongs to empty rows, and is not in `b` here.
    confirm : callable or None
        ‖b − A x‖ by separate, more exact code: asked before a residual is said to meet the target.
    threads : int
        To measure with.
    disprove : callable or None
        Whether it can be shown, from an x whose residual no longer falls, that none meets the target.
    callback : callable or None
        Told a `Progress` at the beginning, whenever the residual was measured, and between pieces of work
        after 0.2 s of silence; True ends the solve.
    keeper : Holder or None
        Offered the state between pieces of work.
    capture : callable or None
        Captures the whole solve that this monitor watches.
    """

    def __init__(
        self,
        A: RawCSR,
        b: FloatArray,
        x0: FloatArray,
        *,
        target: float,
        max_epochs: float = math.inf,
        deadline: float | None = None,
        should_stop: Callable[[], bool] | None = None,
        callback: Callable[[Progress], object] | None = None,
        left_out: float = 0.0,
        confirm: Callable[[FloatArray], float] | None = None,
        threads: int = 1,
        disprove: Callable[[FloatArray], bool] | None = None,
        keeper: Holder | None = None,
        capture: Capture | None = None,
    ) -> None:
        self.target = target
        self.max_epochs = max_epochs
        self.work = Work()
        self._A = A
        self._b = b
        self._b_norm = float(np.linalg.norm(b))
        self.left_out = left_out
        self.best_x: FloatArray = x0
        self.best_norm = self._b_norm
        self.trail = Trail(self.best_norm)
        self._r = np.empty_like(b)
        self.deadline = deadline
        self.should_stop = should_stop
        self._callback = callback
        self._confirm = confirm
        self._disprove = disprove
        self._start = time.monotonic()
        self._keeper = keeper
        self._capture = capture
        self._cut = False
        self._measured = self.best_norm
        self._spoke = -math.inf
        self._expected: _Outlook | None = None
        self._told: tuple[float, float] | None = None
        self._history = History()
        self.threads = threads
        self._parts = [blocks(A.indptr, *part) for part in parts(A.indptr, threads)]

    def aside(self) -> Monitor:
        """A monitor with the same counts and limits (half of `max_epochs`), from x = 0; it tells nobody."""
        other = copy(self)
        other.max_epochs -= 0.5 * self.remaining_epochs
        other.best_x, other.best_norm = np.zeros_like(self.best_x), self._b_norm
        other.trail, other._r = Trail(self._b_norm), np.empty_like(self._r)
        other._callback, other._keeper, other._history = None, None, History()
        return other

    @property
    def seconds(self) -> float:
        """Seconds since the solve began."""
        return time.monotonic() - self._start

    @property
    def seconds_left(self) -> float:
        """Seconds until the deadline, infinity without one."""
        return math.inf if self.deadline is None else self.deadline - time.monotonic()

    @property
    def remaining_epochs(self) -> float:
        """What `max_epochs` leaves."""
        return self.max_epochs - self.work.epochs

    def allowed(self, wanted: int, epochs: float) -> int:
        """Say how many of the steps that are wanted, of so many epochs each, the limit leaves.

        Where it leaves less, what follows is not what it would be without the limit, and not worth keeping.
        """
        room = self.room(wanted, epochs)
        self._cut = self._cut or room < wanted
        return room

    def room(self, wanted: int, epochs: float) -> int:
        """As `allowed`, for steps that may end by themselves before the limit matters: then see `cut`."""
        # The tiny allowance keeps a limit that is a whole number of steps whole after division.
        return int(min(wanted, self.remaining_epochs / epochs * (1.0 + 1e-12)))

    @property
    def limited(self) -> bool:
        """Whether `max_epochs` has had any influence yet."""
        return self._cut or self.remaining_epochs <= 0.0

    def cut(self) -> None:
        """Told that the limit has had influence, on a part of the work that this monitor did not watch."""
        self._cut = True

    @property
    def history(self) -> tuple[HistoryPoint, ...]:
        """At most some 200 points, log-spaced in epochs."""
        return self._history.points

    def relative(self, norm: float) -> float:
        """‖r‖/‖b‖ with what was left out, and 0 for b = 0."""
        whole = math.hypot(self._b_norm, self.left_out)
        return math.hypot(norm, self.left_out) / whole if whole > 0.0 else 0.0

    def begin(self) -> None:
        """Find the residual of x0, in one pass unless it is zero."""
        self.tick()
        if not self.best_x.any():
            self._record(self._b_norm, exact=True)
            self._measured = self._b_norm
            self.tell()
            return
        self.best_norm, self.trail = math.inf, Trail(0.0)
        if self.measure(self.best_x) == math.inf:
            self.best_x, self.best_norm = np.zeros_like(self.best_x), self._b_norm
        self.trail = Trail(self.best_norm)

    def tick(self) -> None:
        """Raise `Interrupted` if the solve has to end now. Cheap: call it every few milliseconds of work."""
        if self.should_stop is not None and self.should_stop():
            raise Interrupted(Status.CANCELLED)
        if self.deadline is not None and time.monotonic() >= self.deadline:
            raise Interrupted(Status.TIME_LIMIT)

    def rest(self) -> None:
        """Between two pieces of work: the one place where the state is captured, and where progress is told.

        What ends the solve here costs nothing of the work done.
        """
        held = None if self.limited else self._keeper
        if held is not None and self._capture is not None:
            held.offer(self._capture)
        try:
            self.tell(SILENCE)
            self.tick()
        except Interrupted:
            if held is not None and self._capture is not None:
                held.take(self._capture)
            raise

    def within(self, hold: Callable[[Capture, Capture], Snapshot]) -> Holder | None:
        """Find whom a part of this work offers its state, None if nobody wants it.

        Parameters
        ----------
        hold : callable
            Captures the whole, given how to capture the part, and then the whole around it.
        """
        keeper, capture = self._keeper, self._capture
        if keeper is None or capture is None or self.limited:
            return None
        return Within(keeper, lambda part: hold(part, capture))

    def measure(self, x: FloatArray, *, promising: bool = False) -> float:
        """‖b − A x‖, true, in one pass over A; remembers the best x. Infinity where x is not finite.

        A norm that meets the target has been confirmed. Where x is `promising` it is confirmed at once.
        """
        norm = 0.0
        if self._confirm is None or not promising:
            norm = self._residual_norm(x, self.tick)
        if norm <= self.target:
            x = x.copy()
            norm = norm if self._confirm is None else self._confirm(x)
        self._judge(x, norm)
        if not math.isfinite(norm):
            return math.inf
        self._measured = norm
        self.tell()
        return norm

    def tell(self, silence: float = 0.0, *, iterations: int = 0, epochs: float = 0.0) -> None:
        """Tell the callback how things stand, unless it was told something less than `silence` seconds ago.

        `iterations` and `epochs` are those of a part of the work that is not counted here yet.
        """
        if self._callback is None or self.seconds < self._spoke + silence:
            return
        work, expected = self.work, self._expected
        iterations += work.iterations
        eta = [None, None, None] if expected is None else self._eta(expected)
        self._spoke = self.seconds
        answer = self._callback(
            Progress(
                iterations,
                work.epochs + epochs,
                self._spoke,
                self.relative(self._measured),
                None if expected is None else max(expected.iterations, iterations),
                *eta,
            )
        )
        if isinstance(answer, bool | np.bool_) and answer:
            raise Interrupted(Status.CANCELLED)

    def _eta(self, expected: _Outlook) -> list[float | None]:
        """Seconds until the end, at least and at most: None where it cannot be said."""
        scale = self._seconds_per_cost()
        costs = (expected.cost, expected.low, expected.high)
        return [max(cost - self.work.cost, 0.0) * scale if math.isfinite(cost) else None for cost in costs]

    def expect(
        self, iterations: float, price: float, low: float | None = None, high: float | None = None
    ) -> None:
        """Told what the method at work is expected to need still: iterations, their cost, and its bounds."""
        if not (math.isfinite(price) and math.isfinite(iterations)):
            self._expected = None
            return
        work = self.work
        self._expected = _Outlook(
            work.iterations + iterations,
            work.cost + price,
            work.cost + (price / _UNSURE if low is None else low),
            work.cost + (price * _UNSURE if high is None else high),
        )
        if self._told is None and self.work.cost > 0.0:
            seconds = self.seconds + price * self._seconds_per_cost()
            self._told = (self.work.iterations + iterations, seconds)

    def _seconds_per_cost(self) -> float:
        return self.seconds / self.work.cost if self.work.cost > 0.0 else 0.0

    @property
    def forecast(self) -> Forecast | None:
        """The first expectation, and what has become of it; None if there never was one."""
        if self._told is None:
            return None
        return Forecast(*self._told, self.work.iterations, self.seconds)

    @property
    def met(self) -> bool:
        """Whether the best x meets the target, which may be another than that it was found with."""
        if not self.best_norm <= self.target:
            return False
        return self._confirm is None or self._confirm(self.best_x) <= self.target

    def capture(self) -> Snapshot:
        """All that was seen so far."""
        best_x, expected = self.best_x.copy(), self._expected
        return {
            "work": self.work.capture(),
            "best_x": best_x,
            "best_norm": self.best_norm,
            "measured": self._measured,
            "trail": self.trail.capture(self.best_x, best_x),
            "history": self._history.capture(),
            "expected": None
            if expected is None
            else [expected.iterations, expected.cost, expected.low, expected.high],
            "told": None if self._told is None else list(self._told),
            "seconds": self.seconds,
        }

    def restore(self, snapshot: Snapshot) -> None:
        """Go on from what was captured."""
        self.work = Work(*snapshot["work"])
        self.best_x, self.best_norm = snapshot["best_x"].copy(), snapshot["best_norm"]
        self._measured = snapshot["measured"]
        self.trail = Trail.restored(snapshot["trail"])
        self._history = History.restored(snapshot["history"])
        expected, told = snapshot["expected"], snapshot["told"]
        self._expected = None if expected is None else _Outlook(*expected)
        self._told = None if told is None else (told[0], told[1])
        self._start = time.monotonic() - snapshot["seconds"]

    def release(self) -> None:
        """Let go of those who know this monitor."""
        self._confirm = self._disprove = self._capture = None

    def hopeless(self, x: FloatArray) -> bool:
        """Whether it is proven that no x meets the target; `x` is one whose residual no longer falls."""
        return self._disprove is not None and self._disprove(x)

    def settle(self, x: FloatArray) -> None:
        """Measure without looking at limits: the last look at an iterate when a solve is interrupted."""
        self._judge(x, self._residual_norm(x, lambda: None))

    def _residual_norm(self, x: FloatArray, tick: Callable[[], None]) -> float:
        norm: float = perform(ResidualNorm(self._A, self._b, x, self._parts, self._r, tick))
        return norm

    def _judge(self, x: FloatArray, norm: float) -> None:
        if not math.isfinite(norm):
            return
        if norm < self.best_norm:
            self.best_norm = norm
            self.best_x = x if norm <= self.target else x.copy()
            self.trail.passed(self.best_x, norm)
        self._record(norm, exact=True)

    def estimate(self, norm: float) -> None:
        """Record a residual norm that was gathered on the way, for the history only."""
        if math.isfinite(norm):
            self._record(norm, exact=False)

    def _record(self, norm: float, *, exact: bool) -> None:
        work = self.work
        self._history.record(
            HistoryPoint(work.iterations, work.epochs, self.seconds, self.relative(norm), exact)
        )
