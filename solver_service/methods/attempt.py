"""One method on one right-hand side, started when it is first needed, left and taken up again."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

from .monitor import Monitor, Work
from .process import Drive, Process
from .result import FloatArray, Phase
from .snapshot import Snapshot, captured, restore
from .tuning import Lesson

_KEPT = ("method", "reason", "prior", "done", "seconds", "residual")


@dataclass(eq=False)
class Attempt:
    """A form of a method that may be run, and what it has done so far.

    Parameters
    ----------
    method : str
    reason : str
        Why it is tried; what is said of it in the end is added.
    start : callable
        Makes the process, given where to start; None for work that is no process.
    entry : float
        Cost (see `cost`) of what must be prepared before its first step.
    prior : float
        Cost that its steps are expected to take while nothing is known: rather an optimistic guess.
    step : float
        Cost of one step.
    final : bool
        Whether it does all its work at once, at the cost `prior`, as a factorisation does.
    refine : callable or None
        Replaces a rough `prior` by a better one, at some cost; None once done.
    least_squares : bool
        Whether its limit is a least-squares solution, from which inconsistency can be shown.
    candidate : str
        What lessons of it go by in `Tuning`; empty where there is nothing to learn.
    lesson : Lesson or None
        What was learned of it in earlier solves.
    doubtful : bool
        Whether it has failed to reach what it is to reach now: tried when all else has ended.
    """

    method: str
    reason: str
    start: Callable[[FloatArray], Process] | None = None
    entry: float = 0.0
    prior: float = math.inf
    step: float = 0.0
    final: bool = False
    refine: Callable[[Attempt], None] | None = None
    drive: Drive | None = None
    least_squares: bool = False
    candidate: str = ""
    lesson: Lesson | None = None
    doubtful: bool = False
    done: bool = False
    seconds: float = 0.0
    work: Work = field(default_factory=Work)
    residual: float = math.inf
    paid: float = 0.0
    """Cost of the steps of an earlier process, which ended and of which nothing else was kept."""

    @property
    def process(self) -> Process | None:
        """What it runs, once started."""
        return None if self.drive is None else self.drive.process

    @property
    def forecast(self) -> float:
        """Cost still to pay until the target, as far as it is known."""
        if self.done:
            return math.inf
        return self.entry + self.prior if self.drive is None or self.final else self.drive.forecast

    @property
    def trusted(self) -> bool:
        """Whether earlier solves have shown that it meets targets, and at what cost."""
        return self.lesson is not None and self.lesson.won

    @property
    def spent(self) -> float:
        """Cost of its steps so far."""
        return self.paid if self.drive is None else self.drive.spent

    def count(self, monitor: Monitor, before: Work, seconds: float) -> None:
        """Add what was done since `before`."""
        now, own = monitor.work, self.work
        own.iterations += now.iterations - before.iterations
        own.row_updates += now.row_updates - before.row_updates
        own.epochs += now.epochs - before.epochs
        own.cost += now.cost - before.cost
        self.seconds += seconds

    def release(self) -> None:
        """Let go of the process, and of what is needed to start one."""
        self.start = self.refine = self.drive = None
        self.done = True

    def capture(self) -> Snapshot:
        """What it has done, and the state of its process unless that has ended."""
        drive = None if self.done or self.drive is None else self.drive.capture()
        return captured(self, _KEPT) | {
            "refined": self.refine is None,
            "work": self.work.capture(),
            "paid": self.spent,
            "drive": drive,
        }

    def restore(self, snapshot: Snapshot) -> None:
        """Take up all but the process."""
        restore(self, _KEPT, snapshot)
        self.refine = None if snapshot["refined"] else self.refine
        self.work, self.paid = Work(*snapshot["work"]), snapshot["paid"]

    def restart(self, snapshot: Snapshot, monitor: Monitor) -> None:
        """Start the process, if it had one that was still at work, and have it take up its state."""
        if snapshot["drive"] is not None:
            assert self.start is not None
            self.drive = Drive(self.start(monitor.best_x), monitor)
            self.drive.restore(snapshot["drive"])

    def phase(self) -> Phase:
        """What to tell of it."""
        return Phase(
            self.method, self.reason, self.work.iterations, self.work.epochs, self.seconds, self.residual
        )
