"""Momentum never costs much: over the gallery, against the same method and batch without it."""

from __future__ import annotations

from statistics import median

import pytest

import solver_service
from solver_service.methods.momentum import saturation_batch
from solver_service.problems.gallery import PROBLEMS

MOST_EPOCHS = 200
MOST = 1.5
SEEDS = 5

EXCEPTIONS: dict[tuple[str, str, str, str], str] = {}
"""(problem, method, momentum, batch) where momentum is known to cost more, and why; none so far."""


@pytest.fixture(scope="module", params=sorted(PROBLEMS))
def problem(request):
    made = PROBLEMS[request.param]()
    return request.param, made, solver_service.prepare(made.A)


@pytest.fixture(params=["kaczmarz", "coordinate_descent"])
def method(request) -> str:
    return request.param


def sampled(state, method: str):
    """What the method samples: its rows and their spectrum."""
    if method == "kaczmarz":
        return state.shuffled_rows.count, state.shuffled_rows.fine_spectrum
    if state.perhaps_definite and state.unit_diagonal.spectrum.mu > 0.0:
        return state.A.shape[0], state.unit_diagonal.fine_spectrum
    return state.shuffled_columns.count, state.shuffled_columns.fine_spectrum


def row_updates(problem, method: str, **options) -> float:
    """The median over some seeds, infinite where most of them do not arrive."""
    _, made, prepared = problem
    counts = []
    for seed in range(SEEDS):
        result = prepared.solve(made.b, method=method, seed=seed, max_epochs=MOST_EPOCHS, **options)
        counts.append(result.row_updates if result.converged else float("inf"))
    return median(counts)


@pytest.mark.parametrize("size", ["1", "r/2", "2r", "B*"])
def test_never_more_than_half_as_much_again_as_without(problem, method, size):
    name, made, prepared = problem
    if not made.A.nnz:
        return
    rows, spectrum = sampled(prepared.state, method)
    assert spectrum.mu > 0.0
    r, saturation = spectrum.stable_rank, saturation_batch(spectrum.lambda_max, spectrum.mu)
    batch = max(1, min(rows, round({"1": 1, "r/2": r / 2, "2r": 2 * r, "B*": saturation}[size])))
    without = row_updates(problem, method, momentum="none", batch_size=batch)
    if without == float("inf"):
        return  # momentum cannot be worse
    for momentum in ("nesterov", "heavy_ball"):
        if (name, method, momentum, size) in EXCEPTIONS:
            continue
        assert row_updates(problem, method, momentum=momentum, batch_size=batch) <= MOST * without, momentum


@pytest.mark.parametrize("momentum", ["auto", "nesterov", "heavy_ball"])
def test_the_automatic_batch_stays_at_or_below_saturation(problem, method, momentum):
    _, made, prepared = problem
    result = prepared.solve(made.b, method=method, momentum=momentum, max_epochs=4)
    parameters = result.parameters
    if parameters.batch_size is None:
        assert not made.b.any() or not made.A.nnz
        return
    if parameters.batch_size > 1:
        assert parameters.kappa is not None
        assert parameters.lambda_max is not None
        mu = parameters.lambda_max / parameters.kappa
        assert parameters.batch_size <= saturation_batch(parameters.lambda_max, mu)


def test_the_automatic_batch_is_more_than_one_where_that_is_worth_it():
    """Or the test above would be empty."""
    problem = PROBLEMS["rank_deficient"]()
    sizes = [
        solver_service.solve(
            problem.A, problem.b, method=method, momentum="nesterov", max_epochs=4
        ).parameters.batch_size
        for method in ("kaczmarz", "coordinate_descent")
    ]
    assert max(sizes) > 1
