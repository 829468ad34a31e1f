"""Mini-batch randomized Kaczmarz with classical momentum (Strohmer & Vershynin 2009; arXiv:2605.18609).

x ← x − (η/B)·Σ_{i∈S} (aᵢᵀx − bᵢ)·aᵢ on rows of unit norm, S a random batch. From x0 = 0 it converges to the
minimum-norm solution of any consistent system. The rule for η and β is in `momentum.py`.
"""

from __future__ import annotations

from ..kernels import kaczmarz_gradient, kaczmarz_momentum_steps, kaczmarz_steps
from .options import Options
from .result import FloatArray
from .single_vector import Kernels, SingleVector
from .state import State

_KERNELS = Kernels(kaczmarz_steps, kaczmarz_momentum_steps, kaczmarz_gradient)


class Kaczmarz(SingleVector):
    """Kaczmarz on the rows of A that are not zero."""

    def __init__(self, state: State, b: FloatArray, x0: FloatArray, options: Options) -> None:
        rows = state.rows
        super().__init__(
            _KERNELS,
            rows,
            b[rows.rows] / rows.norms,
            x0,
            scale=1.0,
            run=rows.run,
            passes=state.A.shape[0],
            options=options,
        )
