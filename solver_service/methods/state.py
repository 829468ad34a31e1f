"""`State`: all that depends on the matrix alone, found once, on demand."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cached_property
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from ..kernels import RawCSR, largest_magnitude
from ..problems import components, parallel
from ..problems.components import Block, Labels
from ..problems.matrix import Matrix
from ..problems.parallel import ParallelRows
from . import factorization
from .factorization import Analysis, Factors, analysis_form
from .gram_factor import GramFactor, gram_form
from .parts import COUNT, FLAG, Derived, Form, Parts, csr_form, flat, mapped, optional, sized, vector
from .report import Report, build_report
from .result import FloatArray
from .shuffled import ShuffledRows
from .systems import (
    SweptColumns,
    SweptRows,
    UnitDiagonal,
    column_norms,
    csr_nbytes,
    row_norms,
    scaled_columns_form,
    scaled_rows_form,
    unit_diagonal_form,
)

T = TypeVar("T")

_SAFE_EXPONENT = 300
_LONGEST_ORDERING = 5_000_000
_SMALL_BLOCK = 20_000
"""Entries of a block up to which nothing that is derived from it is kept: there may be many such blocks."""


class State:
    """A matrix with what the methods derive from it. Cheap to make: each part is found when first needed.

    Parameters
    ----------
    matrix : Matrix
        The caller's matrix, never modified.
    parts : Parts, optional
        Where parts come from that were derived before.

    Notes
    -----
    The methods see `A`, which is the matrix times a power of two where its entries are so large or small that
    their squares would overflow or vanish, and the very same arrays otherwise.
    """

    def __init__(self, matrix: Matrix, parts: Parts | None = None) -> None:
        self.matrix = matrix
        self.parts = Parts() if parts is None else parts
        self._held: dict[str, Any] = {}
        self.exponent = safe_exponent(matrix.csr.data)

    def _part(self, name: str, build: Callable[[], T], form: Form[T] | None = None) -> T:
        if name not in self._held:
            # setdefault: two threads may build the same part, but all see one of them.
            self._held.setdefault(name, self.parts.make(name, build, form))
        part: T = self._held[name]
        return part

    @property
    def seconds(self) -> float:
        """Time that this thread has spent on preparation so far."""
        return self.parts.seconds

    @property
    def derived(self) -> list[Derived]:
        """What was built here, of this matrix and its large blocks, and may be kept."""
        return list(self.parts.derived.values())

    @property
    def A(self) -> csr_array:
        """The matrix, (m, n), times 2^−exponent."""
        csr = self.matrix.csr
        if self.exponent == 0:
            return csr
        return self._part(
            "A",
            lambda: csr_array((np.ldexp(csr.data, -self.exponent), csr.indices, csr.indptr), shape=csr.shape),
        )

    @property
    def raw(self) -> RawCSR:
        """`A` for the kernels."""
        return self._part("raw", lambda: RawCSR.of(self.A))

    @property
    def AT(self) -> csr_array:
        """The transpose of `A` in CSR, that is `A` by columns."""
        return self._part("transpose", lambda: csr_array(self.A.T), csr_form(self.A.shape[::-1]))

    @property
    def row_norms(self) -> FloatArray:
        """Euclidean norms of the rows of `A`, (m,)."""
        return self._part("row_norms", lambda: row_norms(self.A), vector(np.float64, self.matrix.shape[0]))

    @property
    def labels(self) -> Labels | None:
        """Which disconnected block each row and column belongs to; None if A is too large to be searched."""
        return self._part(
            "labels", lambda: components.label(self.matrix), optional(_labels_form(self.matrix.shape))
        )

    @property
    def blocks(self) -> list[tuple[Block, State]]:
        """The disconnected blocks, as systems of their own."""
        return self._part("blocks", self._split)

    def _split(self) -> list[tuple[Block, State]]:
        found = components.split(self.matrix, self.labels)
        return [
            (block, State(block.matrix, self.parts.within(f"block-{k}")))
            if block.matrix.nnz > _SMALL_BLOCK
            else (block, State(block.matrix))
            for k, block in enumerate(found)
        ]

    @property
    def parallel_rows(self) -> ParallelRows:
        """Groups of rows that are multiples of one another."""
        return self._part("parallel_rows", lambda: parallel.parallel_rows(self.matrix), _PARALLEL_ROWS)

    @property
    def report(self) -> Report:
        """What is worth knowing of the matrix before it is solved with."""
        return self._part("report", lambda: build_report(self))

    @property
    def empty_rows(self) -> NDArray[np.intp]:
        """Which rows have no entry."""
        indptr = self.A.indptr
        return self._part("empty_rows", lambda: np.flatnonzero(indptr[1:] == indptr[:-1]))

    @property
    def column_norms(self) -> FloatArray:
        """Euclidean norms of the columns of `A`, (n,)."""
        return self._part(
            "column_norms", lambda: column_norms(self.A), vector(np.float64, self.matrix.shape[1])
        )

    @property
    def swept_rows(self) -> SweptRows:
        """Rows for whole sweeps."""
        return self._part("swept_rows", lambda: SweptRows.of(self.A, self.row_norms))

    @property
    def scaled_rows(self) -> SweptRows:
        """Rows for whole sweeps, columns scaled."""
        return self._part(
            "scaled_rows",
            lambda: SweptRows.scaled(self.A, self.column_norms),
            scaled_rows_form(lambda: self.raw, self.matrix.shape),
        )

    @property
    def swept_columns(self) -> SweptColumns:
        """Columns for whole sweeps."""
        return self._part("swept_columns", lambda: SweptColumns.of(self.AT, self.column_norms))

    @property
    def scaled_columns(self) -> SweptColumns:
        """Columns for whole sweeps, rows scaled."""
        return self._part(
            "scaled_columns",
            lambda: SweptColumns.scaled(self.AT, self.row_norms),
            scaled_columns_form(lambda: self.AT, self.matrix.shape),
        )

    @property
    def sampled_rows(self) -> ShuffledRows:
        """Unit rows in shuffled chunks."""
        return self._part(
            "sampled_rows", lambda: ShuffledRows(self.A, parts=self.parts.within("sampled_rows"))
        )

    @property
    def shuffled_rows(self) -> ShuffledRows:
        """All unit rows in one chunk."""
        sampled = self.sampled_rows
        return (
            sampled
            if sampled.chunks == 1
            else self._part(
                "shuffled_rows",
                lambda: ShuffledRows(self.A, whole=True, parts=self.parts.within("shuffled_rows")),
            )
        )

    @property
    def shuffled_columns(self) -> ShuffledRows:
        """All unit columns (as rows of Aᵀ) in one chunk."""
        return self._part(
            "shuffled_columns",
            lambda: ShuffledRows(self.AT, whole=True, parts=self.parts.within("shuffled_columns")),
        )

    @property
    def unit_diagonal(self) -> UnitDiagonal:
        """±D^(−½) A D^(−½); only where `perhaps_definite`."""
        return self._part(
            "unit_diagonal",
            lambda: UnitDiagonal.of(self.A, self.parts.within("unit_diagonal")),
            unit_diagonal_form(lambda: self.A, self.matrix.shape[0], self.parts.within("unit_diagonal")),
        )

    @property
    def symmetric(self) -> bool:
        """Whether A equals its transpose exactly."""
        return self._part("symmetric", self._is_symmetric, FLAG)

    def _is_symmetric(self) -> bool:
        A = self.A
        if A.shape[0] != A.shape[1]:
            return False
        AT = self.AT
        # Both are canonical, so equal matrices have equal arrays.
        return all(
            np.array_equal(getattr(A, name), getattr(AT, name)) for name in ("indptr", "indices", "data")
        )

    @property
    def perhaps_definite(self) -> bool:
        """Symmetric with a diagonal of one sign: necessary for definite, and cheap to see."""
        return self._part("perhaps_definite", self._is_perhaps_definite, FLAG)

    def _is_perhaps_definite(self) -> bool:
        m, n = self.A.shape
        if m != n:
            return False
        diagonal = self.A.diagonal()
        one_sign = bool(np.all(diagonal > 0.0) or np.all(diagonal < 0.0))
        return one_sign and self.symmetric

    def gram(self, tick: Callable[[], None]) -> GramFactor:
        """Cholesky factor of the Gram matrix of the short side; `tick` is called between pieces of work."""
        m, n = self.A.shape
        return self._part(
            "gram", lambda: GramFactor.of(self.A if n <= m else self.AT, tick), gram_form(min(m, n))
        )

    @property
    def gram_pairs(self) -> float:
        """Products of two entries that the Gram matrix of the short side takes."""
        m, n = self.A.shape
        lengths = np.diff(self.A.indptr) if n <= m else np.bincount(self.A.indices, minlength=n)
        return 0.5 * float(np.sum(lengths.astype(np.float64) ** 2))

    @property
    def structurally_nonsingular(self) -> bool:
        """Square, and some permutation puts a non-zero entry everywhere on the diagonal."""
        if self.A.nnz <= _LONGEST_ORDERING:
            return self.analysis is not None
        return self._part("nonsingular", lambda: factorization.structurally_nonsingular(self.A), FLAG)

    @property
    def analysis(self) -> Analysis | None:
        """What a sparse LU of A would be like; None unless A is square and structurally non-singular."""
        m, n = self.A.shape
        return self._part(
            "analysis", lambda: factorization.analyse(self.A) if m == n else None, optional(analysis_form(n))
        )

    @property
    def factor_cost(self) -> float:
        """Nanoseconds that a sparse LU of A is predicted to take, infinite if there is none.

        Infinite, too, where A is so large that even the ordering would take long.
        """
        if self.A.nnz > _LONGEST_ORDERING or self.analysis is None:
            return math.inf
        return self.analysis.cost

    @property
    def factors(self) -> Factors | None:
        """Factors of a square structurally non-singular A, None where a pivot is exactly zero.

        Never kept outside this process: SuperLU gives no access to what solving with them takes.
        """
        return self._part("factors", self._factorise)

    def _factorise(self) -> Factors | None:
        analysis = self.analysis
        assert analysis is not None
        return factorization.factorise(self.A, analysis)

    @cached_property
    def frobenius_norm(self) -> float:
        """‖A‖_F of the scaled `A`."""
        return float(np.linalg.norm(self.A.data))

    @property
    def nbytes(self) -> int:
        """Bytes of the matrix and of what was derived so far (factors: their entries)."""
        total = csr_nbytes(self.matrix.csr)
        for part in list(self._held.values()):
            if isinstance(part, list):
                total += sum(state.nbytes for _, state in part)
            elif isinstance(part, csr_array):
                total += csr_nbytes(part)
            elif not isinstance(part, np.ndarray):
                total += int(getattr(part, "nbytes", 0))
        return total


_PARALLEL_ROWS = sized(
    "rows",
    lambda size: flat(
        ParallelRows,
        rows=mapped(np.intp, size),
        offsets=mapped(np.intp, None),
        multiples=mapped(np.float64, size),
    ),
)


def _labels_form(shape: tuple[int, int]) -> Form[Labels]:
    m, n = shape
    return flat(Labels, count=COUNT, rows=mapped(np.intp, m), columns=mapped(np.intp, n))


def safe_exponent(values: FloatArray) -> int:
    """Find k such that values·2^(−k) have squares inside float64; 0 where they have them anyway."""
    largest = largest_magnitude(values.ravel())
    exponent = math.frexp(largest)[1] if largest > 0.0 else 0
    return exponent if abs(exponent) > _SAFE_EXPONENT else 0
