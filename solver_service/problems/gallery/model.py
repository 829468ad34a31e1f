"""`ModelProblem`: a system whose solution is known."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.linalg import eigvalsh
from scipy.sparse import diags_array
from scipy.sparse.linalg import norm

from ..checks import CSR, FloatArray
from ..matrix import Matrix


@dataclass(frozen=True, slots=True)
class Spectrum:
    """Extreme non-zero eigenvalues λ, μ of H = (1/m)·Σ aᵢaᵢᵀ over the m non-zero rows, scaled to norm 1."""

    largest: float
    smallest: float

    @property
    def stable_rank(self) -> float:
        """r = 1/λ."""
        return 1.0 / self.largest

    @property
    def condition(self) -> float:
        """κ = λ/μ."""
        return self.largest / self.smallest


@dataclass(frozen=True, eq=False, slots=True)
class ModelProblem:
    """A consistent system A x = b.

    Parameters
    ----------
    name : str
    A : csr_array of float64, (m, n), canonical
    x : ndarray of float64, (n,)
        A solution; the only one unless `null_space` says otherwise or m < n.
    b : ndarray of float64, (m,)
        ``A @ x``, rounded.
    note : str
        What it models, and what is special about it.
    spd : bool
        Whether A is symmetric positive definite.
    null_space : ndarray of float64, (n, d), or None
        Orthonormal basis of the null space of A where it is known; (n, 0) if it is known to be trivial.
    spectrum : Spectrum or None
        Of the scaled rows, where it has been computed.
    """

    name: str
    A: CSR
    x: FloatArray
    b: FloatArray
    note: str = ""
    spd: bool = False
    null_space: FloatArray | None = None
    spectrum: Spectrum | None = None

    @property
    def minimum_norm(self) -> FloatArray | None:
        """The solution of least Euclidean norm, (n,), or None if the null space is not known."""
        if self.null_space is None:
            return None
        return self.x - self.null_space @ (self.null_space.T @ self.x)


def model(
    name: str,
    A: object,
    x: FloatArray,
    note: str,
    *,
    spd: bool = False,
    null_space: FloatArray | None = None,
    spectrum: Spectrum | None = None,
) -> ModelProblem:
    """Make a `ModelProblem` with b = A x; A is anything that `Matrix.from_any` takes."""
    csr = Matrix.from_any(A).csr
    return ModelProblem(name, csr, x, np.asarray(csr @ x), note, spd, null_space, spectrum)


def row_spectrum(A: CSR) -> Spectrum:
    """Compute the spectrum of the scaled rows with a dense eigensolver; for n up to a few thousand.

    Eigenvalues below n·ε times the largest count as zero. A must have an entry.
    """
    norms = norm(A, axis=1)
    weights = np.divide(1.0, norms, out=np.zeros_like(norms), where=norms > 0)
    scaled = diags_array(weights) @ A
    values = eigvalsh((scaled.T @ scaled).toarray() / np.count_nonzero(norms))
    floor = len(values) * np.finfo(np.float64).eps * values[-1]
    return Spectrum(float(values[-1]), float(values[values > floor][0]))
