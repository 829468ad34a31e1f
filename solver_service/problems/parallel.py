"""Rows that are multiples of one another."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from .checks import FloatArray
from .matrix import Matrix

Number = TypeVar("Number", np.float64, np.uint64)

_EPS = float(np.finfo(np.float64).eps)
_TINY = float(np.finfo(np.float64).tiny)
_TOLERANCE = 8.0 * _EPS
"""How far entries may differ, relative to themselves: a few roundings, as rescaling rows makes them."""

_ROUNDS = 4
"""How often rows that resemble an earlier one without being its multiple are compared among themselves."""


@dataclass(frozen=True, eq=False, slots=True)
class ParallelRows:
    """Groups of two or more non-empty rows, each the multiple of the first in its group up to rounding.

    Parameters
    ----------
    rows : ndarray of intp, (s,)
        The rows, group by group, ascending in each; groups in the order of their first rows.
    offsets : ndarray of intp, (g + 1,)
        Group k is ``rows[offsets[k]:offsets[k + 1]]``.
    multiples : ndarray, (s,)
        Row ``rows[i]`` is ``multiples[i]`` times the first row of its group, whose own multiple is 1.
    """

    rows: NDArray[np.intp]
    offsets: NDArray[np.intp]
    multiples: FloatArray

    @property
    def groups(self) -> int:
        """Number g of groups."""
        return int(self.offsets.size) - 1

    @property
    def count(self) -> int:
        """How many rows are multiples of an earlier one."""
        return int(self.rows.size) - self.groups

    @property
    def firsts(self) -> NDArray[np.intp]:
        """First row of the group of each, (s,)."""
        return np.repeat(self.rows[self.offsets[:-1]], np.diff(self.offsets))

    @property
    def nbytes(self) -> int:
        """Bytes held."""
        return self.rows.nbytes + self.offsets.nbytes + self.multiples.nbytes


def parallel_rows(matrix: Matrix) -> ParallelRows:
    """Find the groups: by hashes of pattern and signs and a projection of the magnitudes, then by entry.

    Cost: O(nnz + m log m). What is found is true of every entry; that two such rows are missed takes dozens
    which differ by little more than rounding, or a ratio beyond float64.
    """
    A = matrix.csr
    rng = np.random.default_rng(0)
    n = matrix.shape[1]
    filled = np.flatnonzero(np.diff(A.indptr))
    patterns = _sums(_random(rng, n)[A.indices], A.indptr[filled])
    candidates = np.flatnonzero(_repeated(patterns))
    rows = filled[candidates]
    # Only rows that share their pattern with another are looked at closely.
    unit = _Normalised.of(A[rows])
    negative = np.where(unit.csr.data < 0.0, _random(rng, n)[unit.csr.indices], np.uint64(0))
    patterns = patterns[candidates] + _sums(negative, unit.csr.indptr[:-1])
    weights = 0.5 + rng.random(n)
    sizes = _sums(np.abs(unit.csr.data) * weights[unit.csr.indices], unit.csr.indptr[:-1])
    run = _runs(patterns, sizes, (16 + np.diff(unit.csr.indptr)) * _EPS)
    group, multiples = _verified(unit, run)
    members = np.flatnonzero(group >= 0)
    members = members[np.argsort(group[members], kind="stable")]
    starts = np.flatnonzero(np.diff(group[members], prepend=-1))
    return ParallelRows(rows[members], np.append(starts, members.size), multiples[members])


@dataclass(frozen=True, eq=False, slots=True)
class _Normalised:
    """Non-empty rows, each divided by its `peak`: its largest magnitude, with the sign of its first entry."""

    csr: csr_array
    peak: FloatArray

    @classmethod
    def of(cls, own: csr_array) -> _Normalised:
        starts = own.indptr[:-1]
        peak = np.copysign(
            np.maximum.reduceat(np.abs(own.data), starts) if starts.size else np.zeros(0), own.data[starts]
        )
        with np.errstate(under="ignore"):
            own.data /= np.repeat(peak, np.diff(own.indptr))
        return cls(own, peak)

    def multiple_of(self, i: NDArray[np.intp], j: NDArray[np.intp]) -> tuple[NDArray[np.bool_], FloatArray]:
        """For each k, whether row i[k] is a multiple of row j[k], and which."""
        indptr = self.csr.indptr
        lengths = np.diff(indptr)[i]
        with np.errstate(over="ignore", under="ignore"):
            multiple = self.peak[i] / self.peak[j]
        good = (lengths == np.diff(indptr)[j]) & np.isfinite(multiple) & (np.abs(multiple) >= _TINY)
        i, j, lengths = i[good], j[good], lengths[good]
        if i.size:
            starts = np.cumsum(lengths) - lengths
            along = np.arange(int(lengths.sum())) - np.repeat(starts, lengths)
            p, q = np.repeat(indptr[i], lengths) + along, np.repeat(indptr[j], lengths) + along
            u, v = self.csr.data[p], self.csr.data[q]
            same = self.csr.indices[p] == self.csr.indices[q]
            close = np.abs(u - v) <= _TOLERANCE * np.abs(v) + _TINY
            good[good] = np.logical_and.reduceat(same & close, starts)
        return good, multiple


def _verified(unit: _Normalised, run: NDArray[np.intp]) -> tuple[NDArray[np.intp], FloatArray]:
    """Compare each row with the first of its run; return that row as its group, or −1, and its multiple."""
    group = np.full(run.size, -1, dtype=np.intp)
    multiples = np.ones(run.size)
    rest = np.arange(run.size)
    for _ in range(_ROUNDS):
        rest = rest[_repeated(run[rest])]
        first = np.zeros(run.size, dtype=np.intp)
        first[run[rest[::-1]]] = rest[::-1]  # the last one assigned stays: the earliest row
        firsts = first[run[rest]]
        later = firsts != rest
        i, j = rest[later], firsts[later]
        good, multiple = unit.multiple_of(i, j)
        group[j[good]] = j[good]
        group[i[good]] = j[good]
        multiples[i[good]] = multiple[good]
        rest = i[~good]
    return group, multiples


def _runs(patterns: NDArray[np.uint64], sizes: FloatArray, tolerance: FloatArray) -> NDArray[np.intp]:
    """Number the runs of equal pattern and nearly equal size."""
    order = np.lexsort((sizes, patterns))
    pattern, size = patterns[order], sizes[order]
    new = np.ones(order.size, dtype=np.bool_)
    new[1:] = (pattern[1:] != pattern[:-1]) | (np.diff(size) > tolerance[order][1:] * size[1:])
    run = np.empty(order.size, dtype=np.intp)
    run[order] = np.cumsum(new) - 1
    return run


def _repeated(keys: NDArray[np.uint64] | NDArray[np.intp]) -> NDArray[np.bool_]:
    """Mark the keys that occur more than once."""
    order = np.argsort(keys, kind="stable")
    equal = np.diff(keys[order]) == 0
    repeated = np.zeros(keys.size, dtype=np.bool_)
    repeated[order[1:][equal]] = True
    repeated[order[:-1][equal]] = True
    return repeated


def _sums(values: NDArray[Number], starts: NDArray[np.integer]) -> NDArray[Number]:
    """Sum from each start to the next."""
    return np.add.reduceat(values, starts) if starts.size else values[:0]


def _random(rng: np.random.Generator, n: int) -> NDArray[np.uint64]:
    return rng.integers(0, 2**64, size=n, dtype=np.uint64)
