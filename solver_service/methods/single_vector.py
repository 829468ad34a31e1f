"""Mini-batch methods whose state is one vector: rows on x, coordinates of positive definite A on D^½x."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from typing import NamedTuple, Self

import numpy as np

from ..kernels import (
    HEAVY_BALL,
    RawCSR,
    collect_gradients,
    damped_beta,
    damped_betas,
    momentum_update,
    momentum_update_block,
    restart,
    restart_columns,
)
from .block import Block
from .options import Options
from .result import FloatArray
from .sampled import Sampled, Size, ramps_of
from .sampler import Order, Sampler
from .snapshot import Snapshot
from .spectrum import Spectrum


class Kernels(NamedTuple):
    """Steps without momentum, steps with it, and the gradient over a segment of a batch; then for blocks."""

    plain: Callable[..., float]
    momentum: Callable[..., float]
    gradient: Callable[..., float]
    plain_block: Callable[..., None]
    momentum_block: Callable[..., None]
    gradient_block: Callable[..., None]


class Rows(NamedTuple):
    """A chunk of scaled rows, their norms before, and what takes b, or a block of such, to their scale."""

    raw: RawCSR
    norms: FloatArray
    rhs: Callable[[FloatArray], FloatArray]


class SingleVector(Sampled):
    """`Sampled` with an iterate z, and with momentum its partner y and the gradient g.

    Parameters
    ----------
    kernels : Kernels
    matrix : object
        What is sampled.
    rows : callable
        A chunk of it, given its number.
    b : ndarray, (m,)
    x0 : ndarray, (n,)
    scale : ndarray, (n,), or float
        z = scale·x.
    size, passes, spectrum, sampler, options
        See `Sampled`.
    """

    kept = (*Sampled.kept, "_z")

    def __init__(
        self,
        kernels: Kernels,
        matrix: object,
        rows: Callable[[int], Rows],
        b: FloatArray,
        x0: FloatArray,
        *,
        scale: FloatArray | float,
        size: Size,
        passes: int,
        spectrum: Callable[[bool], Spectrum],
        sampler: Sampler,
        options: Options,
    ) -> None:
        super().__init__(
            size=size,
            passes=passes,
            spectrum=spectrum,
            sampler=sampler,
            options=options,
        )
        self._kernels = kernels
        self._matrix = matrix
        self._rows_of = rows
        self._b = b
        self._chunks: dict[int, tuple[RawCSR, FloatArray, FloatArray]] = {}
        self._scale = scale
        self._c = np.empty(min(self.rule.batch, self._most_rows))
        self._restart(x0)

    def _restart(self, x: FloatArray) -> None:
        self._z = x * self._scale
        self._pair(self._z)

    def _pair(self, y: FloatArray) -> None:
        """Set the partner of z to a copy of y; without a gradient vector it is z itself."""
        self._y = y.copy() if self.dense else self._z
        self._gathered = np.zeros((self.rule.threads, y.size if self.dense else 0))
        self.vectors = ("_z", "_y") if self.dense else ("_z",)

    def moved(self) -> None:
        """Without a gradient vector the partner of z is z."""
        if not self.dense:
            self._y = self._z

    @property
    def matrix(self) -> object:
        """What is sampled."""
        return self._matrix

    def capture(self) -> Snapshot:
        """The state, with y where it is not z."""
        return super().capture() | ({"_y": self._y.copy()} if self.dense else {})

    def restore(self, snapshot: Snapshot) -> None:
        """Take it up."""
        super().restore(snapshot)
        self._pair(snapshot.get("_y", self._z))

    def solution(self) -> FloatArray:
        """x = z/scale; of heavy ball, y is the later iterate."""
        z = self._y if self.rule.kind == HEAVY_BALL else self._z
        x: FloatArray = z / self._scale
        return x

    def _system(self, chunk: int) -> tuple[RawCSR, FloatArray, FloatArray]:
        if chunk not in self._chunks:
            raw, norms, rhs = self._rows_of(chunk)
            self._chunks[chunk] = (raw, rhs(self._b), norms)
        return self._chunks[chunk]

    def _plain_steps(self, chunk: int, order: Order) -> float:
        rule, (raw, rhs, norms) = self.rule, self._system(chunk)
        return self._kernels.plain(*raw, rhs, norms, order, rule.batch, rule.eta, self._z, self._c)

    def _momentum_steps(self, chunk: int, order: Order) -> float:
        rule, (raw, rhs, norms) = self.rule, self._system(chunk)
        vectors = (self._z, self._y, self._gathered[0], self.ramp)
        return self._kernels.momentum(
            *raw, rhs, norms, order, rule.batch, rule.eta, rule.beta, rule.kind, *vectors
        )

    def _gradient(self, chunk: int, order: Order, thread: int) -> float:
        raw, rhs, norms = self._system(chunk)
        return self._kernels.gradient(*raw, rhs, norms, order, self._y, self._gathered[thread])

    def _update(self) -> None:
        rule = self.rule
        beta = damped_beta(rule.beta, self.ramp)
        collect_gradients(self._gathered)
        turn = momentum_update(rule.kind, rule.eta / rule.batch, beta, self._z, self._y, self._gathered[0])
        if turn > 0.0 and rule.ramped:
            restart(rule.kind, self._z, self._y, self.ramp)

    @classmethod
    def pass_together(
        cls, block: Block, processes: Sequence[Self], chunk: int, order: Order
    ) -> Generator[None, None, FloatArray]:
        """See `Sampled`."""
        first = processes[0]
        rule, kernels, (raw, norms, rhs) = first.rule, first._kernels, first._rows_of(chunk)
        b = block.placed((process, process._b) for process in processes)
        system = (*raw, block.kept(chunk, lambda: rhs(b)), norms)
        totals, z = block.row(), block["_z"]
        yield
        if not first.dense:
            c = block.scratch("c", first._c.size)
            kernels.plain_block(*system, order, rule.batch, rule.eta, z, c, totals)
            return totals
        y, g, scale = block["_y"], block.scratch("g", z.shape[0]), rule.eta / rule.batch
        with ramps_of(block, processes) as ramps:
            if not first.in_parts:
                kernels.momentum_block(
                    *system, order, rule.batch, rule.eta, rule.beta, rule.kind, z, y, g, ramps, totals
                )
                return totals
            part, betas, turns = block.row(), block.row(), block.row()
            for start in range(0, order.size, rule.batch):
                total = block.row()
                for segment in first.segments(order[start : start + rule.batch]):
                    yield
                    kernels.gradient_block(*system, segment, y, g, part)
                    total += part
                totals += total
                damped_betas(rule.beta, ramps, betas)
                momentum_update_block(rule.kind, scale, betas, z, y, g, turns)
                restart_columns(rule.kind, turns, z, y, ramps)
        return totals
