"""Compiled loops on raw CSR arrays: serial, in place, without the GIL. See each module for its formulas."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.sparse import csr_array

from .column_sweeps import advance_columns, backward_columns, forward_columns
from .columns import (
    least_squares_gradient,
    least_squares_momentum_steps,
    least_squares_steps,
    least_squares_update,
    spd_gradient,
    spd_momentum_steps,
    spd_steps,
)
from .gather import gather_unit_rows
from .gram import accumulate_gram
from .jit import RawCSR, pattern_of
from .momentum import HEAVY_BALL, NESTEROV, collect_gradients, damped_beta, momentum_update, restart
from .ordering import minimum_degree
from .products import backward_error, compensated_residual, residual, row_products
from .row_sweeps import advance_rows, apply_rows, apply_rows_transposed, forward_rows
from .rows import kaczmarz_gradient, kaczmarz_momentum_steps, kaczmarz_steps
from .symbolic import (
    column_counts,
    diagonal_census,
    elimination_tree,
    maximum_matching,
    merged_row_counts,
    postorder,
    renumbered,
    renumbered_columns,
    row_stars,
    shared_entries,
    transposed,
)
from .symmetric_sweeps import advance_symmetric, forward_substitution, lower_product
from .vectors import add_squares, largest_magnitude, squared_norm, sum_squares

__all__ = [
    "HEAVY_BALL",
    "NESTEROV",
    "RawCSR",
    "accumulate_gram",
    "add_squares",
    "advance_columns",
    "advance_rows",
    "advance_symmetric",
    "apply_rows",
    "apply_rows_transposed",
    "backward_columns",
    "backward_error",
    "collect_gradients",
    "column_counts",
    "compensated_residual",
    "damped_beta",
    "diagonal_census",
    "elimination_tree",
    "forward_columns",
    "forward_rows",
    "forward_substitution",
    "gather_unit_rows",
    "kaczmarz_gradient",
    "kaczmarz_momentum_steps",
    "kaczmarz_steps",
    "largest_magnitude",
    "least_squares_gradient",
    "least_squares_momentum_steps",
    "least_squares_steps",
    "least_squares_update",
    "lower_product",
    "maximum_matching",
    "merged_row_counts",
    "minimum_degree",
    "momentum_update",
    "pattern_of",
    "postorder",
    "renumbered",
    "renumbered_columns",
    "residual",
    "restart",
    "row_products",
    "row_stars",
    "shared_entries",
    "spd_gradient",
    "spd_momentum_steps",
    "spd_steps",
    "squared_norm",
    "sum_squares",
    "transposed",
    "warm_up",
]


def warm_up() -> None:
    """Compile every kernel for 32-bit indices, or load it from numba's cache, by a run on a 2 × 2 system.

    Matrices of 2³¹ entries and more have 64-bit indices; their kernels compile on first use.
    """
    A = RawCSR.of(csr_array(np.eye(2)))
    read_only: list[Any] = []
    order = np.arange(2, dtype=np.uint32)
    b, x, y, g, c, q, norms = (np.ones(2) for _ in range(7))
    ramp = np.zeros(1)
    for array in A:  # stored matrices are mapped read-only, which numba takes for another type
        frozen = array.view()
        frozen.flags.writeable = False
        read_only.append(frozen)
    for B in (A, RawCSR(*read_only)):
        residual(*B, b, x, 0, 2, g)
        row_products(*B, x, 0, 2, g)
        compensated_residual(*B, b, x, g)
        backward_error(*B, b, x)
    kaczmarz_steps(*A, b, norms, order, 1, 1.0, x, c)
    kaczmarz_gradient(*A, b, norms, order, y, g)
    kaczmarz_momentum_steps(*A, b, norms, order, 1, 1.0, 0.0, NESTEROV, x, y, g, ramp)
    least_squares_steps(*A, order, 1, 1.0, x, q, c)
    least_squares_gradient(*A, order, q, g, c)
    least_squares_update(NESTEROV, 1.0, 0.0, ramp, x, y, g, q, b, c)
    least_squares_momentum_steps(*A, order, 1, 1.0, 0.0, NESTEROV, x, y, g, q, b, c, ramp)
    spd_steps(*A, b, norms, order, 1, 1.0, x, c)
    spd_gradient(*A, b, norms, order, y, g)
    spd_momentum_steps(*A, b, norms, order, 1, 1.0, 0.0, NESTEROV, x, y, g, ramp)
    s, p, t, h = (np.ones(2) for _ in range(4))
    scalars = np.ones(3)
    for B in (A, RawCSR(*read_only)):
        forward_rows(*B, norms, 1.0, b, x, g, 0, 2)
        apply_rows(*B, norms, 1.0, x, g, 0, 2)
        apply_rows_transposed(*B, norms, 1.0, 0.0, g, y, x, 0, 2)
        advance_rows(*B, norms, 1.0, x, b, s, p, q, h, scalars, 1, 0.0)
        accumulate_gram(*B, 0, 2, np.zeros((2, 2)))
        add_squares(B.indices, B.data, g)
        sum_squares(B.indptr, B.data, g)
        gather_unit_rows(*B, order, order, *A, norms)
    forward_columns(*A, norms, 1.0, h, s, 0, 2)
    backward_columns(*A, norms, 1.0, 0.0, s, p, t, q, 0, 2)
    advance_columns(*A, norms, 1.0, x, b, s, p, t, q, h, scalars, 1, 0.0)
    forward_substitution(*A, order, 1.0, b, s)
    lower_product(*A, order, 1.0, norms, s)
    advance_symmetric(*A, order, 1.0, x, b, p, t, s, scalars, 1, 0.0)
    squared_norm(s)
    largest_magnitude(s)
    largest_magnitude(read_only[2])
    damped_beta(0.0, ramp)
    momentum_update(NESTEROV, 1.0, 0.0, x, y, g)
    restart(NESTEROV, x, y, ramp)
    collect_gradients(np.zeros((2, 2)))
    _warm_up_symbolic(A, RawCSR(*read_only))


def _warm_up_symbolic(A: RawCSR, frozen: RawCSR) -> None:
    indptr, indices, data = A
    first, parent, post, place = (np.arange(2, dtype=np.uint32) for _ in range(4))
    room, counts = np.empty((4, 3), dtype=np.uint32), np.empty(2, dtype=np.int64)
    graph = np.empty(3, dtype=np.uint32), np.empty(2, dtype=np.uint32)
    maximum_matching(indptr, indices, parent, post, room)
    diagonal_census(*A, 0.0)
    for B in (A, frozen):
        shared_entries(B.indptr, B.indices, indptr, indices)
    renumbered(indptr, indices, place, place, *graph)
    transposed(*graph, np.empty(3, dtype=np.uint32), np.empty(2, dtype=np.uint32))
    renumbered_columns(indptr, indices, data, place, place, *graph, np.empty(2))
    row_stars(indptr, indices, place, first, *graph)
    elimination_tree(*graph, parent, room[0])
    postorder(parent, post, room)
    column_counts(indptr, indices, parent, post, counts, room)
    merged_row_counts(first, parent, counts)
    start, length, cliques, lists, owner, step, head, bucket = np.zeros((8, 2), dtype=np.uint32)
    weight, mark, degree = np.zeros((3, 2), dtype=np.int64)
    end, links = np.int64(0), np.empty((4, 2), dtype=np.uint32)
    minimum_degree(
        *(start, length, cliques, lists, end),
        *(weight, mark, degree, 0.0, 0),
        *(owner, step, head, bucket, links),
    )
