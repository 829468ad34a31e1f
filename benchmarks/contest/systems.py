"""The systems of the contest: a folder of matrices, and larger problems of the gallery."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
from scipy.sparse import csr_array

from solver_service.problems import formats, gallery

ENDINGS = (".mtx", ".mtx.gz", ".npz")

GALLERY: dict[str, Callable[[], gallery.ModelProblem]] = {
    "tall_random": gallery.tall_random,
    "comparisons": gallery.comparisons,
    "measured_case": gallery.measured_case,
    "ill_conditioned": partial(gallery.ill_conditioned, 20_000, 500, 8),
    "rank_deficient": partial(gallery.rank_deficient, 30_000, 2_000, 500),
    "wide_random": gallery.wide_random,
    "least_squares_grid": partial(gallery.least_squares_grid, 60),
    "tomography": partial(gallery.tomography, 64),
    "poisson2d": partial(gallery.poisson2d, 200),
    "spd_random": partial(gallery.spd_random, 20_000),
    "convection_diffusion": partial(gallery.convection_diffusion, 150),
}

FEW = (
    "1138_bus",
    "20ng_bow_train",
    "Chem97Zt",
    "abtaha2",
    "add32",
    "bayer10",
    "bcsstk16",
    "football_massey",
    "illc1850",
    "insteval_fe",
    "koenigsee_rays",
    "lp_25fv47",
    "lp_osa_07",
    "sherman1",
    "w8a",
    "well1850",
    "tall_random",
    "comparisons",
)
"""What the short mode runs: each kind of matrix once, those with long runs left out."""


@dataclass(frozen=True, eq=False)
class System:
    """A consistent system A x = b."""

    name: str
    A: csr_array
    b: np.ndarray[Any, Any]

    @cached_property
    def _precise(self) -> tuple[csr_array, np.ndarray[Any, Any]]:
        return self.A.astype(np.longdouble), self.b.astype(np.longdouble)

    def relative_residual(self, x: object) -> float:
        """‖b − A x‖ / ‖b‖ in extended precision; infinite for an x of the wrong shape or not finite."""
        x = np.asarray(x)
        if x.shape != (self.A.shape[1],) or not np.isfinite(x).all():
            return float("inf")
        A, b = self._precise
        with np.errstate(over="ignore"):
            return float(np.linalg.norm(b - A @ x.astype(np.longdouble)) / np.linalg.norm(b))

    @cached_property
    def symmetric(self) -> bool:
        """Whether A = Aᵀ, to the bit."""
        m, n = self.A.shape
        return m == n and (self.A != self.A.T).nnz == 0

    @cached_property
    def sign(self) -> int:
        """1 or −1 if A is symmetric and its whole diagonal has that sign, else 0: where CG may be tried."""
        diagonal = self.A.diagonal() if self.symmetric else np.zeros(1)
        return 1 if (diagonal > 0).all() else (-1 if (diagonal < 0).all() else 0)


def stem(path: Path) -> str:
    """Name a file without its ending."""
    return next((path.name.removesuffix(ending) for ending in ENDINGS if path.name.endswith(ending)), "")


def read(path: Path) -> System:
    """Read a matrix; b = A x for a standard normal x of seed 0."""
    A = formats.read_matrix(path).csr
    return System(stem(path), A, np.asarray(A @ np.random.default_rng(0).standard_normal(A.shape[1])))


def build(name: str) -> System:
    """Draw a problem of `GALLERY`, with its own b."""
    problem = GALLERY[name]()
    return System(name, problem.A, problem.b)


def all_systems(
    folder: Path | None, *, few: bool = False, only: Sequence[str] = (), with_gallery: bool = True
) -> Iterator[tuple[str, Callable[[], System]]]:
    """Yield names and how to get the system: those of the folder by name, then those of the gallery.

    `few` keeps those of `FEW`; `only` those whose name contains one of these words.
    """
    sources: list[tuple[str, Callable[[], System]]] = []
    if folder is not None:
        paths = sorted((path for path in folder.iterdir() if stem(path)), key=lambda path: path.name.lower())
        sources += [(stem(path), partial(read, path)) for path in paths]
    if with_gallery:
        sources += [(name, partial(build, name)) for name in GALLERY]
    for name, load in sources:
        if (not few or name in FEW) and (not only or any(word in name for word in only)):
            yield name, load
