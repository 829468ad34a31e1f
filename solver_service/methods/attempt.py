"""One method on one right-hand side, started when it is first needed, left and taken up again."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from .monitor import Monitor, Work
from .process import Drive, Process
from .result import FloatArray, Phase


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
    done: bool = False
    seconds: float = 0.0
    work: Work = field(default_factory=Work)
    residual: float = math.inf

    @property
    def forecast(self) -> float:
        """Cost still to pay until the target, as far as it is known."""
        if self.done:
            return math.inf
        return self.entry + self.prior if self.drive is None or self.final else self.drive.forecast

    @property
    def spent(self) -> float:
        """Cost of its steps so far."""
        return 0.0 if self.drive is None else self.drive.spent

    def count(self, monitor: Monitor, before: Work, seconds: float) -> None:
        """Add what was done since `before`."""
        now, own = monitor.work, self.work
        own.iterations += now.iterations - before.iterations
        own.row_updates += now.row_updates - before.row_updates
        own.epochs += now.epochs - before.epochs
        own.cost += now.cost - before.cost
        self.seconds += seconds

    def phase(self) -> Phase:
        """What to tell of it."""
        return Phase(
            self.method, self.reason, self.work.iterations, self.work.epochs, self.seconds, self.residual
        )


class Ledger:
    """Counts what is done from now on to the credit of an attempt, until closed."""

    def __init__(self, attempt: Attempt, monitor: Monitor) -> None:
        self._attempt, self._monitor = attempt, monitor
        self._before, self._start = replace(monitor.work), monitor.seconds

    def close(self) -> None:
        """Add it."""
        attempt, monitor = self._attempt, self._monitor
        attempt.count(monitor, self._before, monitor.seconds - self._start)
        attempt.residual = monitor.relative(monitor.best_norm)

    def reopened(self) -> Ledger:
        """Go on for the same attempt."""
        return Ledger(self._attempt, self._monitor)
