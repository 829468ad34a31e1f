"""`Problem`: a checked system A x = b, the only thing that solvers are given."""

from __future__ import annotations

from dataclasses import dataclass

from ..errors import DimensionMismatchError
from .checks import FloatArray, check_finite, fail, real_array
from .matrix import Matrix


@dataclass(frozen=True, eq=False, slots=True)
class Problem:
    """A system A x = b with everything checked; use `build`.

    Parameters
    ----------
    matrix : Matrix
        A, m × n.
    b : ndarray of float64
        (m,), or (m, k) with k ≥ 1; C-contiguous and finite. May be the caller's own array: never write to it.
    x0 : ndarray of float64 or None
        Where to start: (n,) for b of shape (m,), (n, k) for (m, k). None means zero.
    """

    matrix: Matrix
    b: FloatArray
    x0: FloatArray | None = None

    @property
    def columns(self) -> int | None:
        """Number k of right-hand sides, None if b is a plain vector."""
        return self.b.shape[1] if self.b.ndim == 2 else None

    @classmethod
    def build(cls, A: object, b: object, x0: object = None) -> Problem:
        """Check a system.

        Parameters
        ----------
        A : Matrix or whatever `Matrix.from_any` takes
        b : array_like, (m,) or (m, k)
        x0 : array_like, (n,) or (n, k), optional

        Raises
        ------
        DimensionMismatchError
            If the shapes do not fit; the field is ``b`` or ``x0``.
        NonFiniteError
            For NaN or infinity, with the entry named, such as ``b[3]`` or ``b[3][1]``.
        InvalidInputError
            If something is not made of real numbers, or see `Matrix.from_any`.
        """
        matrix = Matrix.from_any(A)
        m, n = matrix.shape
        right = real_array(b, "b")
        if right.ndim not in (1, 2) or len(right) != m or 0 in right.shape:
            fail(
                DimensionMismatchError,
                "b",
                f"has shape {right.shape}; A has {m} rows, so b must be ({m},) or ({m}, k)",
            )
        check_finite(right, "b")
        if x0 is None:
            return cls(matrix, right)
        start = real_array(x0, "x0")
        if start.shape != (n, *right.shape[1:]):
            fail(
                DimensionMismatchError,
                "x0",
                f"has shape {start.shape}; x has shape {(n, *right.shape[1:])}",
            )
        check_finite(start, "x0")
        return cls(matrix, right, start)
