"""`State`: all that depends on the matrix alone, found once, on demand."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from functools import cached_property
from typing import Any, TypeVar

import numpy as np
from scipy.sparse import csr_array

from ..kernels import RawCSR
from ..problems import parallel
from ..problems.matrix import Matrix
from ..problems.parallel import ParallelRows
from . import factorization
from .factorization import Analysis, Factors
from .report import Report, build_report
from .result import FloatArray
from .systems import UnitDiagonal, UnitRows, csr_nbytes, row_norms

T = TypeVar("T")

TUNING = "1"
"""Version of what is derived from a matrix; results of equal versions are comparable bit for bit."""

_SAFE_EXPONENT = 300
_LONGEST_ORDERING = 5_000_000


class State:
    """A matrix with what the methods derive from it. Cheap to make: each part is found when first needed.

    Parameters
    ----------
    matrix : Matrix
        The caller's matrix, never modified.

    Notes
    -----
    The methods see `A`, which is the matrix times a power of two where its entries are so large or small that
    their squares would overflow or vanish, and the very same arrays otherwise.
    """

    def __init__(self, matrix: Matrix) -> None:
        self.matrix = matrix
        self._clock = threading.local()
        self._parts: dict[str, Any] = {}
        self.exponent = safe_exponent(matrix.csr.data)

    def _part(self, name: str, build: Callable[[], T]) -> T:
        if name not in self._parts:
            outermost = not getattr(self._clock, "running", False)
            self._clock.running = True
            start = time.perf_counter()
            try:
                # setdefault: two threads may build the same part, but all see one of them.
                self._parts.setdefault(name, build())
            finally:
                if outermost:
                    self._clock.running = False
                    self._clock.seconds = self.seconds + time.perf_counter() - start
        part: T = self._parts[name]
        return part

    @property
    def seconds(self) -> float:
        """Time that this thread has spent on preparation so far."""
        return float(getattr(self._clock, "seconds", 0.0))

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
        return self._part("AT", lambda: csr_array(self.A.T))

    @property
    def row_norms(self) -> FloatArray:
        """Euclidean norms of the rows of `A`, (m,)."""
        return self._part("row_norms", lambda: row_norms(self.A))

    @property
    def parallel_rows(self) -> ParallelRows:
        """Groups of rows that are multiples of one another."""
        return self._part("parallel_rows", lambda: parallel.parallel_rows(self.matrix))

    @property
    def report(self) -> Report:
        """What is worth knowing of the matrix before it is solved with."""
        return self._part("report", lambda: build_report(self))

    @property
    def rows(self) -> UnitRows:
        """Unit rows, for row methods."""
        return self._part("rows", lambda: UnitRows.with_spectrum(self.A))

    @property
    def columns(self) -> UnitRows:
        """Unit columns (as rows of Aᵀ), for column methods."""
        return self._part("columns", lambda: UnitRows.with_spectrum(self.AT))

    @property
    def unit_diagonal(self) -> UnitDiagonal:
        """D^(−½) A D^(−½); only where `symmetric_positive_diagonal`."""
        return self._part("unit_diagonal", lambda: UnitDiagonal.of(self.A))

    @property
    def symmetric(self) -> bool:
        """Whether A equals its transpose exactly."""
        return self._part("symmetric", self._is_symmetric)

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
    def symmetric_positive_diagonal(self) -> bool:
        """Necessary for positive definite, and cheap to see."""
        return self.symmetric and bool(np.all(self.A.diagonal() > 0))

    @property
    def structurally_nonsingular(self) -> bool:
        """Square, and some permutation puts a non-zero entry everywhere on the diagonal."""
        if self.A.nnz <= _LONGEST_ORDERING:
            return self.analysis is not None
        return self._part("nonsingular", lambda: factorization.structurally_nonsingular(self.A))

    @property
    def analysis(self) -> Analysis | None:
        """What a sparse LU of A would be like; None unless A is square and structurally non-singular."""
        m, n = self.A.shape
        return self._part("analysis", lambda: factorization.analyse(self.A) if m == n else None)

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
        """Factors of a square structurally non-singular A, None where a pivot is exactly zero."""
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
        for part in list(self._parts.values()):
            if isinstance(part, UnitRows | UnitDiagonal | ParallelRows | Analysis | Factors):
                total += part.nbytes
            elif isinstance(part, csr_array):
                total += csr_nbytes(part)
        return total


def safe_exponent(values: FloatArray) -> int:
    """Find k such that values·2^(−k) have squares inside float64; 0 where they have them anyway."""
    largest = float(np.max(np.abs(values), initial=0.0))
    exponent = math.frexp(largest)[1] if largest > 0.0 else 0
    return exponent if abs(exponent) > _SAFE_EXPONENT else 0
