"""Mini-batch randomized coordinate descent with momentum (Leventhal & Lewis 2010; arXiv:2605.18609).

Two forms. For symmetric positive definite A: zᵢ ← zᵢ − (η/B)·(âᵢᵀz − ĉᵢ), i ∈ S, on D^(−½) A D^(−½). For any
other shape, least squares on unit columns âⱼ with the residual q kept up to date: zⱼ ← zⱼ + (η/B)·âⱼᵀq. The
second is Kaczmarz on Âᵀq = 0, and the rule of `momentum.py` holds with H = ÂᵀÂ/n.
"""

from __future__ import annotations

import math
from collections.abc import Generator, Sequence
from typing import Self

import numpy as np

from ..kernels import (
    HEAVY_BALL,
    collect_gradients,
    least_squares_gradient,
    least_squares_gradient_block,
    least_squares_momentum_steps,
    least_squares_momentum_steps_block,
    least_squares_steps,
    least_squares_steps_block,
    least_squares_update,
    least_squares_update_block,
    spd_gradient,
    spd_gradient_block,
    spd_momentum_steps,
    spd_momentum_steps_block,
    spd_steps,
    spd_steps_block,
    squared_norm,
)
from .block import Block
from .options import Options
from .result import FloatArray
from .sampled import Sampled, Size, ramps_of
from .sampler import Order
from .shuffled import ShuffledRows
from .single_vector import Kernels, Rows, SingleVector
from .snapshot import Snapshot
from .state import State

_DRIFTED = 0.1
_KERNELS = Kernels(
    spd_steps, spd_momentum_steps, spd_gradient, spd_steps_block, spd_momentum_steps_block, spd_gradient_block
)


class PositiveDefinite(SingleVector):
    """Coordinate descent on ½xᵀAx − bᵀx, with z = D^½x."""

    def __init__(self, state: State, b: FloatArray, x0: FloatArray, options: Options) -> None:
        system = state.unit_diagonal
        n = x0.size
        super().__init__(
            _KERNELS,
            system,
            lambda _: Rows(system.raw, system.norms, lambda b: (system.sign * b.T / system.norms).T),
            b,
            x0,
            scale=system.norms,
            size=Size(n, n, system.csr.nnz, n),
            passes=n,
            spectrum=lambda fine: system.fine_spectrum if fine else system.spectrum,
            sampler=system.sampler(options.seed),
            options=options,
        )


