"""Disconnected blocks of a system, solved one after the other, each in the way that suits it."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ..kernels import squared_norm
from ..problems.components import Labels
from . import cost
from .gram import MOST_ROWS
from .monitor import Interrupted, Monitor
from .process import Process
from .result import FloatArray, Parameters, Result, Status
from .state import State

SolveBlock = Callable[[State, FloatArray, FloatArray, float, Monitor], Result]
"""Solves a block: its state, b, x0, the relative tolerance, and the monitor of the whole."""

_STEPS = 30
_REPORTS = 64
_BLOCK = 1_000_000.0


@dataclass(eq=False)
class Apart(Process):
    """Blocks that share no row and no column.

    With ‖b_k − A_k x_k‖ ≤ ε·‖b_k‖ in every block k, ‖b − A x‖ ≤ ε·‖b‖ in all.

    Parameters
    ----------
    state : State
    b : ndarray, (m,)
    x0 : ndarray, (n,)
    solve : callable
    """

    state: State
    b: FloatArray
    x0: FloatArray
    solve: SolveBlock

    patience = math.inf

    def __post_init__(self) -> None:
        self._x = self.x0.copy()
        r = self.b - self.state.A @ self._x
        self._squares = [squared_norm(r[block.rows]) for block, _ in self.state.blocks]
        self._next = 0
        self._last: Result | None = None
        self._largest = 0
        self._method: str | None = None
        self.row_space = True

    @property
    def method(self) -> str | None:
        """What ran last in the largest block."""
        return self._method

    def advance(self, monitor: Monitor) -> Status | None:
        """The next block that takes work; some with nothing to do may go before it."""
        blocks = self.state.blocks
        often = -(-len(blocks) // _REPORTS)
        before = monitor.work.iterations
        while True:
            monitor.tick()
            status = self._solve_next(monitor)
            if status is not None or self._next == len(blocks):
                return status or Status.STAGNATED
            if self._next % often == 0:
                monitor.measure(self._x)
            if monitor.work.iterations > before:
                return None

    def _solve_next(self, monitor: Monitor) -> Status | None:
        block, state = self.state.blocks[self._next]
        b_norm = math.sqrt(squared_norm(self.b))
        b = np.ascontiguousarray(self.b[block.rows])
        result = self.solve(state, b, self._x[block.columns], monitor.target / b_norm, monitor)
        self._last = result
        if state.A.nnz > self._largest:
            self._largest, self._method = state.A.nnz, result.method
        self._x[block.columns] = result.x
        self._squares[self._next] = result.residual_norm**2
        self._next += 1
        self.row_space = self.row_space and result.minimum_norm is not False
        work = monitor.work
        work.iterations += result.iterations
        work.row_updates += result.row_updates
        work.epochs += result.epochs * state.A.nnz / self.state.A.nnz
        if result.status in (Status.TIME_LIMIT, Status.CANCELLED):
            raise Interrupted(result.status)
        return Status.MAX_EPOCHS if result.status is Status.MAX_EPOCHS else None

    @property
    def residual_estimate(self) -> float | None:
        """The blocks' residuals put together."""
        return math.sqrt(math.fsum(self._squares))

    def solution(self) -> FloatArray:
        """The blocks' solutions, and x0 where none was made yet."""
        return self._x

    def parameters(self) -> Parameters:
        """Those of the last block."""
        return Parameters() if self._last is None else self._last.parameters


def price(labels: Labels, lengths: FloatArray) -> float:
    """Predict the cost of the blocks: a Gram factor where one side is short, else some sweeps."""
    filled, used = labels.rows >= 0, labels.columns >= 0
    rows = np.bincount(labels.rows[filled], minlength=labels.count)
    columns = np.bincount(labels.columns[used], minlength=labels.count)
    entries = np.bincount(labels.rows[filled], weights=lengths[filled], minlength=labels.count)
    total = 0.0
    for m, n, nnz in zip(rows.tolist(), columns.tolist(), entries.tolist(), strict=True):
        swept = _STEPS * cost.double_sweep(m, n, nnz)
        short = min(m, n)
        total += min(swept, cost.gram(short, 0.5 * nnz * nnz / max(m, n))) if short <= MOST_ROWS else swept
    return total + labels.count * _BLOCK
