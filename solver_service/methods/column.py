"""One right-hand side from scaling to result: phases, verification, proof, diagnostics."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial

import numpy as np

from ..errors import FieldError, NonFiniteError
from . import cost
from .advice import rounding_floor, stall_advice
from .attempt import Attempt, Ledger
from .auto import Race
from .gram import MOST_ROWS
from .monitor import Interrupted, Monitor
from .options import Options
from .process import Drive, Process
from .registry import GRAM, METHODS, Form, MethodSpec, find
from .result import Certificate, FloatArray, Parameters, Progress, Result, Status, Timings
from .state import TUNING, State, safe_exponent
from .team import worthwhile_threads
from .verification import (
    RADIUS,
    empty_row_certificate,
    nearly_least_squares,
    norm,
    prove_inconsistent,
    true_residual,
    worst_equations,
)

DEFAULT_MAX_EPOCHS = 50_000.0
"""The generous limit that `max_epochs=None` stands for."""

_LOOSEST = 1.0 - 2.0**-20
_TIGHTEST = 1e-9
_AS_GOOD = 1.0005
"""Of two least-squares iterates that of the proof is preferred, unless its residual is larger by this."""

_LEAST_SEARCH = 1e8
_NEAR = 4.0
_PROOF = "looked for a proof that the system is inconsistent"

_LARGEST = float(np.finfo(np.float64).max)


class Column:
    """One right-hand side b, (m,), with its start x0, (n,) or None for zero.

    `connected` says that A is known to be one block.

    Notes
    -----
    Everything inside works on b and x times powers of two, which is exact (see `State`), so that squares
    neither overflow nor vanish; results are scaled back.
    """

    def __init__(
        self,
        state: State,
        b: FloatArray,
        x0: FloatArray | None,
        options: Options,
        *,
        connected: bool = False,
    ) -> None:
        self._connected = connected
        self._start = time.perf_counter()
        self._prepared_before = state.seconds
        self._state = state
        self._options = options
        self._threads = worthwhile_threads(options.threads, state.A.nnz)
        self._b_exponent = safe_exponent(b)
        self._x_exponent = self._b_exponent - state.exponent
        # A copy in any case: the caller's may be read-only.
        self._b = np.ldexp(b, -self._b_exponent) if self._b_exponent else b.copy()
        self._b_norm = norm(self._b)
        if _ldexp(self._b_norm, self._b_exponent) >= _LARGEST:
            raise NonFiniteError(
                "the norm of b is beyond float64", errors=[FieldError("b", "its norm is beyond float64")]
            )
        self._target = max(options.rtol * self._b_norm, _ldexp(options.atol, -self._b_exponent))
        self._x0 = np.zeros(state.A.shape[1]) if x0 is None else _scaled(x0, -self._x_exponent).copy()
        self._attempts: list[Attempt] = []
        self._parameters = Parameters()
        self._method = options.method
        self._reason = ""
        self._minimum_norm: bool | None = x0 is None or not x0.any()
        self._verify_seconds = 0.0
        self._proof: Certificate | None = None
        self._verified: tuple[FloatArray, FloatArray, float] | None = None

    def solve(
        self,
        *,
        deadline: float | None,
        should_stop: Callable[[], bool] | None,
        callback: Callable[[Progress], object] | None,
    ) -> Result:
        """Run the phases, verify, and say what came out."""
        limit = self._options.max_epochs
        empty = empty_row_certificate(self._state, self._b, self._target)
        # Empty rows are beyond every method; the rest of the system is solved as well as it can be.
        solvable = self._b if empty is None else self._without_empty_rows()
        monitor = Monitor(
            self._state.raw,
            solvable,
            self._x0,
            target=self._target,
            max_epochs=DEFAULT_MAX_EPOCHS if limit is None else limit,
            deadline=deadline,
            should_stop=should_stop,
            callback=callback,
            left_out=0.0 if empty is None else empty.bound,
            confirm=self._confirm,
            threads=self._threads,
            disprove=lambda x: self._disprove(monitor, x),
        )
        with np.errstate(over="ignore", invalid="ignore"):  # divergence is noticed by its residual
            try:
                status = self._run(monitor, solvable)
                proven = status is Status.STAGNATED and self._prove_at_last(monitor, solvable)
                if proven or empty is not None:
                    status = Status.INCONSISTENT
            except Interrupted as interruption:
                status = interruption.status
        proof = self._proof if empty is None else empty
        return self._result(monitor, status, proof if status is Status.INCONSISTENT else None)

    def _run(self, monitor: Monitor, b: FloatArray) -> Status:
        """Try the candidates until one meets the target or a limit ends it all."""
        spec = find(self._options)
        if spec.require is not None:
            spec.require(self._state)
        if self._trivial(monitor):
            return Status.CONVERGED
        race = None
        if self._options.method == "auto":
            apart = None if self._connected else self._solve_block
            left = None if monitor.deadline is None else lambda: monitor.seconds_left
            race = Race(self._state, b, self._options, seconds_left=left, solve_block=apart)
        requested = self._requested(spec, b)
        while True:
            move = next(requested, None) if race is None else race.next()
            if move is None:
                return Status.STAGNATED
            attempt, budget = move
            status = self._go_on(attempt, monitor, budget)
            if status in (Status.CONVERGED, Status.MAX_EPOCHS, Status.INCONSISTENT):
                return status

    def _requested(self, spec: MethodSpec, b: FloatArray) -> Iterator[tuple[Attempt, float]]:
        """The forms of the method that was asked for, one after the other."""
        for form in spec.forms(self._state):
            if not form.automatic:
                reason = f"requested; {form.note}" if form.note else "requested"
                yield (
                    Attempt(spec.name, reason, partial(self._start_form, form, b)),
                    math.inf,
                )

    def _solve_block(
        self, state: State, b: FloatArray, x0: FloatArray, rtol: float, monitor: Monitor
    ) -> Result:
        """Solve a block that is connected to nothing else, within the limits of the whole."""
        left = monitor.remaining_epochs * self._state.A.nnz / state.A.nnz
        options = replace(self._options, rtol=min(rtol, _LOOSEST), atol=0.0, max_epochs=max(left, _TIGHTEST))
        column = Column(state, b, x0, options, connected=True)
        return column.solve(deadline=monitor.deadline, should_stop=monitor.should_stop, callback=None)

    def _start_form(self, form: Form, b: FloatArray, x: FloatArray) -> Process:
        return form.start(self._state, b, x, self._options)

    def _trivial(self, monitor: Monitor) -> bool:
        """Whether x0 is good enough as it is; for b = 0, if it is not, zero is."""
        monitor.begin()
        if self._b_norm == 0.0 and monitor.best_norm > self._target:
            monitor.best_x, monitor.best_norm = np.zeros_like(monitor.best_x), 0.0
        done = monitor.best_norm <= self._target
        if done:
            self._reason = "b is zero" if self._b_norm == 0.0 else "the starting point meets the target"
            if monitor.left_out > 0.0:
                self._reason += " but for the empty rows, where b is not zero"
        return done

    def _go_on(self, attempt: Attempt, monitor: Monitor, budget: float) -> Status | None:
        """Run an attempt for a while, and write down what it did."""
        self._ledger = Ledger(attempt, monitor)
        x, x_norm = monitor.best_x, monitor.best_norm
        self._method, self._reason = attempt.method, attempt.reason
        # In the order in which they ended: what was taken up again comes after what it gave way to.
        self._attempts = [a for a in self._attempts if a is not attempt] + [attempt]
        status: Status | None = None
        try:
            if attempt.final and math.isfinite(attempt.prior):
                monitor.expect(1, attempt.prior)
            if attempt.drive is None:
                assert attempt.start is not None
                attempt.drive = Drive(attempt.start(monitor.best_x), monitor)
            status = attempt.drive.run(budget)
        except Interrupted:
            if attempt.drive is not None:
                monitor.settle(attempt.drive.process.solution())
            self._track_norm(attempt, monitor, None, x, x_norm)
            raise
        except MemoryError:
            if self._options.method != "auto":
                raise
            status = Status.STAGNATED
            attempt.reason += "; it ran out of memory"
        finally:
            if attempt.drive is not None:
                process = attempt.drive.process
                self._parameters = process.parameters()
                attempt.method = self._method = process.method or attempt.method
            self._ledger.close()
        attempt.done = status is not None
        return self._track_norm(attempt, monitor, status, x, x_norm)

    def _disprove(self, monitor: Monitor, x: FloatArray) -> bool:
        """Whether the target is out of reach, with the proof; asked in the middle of an attempt."""
        x = x.copy()
        r = true_residual(self._state.raw, self._b, x)
        if not nearly_least_squares(self._state, self._b, x, r, self._target):
            return False
        if norm(r) <= _NEAR * rounding_floor(self._state, self._b, x):
            return False  # what is left may be rounding
        running = self._ledger
        running.close()
        try:
            return self._prove(monitor, x)
        finally:
            self._ledger = running.reopened()

    def _prove_at_last(self, monitor: Monitor, b: FloatArray) -> bool:
        """After all methods have ended: from where column sweeps lead, or else from the best x."""
        if self._options.method not in ("auto", "ssor_cgls") and self._search(monitor, b):
            return True
        return self._prove(monitor, monitor.best_x)

    def _search(self, monitor: Monitor, b: FloatArray) -> bool:
        """Find a least-squares solution from zero, for as long as the method itself has taken.

        Its x is taken only with a proof: it must not be passed off as that of another method.
        """
        budget = max(monitor.work.cost, _LEAST_SEARCH)
        for name, form in self._decisive(budget):
            aside = monitor.aside()
            attempt = Attempt(name, f"{_PROOF}; {form.note}" if form.note else _PROOF)
            self._attempts.append(attempt)
            self._ledger = Ledger(attempt, aside)
            try:
                status = Drive(form.start(self._state, b, aside.best_x, self._options), aside).run(budget)
            finally:
                self._ledger.close()
            if status is Status.INCONSISTENT:
                return True
            if status is Status.CONVERGED:
                attempt.reason += f", and solved it instead: try method {name}"
                return False
        return False

    def _decisive(self, budget: float) -> Iterator[tuple[str, Form]]:
        """Methods that find least-squares solutions, the Gram factor only if it is cheap enough."""
        m, n = self._state.A.shape
        if n <= min(m, MOST_ROWS) and cost.gram(n, self._state.gram_pairs) <= budget:
            yield "direct", GRAM
        yield "ssor_cgls", METHODS["ssor_cgls"].forms(self._state)[0]

    def _prove(self, monitor: Monitor, x: FloatArray) -> bool:
        """Look for a proof of inconsistency; without one, the x that the method itself found stays."""
        attempt = Attempt("lsmr", _PROOF)
        self._attempts.append(attempt)
        ledger = Ledger(attempt, monitor)
        try:
            proof = prove_inconsistent(self._state, self._b, x, monitor)
            self._proof = proof.certificate
            size = math.sqrt(max(proof.residual_norm**2 - monitor.left_out**2, 0.0))
            if self._proof is not None and size <= _AS_GOOD * monitor.best_norm:
                monitor.best_x, monitor.best_norm = proof.x, size
            elif self._proof is not None and self._proof.radius < RADIUS * norm(monitor.best_x):
                self._proof = None
            elif proof.residual_norm <= self._target:
                attempt.reason += ", and solved it instead: try method lsmr"
        finally:
            ledger.close()
        return self._proof is not None

    def _track_norm(
        self, attempt: Attempt, monitor: Monitor, status: Status | None, x: FloatArray, x_norm: float
    ) -> Status | None:
        """Keep count of whether x lies in the row space; where it has to, leave no x that may not."""
        process = None if attempt.drive is None else attempt.drive.process
        if process is not None and process.row_space:
            return status
        if status is Status.CONVERGED and process is not None and process.unique:
            self._minimum_norm = None
        elif self._options.minimum_norm:
            monitor.best_x, monitor.best_norm = x, x_norm
            return Status.STAGNATED if status is Status.CONVERGED else status
        elif monitor.best_x is not x:
            self._minimum_norm = False
        return status

    def _without_empty_rows(self) -> FloatArray:
        b = self._b.copy()
        b[self._state.empty_rows] = 0.0
        return b

    def _residual(self, x: FloatArray) -> tuple[FloatArray, float]:
        """The true residual, by separate code; that of the x asked about last is remembered."""
        if self._verified is None or self._verified[0] is not x:
            start = time.perf_counter()
            r = true_residual(self._state.raw, self._b, x, self._threads)
            self._verified = (x, r, norm(r))
            self._verify_seconds += time.perf_counter() - start
        return self._verified[1:]

    def _confirm(self, x: FloatArray) -> float:
        """‖b − A x‖ of the equations that are not empty."""
        r, size = self._residual(x)
        if self._state.empty_rows.size == 0:
            return size
        r = r.copy()
        r[self._state.empty_rows] = 0.0
        return norm(r)

    def _result(self, monitor: Monitor, status: Status, proof: Certificate | None) -> Result:
        x = _scaled(monitor.best_x, self._x_exponent)
        r, size = self._residual(_scaled(x, -self._x_exponent))
        if not math.isfinite(size):
            x = np.zeros_like(x)
            r, size = self._b, self._b_norm
        # Judged on the numbers that are reported: scaling back may round where they are subnormal.
        residual_norm, target = _ldexp(size, self._b_exponent), _ldexp(self._target, self._b_exponent)
        if residual_norm <= target:
            status, proof = Status.CONVERGED, None
        elif status is Status.CONVERGED:
            status = Status.STAGNATED
        minimum_norm = self._minimum_norm if status is Status.CONVERGED else False
        if status is Status.CONVERGED and not x.any():
            minimum_norm = True
        explain = status in (Status.STAGNATED, Status.INCONSISTENT)
        work = monitor.work
        total = time.perf_counter() - self._start
        prepare = self._state.seconds - self._prepared_before
        return Result(
            x=x,
            status=status,
            residual_norm=residual_norm,
            relative_residual=size / self._b_norm if self._b_norm > 0.0 else 0.0,
            target=target,
            method=self._method,
            reason=self._reason,
            iterations=work.iterations,
            epochs=work.epochs,
            row_updates=work.row_updates,
            parameters=replace(self._parameters, seed=self._options.seed, tuning=TUNING),
            phases=tuple(attempt.phase() for attempt in self._attempts),
            history=monitor.history,
            timings=Timings(
                prepare=prepare,
                solve=max(0.0, total - prepare - self._verify_seconds),
                verify=self._verify_seconds,
                total=total,
            ),
            advice=self._advice(status, monitor.best_x, size),
            minimum_norm=minimum_norm,
            forecast=monitor.forecast,
            error_estimate=self._error_estimate(monitor, r, size) if status is Status.CONVERGED else None,
            certificate=None if proof is None else self._unscaled(proof),
            worst_equations=worst_equations(_scaled(r, self._b_exponent)) if explain else None,
        )

    def _advice(self, status: Status, x: FloatArray, size: float) -> str:
        if status is not Status.STAGNATED:
            return status.advice
        return stall_advice(self._state, self._options.method, self._b, x, size)

    def _error_estimate(self, monitor: Monitor, r: FloatArray, size: float) -> float | None:
        """That of the method if it has one, else by the way the residual went; None if x* is not unique."""
        m, n = self._state.A.shape
        drive = self._attempts[-1].drive if self._attempts else None
        if drive is None or m < n:
            return None
        process = drive.process
        estimate = (
            process.error_estimate(r) if process.factored else monitor.trail.estimate(monitor.best_x, size)
        )
        if estimate is None or not self._state.column_norms.all():
            return None
        return _ldexp(estimate, self._x_exponent)

    def _unscaled(self, proof: Certificate) -> Certificate:
        return Certificate(
            proof.y, _ldexp(proof.bound, self._b_exponent), _ldexp(proof.radius, self._x_exponent)
        )


def _scaled(v: FloatArray, exponent: int) -> FloatArray:
    """v·2^exponent; what overflows becomes the largest finite number, for answers are always finite."""
    if exponent == 0:
        return v
    with np.errstate(over="ignore", under="ignore"):
        return np.clip(np.ldexp(v, exponent), -_LARGEST, _LARGEST)


def _ldexp(value: float, exponent: int) -> float:
    try:
        return math.ldexp(value, exponent)
    except OverflowError:
        return _LARGEST
