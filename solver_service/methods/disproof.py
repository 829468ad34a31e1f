"""The search for a proof that a system is inconsistent: when to look for one, and from which x."""

from __future__ import annotations

import math
from collections.abc import Iterator

from . import cost
from .advice import rounding_floor
from .attempt import Attempt
from .books import Books
from .equations import Equations
from .gram import MOST_ROWS
from .monitor import Monitor
from .options import Options
from .process import Drive
from .registry import GRAM, METHODS, Form
from .residuals import norm
from .result import Certificate, FloatArray, Status
from .verification import RADIUS, nearly_least_squares, prove_inconsistent, true_residual

_AS_GOOD = 1.0005
"""Of two least-squares iterates that of the proof is preferred, unless its residual is larger by this."""

_LEAST_SEARCH = 1e8
_NEAR = 4.0
_REASON = "looked for a proof that the system is inconsistent"


class Disproof:
    """Looks for a proof that no x meets the target.

    Parameters
    ----------
    equations, options
    books : Books
        Where each search is entered.

    Attributes
    ----------
    certificate : Certificate or None
        The proof that was found last.
    """

    def __init__(self, equations: Equations, options: Options, books: Books) -> None:
        self.certificate: Certificate | None = None
        self._equations = equations
        self._state = equations.state
        self._options = options
        self._books = books

    def midway(self, monitor: Monitor, x: FloatArray) -> bool:
        """Whether there is a proof, asked in the middle of an attempt: looked for if x promises one."""
        x, b, target = x.copy(), self._equations.b, self._equations.target
        r = true_residual(self._state.raw, b, x)
        if not nearly_least_squares(self._state, b, x, r, target):
            return False
        if norm(r) <= _NEAR * rounding_floor(self._state, b, x):
            return False  # what is left may be rounding
        return self._prove(monitor, x)

    def at_last(self, monitor: Monitor) -> bool:
        """After all methods have ended: from where column sweeps lead, or else from the best x."""
        if self._options.method not in ("auto", "ssor_cgls") and self._search(monitor):
            return True
        return self._prove(monitor, monitor.best_x)

    def _search(self, monitor: Monitor) -> bool:
        """Find a least-squares solution from zero, for as long as the method itself has taken.

        Its x is taken only with a proof: it must not be passed off as that of another method.
        """
        budget = max(monitor.work.cost, _LEAST_SEARCH)
        for name, form in self._decisive(budget):
            away = monitor.aside()
            attempt = Attempt(name, f"{_REASON}; {form.note}" if form.note else _REASON)
            try:
                with self._books.aside(attempt, away):
                    start = form.start(self._state, self._equations.solvable, away.best_x, self._options)
                    status = Drive(start, away).run(budget)
            finally:
                if away.limited:
                    monitor.cut()
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
        """Look for a proof near x; without one, the x that the method itself found stays."""
        attempt = Attempt("lsmr", _REASON)
        with self._books.aside(attempt, monitor):
            proof = prove_inconsistent(self._state, self._equations.b, x, monitor)
            found = proof.certificate
            size = math.sqrt(max(proof.residual_norm**2 - monitor.left_out**2, 0.0))
            if found is not None and size <= _AS_GOOD * monitor.best_norm:
                monitor.best_x, monitor.best_norm = proof.x, size
            elif found is not None and found.radius < RADIUS * norm(monitor.best_x):
                found = None
            elif proof.residual_norm <= self._equations.target:
                attempt.reason += ", and solved it instead: try method lsmr"
        self.certificate = found
        return found is not None
