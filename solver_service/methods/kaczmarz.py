"""Mini-batch randomized Kaczmarz with classical momentum (Strohmer & Vershynin 2009; arXiv:2605.18609).

x ← x − (η/B)·Σ_{i∈S} (aᵢᵀx − bᵢ)·aᵢ on rows of unit norm, S a random batch. From x0 = 0 it converges to the
minimum-norm solution of any consistent system. The rule for η and β is in `momentum.py`.
"""

from __future__ import annotations

from ..kernels import (
    kaczmarz_gradient,
    kaczmarz_gradient_block,
    kaczmarz_momentum_steps,
    kaczmarz_momentum_steps_block,
    kaczmarz_steps,
    kaczmarz_steps_block,
)
from .options import Options
from .result import FloatArray
from .sampled import Size
from .single_vector import Kernels, Rows, SingleVector
from .state import State

_BATCHES = 4
_KERNELS = Kernels(
    kaczmarz_steps,
    kaczmarz_momentum_steps,
    kaczmarz_gradient,
    kaczmarz_steps_block,
    kaczmarz_momentum_steps_block,
    kaczmarz_gradient_block,
)


class Kaczmarz(SingleVector):
    """Kaczmarz on the rows of A that are not zero."""

    row_space = True

    def __init__(self, state: State, b: FloatArray, x0: FloatArray, options: Options) -> None:
        batch = options.batch_size
        system = state.sampled_rows
        if batch != "auto" and _BATCHES * batch > system.count // system.chunks:
            system = state.shuffled_rows  # batches do not reach from one chunk into the next

        largest = system.count if system.chunks == 1 else system.count // (_BATCHES * system.chunks)

        def rows(number: int) -> Rows:
            chunk = system.chunk(number)
            return Rows(chunk.raw, chunk.norms, lambda b: (b[chunk.rows].T / chunk.norms).T)

        super().__init__(
            _KERNELS,
            system,
            rows,
            b,
            x0,
            scale=1.0,
            size=Size(system.count, x0.size, system.nnz, largest),
            passes=state.A.shape[0],
            spectrum=lambda fine: system.fine_spectrum if fine else system.spectrum,
            sampler=system.sampler(options.seed),
            options=options,
        )