class LeastSquares(Sampled):
    """Coordinate descent on ½‖b − Ax‖². State: the pair (z, q) of scaled x and residual, and its partner."""

    kept = (*Sampled.kept, "_idle", "_z", "_q")

    def __init__(self, state: State, b: FloatArray, x0: FloatArray, options: Options) -> None:
        system = state.shuffled_columns
        m, n = state.A.shape
        super().__init__(
            size=Size(system.count, m + n, system.nnz, system.count),
            passes=n,
            spectrum=lambda fine: system.fine_spectrum if fine else system.spectrum,
            sampler=system.sampler(options.seed),
            options=options,
        )
        self._system = system
        columns = system.chunk(0)
        self._A = state.A
        self._raw = columns.raw
        self._norms = columns.norms
        self._columns = columns.rows
        self._b = b
        self._c = np.empty(min(self.rule.batch, self._most_rows))
        self._restart(x0)

    def _restart(self, x: FloatArray) -> None:
        self._idle = x.copy()
        self._z = x[self._columns] * self._norms
        self._q = self._b - self._A @ x
        self._pair(self._z, self._q)

    def _pair(self, zy: FloatArray, qy: FloatArray) -> None:
        """Set the partners of z and q to copies; without gradient vectors they are z and q themselves."""
        dense, threads = self.dense, self.rule.threads
        self._zy: FloatArray = zy.copy() if dense else self._z
        self._qy: FloatArray = qy.copy() if dense else self._q
        self._gz, self._gq = (np.zeros((threads, v.size if dense else 0)) for v in (zy, qy))
        self.vectors = ("_z", "_q", "_zy", "_qy") if dense else ("_z", "_q")

    def moved(self) -> None:
        """Without gradient vectors the partners are z and q."""
        if not self.dense:
            self._zy, self._qy = self._z, self._q

    @property
    def matrix(self) -> ShuffledRows:
        """The columns."""
        return self._system

    def capture(self) -> Snapshot:
        """The state, with the partners where there are any."""
        partners = {"_zy": self._zy.copy(), "_qy": self._qy.copy()} if self.dense else {}
        return super().capture() | partners

    def restore(self, snapshot: Snapshot) -> None:
        """Take it up."""
        super().restore(snapshot)
        self._pair(snapshot.get("_zy", self._z), snapshot.get("_qy", self._q))

    def solution(self) -> FloatArray:
        """Put z back in the caller's order and scale; empty columns keep what x0 had."""
        z = self._zy if self.rule.kind == HEAVY_BALL else self._z
        x = self._idle.copy()
        x[self._columns] = z / self._norms
        return x

    def check(self, norm: float) -> None:
        """Recompute both residuals where rounding has made them drift."""
        estimate = self.residual_estimate
        if estimate is None or not abs(estimate - norm) > _DRIFTED * norm:
            return
        for z, q in ((self._z, self._q), (self._zy, self._qy)):
            x = self._idle.copy()
            x[self._columns] = z / self._norms
            q[:] = self._b - self._A @ x

    def _estimated_norm(self, total: float, sampled: int) -> float | None:  # noqa: ARG002  # q is at hand
        q = self._qy if self.rule.kind == HEAVY_BALL else self._q
        norm = math.sqrt(squared_norm(np.ascontiguousarray(q)))
        return norm if math.isfinite(norm) else math.inf

    def _plain_steps(self, chunk: int, order: Order) -> float:  # noqa: ARG002  # there is one
        rule = self.rule
        least_squares_steps(*self._raw, order, rule.batch, rule.eta, self._z, self._q, self._c)
        return 0.0

    def _momentum_steps(self, chunk: int, order: Order) -> float:  # noqa: ARG002  # there is one chunk
        rule = self.rule
        least_squares_momentum_steps(
            *self._raw,
            order,
            rule.batch,
            rule.eta,
            rule.beta,
            rule.kind,
            self._z,
            self._zy,
            self._gz[0],
            self._q,
            self._qy,
            self._gq[0],
            self.ramp,
        )
        return 0.0

    def _gradient(self, chunk: int, order: Order, thread: int) -> float:  # noqa: ARG002  # there is one chunk
        least_squares_gradient(*self._raw, order, self._qy, self._gz[thread], self._gq[thread])
        return 0.0

    def _update(self) -> None:
        rule = self.rule
        collect_gradients(self._gz)
        collect_gradients(self._gq)
        least_squares_update(
            rule.kind,
            rule.eta / rule.batch,
            rule.beta,
            self.ramp,
            self._z,
            self._zy,
            self._gz[0],
            self._q,
            self._qy,
            self._gq[0],
        )

    @classmethod
    def pass_together(
        cls, block: Block, processes: Sequence[Self], chunk: int, order: Order
    ) -> Generator[None, None, FloatArray]:
        """See `Sampled`."""
        del chunk
        first = processes[0]
        rule, raw = first.rule, first._raw
        totals, z, q = block.row(), block["_z"], block["_q"]
        yield
        if not first.dense:
            c = block.scratch("c", first._c.size)
            least_squares_steps_block(*raw, order, rule.batch, rule.eta, z, q, c)
            return totals
        zy, qy = block["_zy"], block["_qy"]
        gz, gq = block.scratch("gz", z.shape[0]), block.scratch("gq", q.shape[0])
        pairs = z, zy, gz, q, qy, gq
        with ramps_of(block, processes) as ramps:
            if not first.in_parts:
                least_squares_momentum_steps_block(
                    *raw, order, rule.batch, rule.eta, rule.beta, rule.kind, *pairs, ramps
                )
                return totals
            for start in range(0, order.size, rule.batch):
                for segment in first.segments(order[start : start + rule.batch]):
                    yield
                    least_squares_gradient_block(*raw, segment, qy, gz, gq)
                least_squares_update_block(rule.kind, rule.eta / rule.batch, rule.beta, ramps, *pairs)
        return totals
