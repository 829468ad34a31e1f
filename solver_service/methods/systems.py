"""Scaled forms of A on which the methods work: rows and columns for whole sweeps, unit diagonal."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from ..kernels import RawCSR
from .result import FloatArray
from .spectrum import COARSE, FINE, Spectrum, symmetric_spectrum

TINY = 1e-140
"""Row norms below this are computed anew, as their squares may have vanished."""


@dataclass(frozen=True, eq=False)
class UnitDiagonal:
    """±D^(−½) A D^(−½) for symmetric A whose diagonal has one sign, ±; D = |diag(A)|.

    Parameters
    ----------
    csr : csr_array, (n, n)
        Its diagonal is 1.
    norms : ndarray, (n,)
        D^½.
    sign : float
        1 or −1.
    """

    csr: csr_array
    norms: FloatArray
    sign: float

    @classmethod
    def of(cls, A: csr_array) -> UnitDiagonal:
        """Copy and scale."""
        diagonal = A.diagonal()
        sign = 1.0 if diagonal[0] > 0.0 else -1.0
        norms = np.sqrt(sign * diagonal)
        data = A.data / np.repeat(sign * norms, np.diff(A.indptr)) / norms[A.indices]
        return cls(csr_array((data, A.indices, A.indptr), shape=A.shape), norms, sign)

    @cached_property
    def middle(self) -> NDArray[np.unsignedinteger[Any]]:
        """Place of the diagonal entry of each row, (n,)."""
        rows = np.repeat(np.arange(self.norms.size), np.diff(self.csr.indptr))
        return np.flatnonzero(self.csr.indices == rows).astype(self.raw.indptr.dtype)

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


@dataclass(frozen=True, eq=False)
class SweptRows:
    """Rows in storage order, for whole sweeps.

    Parameters
    ----------
    raw : RawCSR, (m, n)
        A, or A·E with columns of unit norm.
    weights : ndarray, (m,)
        1/‖aᵢ‖ of these rows, 0 for empty ones.
    scale : ndarray, (n,), or None
        The diagonal of E.
    """

    raw: RawCSR
    weights: FloatArray
    scale: FloatArray | None = None

    @classmethod
    def of(cls, A: csr_array, norms: FloatArray) -> SweptRows:
        """View A, whose rows have these norms."""
        return cls(RawCSR.of(A), inverse(norms))

    @classmethod
    def scaled(cls, A: csr_array, norms: FloatArray) -> SweptRows:
        """Copy A with its columns, which have these norms, scaled to one."""
        scale = inverse(norms, empty=1.0)
        copy = csr_array((A.data * scale[A.indices], A.indices, A.indptr), shape=A.shape)
        return cls(RawCSR.of(copy), inverse(row_norms(copy)), scale)

    @property
    def nbytes(self) -> int:
        """Bytes held beside those of A."""
        return int(
            self.weights.nbytes + (0 if self.scale is None else self.scale.nbytes + self.raw.data.nbytes)
        )


@dataclass(frozen=True, eq=False)
class SweptColumns:
    """Columns in storage order, for whole sweeps.

    Parameters
    ----------
    csr : csr_array, (n, m)
        Aᵀ, or (F·A)ᵀ with rows of A of unit norm.
    weights : ndarray, (n,)
        1/‖aⱼ‖ of these columns, 0 for empty ones.
    scale : ndarray, (m,), or None
        The diagonal of F.
    """

    csr: csr_array
    weights: FloatArray
    scale: FloatArray | None = None

    @classmethod
    def of(cls, AT: csr_array, norms: FloatArray) -> SweptColumns:
        """View Aᵀ, whose rows have these norms."""
        return cls(AT, inverse(norms))

    @classmethod
    def scaled(cls, AT: csr_array, norms: FloatArray) -> SweptColumns:
        """Copy Aᵀ with the rows of A, which have these norms, scaled to one."""
        scale = inverse(norms, empty=1.0)
        copy = csr_array((AT.data * scale[AT.indices], AT.indices, AT.indptr), shape=AT.shape)
        return cls(copy, inverse(row_norms(copy)), scale)

    @cached_property
    def raw(self) -> RawCSR:
        """The arrays for the kernels."""
        return RawCSR.of(self.csr)

    @property
    def nbytes(self) -> int:
        """Bytes held beside those of Aᵀ."""
        return int(
            self.weights.nbytes + (0 if self.scale is None else self.scale.nbytes + self.csr.data.nbytes)
        )


def inverse(norms: FloatArray, empty: float = 0.0) -> FloatArray:
    """1/norms, and `empty` where a norm is zero."""
    return np.divide(1.0, norms, out=np.full_like(norms, empty), where=norms > 0.0)


def row_norms(A: csr_array) -> FloatArray:
    """Euclidean norms of the rows, (m,); 0 only for rows of zeros, however small the entries."""
    norms = np.zeros(A.shape[0])
    filled = np.flatnonzero(np.diff(A.indptr))
    if filled.size:
        norms[filled] = np.sqrt(np.add.reduceat(A.data * A.data, A.indptr[filled]))
        if norms[filled].min() < TINY:  # squares that vanished, or lost digits
            largest = np.maximum.reduceat(np.abs(A.data), A.indptr[filled])
            # Scaling by a power of two may have made entries vanish altogether (see State): 0/0 is 0 here.
            divisor = np.where(largest > 0.0, largest, 1.0)
            scaled = A.data / np.repeat(divisor, np.diff(A.indptr)[filled])
            norms[filled] = largest * np.sqrt(np.add.reduceat(scaled * scaled, A.indptr[filled]))
    return norms


def column_norms(A: csr_array) -> FloatArray:
    """Euclidean norms of the columns of A, (n,), without its transpose where squares do not vanish."""
    norms: FloatArray = np.sqrt(np.bincount(A.indices, weights=A.data * A.data, minlength=A.shape[1]))
    used = np.bincount(A.indices, minlength=A.shape[1]) > 0
    if used.any() and norms[used].min() < TINY:
        return row_norms(csr_array(A.T))
    return norms


def csr_nbytes(A: csr_array) -> int:
    """Bytes of the three arrays."""
    return int(A.data.nbytes + A.indices.nbytes + A.indptr.nbytes)
