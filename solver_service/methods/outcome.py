"""What to say of a solve that has ended: the result, judged anew on the caller's own scale."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from .advice import stall_advice
from .books import Books
from .clock import Clock
from .equations import Equations
from .monitor import Monitor
from .options import Options
from .residuals import Residual
from .result import Certificate, Result, Status
from .tuning import Tuning
from .verification import worst_equations


class Outcome:
    """The best x, its true residual, and how the solve is said to have ended.

    Parameters
    ----------
    equations, options, monitor, books
    status : Status
        As the flow takes it.
    proof : Certificate or None
        That of inconsistency, if it is said to be inconsistent.
    tuning : Tuning
        What was known of the matrix.
    """

    def __init__(
        self,
        equations: Equations,
        options: Options,
        monitor: Monitor,
        books: Books,
        status: Status,
        proof: Certificate | None,
        tuning: Tuning,
    ) -> None:
        self._tuning = tuning
        self._equations, self._options, self._monitor, self._books = equations, options, monitor, books
        self._x = equations.given_x(monitor.best_x)
        self._r = equations.residual(equations.scaled_x(self._x))
        self._size = self._r.norm
        if not math.isfinite(self._size):
            self._x = np.zeros_like(self._x)
            self._r, self._size = Residual(equations.b), equations.b_norm
        # Judged on the numbers that are reported: scaling back may round where they are subnormal.
        self._residual_norm = equations.given_norm(self._size)
        self._target = equations.given_norm(equations.target)
        self._status, self._proof = status, proof
        if self._residual_norm <= self._target:
            self._status, self._proof = Status.CONVERGED, None
        elif status is Status.CONVERGED:
            self._status = Status.STAGNATED

    def result(self, minimum_norm: bool | None, clock: Clock) -> Result:
        """All of it; `minimum_norm` is what holds if x is a solution."""
        equations, monitor, books, work = self._equations, self._monitor, self._books, self._monitor.work
        converged = self._status is Status.CONVERGED
        explain = self._status in (Status.STAGNATED, Status.INCONSISTENT)
        return Result(
            x=self._x,
            status=self._status,
            residual_norm=self._residual_norm,
            relative_residual=self._size / equations.b_norm if equations.b_norm > 0.0 else 0.0,
            target=self._target,
            method=books.method,
            reason=books.reason,
            iterations=work.iterations,
            epochs=work.epochs,
            row_updates=work.row_updates,
            parameters=replace(books.parameters, seed=self._options.seed, tuning=self._tuning.label),
            phases=tuple(attempt.phase() for attempt in books.attempts),
            history=monitor.history,
            timings=clock.timings(),
            advice=self._advice(),
            minimum_norm=converged and (minimum_norm if self._x.any() else True),
            forecast=monitor.forecast,
            error_estimate=self._error_estimate() if converged else None,
            certificate=None if self._proof is None else equations.given_proof(self._proof),
            worst_equations=worst_equations(equations.given_residual(self._r.vector)) if explain else None,
        )

    def _advice(self) -> str:
        if self._status is not Status.STAGNATED:
            return self._status.advice
        equations = self._equations
        x = self._monitor.best_x
        return stall_advice(equations.state, self._options.method, equations.b, x, self._size)

    def _error_estimate(self) -> float | None:
        """That of the method if it has one, else by the way the residual went; None if x* is not unique."""
        state, monitor, attempts = self._equations.state, self._monitor, self._books.attempts
        m, n = state.A.shape
        process = attempts[-1].process if attempts else None
        if process is None or m < n:
            return None
        estimate = (
            process.error_estimate(self._r.vector)
            if process.factored
            else monitor.trail.estimate(monitor.best_x, self._size)
        )
        if estimate is None or not state.column_norms.all():
            return None
        return self._equations.given_distance(estimate)
