"""Systems drawn at random from a seed: tall, wide, comparisons, rank-deficient, badly scaled."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import qr
from scipy.sparse import coo_array, csr_array, diags_array, eye_array, hstack
from scipy.sparse.csgraph import connected_components

from ..checks import CSR
from .model import ModelProblem, model, row_spectrum


def _sparse_normal(rng: np.random.Generator, m: int, n: int, per_row: int) -> CSR:
    """Draw m rows of `per_row` standard normal entries in distinct columns."""
    columns = np.sort(_distinct_columns(rng, m, n, per_row), axis=1)
    data = rng.normal(size=m * per_row)
    return csr_array((data, columns.ravel(), np.arange(0, m * per_row + 1, per_row)), shape=(m, n))


def _distinct_columns(rng: np.random.Generator, m: int, n: int, per_row: int) -> NDArray[np.int64]:
    if per_row * per_row > 2 * n:
        return np.argsort(rng.random((m, n)), axis=1)[:, :per_row]
    columns = np.empty((m, per_row), dtype=np.int64)
    doubled = np.arange(m)
    while doubled.size:
        columns[doubled] = rng.integers(0, n, size=(doubled.size, per_row))
        ordered = np.sort(columns[doubled], axis=1)
        doubled = doubled[(np.diff(ordered, axis=1) == 0).any(axis=1)]
    return columns


def tall_random(m: int = 200_000, n: int = 2_000, per_row: int = 10, *, seed: int = 0) -> ModelProblem:
    """Draw m × n with `per_row` standard normal entries in each row, m well above n: well conditioned."""
    rng = np.random.default_rng(seed)
    A = _sparse_normal(rng, m, n, per_row)
    return model("tall_random", A, rng.normal(size=n), f"{m} × {n}, {per_row} normal entries a row")


def wide_random(m: int = 2_000, n: int = 20_000, per_row: int = 10, *, seed: int = 0) -> ModelProblem:
    """Draw m × n with m < n, which has many solutions; x is of least norm (it lies in the row space)."""
    rng = np.random.default_rng(seed)
    A = _sparse_normal(rng, m, n, per_row)
    return model(
        "wide_random",
        A,
        np.asarray(A.T @ rng.normal(size=m)),
        f"{m} × {n}: many solutions, x is of least norm",
    )


def measured_case(
    m: int = 60_000, n: int = 400, per_row: int = 10, *, decades: float = 1.2, seed: int = 7
) -> ModelProblem:
    """Draw the system on which the momentum rule was measured.

    Standard normal entries, then column j scaled by 10^(−decades·j/(n − 1)). The defaults give stable rank
    r = 117 and condition κ = 69 of the scaled rows, so that the rule saturates at B* = r·√κ/2 ≈ 486; the
    harder case, r = 100 and κ = 272, has ``decades=1.6``. `spectrum` holds what a dense eigensolver finds.
    """
    rng = np.random.default_rng(seed)
    A = _sparse_normal(rng, m, n, per_row)
    A = (A @ diags_array(10.0 ** (-decades * np.arange(n) / max(n - 1, 1)))).tocsr()
    spectrum = row_spectrum(A)
    note = (
        f"{m} × {n}, {per_row} a row, columns over {decades} decades: r = {spectrum.stable_rank:.4g}, "
        f"κ = {spectrum.condition:.4g}, λ = {spectrum.largest:.4g}, μ = {spectrum.smallest:.4g}"
    )
    return model("measured_case", A, rng.normal(size=n), note, spectrum=spectrum)


def ill_conditioned(
    m: int = 600, n: int = 100, per_row: int = 8, *, decades: float = 3.0, seed: int = 0
) -> ModelProblem:
    """Draw a tall system and scale its columns over `decades`: about log₁₀ of its condition number."""
    rng = np.random.default_rng(seed)
    A = _sparse_normal(rng, m, n, per_row)
    A = (A @ diags_array(10.0 ** (-decades * np.arange(n) / max(n - 1, 1)))).tocsr()
    note = f"{m} × {n}, columns scaled over {decades} decades"
    return model("ill_conditioned", A, rng.normal(size=n), note)


def comparisons(m: int = 500_000, n: int = 5_000, *, seed: int = 0) -> ModelProblem:
    """Draw m comparisons of two of n players: rows with +1 and −1, b is the difference of their strengths.

    Strengths are known up to a constant for each connected group of players: that is the null space.
    """
    rng = np.random.default_rng(seed)
    pairs = _distinct_columns(rng, m, n, 2)
    signs = np.tile([1.0, -1.0], m)
    A = csr_array((signs, pairs.ravel(), np.arange(0, 2 * m + 1, 2)), shape=(m, n))
    graph = coo_array((np.ones(m), (pairs[:, 0], pairs[:, 1])), shape=(n, n))
    count, group = connected_components(graph, directed=False)
    basis = np.zeros((n, count))
    basis[np.arange(n), group] = 1.0
    basis /= np.linalg.norm(basis, axis=0)
    note = f"{m} comparisons of {n} players in {count} connected group(s)"
    return model("comparisons", A, rng.normal(size=n), note, null_space=basis)


def rank_deficient(
    m: int = 300, rank: int = 80, excess: int = 40, per_row: int = 6, *, seed: int = 0
) -> ModelProblem:
    """Draw a tall system of `rank` independent columns and `excess` more, each the sum of two of those.

    With C the rank × excess matrix of these sums, A = [B, B·C]; the columns of [C; −I] span its null space.
    """
    rng = np.random.default_rng(seed)
    B = _sparse_normal(rng, m, rank, per_row)
    summands = _distinct_columns(rng, excess, rank, 2).ravel()
    C = coo_array((np.ones(2 * excess), (summands, np.repeat(np.arange(excess), 2))), shape=(rank, excess))
    basis, _ = qr(np.concatenate([C.toarray(), -np.eye(excess)]), mode="economic")
    note = f"{m} × {rank + excess} of rank {rank}: the last {excess} columns are sums of two others"
    return model("rank_deficient", hstack([B, B @ C]), rng.normal(size=rank + excess), note, null_space=basis)


def spd_random(n: int = 300, per_row: int = 4, *, seed: int = 0) -> ModelProblem:
    """Draw a symmetric positive definite matrix: GᵀG of a sparse square G, plus a small multiple of I."""
    rng = np.random.default_rng(seed)
    G = _sparse_normal(rng, n, n, per_row)
    gram = G.T @ G
    A = (gram + gram.T) / 2.0 + 0.1 * eye_array(n)  # exactly symmetric whatever the order of summation
    return model("spd_random", A, rng.normal(size=n), f"GᵀG + I/10, order {n}", spd=True)
