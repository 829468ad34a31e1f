"""Model problems with known solutions, for tests, documentation and benchmarks alike.

Every problem is consistent and seeded: the same arguments give the same system. `PROBLEMS` names small ones
(at most about 2,000 unknowns), the edge cases among them:

>>> problem = PROBLEMS["poisson2d"]()
>>> problem.A.shape, problem.spd
((144, 144), True)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from types import MappingProxyType

from .edge_cases import EDGE_CASES
from .grids import convection_diffusion, least_squares_grid, poisson2d
from .model import ModelProblem, Spectrum, row_spectrum
from .sampled import (
    comparisons,
    ill_conditioned,
    measured_case,
    rank_deficient,
    spd_random,
    tall_random,
    wide_random,
)
from .tomography import parallel_beam, shepp_logan, tomography

__all__ = [
    "EDGE_CASES",
    "PROBLEMS",
    "ModelProblem",
    "Spectrum",
    "comparisons",
    "convection_diffusion",
    "ill_conditioned",
    "least_squares_grid",
    "measured_case",
    "parallel_beam",
    "poisson2d",
    "rank_deficient",
    "row_spectrum",
    "shepp_logan",
    "spd_random",
    "tall_random",
    "tomography",
    "wide_random",
]

PROBLEMS: Mapping[str, Callable[[], ModelProblem]] = MappingProxyType(
    {
        "tall_random": partial(tall_random, 1_500, 80, 6),
        "measured_case": partial(measured_case, 3_000, 60, 6),
        "comparisons": partial(comparisons, 2_000, 60),
        "tomography": partial(tomography, 16, 24),
        "least_squares_grid": partial(least_squares_grid, 12),
        "ill_conditioned": partial(ill_conditioned, 600, 60, 6, decades=2.0),
        "rank_deficient": rank_deficient,
        "wide_random": partial(wide_random, 60, 400, 6),
        "poisson2d": partial(poisson2d, 12),
        "spd_random": partial(spd_random, 150),
        "convection_diffusion": partial(convection_diffusion, 12),
        **EDGE_CASES,
    }
)
"""Small problems by name; call one to build it."""
