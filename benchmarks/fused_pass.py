"""A fused pass against SciPy's ``A @ x`` plus ``A.T @ y``: r = A x − b and g = Aᵀ r in one reading of A.

The pass is that of the methods, with its row order and norms.

Target: a median ratio of at most 1.0 on each matrix that fits into the caches. Of one that does not, the
ratio is shown too: there both wait for memory, and it is near 1.
"""

from __future__ import annotations

import statistics
import sys
from collections.abc import Iterator

import numpy as np
import report
from scipy.sparse import csr_array

from solver_service.kernels.jit import RawCSR
from solver_service.kernels.rows import kaczmarz_gradient
from solver_service.problems import formats, gallery

NAMES = ("football_massey.mtx.gz", "20ng_bow_train.npz", "ct_parallel_64.npz", "ct_fan_128.npz")
BEYOND_CACHES = "ct_fan_128"
SECONDS = 4.0
TARGET = 1.0


def systems() -> Iterator[tuple[str, csr_array]]:
    """Yield the real matrices, or one from the gallery where they are missing."""
    folder = report.matrices()
    if folder is None:
        print("the folder of real matrices is not here (SOLVER_SERVICE_TEST_MATRICES): a generated scan")
        yield "tomography", gallery.tomography(64).A
        return
    for name in NAMES:
        yield name.partition(".")[0], formats.read_matrix(folder / name).csr


def measure(A: csr_array) -> dict[str, float]:
    """Time both in turns on one thread."""
    rng = np.random.default_rng(0)
    m, n = A.shape
    x, b, y = rng.standard_normal(n), rng.standard_normal(m), rng.standard_normal(m)
    g = np.zeros(n)
    raw = RawCSR.of(A)
    norms, order = np.ones(m), np.arange(m, dtype=np.uint32)
    transposed = A.T  # SciPy makes no copy

    def fused() -> None:
        g[:] = 0.0
        kaczmarz_gradient(raw.indptr, raw.indices, raw.data, b, norms, order, x, g)

    def scipy() -> None:
        A @ x
        transposed @ y

    fused()
    np.testing.assert_allclose(g, transposed @ (A @ x - b), rtol=1e-9, atol=1e-9 * np.abs(g).max())
    once = sum(map(sum, report.in_turns(fused, scipy, 3))) / 3
    ours, theirs = report.in_turns(fused, scipy, max(20, int(SECONDS / once)))
    return {
        "fused_ms": 1e3 * statistics.median(ours),
        "scipy_ms": 1e3 * statistics.median(theirs),
        "ratio": report.median_ratio(ours, theirs),
    }


def main() -> int:
    """Measure each matrix."""
    report.begin("A fused pass against SciPy's A @ x plus A.T @ y")
    print(f"{'matrix':<20}{'m':>8}{'n':>8}{'entries':>11}{'fused ms':>10}{'SciPy ms':>10}{'ratio':>7}")
    results = {}
    for name, A in systems():
        results[name] = row = measure(A)
        print(
            f"{name:<20}{A.shape[0]:>8,}{A.shape[1]:>8,}{A.nnz:>11,}"
            f"{row['fused_ms']:>10.3f}{row['scipy_ms']:>10.3f}{row['ratio']:>7.2f}",
            flush=True,
        )
    judged = [row["ratio"] for name, row in results.items() if name != BEYOND_CACHES]
    return report.end("fused_pass", results, met=max(judged) <= TARGET)


if __name__ == "__main__":
    sys.exit(main())
