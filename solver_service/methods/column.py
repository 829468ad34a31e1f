"""One right-hand side from scaling to result: which attempt goes on, until one of them ends it all."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from .attempt import Attempt
from .auto import Race
from .books import Books
from .clock import Clock
from .disproof import Disproof
from .equations import Equations
from .interruption import Interrupted
from .monitor import SILENCE, Monitor
from .options import Options
from .outcome import Outcome
from .process import Drive
from .registry import MethodSpec, find
from .requested import Requested
from .result import FloatArray, Progress, Result, Status
from .row_space import RowSpace
from .snapshot import Holder, Snapshot
from .state import State
from .trials import trials
from .tuning import NOTHING, Trial, Tuning, fall

DEFAULT_MAX_EPOCHS = 50_000.0
"""The generous limit that `max_epochs=None` stands for."""

_LOOSEST = 1.0 - 2.0**-20
_TIGHTEST = 1e-9

_FINAL = (Status.CONVERGED, Status.MAX_EPOCHS, Status.INCONSISTENT)
"""What ends the search among methods; a stall only ends one of them."""


class Column:
    """One right-hand side b, (m,), with its start x0, (n,) or None for zero.

    `tuning` is what was learned of A before, `connected` says that A is known to be one block, and `clock` is
    that of all right-hand sides.

    Notes
    -----
    Everything inside works on `Equations`, which are scaled; the `Outcome` is scaled back.
    """

    def __init__(
        self,
        state: State,
        b: FloatArray,
        x0: FloatArray | None,
        options: Options,
        *,
        tuning: Tuning = NOTHING,
        connected: bool = False,
        clock: Clock | None = None,
    ) -> None:
        self._clock = Clock(state, clock)
        self._state = state
        self._options = options
        self._tuning = tuning
        self._connected = connected
        self._equations = Equations(state, b, x0, options, self._clock)
        self._books = Books(options.method)
        self._row_space = RowSpace(required=options.minimum_norm, minimum_norm=x0 is None or not x0.any())
        self._disproof = Disproof(self._equations, options, self._books)
        self._candidates: Race | Requested | None = None
        self._begin: float  # the residual norm of the start
        self.trials: tuple[Trial, ...] = ()
        """What there is to learn from the solve, once done."""
        self.limited = False
        """Whether `max_epochs` had any influence on the result."""

    def solve(
        self,
        *,
        deadline: float | None,
        should_stop: Callable[[], bool] | None,
        callback: Callable[[Progress], object] | None,
        keeper: Holder | None = None,
        snapshot: Snapshot | None = None,
    ) -> Result:
        """Run the attempts, verify, and say what came out; with a snapshot, go on from there."""
        equations, limit = self._equations, self._options.max_epochs
        empty = equations.empty
        monitor = Monitor(
            self._state.raw,
            equations.solvable,
            equations.x0,
            target=equations.target,
            max_epochs=DEFAULT_MAX_EPOCHS if limit is None else limit,
            deadline=deadline,
            should_stop=should_stop,
            callback=callback,
            left_out=0.0 if empty is None else empty.bound,
            confirm=equations.confirm,
            threads=equations.threads,
            disprove=lambda x: self._disproof.midway(monitor, x),
            keeper=keeper,
            capture=lambda: self._capture(monitor),
        )
        with np.errstate(over="ignore", invalid="ignore"):  # divergence is noticed by its residual
            try:
                status = self._run(monitor, snapshot)
                proven = status is Status.STAGNATED and self._disproof.at_last(monitor)
                if proven or empty is not None:
                    status = Status.INCONSISTENT
            except Interrupted as interruption:
                status = interruption.status
        self.limited = monitor.limited
        proof = self._disproof.certificate if empty is None else empty
        if status is not Status.INCONSISTENT:
            proof = None
        outcome = Outcome(equations, self._options, monitor, self._books, status, proof, self._tuning)
        result = outcome.result(self._row_space.minimum_norm, self._clock)
        ended = status not in (Status.CANCELLED, Status.TIME_LIMIT)
        if self._options.method == "auto" and ended and self._books.attempts:
            candidates, tried = self._attempts, self._books.attempts
            converged = result.converged
            self.trials = trials(candidates, tried, self._begin, equations.target, converged=converged)
        # What they hold is large, and all of it refers to each other: let go of it now, not when somebody
        # collects garbage.
        monitor.release()
        for attempt in [*self._attempts, *self._books.attempts]:
            attempt.release()
        return result

    def _run(self, monitor: Monitor, snapshot: Snapshot | None) -> Status:
        """Let the candidates work until one meets the target or a limit ends it all."""
        spec = find(self._options)
        status: Status | None = None
        if snapshot is not None:
            status = self._resume(spec, monitor, snapshot)
        else:
            if spec.require is not None:
                spec.require(self._state)
            if self._trivial(monitor):
                return Status.CONVERGED
            self._begin = monitor.best_norm
            self._candidates = self._choose(spec, monitor)
        assert self._candidates is not None
        while status not in _FINAL:
            move = self._candidates.next()
            if move is None:
                return Status.STAGNATED
            status = self._go_on(*move, monitor)
        return status

    @property
    def _attempts(self) -> list[Attempt]:
        """All candidates; none where there was nothing to choose."""
        return [] if self._candidates is None else self._candidates.attempts

    def _choose(self, spec: MethodSpec, monitor: Monitor) -> Race | Requested:
        """Make the candidates."""
        b = self._equations.solvable
        if self._options.method != "auto":
            return Requested(spec, self._state, b, self._options)
        return Race(
            self._state,
            b,
            self._options,
            tuning=self._tuning,
            fall=fall(self._begin, monitor.target),
            seconds_left=None if monitor.deadline is None else lambda: monitor.seconds_left,
            solve_block=None if self._connected else self._solve_block,
        )

    def _solve_block(
        self,
        state: State,
        b: FloatArray,
        x0: FloatArray,
        rtol: float,
        monitor: Monitor,
        *,
        keeper: Holder | None,
        snapshot: Snapshot | None,
    ) -> Result:
        """Solve a block that is connected to nothing else, within the limits of the whole."""
        left = monitor.remaining_epochs * self._state.A.nnz / state.A.nnz
        options = replace(self._options, rtol=min(rtol, _LOOSEST), atol=0.0, max_epochs=max(left, _TIGHTEST))
        column = Column(state, b, x0, options, connected=True)
        share = state.A.nnz / self._state.A.nnz
        result = column.solve(
            deadline=monitor.deadline,
            should_stop=monitor.should_stop,
            callback=lambda p: monitor.tell(SILENCE, iterations=p.iterations, epochs=share * p.epochs),
            keeper=keeper,
            snapshot=snapshot,
        )
        if column.limited:
            monitor.cut()
        return result

    def _trivial(self, monitor: Monitor) -> bool:
        """Whether x0 is good enough as it is; for b = 0, if it is not, zero is."""
        monitor.begin()
        zero = self._equations.b_norm == 0.0
        if zero and monitor.best_norm > monitor.target:
            monitor.best_x, monitor.best_norm = np.zeros_like(monitor.best_x), 0.0
        done = monitor.best_norm <= monitor.target
        if done:
            self._books.reason = "b is zero" if zero else "the starting point meets the target"
            if monitor.left_out > 0.0:
                self._books.reason += " but for the empty rows, where b is not zero"
        return done

    def _capture(self, monitor: Monitor) -> Snapshot:
        """The state of the whole, in the middle of an attempt."""
        return {
            "monitor": monitor.capture(),
            "seconds": self._clock.capture(),
            "begin": self._begin,
            **self._books.capture(self._attempts),
            **self._row_space.capture(monitor),
        }

    def _resume(self, spec: MethodSpec, monitor: Monitor, snapshot: Snapshot) -> Status | None:
        """Restore a snapshot, and finish what the attempt at work was doing."""
        # What can be had at once is enough for a result; the processes may take long.
        monitor.restore(snapshot["monitor"])
        self._clock.restore(snapshot["seconds"])
        self._begin = snapshot["begin"]
        self._books.restore(snapshot, monitor)
        self._row_space.restore(snapshot, monitor)
        try:
            monitor.tell()
            monitor.tick()
            if spec.require is not None:
                spec.require(self._state)
            self._candidates = self._choose(spec, monitor)
            for attempt, saved in zip(self._attempts, snapshot["candidates"], strict=True):
                monitor.tick()
                attempt.restore(saved)
                attempt.restart(saved, monitor)
        except Interrupted:
            self._books.close()
            if not snapshot["row_space"]:
                self._row_space.leave(monitor)
            raise
        attempt = self._books.rejoin(self._attempts, snapshot, monitor)
        drive = attempt.drive
        assert drive is not None
        return self._work(attempt, monitor, lambda: Status.CONVERGED if monitor.met else drive.go_on())

    def _go_on(self, attempt: Attempt, budget: float, monitor: Monitor) -> Status | None:
        """Run an attempt for a while, and write down what it did."""
        self._books.enter(attempt, monitor)
        self._row_space.enter(monitor)

        def run() -> Status | None:
            if attempt.final and math.isfinite(attempt.prior):
                monitor.expect(1, attempt.prior)
            if attempt.drive is None:
                assert attempt.start is not None
                attempt.drive = Drive(attempt.start(monitor.best_x), monitor)
            return attempt.drive.run(budget)

        return self._work(attempt, monitor, run)

    def _work(self, attempt: Attempt, monitor: Monitor, run: Callable[[], Status | None]) -> Status | None:
        """Let an attempt run, and close the books on it."""
        status: Status | None = None
        try:
            status = run()
        except Interrupted:
            if attempt.drive is not None:
                monitor.settle(attempt.drive.process.solution())
            self._row_space.judge(attempt.process, monitor, None)
            raise
        except MemoryError:
            if self._options.method != "auto":
                raise
            status = Status.STAGNATED
            attempt.reason += "; it ran out of memory"
        finally:
            self._books.close()
        attempt.done = status is not None
        return self._row_space.judge(attempt.process, monitor, status)
