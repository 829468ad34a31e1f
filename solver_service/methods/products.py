"""Products with A by several threads."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.sparse import csr_array

from ..kernels import RawCSR, row_products
from .result import FloatArray
from .team import blocks, in_parallel, parts, worthwhile_threads


class Product:
    """x ↦ A x; by one thread SciPy's own.

    Parameters
    ----------
    A : csr_array, (m, n)
    requested : int or None
        Most threads to use, see `worthwhile_threads`.
    """

    def __init__(self, A: csr_array, requested: int | None) -> None:
        self.shape = A.shape
        self._A = A
        self._raw = RawCSR.of(A)
        self._parts = parts(self._raw.indptr, worthwhile_threads(requested, A.nnz))

    @property
    def threads(self) -> int:
        """Threads in use."""
        return len(self._parts)

    def __call__(self, x: FloatArray, tick: Callable[[], None] = lambda: None) -> FloatArray:
        """Return A x; `tick` is called between pieces of work."""
        if self.threads == 1:
            tick()
            whole: FloatArray = self._A @ x
            return whole
        y = np.empty(self.shape[0])

        def part(number: int) -> float:
            for start, stop in blocks(self._raw.indptr, *self._parts[number]):
                tick()
                row_products(*self._raw, x, start, stop, y)
            return 0.0

        in_parallel(part, self.threads)
        return y
