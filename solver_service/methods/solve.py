"""`solve` and `prepare`: the way in."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Literal

from ..errors import DimensionMismatchError, FieldError
from ..problems.matrix import Matrix
from ..problems.problem import Problem
from .contradictions import Contradictions, find_contradictions
from .options import Momentum, Options
from .parts import Parts, Source
from .report import Report
from .result import Progress, Result
from .running import run
from .state import State
from .tuning import NOTHING, Tuning


class Prepared:
    """A matrix with all that was derived from it, to be used for many right-hand sides. Thread-safe.

    Parameters
    ----------
    matrix : Matrix
    source : Source, optional
        Where to look for what was derived before.
    tuning : Tuning
        What was learned of it. Solving with it here adds nothing: equal calls give equal bits.
    """

    def __init__(self, matrix: Matrix, source: Source | None = None, tuning: Tuning = NOTHING) -> None:
        self.matrix = matrix
        self.tuning = tuning
        self.state = State(matrix, Parts(source))

    @property
    def nbytes(self) -> int:
        """Bytes of the matrix and of what was derived so far."""
        return self.state.nbytes

    @property
    def report(self) -> Report:
        """What is worth knowing of the matrix before solving: its structure, scales, cost, and warnings."""
        return self.state.report

    def contradictions(self, b: object, *, rtol: float = 1e-6) -> Contradictions:
        """Find equations that contradict one another, as far as empty and parallel rows show it.

        Finding none does not make the system consistent.

        Parameters
        ----------
        b : array_like, (m,)
        rtol : float, default 1e-6
            Right-hand sides of parallel rows that agree to this are not reported.

        Raises
        ------
        InvalidInputError
            As for `solve`; and for more than one right-hand side.
        """
        problem = Problem.build(self.matrix, b)
        if problem.b.ndim != 1:
            raise DimensionMismatchError(
                "b must be one right-hand side", errors=[FieldError("b", "must be of shape (m,)")]
            )
        return find_contradictions(self.state, problem.b, Options(rtol=rtol).rtol)

    def solve(
        self,
        b: object,
        *,
        x0: object = None,
        callback: Callable[[Progress], object] | None = None,
        **options: Any,
    ) -> Result:
        """Solve A x = b; parameters, result and errors are those of `solve`."""
        return run(self, Problem.build(self.matrix, b, x0), Options.from_mapping(options), callback=callback)


def prepare(A: object) -> Prepared:
    """Prepare a matrix for many right-hand sides.

    What methods need (norms, scaled copies, spectra, factors) is derived when first needed, and kept.

    Parameters
    ----------
    A : sparse array or matrix, or array_like, (m, n)

    Raises
    ------
    InvalidInputError
        See `solve`.
    """
    return Prepared(Matrix.from_any(A))


def solve(
    A: object,
    b: object,
    *,
    method: str = "auto",
    rtol: float = 1e-6,
    atol: float = 0.0,
    max_epochs: float | None = None,
    time_limit: float | None = None,
    batch_size: int | Literal["auto"] = "auto",
    momentum: Momentum = "auto",
    beta: float | None = None,
    step_size: float | None = None,
    minimum_norm: bool = False,
    x0: object = None,
    seed: int = 0,
    threads: int | None = None,
    callback: Callable[[Progress], object] | None = None,
) -> Result:
    """Solve the consistent sparse system A x = b, of any shape and rank.

    Stops when ‖b − A x‖₂ ≤ max(rtol·‖b‖₂, atol), measured on the data as given.

    Parameters
    ----------
    A : sparse array or matrix, or array_like, (m, n)
        Real; used as float64. Never modified.
    b : array_like, (m,) or (m, k)
        One right-hand side, or k of them.
    method : str, default "auto"
        auto, kaczmarz, coordinate_descent, cgmn, ssor_cgls, ssor_cg, lsqr, lsmr, cg or direct.
    rtol, atol : float, default 1e-6 and 0
        The stopping rule.
    max_epochs : float, optional
        Most work for each right-hand side, in passes over A. Default: 50,000.
    time_limit : float, optional
        Most seconds of solving.
    batch_size : int or "auto"
        Rows (columns) in a mini-batch.
    momentum : {"auto", "none", "heavy_ball", "nesterov"}
        Classical momentum of the mini-batch methods (arXiv:2605.18609).
    beta, step_size : float, optional
        Override the rule of `solver_service.methods.momentum`.
    minimum_norm : bool, default False
        Return the solution of least ‖x‖₂.
    x0 : array_like, (n,) or (n, k), optional
        Where to start.
    seed : int, default 0
        Seed of the sampling: same input, options, seed and number of threads give the same bits.
    threads : int, optional
        Most threads inside one solve, all cores unless given. A matrix that is too small to gain by more gets
        one; ``parameters.threads`` says how many worked.
    callback : callable, optional
        Called with a `Progress` at the beginning, whenever the residual was measured, and every 0.2 s or so
        in between; returning True stops the solve.

    Returns
    -------
    Result
        Whatever the outcome; look at ``status``. ``converged`` is only said after the true residual was
        recomputed by separate code.

    Raises
    ------
    InvalidInputError
        Or a subclass, naming the argument: shapes that do not fit, NaN or infinity, indices outside the
        shape, an unknown method, an option that the method cannot use.

    Examples
    --------
    >>> import numpy as np, solver_service
    >>> A = np.array([[2.0, 0.0], [1.0, 3.0], [0.0, 1.0]])
    >>> result = solver_service.solve(A, A @ np.array([1.0, -1.0]), rtol=1e-10)
    >>> str(result.status), result.x.round(6).tolist()
    ('converged', [1.0, -1.0])
    """
    start = time.perf_counter()
    options = Options(
        method=method,
        rtol=rtol,
        atol=atol,
        max_epochs=max_epochs,
        time_limit=time_limit,
        batch_size=batch_size,
        momentum=momentum,
        beta=beta,
        step_size=step_size,
        minimum_norm=minimum_norm,
        seed=seed,
        threads=threads,
    )
    prepared = prepare(A)
    problem = Problem.build(prepared.matrix, b, x0)
    gate = time.perf_counter() - start
    result = run(prepared, problem, options, callback=callback)
    timings = result.timings
    return replace(
        result, timings=replace(timings, prepare=timings.prepare + gate, total=timings.total + gate)
    )
