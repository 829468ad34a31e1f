"""Earlier solutions with the same matrix, and the start that they give for another right-hand side."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import FieldError, InvalidInputError, MethodNotApplicableError
from ..problems.matrix import Matrix
from .options import Options
from .residuals import norm
from .result import FloatArray

_MOST = 8
_NEW = 1e-4
"""Of an image, the part beyond the span of others from which it is kept: less would be mostly rounding."""
_WORTHWHILE = 0.5
"""Of ‖b‖, the residual norm of a start from which it is taken."""
_MOST_VERSIONS = 2**53


def require_warm_start(options: Options, *, start_given: bool) -> None:
    """Raise where a start from earlier solutions is out of place.

    Raises
    ------
    InvalidInputError
        There is a start already.
    MethodNotApplicableError
        The minimum-norm solution is asked for, which is reached from zero only.
    """
    if start_given:
        message = "cannot be used together with x0"
        raise InvalidInputError(
            f"option warm_start {message}",
            errors=[FieldError("warm_start", message), FieldError("x0", "cannot be used with warm_start")],
        )
    if options.minimum_norm:
        message = "cannot be used with minimum_norm: the minimum-norm solution is reached from zero"
        raise MethodNotApplicableError(
            f"option warm_start {message}", errors=[FieldError("warm_start", message)]
        )


@dataclass(frozen=True, slots=True)
class Start:
    """Where to start.

    Parameters
    ----------
    x0 : ndarray, (n,) or (n, k)
        Zero in columns for which there is nothing better.
    relative_residuals : tuple of float
        ‖b − A x0‖/‖b‖, one for each right-hand side.
    """

    x0: FloatArray
    relative_residuals: tuple[float, ...]


@dataclass(frozen=True, eq=False, slots=True)
class Solutions:
    """A few x with their images A x, at most eight, the newest first. Made by `none` and `with_solution`.

    Parameters
    ----------
    images : ndarray, (m, p)
        Of unit norm.
    solutions : ndarray, (n, p)
    version : int
        How often there was something new; 0 means that there is nothing.
    """

    images: FloatArray
    solutions: FloatArray
    version: int = 0

    @classmethod
    def none(cls, shape: tuple[int, int]) -> Solutions:
        """No solutions with a matrix of that shape."""
        m, n = shape
        return cls(np.empty((m, 0)), np.empty((n, 0)))

    def with_solution(self, matrix: Matrix, x: FloatArray) -> Solutions:
        """Add what `x`, (n,) or (n, k), has to add: a new version, or the same where that is nothing."""
        found = self
        for column in np.atleast_2d(x.T):
            found = found._with_one(matrix, column)
        if found is self:
            return self
        return Solutions(found.images, found.solutions, self.version + 1)

    def _with_one(self, matrix: Matrix, x: FloatArray) -> Solutions:
        with np.errstate(all="ignore"):
            image: FloatArray = np.asarray(matrix.csr @ x)
            size = norm(image)
            pair = image / size, x / size
        if not (size > 0.0 and all(np.isfinite(part).all() for part in pair)):
            return self
        if norm(pair[0] - self.images @ _combination(self.images, pair[0])) < _NEW:
            return self
        images = np.column_stack([pair[0], self.images[:, : _MOST - 1]])
        solutions = np.column_stack([pair[1], self.solutions[:, : _MOST - 1]])
        return Solutions(images, solutions, self.version)

    def start(self, matrix: Matrix, b: FloatArray) -> Start | None:
        """Project `b`, (m,) or (m, k), on the images; None where no residual becomes clearly smaller by that.

        For each column x0 = X c, where c has the least ‖b − (A X) c‖. It is the true residual that counts.
        """
        k, n = 1 if b.ndim == 1 else b.shape[1], len(self.solutions)
        x0, residuals = np.zeros((n, k)), [1.0] * k
        for place, right in enumerate(np.atleast_2d(b.T)):
            size = norm(right)
            if size == 0.0:
                continue
            with np.errstate(all="ignore"):
                x = (self.solutions @ _combination(self.images, right / size)) * size
                residual = norm(right - matrix.csr @ x) / size
            if np.isfinite(x).all() and residual <= _WORTHWHILE:
                x0[:, place], residuals[place] = x, residual
        if min(residuals) == 1.0:
            return None
        return Start(x0[:, 0].copy() if b.ndim == 1 else x0, tuple(residuals))

    def pack(self) -> dict[str, Any]:
        """Put it into plain data: arrays, and a number."""
        return {"version": self.version, "images": self.images.T, "solutions": self.solutions.T}

    @classmethod
    def unpack(cls, packed: Mapping[str, Any], shape: tuple[int, int]) -> Solutions:
        """Read what `pack` wrote for a matrix of that shape.

        Raises
        ------
        InvalidInputError
            It is something else.
        """
        match packed:
            case {
                "version": int(version),
                "images": np.ndarray() as images,
                "solutions": np.ndarray() as solutions,
            } if (
                0 <= version <= _MOST_VERSIONS
                and not isinstance(version, bool)
                and images.dtype == solutions.dtype == np.float64
                and images.ndim == solutions.ndim == 2
                and len(images) == len(solutions) <= _MOST
                and (images.shape[1], solutions.shape[1]) == shape
                and bool(np.isfinite(images).all() and np.isfinite(solutions).all())
            ):
                return cls(images.T.copy(), solutions.T.copy(), version)
        raise InvalidInputError("these are no solutions with this matrix")


def _combination(images: FloatArray, b: FloatArray) -> FloatArray:
    """The c of least ‖b − images·c‖, without directions in which the images are nearly dependent."""
    return np.asarray(np.linalg.lstsq(images, b, rcond=_NEW)[0], dtype=np.float64)
