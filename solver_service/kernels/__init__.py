"""Compiled loops on raw CSR arrays: serial, in place, without the GIL. See each module for its formulas."""

from __future__ import annotations

import numpy as np
from scipy.sparse import csr_array

from .block_column_sweeps import backward_columns_block, forward_columns_block
from .block_columns import (
    least_squares_gradient_block,
    least_squares_momentum_steps_block,
    least_squares_steps_block,
    least_squares_update_block,
    spd_gradient_block,
    spd_momentum_steps_block,
    spd_steps_block,
)
from .block_momentum import damped_betas, momentum_update_block, restart_columns
from .block_products import compensated_residual_block, residual_squares_block
from .block_row_sweeps import apply_rows_block, apply_rows_transposed_block, forward_rows_block
from .block_rows import kaczmarz_gradient_block, kaczmarz_momentum_steps_block, kaczmarz_steps_block
from .block_symmetric_sweeps import (
    forward_substitution_block,
    lower_product_block,
    symmetric_products_block,
    symmetric_update_block,
)
from .block_vectors import add_scaled, next_directions, reduce_residuals, squared_norms, zero_block
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
from .vectors import BLOCK, add_squares, largest_magnitude, squared_norm, sum_squares

__all__ = [
    "BLOCK",
    "HEAVY_BALL",
    "NESTEROV",
    "RawCSR",
    "accumulate_gram",
    "add_scaled",
    "add_squares",
    "advance_columns",
    "advance_rows",
    "advance_symmetric",
    "apply_rows",
    "apply_rows_block",
    "apply_rows_transposed",
    "apply_rows_transposed_block",
    "backward_columns",
    "backward_columns_block",
    "backward_error",
    "collect_gradients",
    "column_counts",
    "compensated_residual",
    "compensated_residual_block",
    "damped_beta",
    "damped_betas",
    "diagonal_census",
    "elimination_tree",
    "forward_columns",
    "forward_columns_block",
    "forward_rows",
    "forward_rows_block",
    "forward_substitution",
    "forward_substitution_block",
    "gather_unit_rows",
    "kaczmarz_gradient",
    "kaczmarz_gradient_block",
    "kaczmarz_momentum_steps",
    "kaczmarz_momentum_steps_block",
    "kaczmarz_steps",
    "kaczmarz_steps_block",
    "largest_magnitude",
    "least_squares_gradient",
    "least_squares_gradient_block",
    "least_squares_momentum_steps",
    "least_squares_momentum_steps_block",
    "least_squares_steps",
    "least_squares_steps_block",
    "least_squares_update",
    "least_squares_update_block",
    "lower_product",
    "lower_product_block",
    "maximum_matching",
    "merged_row_counts",
    "minimum_degree",
    "momentum_update",
    "momentum_update_block",
    "next_directions",
    "pattern_of",
    "postorder",
    "reduce_residuals",
    "renumbered",
    "renumbered_columns",
    "residual",
    "residual_squares_block",
    "restart",
    "restart_columns",
    "row_products",
    "row_stars",
    "shared_entries",
    "spd_gradient",
    "spd_gradient_block",
    "spd_momentum_steps",
    "spd_momentum_steps_block",
    "spd_steps",
    "spd_steps_block",
    "squared_norm",
    "squared_norms",
    "sum_squares",
    "symmetric_products_block",
    "symmetric_update_block",
    "transposed",
    "warm_up",
    "zero_block",
]


