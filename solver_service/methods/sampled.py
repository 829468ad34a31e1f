"""What the mini-batch methods share: sampling, the momentum rule, pieces of work, and shortening of steps."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import NamedTuple, Self

import numpy as np

from ..kernels import HEAVY_BALL, NESTEROV
from . import cost
from .block import Block
from .momentum import (
    automatic_batch,
    critical_damping,
    entries_per_thread,
    momentum_parameter,
    parallel_batch,
    saturation_batch,
    step_size,
)
from .monitor import Monitor
from .options import Options
from .process import Process
from .result import FloatArray, Parameters, Status
from .sampler import Order, Sampler
from .snapshot import Snapshot
from .spectrum import Spectrum
from .team import BLOCK_ENTRIES, in_parallel, worthwhile_threads
from .together import Request, perform

_LEAST_ENTRIES = 8192
_PIECES_PER_EPOCH = 16
_FIRST_PIECES = 4
_GROWTH = 0.125
_MOST_RECOVERIES = 20


class Size(NamedTuple):
    """Of the scaled system that is sampled; automatic batches are not larger than `largest_batch`."""

    rows: int
    unknowns: int
    nnz: int
    largest_batch: int


@dataclass(frozen=True, slots=True)
class Rule:
    """Batch, step, momentum and threads for one spectrum, with what the caller fixed."""

    batch: int
    eta: float
    beta: float
    kind: int
    ramped: bool
    threads: int = 1

    @classmethod
    def of(cls, spectrum: Spectrum, inflation: float, size: Size, o: Options) -> Rule:
        """Apply the rule of `momentum.py` to scaled rows."""
        rows, nnz = size.rows, size.nnz
        lambda_max = min(1.0, inflation * spectrum.safe_lambda)
        mu = spectrum.mu if spectrum.mu > 0.0 else None
        if o.batch_size != "auto":
            batch = min(o.batch_size, rows)
        elif mu is None or o.momentum == "none":
            batch = 1
        else:
            saturation = saturation_batch(lambda_max, mu)
            most, threads = min(saturation, size.largest_batch), worthwhile_threads(o.threads, nnz)
            batch = max(
                automatic_batch(rows, size.unknowns, nnz, saturation),
                parallel_batch(rows, size.unknowns, nnz, most, threads),
            )
        threads = worthwhile_threads(o.threads, batch * nnz / rows, entries_per_thread(size.unknowns))
        full = batch == rows and batch > 1
        eta = step_size(batch, lambda_max, full=full) if o.step_size is None else o.step_size
        heavy_ball = o.momentum == "heavy_ball"
        if o.momentum == "none":
            beta = 0.0
        elif o.beta is not None:
            beta = o.beta
        else:
            # Nesterov meets an unknown κ with a ramp and restarts; heavy ball would oscillate, and is damped
            # by an estimate of μ from above, which errs on the safe side.
            beta = momentum_parameter(batch, eta, mu if heavy_ball else None, full=full)
            if not heavy_ball and not full and mu is not None and spectrum.settled:
                beta = min(beta, critical_damping(eta, mu))
        ramped = beta > 0.0 and not heavy_ball and o.beta is None
        return cls(batch, eta, beta, HEAVY_BALL if heavy_ball else NESTEROV, ramped, threads)


class Sampled(Process):
    """A mini-batch method at work: subclasses supply the kernels.

    Parameters
    ----------
    size : Size
    passes : int
        Rows (columns) of A that make one epoch, the left-out zero rows included.
    spectrum : callable
        Estimates the spectrum, given whether a good μ is needed.
    sampler : Sampler
    options : Options
    """

    patience = 512.0
    kept: tuple[str, ...] = (
        "_inflation",
        "_recoveries",
        "_batches",
        "_touched",
        "_begun",
        "_left_at",
        "ramp",
    )

    def __init__(
        self,
        *,
        size: Size,
        passes: int,
        spectrum: Callable[[bool], Spectrum],
        sampler: Sampler,
        options: Options,
    ) -> None:
        self._size, self._rows, self._passes = size, size.rows, passes
        # Single rows take the step 1 and no momentum, whatever the spectrum. Of the others heavy ball is
        # damped by μ, for which it needs a better one; Nesterov finds its damping by restarts.
        single = options.batch_size == 1 and options.beta is None
        self._spectrum = None if single else spectrum(options.momentum == "heavy_ball")
        self._options = options
        self._inflation = 1.0
        self._recoveries = 0
        self.sampler = sampler
        self.rule = self._make_rule()
        rows = size.rows
        entries_per_row = max(1.0, size.nnz / max(rows, 1))
        self._most_rows = max(1, int(BLOCK_ENTRIES / entries_per_row))
        dense = size.unknowns if self.dense else 0
        affordable = int(BLOCK_ENTRIES / (self.rule.batch * entries_per_row + dense))
        self._most_batches = max(1, min(self._most_rows // self.rule.batch, affordable))
        # Less than an epoch may be enough, so begin with a small part of it. What is done at once grows with
        # what was done before: a call from here costs as much as some thousand entries.
        first = min(rows / _FIRST_PIECES, max(rows / _PIECES_PER_EPOCH, _LEAST_ENTRIES / entries_per_row))
        self._batches = min(self._most_batches, max(1, math.ceil(first / self.rule.batch)))
        self._row_cost = cost.sampled_row(entries_per_row)
        self._batch_cost = cost.momentum_update(dense)
        self._touched = 0
        self._begun = self._left_at = 0.0
        self.ramp = np.zeros(1 if self.rule.ramped else 0)

    @property
    def dense(self) -> bool:
        """Whether steps go through a gradient vector: with momentum, and for batches cut into parts."""
        return self.rule.beta > 0.0 or self.in_parts

    @property
    def in_parts(self) -> bool:
        """Whether a batch is cut, for several threads or because it takes long."""
        return self.rule.threads > 1 or self.rule.batch > self._most_rows

    def _make_rule(self) -> Rule:
        if self._spectrum is None:
            step = self._options.step_size
            return Rule(1, 1.0 if step is None else step, 0.0, NESTEROV, ramped=False)
        return Rule.of(self._spectrum, self._inflation, self._size, self._options)

    @property
    def residual_estimate(self) -> float | None:
        """‖b − A x‖ from the residuals that the sampled rows showed in the last piece of work."""
        return self._estimate

    _estimate: float | None = None

    def advance(self, monitor: Monitor) -> Status | None:
        """About a sixteenth of an epoch, in whole batches; one too large for that is cut into segments."""
        batch = self.rule.batch
        if self._rows == 0:
            return Status.STAGNATED
        batches = monitor.allowed(self._batches, batch / self._passes)
        if batches < 1:
            return Status.MAX_EPOCHS
        total = 0.0
        for chunk, order in self.sampler.take(batches, batch):
            total += perform(_Pass(self, chunk, order, monitor.tick))
        rows = batches * batch
        self._estimate = self._estimated_norm(total, rows)
        work = monitor.work
        # Recomputed rather than added up, so that a limit that is a whole number is met exactly.
        self._begun += work.epochs - self._left_at
        self._touched += rows
        work.iterations += batches
        work.row_updates += rows
        work.cost += rows * self._row_cost + batches * self._batch_cost
        work.epochs = self._left_at = self._begun + self._touched / self._passes
        grown = int(_GROWTH * self._touched) // batch
        self._batches = min(max(self._batches, grown), self._most_batches)
        return None

    def pass_alone(self, chunk: int, order: Order, tick: Callable[[], None]) -> float:
        """Steps of whole batches; returns the sum of squared residuals met, 0 where not gathered."""
        self.move_out()
        batch = self.rule.batch
        if not self.in_parts:
            return (
                self._momentum_steps(chunk, order)
                if self.rule.beta > 0.0
                else self._plain_steps(chunk, order)
            )
        total = 0.0
        for start in range(0, order.size, batch):
            total += self._gather(chunk, order[start : start + batch], tick)
            self._update()
        return total

    def _gather(self, chunk: int, order: Order, tick: Callable[[], None]) -> float:
        """Find the gradient of one batch: each thread that of its part, in segments, then their sum."""
        threads = self.rule.threads
        width = -(-order.size // threads)

        def gather(number: int) -> float:
            total = 0.0
            for part in self.segments(order[number * width : (number + 1) * width]):
                tick()
                total += self._gradient(chunk, part, number)
            return total

        return math.fsum(in_parallel(gather, threads))

    def segments(self, order: Order) -> Iterator[Order]:
        """Parts of a batch that take some milliseconds each."""
        return (order[start : start + self._most_rows] for start in range(0, order.size, self._most_rows))

    def recover(self, x: FloatArray) -> bool:
        """Restart from `x` as if λ were twice as large, unless the caller fixed the step."""
        if (
            self._options.step_size is not None
            or self._recoveries >= _MOST_RECOVERIES
            or self._spectrum is None
            or self._inflation * self._spectrum.safe_lambda >= 1.0
        ):
            return False
        self._recoveries += 1
        self.move_out()
        self._inflation *= 2.0
        self.rule = self._make_rule()
        self.ramp = np.zeros(1 if self.rule.ramped else 0)
        self._restart(x)
        return True

    def capture(self) -> Snapshot:
        """The state, that of the sampling included. Gradients are zero between batches."""
        return super().capture() | {"sampler": self.sampler.capture()}

    def restore(self, snapshot: Snapshot) -> None:
        """Take it up, with the rule that was in force."""
        super().restore(snapshot)
        self.sampler.restore(snapshot["sampler"])
        self.rule = self._make_rule()

    def parameters(self) -> Parameters:
        """The rule in force and the estimates behind it."""
        rule, spectrum = self.rule, self._spectrum
        name = "none" if rule.beta == 0.0 else ("heavy_ball" if rule.kind == HEAVY_BALL else "nesterov")
        return Parameters(
            batch_size=rule.batch,
            step_size=rule.eta,
            momentum=name,
            beta=rule.beta,
            stable_rank=None if spectrum is None else spectrum.stable_rank,
            lambda_max=None if spectrum is None else spectrum.lambda_max,
            kappa=None if spectrum is None else spectrum.kappa,
            threads=rule.threads,
            seed=self._options.seed,
        )

    @abstractmethod
    def solution(self) -> FloatArray:
        """The iterate in the caller's coordinates, (n,)."""

    @abstractmethod
    def _restart(self, x: FloatArray) -> None:
        """Put the state at `x`, without momentum."""

    @property
    @abstractmethod
    def matrix(self) -> object:
        """What is sampled: processes of one kind with the same can go on side by side."""

    @classmethod
    @abstractmethod
    def pass_together(
        cls, block: Block, processes: Sequence[Self], chunk: int, order: Order
    ) -> Generator[None, None, FloatArray]:
        """As `pass_alone`, with the vectors in the block; returns the sum of each of its columns."""

    @abstractmethod
    def _plain_steps(self, chunk: int, order: Order) -> float:
        """Batches without momentum; returns the same."""

    @abstractmethod
    def _momentum_steps(self, chunk: int, order: Order) -> float:
        """Batches with momentum; returns the same."""

    @abstractmethod
    def _gradient(self, chunk: int, order: Order, thread: int) -> float:
        """Add a segment of a batch to the gradient of a thread; returns the same."""

    @abstractmethod
    def _update(self) -> None:
        """Make the update of one batch from the gradients of all threads."""

    def _estimated_norm(self, total: float, sampled: int) -> float | None:
        return math.sqrt(total * self._rows / sampled)


