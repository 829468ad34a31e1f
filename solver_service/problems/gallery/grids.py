"""Systems on a square grid: Poisson, convection and diffusion, levelling."""

from __future__ import annotations

import numpy as np
from scipy.sparse import csr_array, diags_array, eye_array, kron, vstack

from .model import ModelProblem, model


def poisson2d(k: int = 32, *, seed: int = 0) -> ModelProblem:
    """The five-point Laplacian on k × k inner points, k² unknowns: symmetric positive definite.

    Its eigenvalues are 4·sin²(πi/(2k + 2)) + 4·sin²(πj/(2k + 2)) for i, j = 1 … k.
    """
    line = diags_array([-1.0, 2.0, -1.0], offsets=[-1, 0, 1], shape=(k, k))
    A = (kron(line, eye_array(k)) + kron(eye_array(k), line)).tocsr()
    x = np.random.default_rng(seed).normal(size=k * k)
    return model("poisson2d", A, x, f"five-point Laplacian, {k} × {k} points", spd=True)


def convection_diffusion(k: int = 32, *, wind: float = 20.0, seed: int = 0) -> ModelProblem:
    """−Δu + wind·(u_x + u_y/2) on k × k inner points of the unit square, upwind differences: not symmetric.

    Multiplied by h², h = 1/(k + 1). All eigenvalues have positive real parts (an M-matrix).
    """
    step = 1.0 / (k + 1)
    diffusion = diags_array([-1.0, 2.0, -1.0], offsets=[-1, 0, 1], shape=(k, k))
    upwind = diags_array([-1.0, 1.0], offsets=[-1, 0], shape=(k, k))
    along = diffusion + wind * step * upwind
    across = diffusion + 0.5 * wind * step * upwind
    A = (kron(eye_array(k), along) + kron(across, eye_array(k))).tocsr()
    x = np.random.default_rng(seed).normal(size=k * k)
    note = f"convection and diffusion, {k} × {k} points, wind {wind:g}"
    return model("convection_diffusion", A, x, note)


def least_squares_grid(k: int = 20, *, seed: int = 0) -> ModelProblem:
    """A levelling network: differences in height between neighbours on a k × k grid, and one known height.

    2·k·(k − 1) + 1 observations of k² heights, each row weighted between 1 and 10: tall, full rank, and
    ill conditioned because a single corner fixes the level of all.
    """
    rng = np.random.default_rng(seed)
    step = diags_array([-1.0, 1.0], offsets=[0, 1], shape=(k - 1, k))
    anchor = csr_array(([1.0], ([0], [0])), shape=(1, k * k))
    differences = vstack([kron(eye_array(k), step), kron(step, eye_array(k)), anchor], format="csr")
    weights = 10.0 ** rng.random(differences.shape[0])
    A = (diags_array(weights) @ differences).tocsr()
    note = f"levelling network, {k} × {k} points, one of them fixed"
    return model("least_squares_grid", A, rng.normal(size=k * k), note, null_space=np.zeros((k * k, 0)))
