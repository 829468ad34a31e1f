"""Who takes part. A contestant gets A, b, the tolerance and the limit, and gives back x and what it says.

SciPy is called as a user would call it, but that its stopping rule is the contest's, so that it neither
stops too early nor goes on too long, and that iterations are limited by time alone: kinder than its defaults.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
from scipy.sparse import csc_array
from scipy.sparse.linalg import cg, lsmr, lsqr, spsolve

import solver_service
from solver_service.errors import MethodNotApplicableError, UnknownMethodError

from .systems import System
from .without_direct import EXCLUDED, NoSuchHookError, exclude_direct

BELOW = 0.999
"""The solvers of SciPy estimate their residual, and stop this much below the tolerance."""
NO_LIMIT = 10**9
_MOST_DENSE = 1_000_000


class NotApplicableError(Exception):
    """The contestant does not take such systems, or is not installed."""


@dataclass(frozen=True)
class Attempt:
    """An answer, and what else the contestant says about it (for the record; it counts for nothing)."""

    x: Any
    says: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True)
class Contestant:
    """Somebody who solves systems.

    Parameters
    ----------
    name : str
    solve : callable
        ``solve(system, rtol, limit)`` returns an `Attempt` or raises.
    prepare : callable, optional
        Called once in the process, before any clock runs.
    """

    name: str
    solve: Callable[[System, float, float], Attempt]
    prepare: Callable[[], None] = lambda: None


def _ours(system: System, rtol: float, limit: float, **options: Any) -> Attempt:
    try:
        result = solver_service.solve(
            system.A, system.b, rtol=rtol, time_limit=limit, threads=1, seed=0, **options
        )
    except (UnknownMethodError, MethodNotApplicableError) as error:
        raise NotApplicableError(str(error)) from None
    phases = [phase.method for phase in result.phases]
    says = {
        "status": str(result.status),
        "method": result.method,
        "phases": phases,
        "iterations": result.iterations,
        "epochs": result.epochs,
        "minimum_norm": result.minimum_norm,
    }
    return Attempt(result.x, says)


def _without_direct(system: System, rtol: float, limit: float) -> Attempt:
    attempt = _ours(system, rtol, limit)
    used = EXCLUDED.intersection(attempt.says["phases"])  # type: ignore[arg-type]  # a list of str
    if used:
        raise NoSuchHookError(f"auto ran {', '.join(used)} all the same: adapt exclude_direct")
    return attempt


def _scipy_least_squares(solve: Any, most: str, system: System, rtol: float, _limit: float) -> Attempt:
    options = {"atol": 0.0, "btol": BELOW * rtol, "conlim": 0.0, most: NO_LIMIT}
    x, stop, iterations, *_ = solve(system.A, system.b, **options)
    return Attempt(x, {"stop": int(stop), "iterations": int(iterations)})


def _scipy_cg(system: System, rtol: float, _limit: float) -> Attempt:
    if not system.sign:
        raise NotApplicableError("scipy cg needs a symmetric matrix with a diagonal of one sign")
    A, b = (system.A, system.b) if system.sign > 0 else (-system.A, -system.b)
    x, info = cg(A, b, rtol=BELOW * rtol, atol=0.0, maxiter=NO_LIMIT)
    return Attempt(x, {"info": int(info)})


def _scipy_direct(system: System, _rtol: float, _limit: float) -> Attempt:
    m, n = system.A.shape
    if m != n:
        raise NotApplicableError("scipy direct needs a square matrix")
    return Attempt(spsolve(csc_array(system.A), system.b))


def _peer(system: System, rtol: float, limit: float) -> Attempt:
    """The package kaczmarz-algorithms, by rows in turn; kinder than its defaults.

    Its own stopping rule computes the residual before every row; here that is done once a sweep.
    """
    try:
        import kaczmarz
    except ImportError:
        raise NotApplicableError("kaczmarz-algorithms is not installed (extra bench)") from None
    m, n = system.A.shape
    if m * n > _MOST_DENSE:
        raise NotApplicableError("kaczmarz-algorithms takes small matrices only: they have to be dense")
    end = time.perf_counter() + limit
    A = system.A.toarray()
    x: Any = np.zeros(n)
    goal = rtol * np.linalg.norm(system.b)
    for row, x in enumerate(kaczmarz.Cyclic.iterates(A, system.b, tol=None, maxiter=NO_LIMIT)):
        if row % m == 0 and (not np.linalg.norm(system.b - A @ x) > goal or time.perf_counter() > end):
            break  # also at NaN, which a zero row gives
    return Attempt(x, {"iterations": row})


OURS = "kaczmarz coordinate_descent cgmn ssor_cgls ssor_cg lsqr lsmr cg direct".split()

CONTESTANTS: dict[str, Contestant] = {
    contestant.name: contestant
    for contestant in (
        Contestant("auto", partial(_ours, method="auto")),
        Contestant("auto without direct", _without_direct, exclude_direct),
        Contestant("auto minimum_norm", partial(_ours, method="auto", minimum_norm=True)),
        *(Contestant(name, partial(_ours, method=name)) for name in OURS),
        Contestant("scipy lsqr", partial(_scipy_least_squares, lsqr, "iter_lim")),
        Contestant("scipy lsmr", partial(_scipy_least_squares, lsmr, "maxiter")),
        Contestant("scipy cg", _scipy_cg),
        Contestant("scipy direct", _scipy_direct),
        Contestant("kaczmarz-algorithms", _peer),
    )
}
"""All contestants by name."""

FEW = (
    "auto",
    "cgmn",
    "ssor_cgls",
    "ssor_cg",
    "scipy lsqr",
    "scipy lsmr",
    "scipy cg",
    "scipy direct",
)
"""Those of the short mode."""


def solve_quietly(contestant: Contestant, system: System, rtol: float, limit: float) -> Attempt:
    """Solve without the warnings that singular matrices and breakdowns give; the judge sees those."""
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        return contestant.solve(system, rtol, limit)
