"""Scaled forms of A on which the methods work: rows and columns for whole sweeps, unit diagonal."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from ..kernels import RawCSR, add_squares, sum_squares
from .parts import NUMBER, Form, Parts, entries_form, fitting, flat, vector
from .result import FloatArray
from .sampler import Sampler, Streams
from .spectrum import COARSE, FINE, SPECTRUM, Spectrum, symmetric_spectrum
from .team import blocks, parts

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
    _parts: Parts = field(default_factory=Parts)

    @classmethod
    def of(cls, A: csr_array, parts: Parts | None = None) -> UnitDiagonal:
        """Copy and scale."""
        diagonal = A.diagonal()
        sign = 1.0 if diagonal[0] > 0.0 else -1.0
        norms = np.sqrt(sign * diagonal)
        data = A.data / np.repeat(sign * norms, np.diff(A.indptr)) / norms[A.indices]
        return cls(csr_array((data, A.indices, A.indptr), shape=A.shape), norms, sign, parts or Parts())

    @cached_property
    def middle(self) -> NDArray[np.unsignedinteger[Any]]:
        """Place of the diagonal entry of each row, (n,)."""
        form = vector(self.raw.indptr.dtype, self.norms.size)
        return self._parts.make("middle", self._find_middle, form)

    def _find_middle(self) -> NDArray[np.unsignedinteger[Any]]:
        rows = np.repeat(np.arange(self.norms.size), np.diff(self.csr.indptr))
        return np.flatnonzero(self.csr.indices == rows).astype(self.raw.indptr.dtype)

    @cached_property
    def raw(self) -> RawCSR:
        """The arrays for the kernels."""
        return RawCSR.of(self.csr)

    @cached_property
    def _streams(self) -> Streams:
        return Streams(1, lambda _: self.norms.size, 1)

    def sampler(self, seed: int) -> Sampler:
        """A reader of a stream of the coordinates."""
        return self._streams.sampler(seed)

    @cached_property
    def spectrum(self) -> Spectrum:
        """λ, and a rough μ; μ ≤ 0 proves that A is not positive definite."""
        return self._parts.make("spectrum", lambda: symmetric_spectrum(self.csr, COARSE), SPECTRUM)

    @cached_property
    def fine_spectrum(self) -> Spectrum:
        """The same with a better μ, at four times the cost."""
        return self._parts.make("fine_spectrum", lambda: symmetric_spectrum(self.csr, FINE), SPECTRUM)

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
    _shared: dict[int, SharedRows] = field(default_factory=dict, init=False)

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

    def shared(self, n: int, threads: int) -> SharedRows:
        """The rows, of n entries, dealt out to threads; found once for each number of them."""
        if threads not in self._shared:
            self._shared[threads] = SharedRows.of(self, n, threads)
        return self._shared[threads]

    @cached_property
    def pieces(self) -> list[tuple[int, int]]:
        """Ranges of rows that take some milliseconds each."""
        return blocks(self.raw.indptr, 0, self.raw.rows)

    @property
    def nbytes(self) -> int:
        """Bytes held beside those of A."""
        own = 0 if self.scale is None else self.scale.nbytes + self.raw.data.nbytes
        return int(self.weights.nbytes + own + sum(rows.nbytes for rows in list(self._shared.values())))


@dataclass(frozen=True, eq=False)
class SharedRows:
    """Rows for sweeps of several threads, each over its own, by component averaging (CARP).

    Parameters
    ----------
    parts : list of (int, int)
        The rows of each thread.
    raw : RawCSR, (m, n)
        A·D^½, where D counts the threads that touch each component.
    weights : ndarray, (m,)
        1/‖aᵢ‖ of these rows, 0 for empty ones.
    root : ndarray, (n,), or None
        The diagonal of D^½; None where D is a multiple of the identity, which changes nothing: there A is
        left as it is.
    """

    parts: list[tuple[int, int]]
    raw: RawCSR
    weights: FloatArray
    root: FloatArray | None = None

    @classmethod
    def of(cls, system: SweptRows, n: int, threads: int) -> SharedRows:
        """Deal the rows out, about as many entries to each."""
        indptr, indices, data = system.raw
        ranges = parts(indptr, threads)
        counts = np.zeros(n)
        for start, stop in ranges:
            touched = np.zeros(n, dtype=bool)
            touched[indices[int(indptr[start]) : int(indptr[stop])]] = True
            counts += touched
        used = counts[counts > 0.0]
        if used.size == 0 or used.min() == used.max():
            return cls(ranges, system.raw, system.weights)
        root = np.sqrt(np.maximum(counts, 1.0))
        signed = np.dtype(f"i{indices.itemsize}")
        copy = csr_array(
            (data * root[indices], indices.view(signed), indptr.view(signed)), shape=(indptr.size - 1, n)
        )
        return cls(ranges, RawCSR.of(copy), inverse(row_norms(copy)), root)

    @property
    def nbytes(self) -> int:
        """Bytes held beside those of the rows dealt out."""
        own = 0 if self.root is None else self.root.nbytes + self.raw.data.nbytes + self.weights.nbytes
        return int(own)


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

    @cached_property
    def pieces(self) -> list[tuple[int, int]]:
        """Ranges of columns that take some milliseconds each."""
        return blocks(self.raw.indptr, 0, self.raw.rows)

    @property
    def nbytes(self) -> int:
        """Bytes held beside those of Aᵀ."""
        return int(
            self.weights.nbytes + (0 if self.scale is None else self.scale.nbytes + self.csr.data.nbytes)
        )


def scaled_rows_form(raw: Callable[[], RawCSR], shape: tuple[int, int]) -> Form[SweptRows]:
    """The form of scaled rows of A, (m, n), whose pattern is that of A."""

    def with_entries(data: object) -> RawCSR:
        pattern = raw()
        return pattern._replace(data=fitting(data, np.float64, pattern.nnz))

    return flat(
        SweptRows,
        raw=Form(lambda rows: rows.data, with_entries),
        weights=vector(np.float64, shape[0]),
        scale=vector(np.float64, shape[1]),
    )


def scaled_columns_form(AT: Callable[[], csr_array], shape: tuple[int, int]) -> Form[SweptColumns]:
    """The form of scaled columns of A, (m, n), whose pattern is that of Aᵀ."""
    return flat(
        SweptColumns,
        csr=entries_form(AT),
        weights=vector(np.float64, shape[1]),
        scale=vector(np.float64, shape[0]),
    )


def unit_diagonal_form(A: Callable[[], csr_array], n: int, parts: Parts) -> Form[UnitDiagonal]:
    """The form of a matrix, (n, n), scaled to unit diagonal, whose pattern is that of A."""
    return flat(
        partial(UnitDiagonal, _parts=parts),
        csr=entries_form(A),
        norms=vector(np.float64, n),
        sign=NUMBER,
    )


def inverse(norms: FloatArray, empty: float = 0.0) -> FloatArray:
    """1/norms, and `empty` where a norm is zero."""
    return np.divide(1.0, norms, out=np.full_like(norms, empty), where=norms > 0.0)


def row_norms(A: csr_array) -> FloatArray:
    """Euclidean norms of the rows, (m,); 0 only for rows of zeros, however small the entries."""
    raw = RawCSR.of(A)
    norms = np.empty(A.shape[0])
    sum_squares(raw.indptr, raw.data, norms)
    np.sqrt(norms, out=norms)
    if norms.min() < TINY:  # an empty row, or squares that vanished or lost digits
        filled = np.flatnonzero(np.diff(A.indptr))
        if filled.size and norms[filled].min() < TINY:
            largest = np.maximum.reduceat(np.abs(A.data), A.indptr[filled])
            # Scaling by a power of two may have made entries vanish altogether (see State): 0/0 is 0 here.
            divisor = np.where(largest > 0.0, largest, 1.0)
            scaled = A.data / np.repeat(divisor, np.diff(A.indptr)[filled])
            norms[filled] = largest * np.sqrt(np.add.reduceat(scaled * scaled, A.indptr[filled]))
    return norms


def column_norms(A: csr_array) -> FloatArray:
    """Euclidean norms of the columns of A, (n,), without its transpose where squares do not vanish."""
    raw = RawCSR.of(A)
    norms = np.zeros(A.shape[1])
    add_squares(raw.indices, raw.data, norms)
    np.sqrt(norms, out=norms)
    if norms.min() < TINY:  # an empty column, or squares that vanished
        used = np.bincount(A.indices, minlength=A.shape[1]) > 0
        if used.any() and norms[used].min() < TINY:
            return row_norms(csr_array(A.T))
    return norms


def csr_nbytes(A: csr_array) -> int:
    """Bytes of the three arrays."""
    return int(A.data.nbytes + A.indices.nbytes + A.indptr.nbytes)
