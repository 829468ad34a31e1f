"""Dense Cholesky factors of the Gram matrix of the short side of A."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from scipy.linalg.lapack import dpotrf, dpotrs
from scipy.sparse import csr_array

from ..kernels import RawCSR, accumulate_gram
from .parts import NUMBER, Form, fitting, flat
from .result import FloatArray
from .team import BLOCK_ENTRIES

_SHIFT = 4.0
_LARGER = 100.0
_CLEAR = 4.0


@dataclass(frozen=True, eq=False)
class GramFactor:
    """L with LLᵀ = G + δ·diag(G), G = AᵀA (``tall``) or AAᵀ; `shift` is δ."""

    factor: FloatArray
    shift: float
    least_pivot: float
    """The least of Lⱼⱼ²/Gⱼⱼ, 0 if a column is empty."""

    @classmethod
    def of(cls, rows: csr_array, tick: Callable[[], None]) -> GramFactor:
        """Form and factor G = Σ aᵢaᵢᵀ over `rows`, looking at the clock now and then."""
        shift = _SHIFT * rows.shape[1] * float(np.finfo(np.float64).eps)
        while True:
            # Factored in place, and formed anew for a larger shift, which is rare: a copy would cost more.
            G = _gram(rows, tick)
            diagonal = np.diagonal(G).copy()
            empty = diagonal == 0.0
            diagonal[empty] = 1.0  # an empty row or column: its unknown stays zero
            np.fill_diagonal(G, diagonal * (1.0 + shift))
            tick()
            factor, info = dpotrf(G.T, lower=1, clean=0, overwrite_a=1)
            if info == 0:
                pivots = np.where(empty, 0.0, np.diagonal(factor) ** 2 / diagonal)
                return cls(factor, shift, float(pivots.min(initial=1.0)))
            shift *= _LARGER

    @property
    def clearly_definite(self) -> bool:
        """Whether no pivot is so small that it may be made of shift and rounding."""
        return self.least_pivot > _CLEAR * self.shift

    def solve(self, v: FloatArray) -> FloatArray:
        """(LLᵀ)⁻¹v."""
        x, _ = dpotrs(self.factor, v, lower=1)
        result: FloatArray = x
        return result

    @property
    def nbytes(self) -> int:
        """Bytes held."""
        return int(self.factor.nbytes)


def gram_form(size: int) -> Form[GramFactor]:
    """The form of the factor of a matrix of that size."""
    return flat(
        GramFactor,
        # contiguous, as LAPACK stores by columns
        factor=Form(lambda factor: factor.T, lambda rows: fitting(rows, np.float64, size, size).T),
        shift=NUMBER,
        least_pivot=NUMBER,
    )


def _gram(rows: csr_array, tick: Callable[[], None]) -> FloatArray:
    """Upper triangle of Σ aᵢaᵢᵀ, in pieces of some milliseconds."""
    size = rows.shape[1]
    G = np.zeros((size, size))
    raw = RawCSR.of(rows)
    lengths = np.diff(rows.indptr).astype(np.float64)
    work = np.cumsum(lengths * lengths)
    pieces = int(work[-1] // BLOCK_ENTRIES) + 1
    cuts = np.searchsorted(work, work[-1] * np.arange(1, pieces) / pieces)
    for start, stop in pairwise([0, *map(int, cuts), rows.shape[0]]):
        tick()
        accumulate_gram(*raw, start, stop, G)
    return G
