"""What there is to learn from a finished solve: how each candidate of `auto` did."""

from __future__ import annotations

import math
from collections.abc import Sequence

from .attempt import Attempt
from .tuning import Lesson, Trial, fall

_LEAST_FALL = math.log(10.0)
"""Less says nothing of a rate."""


def trials(
    candidates: Sequence[Attempt],
    tried: Sequence[Attempt],
    begin: float,
    target: float,
    *,
    converged: bool,
) -> tuple[Trial, ...]:
    """Find what is to be learned of each candidate.

    Parameters
    ----------
    candidates : sequence of Attempt
    tried : sequence of Attempt
        Those that were, and maybe others, in the order in which they ended.
    begin, target : float
        Residual norm at the beginning, and the one to reach.
    converged : bool
        Whether the target was met. Else nobody's failure says anything, for b may be out of reach.
    """
    winner = next((a for a in reversed(tried) if a in candidates), None) if converged else None
    whole = fall(begin, target)
    rate = math.inf
    if winner is not None and whole >= _LEAST_FALL:
        rate = _rate(candidates, winner, whole, target)
    found = (
        _priced(a, winner, whole, tried=a in tried) if a.final else _iterated(a, winner, whole, target, rate)
        for a in candidates
        if a.candidate
    )
    return tuple(trial for trial in found if trial is not None)


def _rate(candidates: Sequence[Attempt], winner: Attempt, whole: float, target: float) -> float:
    """What the winner paid for each factor e, by all that was spent if it began late."""
    if winner.final:
        return winner.prior / whole
    own = _own(winner, target)
    return winner.spent / own if 2.0 * own >= whole else sum(a.spent for a in candidates) / whole


def _own(attempt: Attempt, target: float) -> float:
    return 0.0 if attempt.drive is None else fall(attempt.drive.begin, target)


def _priced(attempt: Attempt, winner: Attempt | None, whole: float, *, tried: bool) -> Trial | None:
    """Of what does all at once: its price, if it is known, and whether it was of use."""
    out_of_memory = tried and attempt.work.iterations == 0
    if attempt.refine is not None or out_of_memory:
        return None
    ruled_out = attempt.done and not tried
    failed = tried and winner is not None and attempt is not winner
    price = math.inf if ruled_out else attempt.prior
    lesson = Lesson(price, attempt is winner, whole if failed else math.inf)
    return Trial(attempt.candidate, lesson, fact=True)


def _iterated(
    attempt: Attempt, winner: Attempt | None, whole: float, target: float, rate: float
) -> Trial | None:
    """Of what goes on step by step: the winner's rate, and that which was expected of the others."""
    if not math.isfinite(rate) or attempt.spent == 0.0:
        return None
    if attempt is winner:
        return Trial(attempt.candidate, Lesson(rate, won=True))
    if attempt.done or attempt.drive is None:
        return Trial(attempt.candidate, Lesson(math.inf, out_of_reach=whole))
    price = (attempt.spent + attempt.drive.forecast) / max(_own(attempt, target), 0.5 * whole)
    # Forecasts are too low as a rule: it was given up for one that has really got there at that rate.
    return Trial(attempt.candidate, Lesson(max(price, rate)))
