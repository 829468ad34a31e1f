"""One right-hand side from scaling to result: phases, verification, proof, diagnostics."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from ..errors import FieldError, NonFiniteError
from . import auto
from .auto import Candidate
from .monitor import Interrupted, Monitor
from .options import Options
from .process import Process, drive
from .registry import METHODS, Form, MethodSpec, find
from .result import Certificate, FloatArray, Parameters, Phase, Progress, Result, Status, Timings
from .state import TUNING, State, safe_exponent
from .verification import empty_row_certificate, norm, prove_inconsistent, true_residual, worst_equations

DEFAULT_MAX_EPOCHS = 50_000.0
"""The generous limit that `max_epochs=None` stands for."""

_TIGHTENINGS = 4
_LARGEST = float(np.finfo(np.float64).max)


class Column:
    """One right-hand side b, (m,), with its start x0, (n,) or None for zero.

    Notes
    -----
    Everything inside works on b and x times powers of two, which is exact (see `State`), so that squares
    neither overflow nor vanish; results are scaled back.
    """

    def __init__(self, state: State, b: FloatArray, x0: FloatArray | None, options: Options) -> None:
        self._start = time.perf_counter()
        self._prepared_before = state.seconds
        self._state = state
        self._options = options
        self._b_exponent = safe_exponent(b)
        self._x_exponent = self._b_exponent - state.exponent
        self._b = np.ldexp(b, -self._b_exponent)  # a copy: the caller's may be read-only
        self._b_norm = norm(self._b)
        if _ldexp(self._b_norm, self._b_exponent) >= _LARGEST:
            raise NonFiniteError(
                "the norm of b is beyond float64", errors=[FieldError("b", "its norm is beyond float64")]
            )
        self._target = max(options.rtol * self._b_norm, _ldexp(options.atol, -self._b_exponent))
        self._x0 = np.zeros(state.A.shape[1]) if x0 is None else _scaled(x0, -self._x_exponent).copy()
        self._phases: list[Phase] = []
        self._parameters = Parameters()
        self._method = options.method
        self._reason = ""
        self._minimum_norm: bool | None = x0 is None or not x0.any()
        self._verify_seconds = 0.0

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
        solvable = self._b if empty is None else np.where(np.diff(self._state.A.indptr) == 0, 0.0, self._b)
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
        )
        proof = empty
        with np.errstate(over="ignore", invalid="ignore"):  # divergence is noticed by its residual
            try:
                status = self._run(monitor, solvable)
                if empty is not None:
                    status = Status.INCONSISTENT
                elif status is Status.STAGNATED:
                    proof = self._prove(monitor)
                    status = status if proof is None else Status.INCONSISTENT
            except Interrupted as interruption:
                status, proof = interruption.status, None
        return self._result(monitor, status, proof)

    def _run(self, monitor: Monitor, b: FloatArray) -> Status:
        """Try the candidates in turn until one meets the target or a limit ends it all."""
        spec = find(self._options)
        if spec.require is not None:
            spec.require(self._state)
        if self._trivial(monitor):
            return Status.CONVERGED
        requested = Candidate(self._options.method, "requested")
        automatic = self._options.method == "auto"
        status: Status | None = None
        for candidate in auto.candidates(self._state, self._options) if automatic else (requested,):
            for form in METHODS[candidate.method].forms(self._state):
                status = self._phase(candidate, form, monitor, b)
                if status in (Status.CONVERGED, Status.MAX_EPOCHS):
                    return status
        return status or Status.STAGNATED

    def _trivial(self, monitor: Monitor) -> bool:
        """Whether x0 is good enough as it is; for b = 0, if it is not, zero is."""
        monitor.begin()
        if self._b_norm == 0.0 and monitor.best_norm > self._target:
            monitor.best_x, monitor.best_norm = np.zeros_like(monitor.best_x), 0.0
        done = monitor.best_norm <= self._target and self._residual(monitor.best_x)[1] <= math.hypot(
            self._target, monitor.left_out
        )
        if done:
            self._reason = "b is zero" if self._b_norm == 0.0 else "the starting point meets the target"
            if monitor.left_out > 0.0:
                self._reason += " but for the empty rows, where b is not zero"
        return done

    def _phase(self, candidate: Candidate, form: Form, monitor: Monitor, b: FloatArray) -> Status | None:
        """Run one form of one method, and write down what it did."""
        spec = METHODS[candidate.method]
        work = monitor.work
        before = (work.iterations, work.epochs, monitor.seconds, monitor.best_x, monitor.best_norm)
        self._method = spec.name
        self._reason = f"{candidate.reason}; {form.note}" if form.note else candidate.reason
        status: Status | None = None
        process: Process | None = None
        try:
            process = form.start(self._state, b, monitor.best_x, self._options)
            status = self._drive_verified(process, monitor, candidate)
        except Interrupted:
            if process is not None:
                monitor.settle(process.solution())
            self._track_norm(spec, process, monitor, None, *before[3:])
            raise
        except MemoryError:
            if self._options.method != "auto":
                raise
            self._reason += "; it ran out of memory"
        finally:
            if process is not None:
                self._parameters = process.parameters()
            self._log(spec.name, self._reason, monitor, before[:3])
        return self._track_norm(spec, process, monitor, status, *before[3:])

    def _prove(self, monitor: Monitor) -> Certificate | None:
        """Look for a proof of inconsistency; without one, the x that the method itself found stays."""
        work = monitor.work
        before = (work.iterations, work.epochs, monitor.seconds)
        reason = "looked for a proof that the system is inconsistent"
        try:
            proof = prove_inconsistent(self._state, self._b, monitor)
            if proof.certificate is not None and proof.residual_norm < monitor.best_norm:
                monitor.best_x, monitor.best_norm = proof.x, proof.residual_norm
            elif proof.residual_norm <= self._target:
                reason += ", and solved it instead: try method lsmr"
        finally:
            self._log("lsmr", reason, monitor, before)
        return proof.certificate

    def _log(self, method: str, reason: str, monitor: Monitor, before: tuple[int, float, float]) -> None:
        work = monitor.work
        self._phases.append(
            Phase(
                method,
                reason,
                work.iterations - before[0],
                work.epochs - before[1],
                monitor.seconds - before[2],
                monitor.relative(monitor.best_norm),
            )
        )

    def _track_norm(
        self,
        spec: MethodSpec,
        process: Process | None,
        monitor: Monitor,
        status: Status | None,
        x: FloatArray,
        x_norm: float,
    ) -> Status | None:
        """Keep count of whether x lies in the row space; where it has to, leave no x that may not."""
        if spec.row_space:
            return status
        if status is Status.CONVERGED and process is not None and process.unique:
            self._minimum_norm = None
        elif self._options.minimum_norm:
            monitor.best_x, monitor.best_norm = x, x_norm
            return Status.STAGNATED if status is Status.CONVERGED else status
        elif monitor.best_x is not x:
            self._minimum_norm = False
        return status

    def _drive_verified(self, process: Process, monitor: Monitor, candidate: Candidate) -> Status | None:
        """`drive` within the candidate's share of the work, and go on where verification does not confirm."""
        target, max_epochs = monitor.target, monitor.max_epochs
        confirmed = math.hypot(target, monitor.left_out)
        monitor.max_epochs -= (1.0 - candidate.share) * monitor.remaining_epochs
        try:
            for _ in range(_TIGHTENINGS):
                status = drive(process, monitor, forecast_limit=candidate.forecast_limit)
                if status is Status.MAX_EPOCHS and candidate.share < 1.0:
                    return None
                if status is not Status.CONVERGED or self._residual(monitor.best_x)[1] <= confirmed:
                    return status
                monitor.target *= 0.5
            return Status.STAGNATED
        finally:
            monitor.target, monitor.max_epochs = target, max_epochs

    def _residual(self, x: FloatArray) -> tuple[FloatArray, float]:
        start = time.perf_counter()
        r = true_residual(self._state.raw, self._b, x)
        size = norm(r)
        self._verify_seconds += time.perf_counter() - start
        return r, size

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
            parameters=replace(self._parameters, threads=1, seed=self._options.seed, tuning=TUNING),
            phases=tuple(self._phases),
            history=monitor.history,
            timings=Timings(
                prepare=prepare,
                solve=max(0.0, total - prepare - self._verify_seconds),
                verify=self._verify_seconds,
                total=total,
            ),
            advice=status.advice,
            minimum_norm=minimum_norm,
            certificate=None if proof is None else self._unscaled(proof),
            worst_equations=worst_equations(_scaled(r, self._b_exponent)) if explain else None,
        )

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
