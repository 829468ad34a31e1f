"""What to say of a solve that has come to its end without success: which of the possible causes it was."""

from __future__ import annotations

import math

import numpy as np

from .result import FloatArray
from .state import State

_NEAR = 8.0


def stall_advice(state: State, method: str, b: FloatArray, x: FloatArray, residual_norm: float) -> str:
    """Tell a residual at the floor of rounding from a stall that nothing explains.

    Any x that float64 can hold is off by up to eps·|x|, so that residuals below some eps·‖|A||x| + |b|‖ are a
    matter of luck.
    """
    if residual_norm <= _NEAR * rounding_floor(state, b, x):
        reached = residual_norm / float(np.linalg.norm(b))
        return (
            f"The tolerance is below what float64 allows for this system: a relative residual of about "
            f"{reached:.0e} can be reached, so loosen rtol, or rescale the equations and unknowns."
        )
    if method == "auto":
        return (
            "The residual no longer falls, without a proof that the system is inconsistent: it is that or "
            "too ill-conditioned, so check the data of worst_equations, rescale, or loosen rtol."
        )
    return (
        f"The residual no longer falls, without a proof that the system is inconsistent: it is that or too "
        f"ill-conditioned for {method}, so try method auto, rescale, or check the data of worst_equations."
    )


def rounding_floor(state: State, b: FloatArray, x: FloatArray) -> float:
    """eps·‖|A||x| + |b|‖, the residual that rounding of x alone may leave."""
    A = state.A.copy()
    A.data = np.abs(A.data)
    with np.errstate(over="ignore", invalid="ignore"):
        size = float(np.linalg.norm(A @ np.abs(x) + np.abs(b)))
    return float(np.finfo(np.float64).eps) * size if math.isfinite(size) else 0.0
