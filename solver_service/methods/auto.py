"""`auto`: which methods to try on a matrix, in which order, and why."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from .options import Options
from .registry import BATCH
from .state import State

_TALL = 3
_PROBE_EPOCHS = 32.0
_CHEAP_FACTORS = 1e9  # nanoseconds
_POSSIBLE_FACTORS = 1e11


@dataclass(frozen=True, slots=True)
class Candidate:
    """A method to try.

    Parameters
    ----------
    method, reason : str
    forecast_limit : float or None
        It is left once its decay promises more epochs than that.
    share : float
        How much of the epochs that are left it may use.
    """

    method: str
    reason: str
    forecast_limit: float | None = None
    share: float = 1.0


def candidates(state: State, options: Options) -> Iterator[Candidate]:
    """Yield what to try, most promising first; each goes on from the best x of those before.

    Looks at the shape, the symmetry, the diagonal and the pattern, never at the clock.
    """
    m, n = state.A.shape
    shape = f"{m:,} × {n:,}"
    default = Options()
    if any(getattr(options, name) != getattr(default, name) for name in BATCH):
        yield from _mini_batch(state, options)
        return
    square = m == n and state.structurally_nonsingular
    cheap = square and state.factor_cost <= _CHEAP_FACTORS
    probed = m >= _TALL * n or n >= _TALL * m
    if cheap:
        yield Candidate("direct", f"square matrix ({shape}) whose sparse LU is predicted to be cheap")
    if state.symmetric_positive_diagonal:
        yield Candidate(
            "cg", "symmetric with positive diagonal: conjugate gradients need one product a step", share=0.5
        )
    if probed:
        kind = "tall" if m > n else "wide"
        yield Candidate(
            "kaczmarz",
            f"{kind} matrix ({shape}): if it is well conditioned, few passes of row actions are enough",
            _PROBE_EPOCHS,
        )
    yield Candidate("lsmr", f"LSMR works for any shape and rank ({shape})", share=0.5)
    if square and not cheap and state.factor_cost <= _POSSIBLE_FACTORS:
        yield Candidate("direct", "the iterations did not get there: a sparse LU reaches further")
    if not options.minimum_norm:
        yield Candidate("coordinate_descent", "LSMR did not get there: columns may", share=0.5)
    if not probed:
        yield Candidate("kaczmarz", "LSMR did not get there: rows may")


def _mini_batch(state: State, options: Options) -> Iterator[Candidate]:
    why = "batch options were given, which only the mini-batch methods can use"
    if options.minimum_norm:
        yield Candidate("kaczmarz", f"{why}, and of them only this one gives the minimum norm")
    elif state.symmetric_positive_diagonal:
        yield Candidate("coordinate_descent", f"{why}; the matrix may be positive definite")
        yield Candidate("kaczmarz", f"{why}; coordinate descent did not get there")
    else:
        yield Candidate("kaczmarz", why)
        yield Candidate("coordinate_descent", f"{why}; row actions did not get there")
