"""Scaled forms of A on which the mini-batch methods work: unit rows (or columns), unit diagonal."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from ..kernels import RawCSR
from .result import FloatArray
from .spectrum import COARSE, FINE, Spectrum, extrapolated, row_spectrum, symmetric_spectrum

_RUN_ENTRIES = 64
_SAMPLE_ROWS = 2000
_TINY = 1e-140


@dataclass(frozen=True, eq=False)
class UnitRows:
    """The non-zero rows of a matrix, scaled to unit norm, as a copy in shuffled order.

    Shuffled once, so that runs of neighbouring rows are a random sample and yet read in storage order:
    single random rows would be cache misses, and neighbours in the caller's order often resemble each other.

    Parameters
    ----------
    csr : csr_array, (s, n)
        The scaled rows.
    norms : ndarray, (s,)
        Their norms before scaling.
    rows : ndarray of intp, (s,)
        Which row of the matrix each was.
    """

    csr: csr_array
    norms: FloatArray
    rows: NDArray[np.intp]

    @classmethod
    def of(cls, A: csr_array) -> UnitRows:
        """Copy, scale and shuffle. The order is fixed: it belongs to the matrix, not to a solve's seed."""
        norms = row_norms(A)
        rows = np.random.default_rng(0).permutation(np.flatnonzero(norms))
        scaled = A[rows]
        scaled.data /= np.repeat(norms[rows], np.diff(scaled.indptr))
        return cls(scaled, norms[rows], rows)

    @classmethod
    def with_spectrum(cls, A: csr_array) -> UnitRows:
        """`of`, with the spectrum found at once."""
        rows = cls.of(A)
        if rows.csr.shape[0]:
            _ = rows.spectrum
        return rows

    @cached_property
    def raw(self) -> RawCSR:
        """The arrays for the kernels."""
        return RawCSR.of(self.csr)

    @cached_property
    def spectrum(self) -> Spectrum:
        """λ, and a rough μ, estimated on a uniform sample where the matrix is much taller than wide."""
        return self._spectrum(COARSE)

    @cached_property
    def fine_spectrum(self) -> Spectrum:
        """The same with a better μ, at four times the cost."""
        return self._spectrum(FINE)

    def _spectrum(self, steps: int) -> Spectrum:
        s, n = self.csr.shape
        sample = max(4 * n, _SAMPLE_ROWS, s // 16)
        if 2 * sample >= s:
            return row_spectrum(self.csr, steps)
        return extrapolated(
            row_spectrum(self._head(sample), steps), row_spectrum(self._head(sample // 2), steps)
        )

    def _head(self, rows: int) -> csr_array:
        stop = int(self.csr.indptr[rows])
        parts = (self.csr.data[:stop], self.csr.indices[:stop], self.csr.indptr[: rows + 1])
        return csr_array(parts, shape=(rows, self.csr.shape[1]))

    @property
    def run(self) -> int:
        """Neighbouring rows to read together."""
        return max(1, _RUN_ENTRIES * self.csr.shape[0] // max(self.csr.nnz, 1))

    @property
    def nbytes(self) -> int:
        """Bytes held."""
        return csr_nbytes(self.csr) + self.norms.nbytes + self.rows.nbytes


@dataclass(frozen=True, eq=False)
class UnitDiagonal:
    """D^(−½) A D^(−½) for symmetric A with positive diagonal D; `norms` is D^½, (n,)."""

    csr: csr_array
    norms: FloatArray

    @classmethod
    def of(cls, A: csr_array) -> UnitDiagonal:
        """Copy and scale."""
        norms = np.sqrt(A.diagonal())
        data = A.data / np.repeat(norms, np.diff(A.indptr)) / norms[A.indices]
        return cls(csr_array((data, A.indices.copy(), A.indptr.copy()), shape=A.shape), norms)

    @cached_property
    def raw(self) -> RawCSR:
        """The arrays for the kernels."""
        return RawCSR.of(self.csr)

    @cached_property
    def spectrum(self) -> Spectrum:
        """λ, and a rough μ; μ ≤ 0 proves that A is not positive definite."""
        return symmetric_spectrum(self.csr, COARSE)

    @cached_property
    def fine_spectrum(self) -> Spectrum:
        """The same with a better μ, at four times the cost."""
        return symmetric_spectrum(self.csr, FINE)

    @property
    def nbytes(self) -> int:
        """Bytes held."""
        return csr_nbytes(self.csr) + self.norms.nbytes


def row_norms(A: csr_array) -> FloatArray:
    """Euclidean norms of the rows, (m,); 0 only for rows of zeros, however small the entries."""
    norms = np.zeros(A.shape[0])
    filled = np.flatnonzero(np.diff(A.indptr))
    if filled.size:
        norms[filled] = np.sqrt(np.add.reduceat(A.data * A.data, A.indptr[filled]))
        if norms[filled].min() < _TINY:  # squares that vanished, or lost digits
            largest = np.maximum.reduceat(np.abs(A.data), A.indptr[filled])
            # Scaling by a power of two may have made entries vanish altogether (see State): 0/0 is 0 here.
            divisor = np.where(largest > 0.0, largest, 1.0)
            scaled = A.data / np.repeat(divisor, np.diff(A.indptr)[filled])
            norms[filled] = largest * np.sqrt(np.add.reduceat(scaled * scaled, A.indptr[filled]))
    return norms


def csr_nbytes(A: csr_array) -> int:
    """Bytes of the three arrays."""
    return int(A.data.nbytes + A.indices.nbytes + A.indptr.nbytes)
