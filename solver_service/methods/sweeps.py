"""Whole sweeps over rows or columns, accelerated by conjugate gradients: what `cgmn` and `ssor_cgls` share.

Both run CGLS on a preconditioned matrix that is never formed (Björck & Elfving 1979, BIT 19, 145): see
`kernels.row_sweeps` and `kernels.column_sweeps`. With several threads each sweeps its own rows (columns): C
becomes block diagonal, and what the threads found is added (`cgmn`: averaged).
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable, Generator, Iterator, Sequence
from typing import Self, TypeAlias

import numpy as np
from numpy.typing import NDArray

from . import cost
from .block import Block
from .krylov import enough_iterations
from .monitor import Monitor
from .options import Options
from .process import Process
from .result import FloatArray, Parameters, Status
from .team import BLOCK_ENTRIES, worthwhile_threads
from .together import Request, perform

RELAXATION = 1.0
"""ω. Of 47 real matrices 4 took over 10 % fewer steps with 1.4, and most took more."""

BoolArray: TypeAlias = NDArray[np.bool_]

_GROWTH = 8
_DRIFTED = 0.1
_LOST = 30.0
_HELPED = 0.9
_LEAST_SQUARES = 1e-13


class Sweeps(Process):
    """CGLS at work on one right-hand side.

    Parameters
    ----------
    shape : (int, int)
    entries : int
    actions : int
        Rows (columns) touched in one sweep.
    exact : bool
        Whether ‖r‖ of the recurrence is meant to be ‖b − A x‖ itself, rather than that of scaled equations.
    options : Options
    """

    kept: tuple[str, ...] = (
        "_x",
        "_r",
        "_p",
        "_scalars",
        "_steps",
        "_factor",
        "_least_factor",
        "_known",
        "_ended",
        "_restarted_from",
    )

    def __init__(
        self, shape: tuple[int, int], entries: int, actions: int, *, exact: bool, options: Options
    ) -> None:
        m, n = shape
        self.patience = 2.0 * enough_iterations(shape)
        self._step_cost = cost.double_sweep(m, n, entries)
        self._actions = actions
        self._exact = exact
        self._factor = 1.0  # from ‖r‖ of the recurrence to that of the caller's equations
        self._least_factor = math.inf
        self._known = exact
        self.threads = worthwhile_threads(options.threads, entries)
        whole = 4 * entries + 6 * (m + n)
        # Small systems stay in compiled code for several steps; of large ones even one is cut in pieces.
        self._most_steps = 0 if self.threads > 1 or whole > BLOCK_ENTRIES else BLOCK_ENTRIES // whole
        self._steps = 0
        self._x = np.empty(n)
        self._scalars = np.zeros(3)
        self._ended = False
        self._restarted_from = math.inf

    def advance(self, monitor: Monitor) -> Status | None:
        """Some double sweeps, the more the longer it has run."""
        # While it is not known what the target is in the scale of the recurrence, nothing would end a piece.
        wanted = monitor.allowed(1 + self._steps // _GROWTH if self._known else 1, 2.0)
        if wanted < 1:
            return Status.MAX_EPOCHS
        if self._ended:
            return Status.STAGNATED
        goal = (monitor.target / self._factor) ** 2 if self._known else 0.0
        done = 0
        while done < wanted and self._scalars[0] > 0.0 and self._scalars[1] > goal:
            monitor.tick()
            count = perform(_Steps(self, wanted - done, goal, monitor.tick))
            done += count
            if count == 0:
                break
        self._steps += done
        work = monitor.work
        work.iterations += done
        work.epochs += 2.0 * done
        work.row_updates += 2 * done * self._actions
        work.cost += self._step_cost * done
        gamma, squares = float(self._scalars[0]), float(self._scalars[1])
        # Where the gradient vanishes x is a (least-squares) solution; the residual tells which.
        self._ended = (done == 0 and squares > goal) or not gamma > _LEAST_SQUARES**2 * squares
        return None

    @property
    def residual_estimate(self) -> float | None:
        """‖r‖ of the recurrence, brought to the caller's scale."""
        return self._factor * math.sqrt(max(float(self._scalars[1]), 0.0))

    def check(self, norm: float) -> None:
        """Restart from x where the recurrence has lost the true residual."""
        own = math.sqrt(max(float(self._scalars[1]), 0.0))
        if self._exact:
            lost = abs(own - norm) > _DRIFTED * norm
        else:
            lost = self._known and norm > _LOST * self._least_factor * own
        if not lost and own > 0.0:
            self._factor, self._known = norm / own, True
            self._least_factor = min(self._least_factor, self._factor)
        if lost and norm > 0.0 and math.isfinite(norm):
            # A restart that did not help means that rounding lets x come no nearer.
            self._ended = not norm < _HELPED * self._restarted_from
            if not self._ended:
                self._restarted_from = norm
                self._factor, self._known, self._least_factor = 1.0, self._exact, math.inf
                self._restart(self.solution())

    def parameters(self) -> Parameters:
        """None of the mini-batch parameters apply."""
        return Parameters(threads=self.threads)

    @property
    def scalars(self) -> FloatArray:
        """‖s‖², ‖r‖², and the factor that the next sweep needs."""
        return self._scalars

    def advance_alone(self, steps: int, goal: float, tick: Callable[[], None]) -> int:
        """Up to so many steps; returns how many were made: 0 only at the end of the recurrence."""
        self.move_out()
        if self._most_steps:
            return self._advance(min(steps, self._most_steps), goal)
        return self._advance_in_pieces(tick)

    @property
    @abstractmethod
    def matrix(self) -> object:
        """What is swept over: processes of one kind with the same can go on side by side."""

    @classmethod
    @abstractmethod
    def step(cls, block: Block, processes: Sequence[Self]) -> Generator[None, None, BoolArray]:
        """One step of each process, whose vectors are in the block; a recurrence at its end stays there.

        Yields between pieces; returns which columns of the block have made a step.
        """

    @abstractmethod
    def _advance(self, steps: int, goal: float) -> int:
        """Steps in one call of compiled code; returns how many were made."""

    @abstractmethod
    def _advance_in_pieces(self, tick: Callable[[], None]) -> int:
        """One step, in pieces of some milliseconds, by all threads; 0 at the end of the recurrence."""

    @classmethod
    @abstractmethod
    def begin(cls, block: Block, processes: Sequence[Self], rhs: FloatArray) -> Iterator[None]:
        """As `begin_alone` for each process, with the block of their right-hand sides."""

    @abstractmethod
    def begin_alone(self, rhs: FloatArray) -> None:
        """Begin the recurrence at x, with a right-hand side that it is the business of the method to give."""

    def _begin(self, x: FloatArray, rhs: FloatArray) -> None:
        """Begin the recurrence at x, in the scale of the method."""
        self._x[:] = x
        perform(_Begin(self, rhs))
        self._ended = False

    @abstractmethod
    def _restart(self, x: FloatArray) -> None:
        """Begin at x."""


