"""`ssor_cg`: CG preconditioned by symmetric Gauss–Seidel sweeps, for symmetric positive definite A.

One iteration reads each entry once (Eisenstat 1981): see `kernels.symmetric_sweeps`. Negative definite A is
solved as −A. Where pᵀAp ≤ 0 shows that A is indefinite, the method leaves.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Self

import numpy as np

from ..kernels import (
    advance_symmetric,
    forward_substitution,
    forward_substitution_block,
    lower_product,
    lower_product_block,
    next_directions,
    squared_norm,
    squared_norms,
    symmetric_products_block,
    symmetric_update_block,
)
from . import cost
from .block import Block
from .krylov import enough_iterations
from .monitor import Monitor
from .process import Process
from .result import FloatArray, Status
from .state import State
from .sweeps import RELAXATION, BoolArray
from .systems import UnitDiagonal
from .team import BLOCK_ENTRIES
from .together import Request, perform

_GROWTH = 8
_DRIFTED = 0.1
_HELPED = 0.9


class SsorCg(Process):
    """CG on E⁻¹ÂE⁻ᵀ, with r = E⁻¹(b̂ − Âx̂) and x̂ = D^½x."""

    vectors = ("_x", "_r", "_p")
    kept = ("_x", "_r", "_p", "_scalars", "_start", "_steps", "_ended", "_restarted_from")

    def __init__(self, state: State, b: FloatArray, x0: FloatArray) -> None:
        self._state = state
        self._system = system = state.unit_diagonal
        n = x0.size
        self._b = system.sign * b / system.norms
        self.patience = float(enough_iterations(state.A.shape))
        self._step_cost = cost.symmetric_step(n, system.csr.nnz)
        self._most_steps = max(1, BLOCK_ENTRIES // (system.csr.nnz + 6 * n))
        self._steps = 0
        self._ended = False
        self._restarted_from = math.inf
        self._x, self._p, self._r, self._z, self._t = np.zeros((5, n))
        self._scalars = np.zeros(2)
        self._restart(x0)

    @property
    def matrix(self) -> UnitDiagonal:
        """What is swept over: processes with the same can go on side by side."""
        return self._system

    @property
    def scalars(self) -> FloatArray:
        """‖r‖², and pᵀÂp of the last step."""
        return self._scalars

    def _restart(self, x: FloatArray) -> None:
        system = self._system
        self._x[:] = x * system.norms
        rhs = self._b - system.csr @ np.ascontiguousarray(self._x) if x.any() else self._b
        perform(_Begin(self, rhs))
        self._start = float(self._scalars[0])

    def begin_alone(self, rhs: FloatArray) -> None:
        """p ← r ← E⁻¹·rhs."""
        self.move_out()
        forward_substitution(*self._system.raw, self._system.middle, RELAXATION, rhs, self._r)
        self._p[:] = self._r
        self._scalars[:] = squared_norm(self._r), 1.0

    def advance(self, monitor: Monitor) -> Status | None:
        """Some steps, the more the longer it has run; the end where pᵀAp ≤ 0."""
        if self._ended:
            return Status.STAGNATED
        wanted = min(1 + self._steps // _GROWTH, self._most_steps)
        length = monitor.allowed(wanted, 1.0)
        if length < 1:
            return Status.MAX_EPOCHS
        done = 0
        while done < length and self._scalars[0] > 0.0:
            made = perform(_Steps(self, length - done, monitor.tick))
            done += made
            if made == 0:
                break
        self._steps += done
        work = monitor.work
        work.iterations += done
        work.epochs += done
        work.row_updates += done * self._x.size
        work.cost += self._step_cost * done
        return None if done == length else Status.STAGNATED

    def advance_alone(self, steps: int) -> int:
        """So many steps in one call; returns how many were made before the end of the recurrence."""
        self.move_out()
        system = self._system
        return advance_symmetric(
            *system.raw,
            system.middle,
            RELAXATION,
            self._x,
            self._r,
            self._p,
            self._t,
            self._z,
            self._scalars,
            steps,
            0.0,
        )

    @property
    def indefinite(self) -> bool:
        """Whether a direction with pᵀAp ≤ 0 was met while the residual was still well above rounding."""
        return not self._scalars[1] > 0.0 and self._scalars[0] > 1e-20 * self._start

    @property
    def residual_estimate(self) -> float | None:
        """‖b − A x‖ = ‖D^½E r‖ of the recurrence, at half a product."""
        squares: float = perform(_Estimate(self))
        return math.sqrt(squares)

    def squares_alone(self) -> float:
        """‖D^½E r‖²."""
        self.move_out()
        system = self._system
        return lower_product(*system.raw, system.middle, RELAXATION, system.norms, self._r)

    def check(self, norm: float) -> None:
        """Restart from x where the recurrence has lost the true residual."""
        estimate = self.residual_estimate
        if estimate is not None and abs(estimate - norm) > _DRIFTED * norm and math.isfinite(norm):
            # A restart that did not help means that rounding lets x come no nearer.
            self._ended = not norm < _HELPED * self._restarted_from
            if not self._ended:
                self._restarted_from = norm
                self._restart(self.solution())

    def solution(self) -> FloatArray:
        """x = D^(−½)x̂."""
        x: FloatArray = self._x / self._system.norms
        return x


class _OfSsorCg(Request):
    def __init__(self, process: SsorCg, tick: Callable[[], None] = lambda: None) -> None:
        self.holder = process
        self.tick = tick
        self.key = (type(self), id(process.matrix))


class _Begin(_OfSsorCg):
    """The beginning of a recurrence."""

    def __init__(self, process: SsorCg, rhs: FloatArray) -> None:
        super().__init__(process)
        self._rhs = rhs

    def alone(self) -> None:
        self.holder.begin_alone(self._rhs)

    @classmethod
    def together(cls, requests: Sequence[Self]) -> Iterator[None]:
        block, system = Block.of(requests), requests[0].holder.matrix
        rhs = block.placed((one.holder, one._rhs) for one in requests)
        yield
        forward_substitution_block(*system.raw, system.middle, RELAXATION, rhs, block["_r"])
        block["_p"][:] = block["_r"]
        squares = block.row()
        squared_norms(block["_r"], squares)
        for one in requests:
            one.holder.scalars[:] = squares[one.holder.place], 1.0


class _Steps(_OfSsorCg):
    """Some steps. Results in how many were made: of several, until one of them is at its end."""

    def __init__(self, process: SsorCg, steps: int, tick: Callable[[], None]) -> None:
        super().__init__(process, tick)
        self._steps = steps
        self.result = 0

    def alone(self) -> int:
        return self.holder.advance_alone(self._steps)

    @classmethod
    def together(cls, requests: Sequence[Self]) -> Iterator[None]:
        block = Block.of(requests)
        steps = min(request._steps for request in requests)
        processes = [request.holder for request in requests]
        while all(request.result < steps and request.holder.scalars[0] > 0.0 for request in requests):
            yield
            made = _step(block, processes)
            for request in requests:
                request.result += int(made[request.holder.place])
            if not all(made[process.place] for process in processes):
                break


def _step(block: Block, processes: Sequence[SsorCg]) -> BoolArray:
    """One step of each; returns which columns of the block have made it. A recurrence at its end stays."""
    system = processes[0].matrix
    x, r, p = block["_x"], block["_r"], block["_p"]
    t, z = block.scratch("t", x.shape[0]), block.scratch("z", x.shape[0])
    before = block.spread((process, process.scalars[0]) for process in processes)
    delta, gamma = block.row(), block.row()
    symmetric_products_block(*system.raw, system.middle, RELAXATION, p, t, z, delta)
    made: BoolArray = delta > 0.0
    with block.untouched([process for process in processes if not made[process.place]], "_x", "_r", "_p"):
        alpha = np.divide(before, delta, out=block.row(), where=made)
        symmetric_update_block(alpha, t, z, x, r, gamma)
        beta = np.divide(gamma, before, out=block.row(), where=before > 0.0)
        next_directions(beta, r, p, p)
    for process in processes:
        place = process.place
        process.scalars[1] = delta[place]
        if made[place]:
            process.scalars[0] = gamma[place]
    return made


class _Estimate(_OfSsorCg):
    """What the recurrence knows of the residual."""

    urgent = True

    def alone(self) -> float:
        return self.holder.squares_alone()

    @classmethod
    def together(cls, requests: Sequence[Self]) -> Iterator[None]:
        block, system = Block.of(requests), requests[0].holder.matrix
        squares = block.row()
        yield
        lower_product_block(*system.raw, system.middle, RELAXATION, system.norms, block["_r"], squares)
        for one in requests:
            one.result = float(squares[one.holder.place])
