"""Sixteen right-hand sides in one call, against sixteen calls with one each, by one method on one thread.

Both solve with the same prepared matrix, and every column must have the same bits in both. Where a method
takes very long it does a fixed number of passes (`kaczmarz` and all on CT). What a double sweep of
sixteen columns takes beside sixteen double sweeps is told, too: the rest of a solve, looks at the residual,
verification and the steps of the outer loop, gains less.
Targets, per right-hand side: `kaczmarz` 1.5 × on the tall random matrix, 3 × on football_massey, 2 × on CT;
`cgmn` and `ssor_cgls` 2.5 × on football_massey; and both products of sixteen columns in one reading of A take
no longer than SciPy's ``A @ X`` and ``A.T @ Y``. With BENCH=full: more rounds.
"""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import report
from contest import systems
from scipy.sparse import csr_array

from solver_service import prepare
from solver_service.kernels import (
    RawCSR,
    apply_rows,
    apply_rows_block,
    apply_rows_transposed,
    apply_rows_transposed_block,
    backward_columns,
    backward_columns_block,
    forward_columns,
    forward_columns_block,
    kaczmarz_gradient_block,
    zero_block,
)
from solver_service.methods import Prepared

COLUMNS = 16
ROUNDS = 15 if report.full() else 5
TALL, FOOTBALL, CT, FAN = "tall_random", "football_massey", "ct_parallel_64", "ct_fan_128"
CASES: tuple[tuple[str, str, dict[str, Any], float | None], ...] = (
    (TALL, "kaczmarz", {}, 1.5),
    (FOOTBALL, "kaczmarz", {"max_epochs": 40.0}, 3.0),
    (CT, "kaczmarz", {"max_epochs": 60.0}, 2.0),
    (FOOTBALL, "cgmn", {}, 2.5),
    (FOOTBALL, "ssor_cgls", {}, 2.5),
    (TALL, "auto", {}, None),
    (FOOTBALL, "auto", {}, None),
    (CT, "cgmn", {"max_epochs": 100.0}, None),
    (CT, "ssor_cgls", {"max_epochs": 100.0}, None),
    (CT, "coordinate_descent", {"max_epochs": 60.0}, None),
    ("20ng_bow_train", "cgmn", {}, None),
    ("1138_bus", "ssor_cg", {}, None),
)
"""Matrix, method, further options, and the target."""
PASSES = (TALL, FOOTBALL, CT, FAN, "20ng_bow_train")


def solves(
    name: str, prepared: Prepared, method: str, more: dict[str, Any], target: float | None
) -> dict[str, Any]:
    """Compare whole solves."""
    A = prepared.matrix.csr
    B = A @ np.random.default_rng(1).standard_normal((A.shape[1], COLUMNS))
    columns = [np.ascontiguousarray(B[:, j]) for j in range(COLUMNS)]
    options = {"method": method, "rtol": 1e-6, "threads": 1, **more}
    together, apart = prepared.solve(B, **options), [prepared.solve(b, **options) for b in columns]
    for j, alone in enumerate(apart):
        assert np.array_equal(alone.x, together.x[:, j]), "the bits depend on the neighbours"
    sixteen, one = report.in_turns(
        lambda: prepared.solve(B, **options), lambda: [prepared.solve(b, **options) for b in columns], ROUNDS
    )
    ratio = report.median_ratio(one, sixteen)
    print(
        f"{name}, {method} ({together.status}, {together.iterations / COLUMNS:,.0f} iterations each): "
        f"{1e3 * min(one) / COLUMNS:.2f} ms alone, {1e3 * min(sixteen) / COLUMNS:.2f} ms among {COLUMNS}: "
        f"{ratio:.2f} ×" + ("" if target is None else f" (target: {target} ×)"),
        flush=True,
    )
    return {
        "matrix": name,
        "method": method,
        "ratio": ratio,
        "target": target,
        "iterations": together.iterations,
    }


