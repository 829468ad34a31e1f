"""Systems whose stable rank r and condition κ are known: generated and real."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.linalg import eigvalsh
from scipy.sparse import csr_array, diags_array
from scipy.sparse.linalg import norm

from solver_service.problems import formats, gallery
from solver_service.problems.checks import CSR, FloatArray

REAL = ("abtaha2.mtx.gz", "GL7d11.mtx.gz", "Chem97Zt.mtx.gz")


@dataclass(frozen=True, eq=False)
class Case:
    """A consistent system with the extremes of its spectrum (see `gallery.Spectrum`)."""

    name: str
    A: CSR
    b: FloatArray
    spectrum: gallery.Spectrum
    generated: bool

    @property
    def saturation(self) -> float:
        """B* = r·√κ/2."""
        return 0.5 * self.spectrum.stable_rank * self.spectrum.condition**0.5


def common_trend(m: int = 60_000, n: int = 400, per_row: int = 40) -> CSR:
    """Draw rows that all point the same way, as counts and prices do.

    One large eigenvalue makes the stable rank small and all of the condition number; the others are near each
    other. The error lies in those, and B* = r·√κ/2 comes far too early: momentum goes on being perfect.
    """
    A = gallery.tall_random(m, n, per_row).A
    return csr_array((np.abs(A.data), A.indices, A.indptr), shape=A.shape)


def cases(folder: Path | None) -> Iterator[Case]:
    """Yield the generated systems, then the real ones where the folder is there."""
    for decades in (1.2, 1.6, 2.0):
        problem = gallery.measured_case(decades=decades)
        assert problem.spectrum is not None
        yield Case(f"columns over {decades} decades", problem.A, problem.b, problem.spectrum, True)
    yield _case("rows with a common trend", common_trend(), generated=True)
    for name in REAL:
        if folder is not None and (folder / name).is_file():
            yield _case(name.partition(".")[0], formats.read_matrix(folder / name).csr, generated=False)


def _case(name: str, A: CSR, *, generated: bool) -> Case:
    b = np.asarray(A @ np.random.default_rng(0).standard_normal(A.shape[1]))
    m, n = A.shape
    spectrum = gallery.row_spectrum(A) if n <= m else _wide_spectrum(A)
    return Case(name, A, b, spectrum, generated)


def _wide_spectrum(A: CSR) -> gallery.Spectrum:
    """As `gallery.row_spectrum`, from the smaller of the two Gram matrices of the scaled rows."""
    norms = norm(A, axis=1)
    kept = norms > 0
    scaled = diags_array(1.0 / norms[kept]) @ A[kept]
    values = eigvalsh((scaled @ scaled.T).toarray() / scaled.shape[0])
    floor = len(values) * np.finfo(np.float64).eps * values[-1]
    return gallery.Spectrum(float(values[-1]), float(values[values > floor][0]))
