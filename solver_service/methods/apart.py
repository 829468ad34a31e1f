"""Disconnected blocks of a system, solved one after the other, each in the way that suits it."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Protocol

import numpy as np

from ..kernels import squared_norm
from ..problems.components import Labels
from . import cost
from .gram import MOST_ROWS
from .interruption import Interrupted
from .monitor import Monitor
from .process import Process
from .result import FloatArray, Parameters, Result, Status
from .snapshot import Capture, Holder, Snapshot
from .state import State


class SolveBlock(Protocol):
    """Solves a block: its state, b, x0, the relative tolerance, and the monitor of the whole.

    And who is offered its state in the middle, and the state to go on from, if there is one.
    """

    def __call__(
        self,
        state: State,
        b: FloatArray,
        x0: FloatArray,
        rtol: float,
        monitor: Monitor,
        *,
        keeper: Holder | None,
        snapshot: Snapshot | None,
    ) -> Result:
        """Solve it."""


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
    kept = ("_x", "_squares", "_next", "_largest", "_method", "row_space", "_block")

    def __post_init__(self) -> None:
        self._x = self.x0.copy()
        r = self.b - self.state.A @ self._x
        self._squares = np.array([squared_norm(r[block.rows]) for block, _ in self.state.blocks])
        self._next = 0
        self._block: Snapshot | None = None  # of the next block, where it was left in the middle
        self._parameters = Parameters()
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
        begun, self._block = self._block, None
        result = self.solve(
            state,
            b,
            self._x[block.columns],
            monitor.target / b_norm,
            monitor,
            keeper=monitor.within(self._hold),
            snapshot=begun,
        )
        self._parameters = result.parameters
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

    def _hold(self, block: Capture, whole: Capture) -> Snapshot:
        self._block = block()
        try:
            return whole()
        finally:
            self._block = None

    def capture(self) -> Snapshot:
        """The state, in the middle of a block too."""
        return super().capture() | {"parameters": asdict(self._parameters)}

    def restore(self, snapshot: Snapshot) -> None:
        """Take it up."""
        super().restore(snapshot)
        self._parameters = Parameters(**snapshot["parameters"])

    @property
    def residual_estimate(self) -> float | None:
        """The blocks' residuals put together."""
        return math.sqrt(math.fsum(self._squares))

    def solution(self) -> FloatArray:
        """The blocks' solutions, and x0 where none was made yet."""
        return self._x

    def parameters(self) -> Parameters:
        """Those of the last block."""
        return self._parameters


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