def sweeps(name: str, prepared: Prepared) -> dict[str, Any]:
    """Compare a double sweep over sixteen columns with sixteen of one, and the products with SciPy's."""
    A, state = prepared.matrix.csr, prepared.state
    m, n = A.shape
    rng = np.random.default_rng(2)
    X, Y = zero_block(n, COLUMNS), zero_block(m, COLUMNS)
    X[:], Y[:] = rng.standard_normal(X.shape), rng.standard_normal(Y.shape)
    U, V, W, factors, totals = Y.copy(), X.copy(), X.copy(), np.full(COLUMNS, 0.1), np.zeros(COLUMNS)
    x, y, u, v, w = (np.ascontiguousarray(block[:, 0]) for block in (X, Y, U, V, W))
    rows, by_columns = state.swept_rows, state.swept_columns

    def row_sweeps() -> None:
        apply_rows_block(*rows.raw, rows.weights, 1.0, V, U, 0, m, totals)
        apply_rows_transposed_block(*rows.raw, rows.weights, 1.0, factors, U, Y, V, 0, m, totals)

    def row_sweeps_apart() -> None:
        for _ in range(COLUMNS):
            apply_rows(*rows.raw, rows.weights, 1.0, v, u, 0, m)
            apply_rows_transposed(*rows.raw, rows.weights, 1.0, 0.1, u, y, v, 0, m)

    def column_sweeps() -> None:
        backward_columns_block(*by_columns.raw, by_columns.weights, 1.0, factors, X, V, W, U, 0, n)
        forward_columns_block(*by_columns.raw, by_columns.weights, 1.0, U, V, 0, n, totals)

    def column_sweeps_apart() -> None:
        for _ in range(COLUMNS):
            backward_columns(*by_columns.raw, by_columns.weights, 1.0, 0.1, x, v, w, u, 0, n)
            forward_columns(*by_columns.raw, by_columns.weights, 1.0, u, v, 0, n)

    raw, order, norms = RawCSR.of(A), np.arange(m, dtype=np.uint32), np.ones(m)
    B, G = zero_block(m, COLUMNS), zero_block(n, COLUMNS)
    AT = csr_array(A.T)

    def fused() -> None:
        G[:] = 0.0
        kaczmarz_gradient_block(*raw, B, norms, order, X, G, totals)

    def products() -> None:
        AT @ (A @ X)

    def products_of_view() -> None:
        A.T @ (A @ X)

    figures: dict[str, Any] = {"matrix": name}
    for label, ours, other in (
        ("rows", row_sweeps, row_sweeps_apart),
        ("columns", column_sweeps, column_sweeps_apart),
        ("products", fused, products),
        ("products_of_view", fused, products_of_view),
    ):
        ours()
        other()
        own, theirs = report.in_turns(ours, other, 3 * ROUNDS)
        figures[label] = report.median_ratio(theirs, own)
    print(
        f"{name}: sixteen columns at once, a double sweep over rows {figures['rows']:.1f} ×, over columns "
        f"{figures['columns']:.1f} × cheaper; both products {1 / figures['products']:.2f} of SciPy's time "
        f"with Aᵀ in CSR, {1 / figures['products_of_view']:.2f} with A.T",
        flush=True,
    )
    return figures


def main() -> int:
    """Measure all."""
    report.one_thread()
    report.begin("Sixteen right-hand sides at once, and one after the other")
    wanted = {name for name, *_ in CASES} | set(PASSES)
    results: dict[str, list[dict[str, Any]]] = {"solves": [], "sweeps": []}
    for name, load in systems.all_systems(report.matrices()):
        if name not in wanted:
            continue
        prepared = prepare(load().A)
        results["solves"] += [solves(name, prepared, *case) for matrix, *case in CASES if matrix == name]
        if name in PASSES:
            results["sweeps"].append(sweeps(name, prepared))
    judged = [one for one in results["solves"] if one["target"] is not None]
    missed = [f"{one['method']} on {one['matrix']}" for one in judged if one["ratio"] < one["target"]]
    slower = [
        one["matrix"] for one in results["sweeps"] if min(one["products"], one["products_of_view"]) < 1.0
    ]
    print(f"targets missed: {', '.join(missed) or 'none'}")
    print(f"products slower than SciPy's: {', '.join(slower) or 'none'}")
    return report.end("many_rhs", results, met=bool(judged) and not missed and not slower)


if __name__ == "__main__":
    sys.exit(main())
