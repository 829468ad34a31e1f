"""Checked problems on their way to results: k right-hand sides, and several problems with the same matrix.

Columns are solved side by side (`together`), each as if it were alone: a threaded solve of several columns
deals them out to the threads.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import FieldError, InvalidInputError
from ..problems.problem import Problem
from .clock import Clock
from .column import Column
from .gathering import Voices, gather
from .options import Options
from .registry import find
from .result import Progress, Result, Status
from .resumption import Record, compatible, fingerprint
from .snapshot import Keeper, Snapshot
from .team import in_parallel, worthwhile_threads
from .together import Ensemble
from .tuning import Trial, Tuning

if TYPE_CHECKING:
    from .solve import Prepared

_WIDTH = 16
"""Most columns side by side: as many as the kernels take at once."""
_BLOCK_BYTES = 2**29
"""Most memory for vectors side by side, but for one column."""
_VECTORS = 8
"""Of each length, that a column takes."""
_WORTHWHILE = 5_000
"""Entries, rows and columns below which a step takes less time than to take turns."""


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


@dataclass(frozen=True, kw_only=True, eq=False)
class Assignment:
    """A checked problem, and how it is to be solved.

    Parameters
    ----------
    problem : Problem
    options : Options
    should_stop : callable, optional
        Asked every 10 ms of work or so; True ends the solve with status ``cancelled``.
    deadline : float, optional
        On the clock of `time.monotonic`: ends the solve with status ``time_limit``.
    callback : callable, optional
        See `solve`. Of several right-hand sides it is told the worst residual, and the sum of the work.
    keeper : Keeper, optional
        Given the state from time to time: `keeper.latest` is what to go on from, after a run that a limit
        ended too. None there means that beginning anew loses nothing.
    snapshot : Snapshot, optional
        A state of this very problem to go on from. Limits and tolerances may be others than those it was
        taken with; counts, `timings` and `max_epochs` include the work done before. With one thread the
        outcome is, bit for bit, that of a run that was never interrupted.
    seconds_spent : float
        What earlier attempts have used of the time limit.
    tuning : Tuning, optional
        What `auto` knows of the matrix; that of the prepared matrix unless given.
    lessons : list, optional
        To which is added what there is to `learn` from each right-hand side.
    """

    problem: Problem
    options: Options
    should_stop: Callable[[], bool] | None = None
    deadline: float | None = None
    callback: Callable[[Progress], object] | None = None
    keeper: Keeper | None = None
    snapshot: Snapshot | None = None
    seconds_spent: float = 0.0
    tuning: Tuning | None = None
    lessons: list[tuple[Trial, ...]] | None = None


def run(prepared: Prepared, problem: Problem, options: Options, **conditions: Any) -> Result:
    """Solve a checked problem. The service's entry; people use `solve` or `Prepared.solve`.

    Parameters
    ----------
    prepared, problem, options
    **conditions
        See `Assignment`.

    Raises
    ------
    InvalidInputError
        The snapshot is not `compatible`; or as for `solve`.
    """
    solve = _Solve(prepared, Assignment(problem=problem, options=options, **conditions))
    count = solve.count
    if count == 1:
        solve.column(0, options)
        return solve.result()
    threads = worthwhile_threads(options.threads, count * prepared.matrix.nnz)
    groups = np.array_split(np.arange(count), min(threads, count))
    small = prepared.matrix.nnz + sum(prepared.matrix.shape) < _WORTHWHILE

    def work(number: int) -> float:
        columns = groups[number].tolist()
        if small or len(columns) == 1:
            own = replace(options, threads=max(1, threads // count))
            for place in columns:
                solve.column(place, own)
        else:
            width = block_width(prepared.matrix.shape)
            Ensemble(width, _is_over).run([_ColumnOf(solve, place) for place in columns])
        return 0.0

    in_parallel(work, len(groups))
    return solve.result()


def run_together(
    prepared: Prepared,
    assignments: Sequence[Assignment],
    done: Callable[[int, Result | Exception], None],
) -> None:
    """Solve several problems with the same matrix side by side, each with one thread.

    None of them has any influence on another, but for the time that it takes.

    Parameters
    ----------
    prepared, assignments
    done : callable
        Told, as soon as it is known, the number of an assignment and what `run` would return or raise.
    """
    columns: list[_ColumnOf] = []
    for number, assignment in enumerate(assignments):
        try:
            solve = _Solve(prepared, assignment, partial(done, number))
        except Exception as error:
            done(number, error)
            continue
        columns += [_ColumnOf(solve, place) for place in range(solve.count)]
    Ensemble(block_width(prepared.matrix.shape), _is_over).run(columns)


def _is_over(column: _ColumnOf) -> bool:
    return column.solve.over


def block_width(shape: tuple[int, int]) -> int:
    """Return how many right-hand sides are solved side by side with a matrix of that shape."""
    column = 8 * _VECTORS * sum(shape)
    return max(1, min(_WIDTH, _BLOCK_BYTES // column))


@dataclass(frozen=True, slots=True, eq=False)
class _ColumnOf:
    solve: _Solve
    place: int

    def __call__(self) -> None:
        self.solve.column(self.place)


class _Solve:
    """One assignment at work.

    Parameters
    ----------
    prepared, assignment
    done : callable, optional
        Told of the result, or of the exception that there is instead.
    """

    def __init__(
        self,
        prepared: Prepared,
        assignment: Assignment,
        done: Callable[[Result | Exception], None] | None = None,
    ) -> None:
        problem, options, snapshot = assignment.problem, assignment.options, assignment.snapshot
        _check_start(problem, options)
        tuning = prepared.tuning if assignment.tuning is None else assignment.tuning
        if snapshot is not None and not compatible(snapshot, prepared.matrix, problem, options, tuning):
            raise InvalidInputError(
                "the snapshot is of another problem, of other options, or of another version",
                errors=[FieldError("snapshot", "does not fit this problem and its options")],
            )
        self._state = prepared.state
        self._tuning = tuning
        self._assignment = assignment
        self._done = done
        self._single = problem.b.ndim == 1
        # A copy in any case: the caller's may be read-only.
        self._b = np.array(problem.b[np.newaxis] if self._single else problem.b.T, order="C")
        self._x0 = None
        if problem.x0 is not None:
            self._x0 = problem.x0[np.newaxis] if self._single else np.ascontiguousarray(problem.x0.T)
        self.count = len(self._b)
        """Number of right-hand sides."""
        self._clock = Clock(self._state)
        self._deadline = assignment.deadline
        mark = {}
        if assignment.keeper is not None:
            mark = fingerprint(prepared.matrix, problem, options, tuning)
        self._record = Record(mark, self.count, snapshot, assignment.keeper, self._clock)
        self._voices = None if assignment.callback is None else Voices(assignment.callback, self.count)
        self._results: list[Result | None] = [None] * self.count
        self._error: Exception | None = None
        self._stopped = False
        self._left = self.count
        self._one_thread = replace(options, threads=1)
        self._begun = False
        self._lock = threading.Lock()

    def column(self, place: int, options: Options | None = None) -> None:
        """Solve for one of the right-hand sides, with one thread unless options say otherwise."""
        with self._lock:
            if not self._begun:
                self._begin()
        try:
            self._results[place] = self._solve(place, options or self._one_thread)
        except Exception as error:
            self._error = self._error or error
            self._stopped = True
        with self._lock:
            self._left -= 1
            last = self._left == 0
        if last and self._done is not None:
            try:
                outcome: Result | Exception = self.result()
            except Exception as error:
                outcome = error
            self._done(outcome)

    def _begin(self) -> None:
        """Begin to count the seconds: it may have waited for a place until now."""
        self._begun = True
        self._clock.begin()
        limit = self._assignment.options.time_limit
        if limit is not None:
            own = time.monotonic() + max(limit - self._assignment.seconds_spent, 0.0)
            self._deadline = own if self._deadline is None else min(self._deadline, own)

    def _solve(self, place: int, options: Options) -> Result:
        b = self._b[place]
        known = None if self._single else self._record.result(place, b, options)
        if known is not None:
            return known
        x0 = None if self._x0 is None else self._x0[place]
        work = Column(self._state, b, x0, options, tuning=self._tuning, clock=self._clock)
        result = work.solve(
            deadline=self._deadline,
            should_stop=self._stop,
            callback=None if self._voices is None else self._voices.of(place),
            keeper=self._record.begin(place),
            snapshot=self._record.state(place),
        )
        self._stopped = self._stopped or result.status is Status.CANCELLED  # one word stops all columns
        if self._assignment.lessons is not None and work.trials:
            self._assignment.lessons.append(work.trials)
        if self._assignment.keeper is not None and not self._single:
            self._record.end(place, result, self._assignment.options, limited=work.limited)
        return result

    @property
    def over(self) -> bool:
        """Whether it has to end now."""
        return self._stop() or (self._deadline is not None and time.monotonic() >= self._deadline)

    def _stop(self) -> bool:
        asked = self._assignment.should_stop
        return self._stopped or (asked is not None and asked())

    def result(self) -> Result:
        """What came out, once all columns have ended; raises what any of them has raised."""
        if self._error is not None:
            raise self._error
        results = [result for result in self._results if result is not None]
        timings = self._clock.timings()
        return replace(results[0], timings=timings) if self._single else gather(results, timings)