def warm_up() -> None:
    """Compile every kernel for 32-bit indices, or load it from numba's cache, by a run on a 2 × 2 system.

    Matrices of 2³¹ entries and more have 64-bit indices; their kernels compile on first use.
    """
    identity = csr_array(np.eye(2))
    A = RawCSR.of(identity)
    order = np.arange(2, dtype=np.uint32)
    b, x, y, g, c, q, norms = (np.ones(2) for _ in range(7))
    ramp = np.zeros(1)
    residual(*A, b, x, 0, 2, g)
    row_products(*A, x, 0, 2, g)
    compensated_residual(*A, b, x, g)
    backward_error(*A, b, x)
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
    forward_rows(*A, norms, 1.0, b, x, g, 0, 2)
    apply_rows(*A, norms, 1.0, x, g, 0, 2)
    apply_rows_transposed(*A, norms, 1.0, 0.0, g, y, x, 0, 2)
    advance_rows(*A, norms, 1.0, x, b, s, p, q, h, scalars, 1, 0.0)
    accumulate_gram(*A, 0, 2, np.zeros((2, 2)))
    add_squares(A.indices, A.data, g)
    sum_squares(A.indptr, A.data, g)
    gather_unit_rows(*A, order, order, *pattern_of(identity), identity.data, norms)
    forward_columns(*A, norms, 1.0, h, s, 0, 2)
    backward_columns(*A, norms, 1.0, 0.0, s, p, t, q, 0, 2)
    advance_columns(*A, norms, 1.0, x, b, s, p, t, q, h, scalars, 1, 0.0)
    forward_substitution(*A, order, 1.0, b, s)
    lower_product(*A, order, 1.0, norms, s)
    advance_symmetric(*A, order, 1.0, x, b, p, t, s, scalars, 1, 0.0)
    squared_norm(s)
    largest_magnitude(s)
    largest_magnitude(A.data)
    damped_beta(0.0, ramp)
    momentum_update(NESTEROV, 1.0, 0.0, x, y, g)
    restart(NESTEROV, x, y, ramp)
    collect_gradients(np.zeros((2, 2)))
    for width in (4, 8, 16):  # a single column in a block is unusual and compiles on first use
        _warm_up_blocks(A, width)
    _warm_up_symbolic(identity)


def _warm_up_blocks(A: RawCSR, width: int) -> None:
    order, norms, totals = np.arange(2, dtype=np.uint32), np.ones(2), np.zeros(width)
    B, C, G, P, Q, R, S, T, X = np.zeros((9, 2, width))
    residual_squares_block(*A, B, X, 0, 2, R, totals, totals)
    compensated_residual_block(*A, B, X, R)
    forward_rows_block(*A, norms, 1.0, B, X, R, 0, 2, totals)
    apply_rows_block(*A, norms, 1.0, X, R, 0, 2, totals)
    apply_rows_transposed_block(*A, norms, 1.0, totals, Q, R, S, 0, 2, totals)
    backward_columns_block(*A, norms, 1.0, totals, S, P, T, Q, 0, 2)
    kaczmarz_steps_block(*A, B, norms, order, 1, 1.0, X, C, totals)
    kaczmarz_gradient_block(*A, B, norms, order, X, G, totals)
    kaczmarz_momentum_steps_block(*A, B, norms, order, 1, 1.0, 0.0, NESTEROV, X, S, G, totals, totals)
    least_squares_steps_block(*A, order, 1, 1.0, X, Q, C)
    least_squares_gradient_block(*A, order, Q, G, R)
    least_squares_update_block(NESTEROV, 1.0, 0.0, totals, X, S, G, Q, T, R)
    least_squares_momentum_steps_block(*A, order, 1, 1.0, 0.0, NESTEROV, X, S, G, Q, T, R, totals)
    spd_steps_block(*A, B, norms, order, 1, 1.0, X, C, totals)
    spd_gradient_block(*A, B, norms, order, X, G, totals)
    spd_momentum_steps_block(*A, B, norms, order, 1, 1.0, 0.0, NESTEROV, X, S, G, totals, totals)
    forward_substitution_block(*A, order, 1.0, B, S)
    lower_product_block(*A, order, 1.0, norms, S, totals)
    symmetric_products_block(*A, order, 1.0, P, T, S, totals)
    symmetric_update_block(totals, T, S, X, R, totals)
    squared_norms(S, totals)
    add_scaled(totals, P, X)
    next_directions(totals, S, P, X)
    reduce_residuals(totals, Q, R, X, totals)
    damped_betas(0.0, totals, totals)
    momentum_update_block(NESTEROV, 1.0, totals, X, S, G, totals)
    restart_columns(NESTEROV, totals, X, S, totals)


def _warm_up_symbolic(identity: csr_array) -> None:
    indptr, indices = pattern_of(identity)
    data = identity.data
    first, parent, post, place = (np.arange(2, dtype=np.uint32) for _ in range(4))
    room, counts = np.empty((4, 3), dtype=np.uint32), np.empty(2, dtype=np.int64)
    graph = np.empty(3, dtype=np.uint32), np.empty(2, dtype=np.uint32)
    maximum_matching(indptr, indices, parent, post, room)
    diagonal_census(indptr, indices, data, 0.0)
    shared_entries(indptr, indices, indptr, indices)
    frozen = RawCSR.of(identity)
    shared_entries(frozen.indptr, frozen.indices, indptr, indices)
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
