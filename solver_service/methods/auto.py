"""`auto`: which methods to try on a matrix, in which order, and why."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from .options import Options
from .registry import BATCH
from .state import State

_TALL = 3
_PROBE_EPOCHS = 32.0
_SMALL = 500
_DIRECT_ROWS = 20_000
_DIRECT_ENTRIES_PER_ROW = 8


@dataclass(frozen=True, slots=True)
class Candidate:
    """A method to try. With `forecast_limit` it is left once its decay promises more epochs than that."""

    method: str
    reason: str
    forecast_limit: float | None = None


def candidates(state: State, options: Options) -> Iterator[Candidate]:
    """Yield what to try, most promising first; each goes on from the best x of those before.

    Looks at the shape, the symmetry, the diagonal and the number of entries, never at the clock.
    """
    m, n = state.A.shape
    shape = f"{m:,} × {n:,}"
    default = Options()
    if any(getattr(options, name) != getattr(default, name) for name in BATCH):
        yield from _mini_batch(state, options)
        return
    if m == n and _cheap_to_factorise(n, state.A.nnz) and state.structurally_nonsingular:
        yield Candidate(
            "direct", f"small square matrix ({shape}, {state.A.nnz:,} entries): a sparse LU is cheap"
        )
    if state.symmetric_positive_diagonal:
        yield Candidate("cg", "symmetric with positive diagonal: conjugate gradients need one product a step")
    if m >= _TALL * n or n >= _TALL * m:
        kind = "tall" if m > n else "wide"
        yield Candidate(
            "kaczmarz",
            f"{kind} matrix ({shape}): if it is well conditioned, few passes of row actions are enough",
            _PROBE_EPOCHS,
        )
    yield Candidate("lsmr", f"LSMR works for any shape and rank ({shape})")
    late = m == n and n <= _DIRECT_ROWS and not _cheap_to_factorise(n, state.A.nnz)
    if late and state.structurally_nonsingular:
        yield Candidate("direct", "the iterations stalled: a sparse LU reaches further")


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


def _cheap_to_factorise(n: int, entries: int) -> bool:
    return n <= _SMALL or (n <= _DIRECT_ROWS and entries <= _DIRECT_ENTRIES_PER_ROW * n)
