"""What was tried on one right-hand side, in which order, and to whose credit work is done."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace

from .attempt import Attempt
from .monitor import Monitor, Work
from .result import Parameters
from .snapshot import Snapshot


class Books:
    """All attempts so far, with what is to be told of the one that had the last word.

    Parameters
    ----------
    method : str
        What to tell of while nothing was tried.

    Attributes
    ----------
    method, reason : str
    parameters : Parameters
    attempts : list of Attempt
        In the order in which they ended: what was taken up again comes after what it gave way to.
    """

    def __init__(self, method: str) -> None:
        self.method, self.reason = method, ""
        self.parameters = Parameters()
        self.attempts: list[Attempt] = []
        self._ledger: _Ledger | None = None  # of the attempt at work

    def enter(self, attempt: Attempt, monitor: Monitor) -> None:
        """Count to the credit of an attempt from now on, until `close`."""
        self._ledger = _Ledger(attempt, monitor)
        self.method, self.reason = attempt.method, attempt.reason
        self.attempts = [a for a in self.attempts if a is not attempt] + [attempt]

    def close(self) -> None:
        """Put down what the attempt at work did, and what it ran with."""
        assert self._ledger is not None
        attempt = self._ledger.attempt
        process = attempt.process
        if process is not None:
            self.parameters = process.parameters()
            attempt.method = self.method = process.method or attempt.method
        self._ledger.close()
        self._ledger = None

    @contextmanager
    def aside(self, attempt: Attempt, monitor: Monitor) -> Iterator[None]:
        """Count what is done here to the credit of another attempt than the one at work, if there is one."""
        at_work = self._ledger
        if at_work is not None:
            at_work.close()
        self.attempts.append(attempt)
        self._ledger = _Ledger(attempt, monitor)
        try:
            yield
        finally:
            self._ledger.close()
            self._ledger = None if at_work is None else at_work.reopened()

    def capture(self, candidates: Sequence[Attempt]) -> Snapshot:
        """The state of all attempts, in the middle of the one at work, which is one of the candidates."""
        assert self._ledger is not None
        attempt = self._ledger.attempt
        process = attempt.process
        assert process is not None
        return {
            "candidates": [candidate.capture() for candidate in candidates],
            # Those that are no candidates looked for proofs.
            "attempts": [candidates.index(a) if a in candidates else a.capture() for a in self.attempts],
            "at_work": candidates.index(attempt),
            "ledger": self._ledger.capture(),
            "row_space": process.row_space,
            "method": process.method or attempt.method,
            "reason": self.reason,
            "parameters": asdict(process.parameters()),
        }

    def restore(self, snapshot: Snapshot, monitor: Monitor) -> None:
        """Take up all that can be told without the candidates, which `rejoin` puts in their places."""
        self.method, self.reason = snapshot["method"], snapshot["reason"]
        self.parameters = Parameters(**snapshot["parameters"])
        self.attempts = []
        for saved in snapshot["attempts"]:
            attempt = Attempt("", "")
            attempt.restore(snapshot["candidates"][saved] if isinstance(saved, int) else saved)
            self.attempts.append(attempt)
        at_work = self.attempts[snapshot["attempts"].index(snapshot["at_work"])]
        self._ledger = _Ledger(at_work, monitor, snapshot["ledger"])

    def rejoin(self, candidates: Sequence[Attempt], snapshot: Snapshot, monitor: Monitor) -> Attempt:
        """Put in the candidates, which were restored; returns the one at work."""
        self.attempts = [
            candidates[place] if isinstance(place, int) else attempt
            for place, attempt in zip(snapshot["attempts"], self.attempts, strict=True)
        ]
        at_work = candidates[snapshot["at_work"]]
        self._ledger = _Ledger(at_work, monitor, snapshot["ledger"])
        return at_work


class _Ledger:
    """Counts what is done to the credit of an attempt, from now or a captured beginning on, until closed."""

    def __init__(self, attempt: Attempt, monitor: Monitor, begin: Snapshot | None = None) -> None:
        self.attempt, self._monitor = attempt, monitor
        if begin is None:
            self._before, self._start = replace(monitor.work), monitor.seconds
        else:
            self._before, self._start = Work(*begin["before"]), begin["start"]

    def capture(self) -> Snapshot:
        """Where it begins."""
        return {"before": self._before.capture(), "start": self._start}

    def close(self) -> None:
        """Add it."""
        attempt, monitor = self.attempt, self._monitor
        attempt.count(monitor, self._before, monitor.seconds - self._start)
        attempt.residual = monitor.relative(monitor.best_norm)

    def reopened(self) -> _Ledger:
        """Go on for the same attempt."""
        return _Ledger(self.attempt, self._monitor)
