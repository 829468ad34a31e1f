"""`auto`: which methods to try on a matrix, in which order, when to leave one for another, and why.

Every candidate has a forecast of what it still costs to reach the target: a guess while nothing is known, and
the observed decay of the residual per unit of work as soon as it has made some steps. The candidate with the
least forecast goes on for a while, then all are compared anew. Costs are those of `cost`, never the clock's,
so that the same input and seed take the same way.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from . import apart, cost
from .apart import SolveBlock
from .attempt import Attempt
from .options import Options
from .process import Process
from .registry import BATCH, LU, METHODS, Form
from .result import FloatArray
from .state import State
from .team import worthwhile_threads
from .tuning import NOTHING, Lesson, Tuning

_TALL = 16
"""Rows per column from which a few rows in random order may be enough."""

_SHARE = 0.25
_FEW, _SOME, _MANY = 16, 40, 60
"""Steps that a method is expected to take while nothing is known of it."""
_OPTIMISM = 0.8
"""Forecasts of conjugate gradients are rather too low, as plateaus come later."""
_PATIENCE = 2.0
"""Times what it took before, after which one that is known to be good has disappointed."""
_LAST_RESORT = 1e18
_LONGEST_FACTORISATION = 1e11
_BLOCKS = "blocks"
_SELDOM = 5.0
"""Most systems are connected: blocks are searched for where that is a small part of what is expected."""


class Race:
    """The candidates for one right-hand side.

    Parameters
    ----------
    state : State
    b : ndarray, (m,)
    options : Options
    tuning : Tuning
        What was learned in earlier solves.
    fall : float
        By how many factors of e the residual has to fall.
    seconds_left : callable or None
        Seconds to the deadline, None without one: what may take longer and cannot be stopped is not begun.
    solve_block : callable or None
        Solves one of several disconnected blocks; None if there are none.
    """

    def __init__(
        self,
        state: State,
        b: FloatArray,
        options: Options,
        *,
        tuning: Tuning = NOTHING,
        fall: float = 0.0,
        seconds_left: Callable[[], float] | None = None,
        solve_block: SolveBlock | None = None,
    ) -> None:
        self._state = state
        self._b = b
        self._options = options
        self._seconds_left = seconds_left
        self._solve_block = solve_block
        self.attempts = list(self._candidates())
        for attempt in self.attempts:
            lesson = tuning.lessons.get(attempt.candidate)
            if lesson is not None:
                _recall(attempt, lesson, fall)

    def next(self) -> tuple[Attempt, float] | None:
        """Say which candidate goes on, and what it may spend until the next look; None if all have ended."""
        return self._next(lambda a: not (a.done or a.doubtful)) or self._next(lambda a: not a.done)

    def _next(self, eligible: Callable[[Attempt], bool]) -> tuple[Attempt, float] | None:
        while True:
            running = [a for a in self.attempts if eligible(a)]
            best = self._best(running)
            longest = self._longest
            finals = (a for a in running if a.final and a.forecast < longest)
            final = min(finals, key=lambda a: a.forecast, default=None)
            if final is not None and (best is None or self._worthwhile(final, best)):
                if final.refine is not None:  # the exact price was not worth knowing before
                    final.refine(final)
                    continue
                if best is not None:
                    still = " still" if self.spent > 0.0 else ""
                    final.reason += f", against {_told(best.forecast)} that {best.method} would{still} take"
                return final, math.inf
            if best is None:
                return None
            if best.drive is not None:
                return best, max(2.0 * best.step, _SHARE * self.spent)
            leads = best.trusted and self.spent == 0.0 and (final is None or best.prior <= final.forecast)
            return best, _PATIENCE * best.prior if leads else 2.0 * best.step

    def _best(self, running: list[Attempt]) -> Attempt | None:
        """Say which of those that iterate goes on, unless a factorisation is worthwhile.

        The forecasts decide, and where no residual falls any more, those go on that may tell why. At first
        one begins that earlier solves have shown to be good, or else the first of the list.
        """
        iterating = [a for a in running if not a.final]
        if self.spent == 0.0:
            if any(a.trusted for a in iterating):
                iterating = [a for a in iterating if a.lesson is not None]
            elif not any(a.trusted for a in running):
                unknown = [a for a in iterating if a.lesson is None]
                return next(iter(unknown or iterating), None)
        return min(iterating, key=lambda a: (a.forecast, not a.least_squares), default=None)

    @property
    def _longest(self) -> float:
        """Most cost of what cannot be interrupted; a prediction may err by a factor of two."""
        left = math.inf if self._seconds_left is None else 0.5e9 * self._seconds_left()
        return min(_LONGEST_FACTORISATION, left)

    @property
    def spent(self) -> float:
        """Cost of all steps so far."""
        return sum(a.spent for a in self.attempts)

    def _worthwhile(self, final: Attempt, best: Attempt) -> bool:
        """Whether a factorisation costs less than the iterations, some of which were made, still would."""
        if self.spent > 0.0:
            return best.forecast > _OPTIMISM * final.forecast
        if best.trusted:
            return final.trusted and best.forecast > final.forecast
        known = any(a.trusted and not (a.done or a.doubtful) for a in self.attempts)
        return known and best.forecast > _OPTIMISM * final.forecast

    def _candidates(self) -> Iterator[Attempt]:
        options = self._options
        default = Options()
        if any(getattr(options, name) != getattr(default, name) for name in BATCH):
            yield from self._mini_batch()
            return
        m, n = self._state.A.shape
        nnz = self._state.A.nnz
        sweep = cost.double_sweep(m, n, nnz)
        shape = f"{m:,} × {n:,}"
        if self._state.perhaps_definite and not options.minimum_norm:
            yield self._attempt(
                "ssor_cg",
                "symmetric with a diagonal of one sign, perhaps definite",
                entry=0.0,
                step=cost.symmetric_step(n, nnz),
                guess=2,
            )
        if m >= _TALL * n:
            attempt = self._attempt(
                "kaczmarz",
                f"tall ({shape}): if it is well conditioned, a part of the rows is enough",
                step=n * cost.sampled_row(nnz / m),
                guess=2,
            )
            # On one core larger batches would do the same work, and a dense update with each.
            if worthwhile_threads(options.threads, nnz) == 1:
                attempt.start = self._starter(METHODS["kaczmarz"].forms(self._state)[0], batch_size=1)
            yield attempt
        # Square matrices are seldom well conditioned.
        guess = _SOME if m == n else _FEW
        # Columns first where there are more of them, for many of those are slacks; else rows.
        rows = self._attempt(
            "cgmn",
            f"row sweeps suit any shape ({shape})",
            form=0 if options.minimum_norm else 1,
            entry=0.0 if options.minimum_norm else cost.scaled_copy(m, n, nnz),
            step=sweep,
            guess=guess,
        )
        if options.minimum_norm:
            yield rows
        else:
            columns = self._attempt(
                "ssor_cgls",
                f"column sweeps suit any shape ({shape}) and rows of any scale",
                entry=cost.transpose(m, n, nnz),
                step=sweep,
                guess=guess,
                least_squares=True,
            )
            yield from (columns, rows) if n > m else (rows, columns)
            yield self._attempt(
                "ssor_cgls",
                "column sweeps may be faster where the rows are scaled",
                form=1,
                entry=cost.transpose(m, n, nnz) + cost.scaled_copy(m, n, nnz),
                step=sweep,
                guess=_MANY,
            )
        yield self._attempt(
            "lsmr",
            "sweeps promise to take long",
            entry=cost.transpose(m, n, nnz),
            step=cost.lsmr_step(m, n, nnz),
            guess=_MANY,
            least_squares=True,
        )
        yield from self.factorisations()
        solve = self._solve_block
        if solve is not None:
            search = _SELDOM * cost.search(m, n, nnz)
            # A block knows only of a start at zero that it lies in the row space.
            start = 0.0 if options.minimum_norm else 1.0
            yield Attempt(
                "auto",
                "",
                lambda x: apart.Apart(self._state, self._b, start * x, solve),
                final=True,
                candidate=_BLOCKS,
                prior=search,
                refine=self._find_blocks,
            )

    def factorisations(self) -> Iterator[Attempt]:
        """The forms of ``direct``, which do all their work at once, at a cost that can be predicted."""
        state = self._state
        m, n = state.A.shape
        forms = METHODS["direct"].forms(state)
        for place, form in enumerate(forms):
            candidate = _candidate("direct", place)
            attempt = Attempt("direct", form.note, self._starter(form), final=True, candidate=candidate)
            if form is LU:
                attempt.prior, attempt.refine = cost.least_factorisation(n, state.A.nnz), self._price
            else:
                attempt.prior = cost.gram(min(m, n), state.gram_pairs)
                attempt.reason += f", predicted to take {_told(attempt.prior)}"
            # The deadline is none of the candidates' business: they are the same whenever this is run.
            if attempt.prior < _LONGEST_FACTORISATION:
                yield attempt

    def _price(self, attempt: Attempt) -> None:
        """Predict the cost of a sparse LU from its fill, which takes an ordering."""
        attempt.refine = None
        attempt.prior = self._state.factor_cost if self._state.structurally_nonsingular else math.inf
        attempt.done = not attempt.prior < _LONGEST_FACTORISATION
        attempt.reason += f", predicted to take {_told(attempt.prior)}"

    def _find_blocks(self, attempt: Attempt) -> None:
        """See whether there are several blocks, and what they would cost apart."""
        attempt.refine = None
        labels = self._state.labels
        attempt.done = labels is None or labels.count < 2
        if labels is None or attempt.done:
            return
        attempt.prior = apart.price(labels, np.diff(self._state.A.indptr))
        attempt.reason = f"{labels.count:,} disconnected blocks, solved apart"

    def _starter(self, form: Form, **changed: Any) -> Callable[[FloatArray], Process]:
        options = replace(self._options, **changed) if changed else self._options
        return lambda x: form.start(self._state, self._b, x, options)

    def _attempt(
        self,
        method: str,
        reason: str,
        *,
        form: int = 0,
        entry: float = 0.0,
        step: float = 1.0,
        guess: float = 1.0,
        least_squares: bool = False,
    ) -> Attempt:
        chosen: Form = METHODS[method].forms(self._state)[form]
        return Attempt(
            method,
            f"{reason}; {chosen.note}" if chosen.note else reason,
            self._starter(chosen),
            entry=cost.ENTRY + entry,
            prior=guess * step,
            step=step,
            least_squares=least_squares,
            candidate=_candidate(method, form),
        )

    def _mini_batch(self) -> Iterator[Attempt]:
        why = "batch options were given, which only the mini-batch methods can use"
        if self._options.minimum_norm:
            names = ["kaczmarz"]
            why += ", and of them only this one gives the minimum norm"
        elif self._state.perhaps_definite:
            names = ["coordinate_descent", "kaczmarz"]
        else:
            names = ["kaczmarz", "coordinate_descent"]
        for place, name in enumerate(names):
            for form in METHODS[name].forms(self._state):
                yield Attempt(
                    name,
                    f"{why}; {form.note}" if form.note else why,
                    self._starter(form),
                    prior=_LAST_RESORT * (1 + place),
                    step=math.inf,
                )


def _candidate(method: str, form: int) -> str:
    return f"{method}/{form}"


def _recall(attempt: Attempt, lesson: Lesson, fall: float) -> None:
    """Tell a candidate what was learned of it."""
    attempt.lesson = lesson
    attempt.doubtful = fall >= lesson.out_of_reach
    if attempt.final:
        attempt.prior, attempt.done = lesson.price, not lesson.price < _LONGEST_FACTORISATION
        if attempt.candidate == _BLOCKS:
            attempt.reason = "disconnected blocks, solved apart"
        elif attempt.refine is not None:
            attempt.reason += f", predicted to take {_told(attempt.prior)}"
        attempt.refine = None
    else:
        attempt.prior = max(lesson.price * fall, 2.0 * attempt.step)
    if lesson.won:
        attempt.entry = 0.0  # paid
        attempt.reason += "; it has met the target in earlier solves of this matrix"


def _told(work: float) -> str:
    if work >= _LAST_RESORT or not math.isfinite(work):
        return "very long"
    return f"{work / 1e6:,.3g} ms"
