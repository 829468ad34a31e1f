"""Whole sweeps over rows or columns, accelerated by conjugate gradients: what `cgmn` and `ssor_cgls` share.

Both run CGLS on a preconditioned matrix that is never formed (Björck & Elfving 1979, BIT 19, 145): see
`kernels.row_sweeps` and `kernels.column_sweeps`. With several threads each sweeps its own rows (columns): C
becomes block diagonal, and what the threads found is added (`cgmn`: averaged).
"""

from __future__ import annotations

import math
from abc import abstractmethod

import numpy as np

from . import cost
from .krylov import enough_iterations
from .monitor import Monitor
from .options import Options
from .process import Process
from .result import FloatArray, Parameters, Status
from .team import BLOCK_ENTRIES, worthwhile_threads

RELAXATION = 1.0
"""ω. Of 47 real matrices 4 took over 10 % fewer steps with 1.4, and most took more."""

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
        while done < wanted:
            monitor.tick()
            if self._most_steps:
                count = self._advance(min(wanted - done, self._most_steps), goal)
            else:
                count = self._advance_in_pieces(monitor)
            done += count
            if count == 0 or self._scalars[1] <= goal:
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

    @abstractmethod
    def _advance(self, steps: int, goal: float) -> int:
        """Steps in one call of compiled code; returns how many were made."""

    @abstractmethod
    def _advance_in_pieces(self, monitor: Monitor) -> int:
        """One step, in pieces of some milliseconds, by all threads; 0 at the end of the recurrence."""

    @abstractmethod
    def _restart(self, x: FloatArray) -> None:
        """Begin the recurrence at x."""