@contextmanager
def ramps_of(block: Block, processes: Sequence[Sampled]) -> Iterator[FloatArray]:
    """The ramps of processes in a block as one array, empty where there are none; put back at the end."""
    if not processes[0].rule.ramped:
        yield np.zeros(0)
        return
    ramps = block.spread((process, process.ramp[0]) for process in processes)
    yield ramps
    for process in processes:
        process.ramp[0] = ramps[process.place]


class _Pass(Request):
    """Steps over rows of one chunk. Results in the sum of squared residuals met."""

    def __init__(self, process: Sampled, chunk: int, order: Order, tick: Callable[[], None]) -> None:
        self.holder = process
        self.tick = tick
        self._chunk, self._order = chunk, order
        if process.rule.threads == 1:
            # Hashed all the time, and a tuple sooner than the rule.
            rule = tuple(getattr(process.rule, name) for name in Rule.__slots__)
            self.key = (type(process), id(process.matrix), rule, process.sampler.mark)

    def alone(self) -> float:
        return self.holder.pass_alone(self._chunk, self._order, self.tick)

    @classmethod
    def together(cls, requests: Sequence[Self]) -> Iterator[None]:
        processes, first = [request.holder for request in requests], requests[0]
        totals = yield from processes[0].pass_together(
            Block.of(requests), processes, first._chunk, first._order
        )
        for request in requests:
            request.result = float(totals[request.holder.place])
