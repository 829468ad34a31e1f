"""What a solve returns. Not converging is a result: see `Status`."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

FloatArray: TypeAlias = NDArray[np.float64]


class Status(StrEnum):
    """How a solve ended. ``advice`` says in one sentence what to try next."""

    advice: str

    def __new__(cls, value: str, advice: str) -> Status:
        """Make a member that equals its name and carries its advice."""
        member = str.__new__(cls, value)
        member._value_ = value
        member.advice = advice
        return member

    CONVERGED = "converged", ""
    MAX_EPOCHS = (
        "max_epochs",
        "The work limit was reached: raise max_epochs, loosen rtol, or try another method.",
    )
    TIME_LIMIT = (
        "time_limit",
        "The time limit was reached: raise time_limit, loosen rtol, or start again from this x as x0.",
    )
    CANCELLED = "cancelled", "The solve was stopped on request: start again from this x as x0 to go on."
    STAGNATED = (
        "stagnated",
        "The residual no longer falls: try another method, loosen rtol, rescale the equations, or check "
        "whether the system is consistent (see worst_equations).",
    )
    INCONSISTENT = (
        "inconsistent",
        "No exact solution exists near this scale (see certificate and worst_equations): correct the data, "
        "or accept this x as an approximate one.",
    )


@dataclass(frozen=True, slots=True)
class Progress:
    """What a running solve knows about itself.

    `relative_residual` was measured, not estimated: it is that of the last measurement, and the counts may be
    ahead of it. `expected_iterations`, in all, and `eta_seconds`, from now, extrapolate the decay observed so
    far; they are None while there is none. `eta_low` ≤ `eta_seconds` ≤ `eta_high` is what other parts of the
    run would make expect, and never narrower than ±20 %; no `eta_high` means that the decay may have ended.
    """

    iterations: int
    epochs: float
    seconds: float
    relative_residual: float
    expected_iterations: float | None = None
    eta_seconds: float | None = None
    eta_low: float | None = None
    eta_high: float | None = None


@dataclass(frozen=True, slots=True)
class HistoryPoint:
    """One point of the convergence curve. `exact` is False for an estimate gathered on the way."""

    iterations: int
    epochs: float
    seconds: float
    relative_residual: float
    exact: bool


@dataclass(frozen=True, slots=True)
class Phase:
    """One method that was tried, why, what it cost, and the residual it left."""

    method: str
    reason: str
    iterations: int
    epochs: float
    seconds: float
    relative_residual: float


@dataclass(frozen=True, slots=True)
class Parameters:
    """What the method ran with. Estimates of the scaled system's spectrum; None where not used or unknown."""

    batch_size: int | None = None
    step_size: float | None = None
    momentum: str | None = None
    beta: float | None = None
    stable_rank: float | None = None
    lambda_max: float | None = None
    kappa: float | None = None
    threads: int = 1
    seed: int = 0
    tuning: str | None = None


@dataclass(frozen=True, slots=True)
class Timings:
    """Seconds of each stage. Parse, queue and encode are known only over HTTP."""

    prepare: float = 0.0
    solve: float = 0.0
    verify: float = 0.0
    total: float = 0.0
    parse: float | None = None
    queue: float | None = None
    encode: float | None = None


@dataclass(frozen=True, slots=True)
class Forecast:
    """Expected iterations and seconds in all, as told when a first rate was known, and what they became."""

    expected_iterations: float
    expected_seconds: float
    iterations: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Certificate:
    """Proof that no x with ‖x‖ ≤ radius has a residual below `bound` ≤ (bᵀy − radius·‖Aᵀy‖)/‖y‖.

    `y` has shape (m,). Check it with one product Aᵀy.
    """

    y: FloatArray
    bound: float
    radius: float


@dataclass(frozen=True, slots=True)
class WorstEquation:
    """An equation (0-based row) and its residual bᵢ − aᵢᵀx."""

    row: int
    residual: float


@dataclass(frozen=True, slots=True)
class ColumnResult:
    """The result of one right-hand side; the fields mean what they mean in `Result`."""

    status: Status
    residual_norm: float
    relative_residual: float
    target: float
    method: str
    reason: str
    iterations: int
    epochs: float
    row_updates: int
    parameters: Parameters
    phases: tuple[Phase, ...]
    history: tuple[HistoryPoint, ...]
    timings: Timings
    advice: str
    minimum_norm: bool | None
    forecast: Forecast | None = None
    error_estimate: float | None = None
    certificate: Certificate | None = None
    worst_equations: tuple[WorstEquation, ...] | None = None

    @property
    def converged(self) -> bool:
        """Whether the recomputed true residual meets the target."""
        return self.status is Status.CONVERGED


@dataclass(frozen=True, slots=True)
class Result(ColumnResult):
    """The answer to A x = b with its diagnostics.

    `x` has shape (n,), or (n, k) for b of shape (m, k), float64 and always finite. `residual_norm` is
    ‖b − A x‖₂ recomputed on the caller's data after the solve, `relative_residual` is that over ‖b‖₂ (0 if
    both are 0), `target` is max(rtol·‖b‖₂, atol).
    `error_estimate` of a converged x is that of ‖x − x*‖₂; None with more unknowns than equations, an unknown
    in no equation, or too few steps to tell by. Where columns of A depend on one another unnoticed, it is the
    distance to the solution that x converges to. With k columns the status is that of the first column that
    did not converge, residuals are the worst, counts are totals, and `columns` holds one result each.
    """

    x: FloatArray = field(kw_only=True)
    columns: tuple[ColumnResult, ...] | None = None