class _OfSweeps(Request):
    def __init__(self, process: Sweeps, tick: Callable[[], None]) -> None:
        self.holder = process
        self.tick = tick
        if process.threads == 1:
            self.key = (type(self), type(process), id(process.matrix))


class _Steps(_OfSweeps):
    """Some steps. Results in how many were made: of several, until one of them has reached its goal."""

    def __init__(self, process: Sweeps, steps: int, goal: float, tick: Callable[[], None]) -> None:
        super().__init__(process, tick)
        self._steps, self._goal = steps, goal
        self.result = 0

    def alone(self) -> int:
        return self.holder.advance_alone(self._steps, self._goal, self.tick)

    @classmethod
    def together(cls, requests: Sequence[Self]) -> Iterator[None]:
        block, processes = Block.of(requests), [request.holder for request in requests]
        while not any(request._done for request in requests):
            made = yield from processes[0].step(block, processes)
            for request in requests:
                request.result += int(made[request.holder.place])

    @property
    def _done(self) -> bool:
        gamma, squares, _ = self.holder.scalars
        return self.result == self._steps or not (gamma > 0.0 and squares > self._goal)


class _Begin(_OfSweeps):
    """The beginning of a recurrence."""

    def __init__(self, process: Sweeps, rhs: FloatArray) -> None:
        super().__init__(process, lambda: None)
        self._rhs = rhs

    def alone(self) -> None:
        self.holder.move_out()
        self.holder.begin_alone(self._rhs)
        self.holder.blank = ()

    @classmethod
    def together(cls, requests: Sequence[Self]) -> Iterator[None]:
        block, processes = Block.of(requests), [request.holder for request in requests]
        rhs = block.placed((request.holder, request._rhs) for request in requests)
        yield from processes[0].begin(block, processes, rhs)
        for process in processes:
            process.blank = ()
