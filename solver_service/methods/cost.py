"""What work costs, in nanoseconds of one core of the machine on which the constants were measured.

`auto` compares methods by these numbers, never by the clock: the same input, seed and one thread take the
same decisions everywhere. Only ratios matter.
"""

from __future__ import annotations

ENTRY = 150_000.0
"""Starting a method, in calls from Python."""


def product(m: int, n: int, nnz: int) -> float:
    """One product A x in storage order."""
    return 0.55 * nnz + 1.0 * m + 0.3 * n


def double_sweep(m: int, n: int, nnz: int) -> float:
    """A forward and a backward sweep, the vectors of CGLS included."""
    return 1.6 * nnz + 10.0 * (m + n)


def symmetric_step(n: int, nnz: int) -> float:
    """One step of CG with Eisenstat's trick."""
    return 0.45 * nnz + 7.5 * n


def lsmr_step(m: int, n: int, nnz: int) -> float:
    """A product with A, one with Aᵀ, and the vectors, in calls from Python."""
    return 2 * product(m, n, nnz) + 4.0 * (m + n) + 30_000.0


def cg_step(m: int, n: int, nnz: int) -> float:
    """One product and the vectors, in calls from Python."""
    return product(m, n, nnz) + 4.0 * n + 15_000.0


def sampled_row(entries_per_row: float) -> float:
    """A random row: dot, scatter, and its share of a gather into the shuffled copy."""
    return 30.0 + 7.0 * entries_per_row


def transpose(m: int, n: int, nnz: int) -> float:
    """A by columns."""
    return 5.0 * nnz + 2.0 * (m + n)


def scaled_copy(m: int, n: int, nnz: int) -> float:
    """A copy with scaled rows or columns."""
    return 2.0 * nnz + 2.0 * (m + n)


def gram(short: int, pairs: float) -> float:
    """Gram matrix of order `short` from `pairs` products of two entries, its Cholesky factor, two solves."""
    return 0.8 * pairs + 0.01 * short**3 + 4.0 * short**2 + 30_000.0


def least_factorisation(n: int, nnz: int) -> float:
    """Ordering and factorising a matrix that fills in little: a sparse LU hardly costs less."""
    return 200.0 * nnz + 200.0 * n + 100_000.0


def momentum_update(unknowns: int) -> float:
    """The dense half of a momentum step."""
    return 2.0 * unknowns


def search(m: int, n: int, nnz: int) -> float:
    """Looking for disconnected blocks."""
    return 60.0 * nnz + 60.0 * (m + n)
