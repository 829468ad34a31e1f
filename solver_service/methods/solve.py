"""`solve`, `prepare` and `run`: the way in, and k right-hand sides put together."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any, Literal

import numpy as np

from ..errors import DimensionMismatchError, FieldError, InvalidInputError
from ..problems.matrix import Matrix
from ..problems.problem import Problem
from .column import Column
from .contradictions import Contradictions, find_contradictions
from .options import Momentum, Options
from .registry import find
from .report import Report
from .result import ColumnResult, FloatArray, Progress, Result, Status, Timings
from .resumption import Record, compatible, fingerprint
from .snapshot import Keeper, Snapshot, Within
from .state import State


class Prepared:
    """A matrix with all that was derived from it, to be used for many right-hand sides. Thread-safe.

    Parameters
    ----------
    matrix : Matrix
    """

    def __init__(self, matrix: Matrix) -> None:
        self.matrix = matrix
        self.state = State(matrix)

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


def check(prepared: Prepared, problem: Problem, options: Options) -> None:
    """Raise what `run` would raise at once, for a problem that is to be solved later.

    Raises
    ------
    InvalidInputError
        See `solve`.
    """
    _check_start(problem, options)
    require = find(options).require
    if require is not None:
        require(prepared.state)


def _check_start(problem: Problem, options: Options) -> None:
    find(options)
    if options.minimum_norm and problem.x0 is not None and problem.x0.any():
        raise InvalidInputError(
            "x0 cannot be used with minimum_norm: the minimum-norm solution is reached from zero",
            errors=[FieldError("x0", "cannot be used with minimum_norm")],
        )


def run(
    prepared: Prepared,
    problem: Problem,
    options: Options,
    *,
    should_stop: Callable[[], bool] | None = None,
    deadline: float | None = None,
    callback: Callable[[Progress], object] | None = None,
    keeper: Keeper | None = None,
    snapshot: Snapshot | None = None,
    seconds_spent: float = 0.0,
) -> Result:
    """Solve a checked problem. The service's entry; people use `solve` or `Prepared.solve`.

    Parameters
    ----------
    prepared, problem, options
    should_stop : callable, optional
        Asked every 10 ms of work or so; True ends the solve with status ``cancelled``.
    deadline : float, optional
        On the clock of `time.monotonic`: ends the solve with status ``time_limit``.
    callback : callable, optional
        See `solve`.
    keeper : Keeper, optional
        Given the state from time to time: `keeper.latest` is what to go on from, after a run that a limit
        ended too. None there means that beginning anew loses nothing.
    snapshot : Snapshot, optional
        A state of this very problem to go on from. Limits and tolerances may be others than those it was
        taken with; counts, `timings` and `max_epochs` include the work done before. With one thread the
        outcome is, bit for bit, that of a run that was never interrupted.
    seconds_spent : float
        What earlier attempts have used of the time limit.

    Raises
    ------
    InvalidInputError
        The snapshot is not `compatible`; or as for `solve`.
    """
    _check_start(problem, options)
    if options.time_limit is not None:
        own = time.monotonic() + max(options.time_limit - seconds_spent, 0.0)
        deadline = own if deadline is None else min(deadline, own)

    if snapshot is not None and not compatible(snapshot, prepared.matrix, problem, options):
        raise InvalidInputError(
            "the snapshot is of another problem, of other options, or of another version",
            errors=[FieldError("snapshot", "does not fit this problem and its options")],
        )
    if keeper is not None:
        keeper.latest = snapshot
    single = problem.b.ndim == 1
    bs = problem.b[np.newaxis] if single else np.ascontiguousarray(problem.b.T)
    record = Record(fingerprint(prepared.matrix, problem, options), len(bs), snapshot)
    stopped = False

    def stop() -> bool:
        return stopped or (should_stop is not None and should_stop())

    def column(place: int, b: FloatArray, x0: FloatArray | None) -> Result:
        nonlocal stopped
        work = Column(prepared.state, b, x0, options)
        result = work.solve(
            deadline=deadline,
            should_stop=stop,
            callback=callback,
            keeper=None if keeper is None else Within(keeper, partial(record.wrap, place)),
            snapshot=record.state(place),
        )
        stopped = stopped or result.status is Status.CANCELLED  # one word stops all columns
        if keeper is not None and not single:
            record.end(place, result, options, limited=work.limited)
        return result

    if single:
        return column(0, problem.b, problem.x0)
    x0s = [None] * len(bs) if problem.x0 is None else list(np.ascontiguousarray(problem.x0.T))
    return _gather(
        [
            record.result(place, b, options) or column(place, b, x0)
            for place, (b, x0) in enumerate(zip(bs, x0s, strict=True))
        ]
    )


def _gather(results: list[Result]) -> Result:
    """Put k columns together: worst residuals, total counts, status of the first that did not converge."""
    first = next((r for r in results if not r.converged), results[0])
    worst = max(results, key=lambda r: r.relative_residual)
    guaranteed = {r.minimum_norm for r in results}
    times = [r.timings for r in results]
    columns = tuple(
        ColumnResult(**{name: getattr(r, name) for name in ColumnResult.__dataclass_fields__})
        for r in results
    )
    return replace(
        first,
        x=np.stack([r.x for r in results], axis=1),
        residual_norm=max(r.residual_norm for r in results),
        relative_residual=worst.relative_residual,
        iterations=sum(r.iterations for r in results),
        epochs=math.fsum(r.epochs for r in results),
        row_updates=sum(r.row_updates for r in results),
        minimum_norm=False if False in guaranteed else (None if guaranteed == {None} else True),
        timings=Timings(
            *(math.fsum(getattr(t, name) for t in times) for name in ("prepare", "solve", "verify", "total"))
        ),
        columns=columns,
    )
