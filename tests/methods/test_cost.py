"""Costs are compared with one another, so it is their order that has to be right."""

from __future__ import annotations

import numpy as np
import pytest

import solver_service
from solver_service.methods import cost
from solver_service.problems.gallery import PROBLEMS

SHAPES = [(1, 1, 1), (1000, 1000, 5000), (1_000_000, 100, 5_000_000), (100, 1_000_000, 5_000_000)]
STEPS = [cost.product, cost.double_sweep, cost.lsmr_step, cost.cg_step, cost.transpose, cost.scaled_copy]


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("shape", SHAPES)
def test_costs_are_positive_and_grow_with_each_size(step, shape):
    base = step(*shape)
    assert 0.0 < base < np.inf
    assert step(shape[0], shape[1], 2 * shape[2]) > base
    assert step(2 * shape[0], 2 * shape[1], shape[2]) > base


@pytest.mark.parametrize("shape", SHAPES[1:])
def test_what_reads_more_costs_more(shape):
    m, n, nnz = shape
    assert cost.double_sweep(*shape) > 2 * cost.product(*shape)
    assert cost.symmetric_step(n, nnz) < cost.double_sweep(n, n, nnz)
    assert m * cost.sampled_row(nnz / m) > cost.product(*shape), "random rows are dearer than rows in order"


def test_a_gram_matrix_of_many_rows_costs_its_cube():
    assert cost.gram(20_000, 0.0) / cost.gram(10_000, 0.0) == pytest.approx(8.0, rel=0.1)
    assert cost.gram(100, 1e9) > cost.gram(100, 1e6)


def test_the_least_of_a_factorisation_is_no_more_than_about_its_price():
    """It decides whether the exact price is asked for, so it must not be far above it."""
    seen = 0
    for make in PROBLEMS.values():
        state = solver_service.prepare(make().A).state
        m, n = state.A.shape
        if m == n and state.structurally_nonsingular:
            seen += 1
            assert state.factor_cost >= 0.5 * cost.least_factorisation(n, state.A.nnz)
    assert seen
