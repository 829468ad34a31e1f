"""The claim of arXiv:2605.18609 on the measured case: up to B = 4r, twice the batch, half the iterations."""

from __future__ import annotations

import numpy as np
import pytest

import solver_service
from solver_service.methods.momentum import momentum_parameter, step_size
from solver_service.problems.gallery import measured_case


@pytest.fixture(scope="module")
def case():
    problem = measured_case()
    return problem, solver_service.prepare(problem.A)


def iterations(case, ratio: float, momentum: str, *, known: bool) -> tuple[int, float]:
    """B and the median iterations to 1e-6 over three seeds, with the spectrum `known` or estimated."""
    problem, prepared = case
    batch = max(1, round(ratio * problem.spectrum.stable_rank))
    given: dict[str, float] = {}
    if known:
        eta = step_size(batch, problem.spectrum.largest)
        given = {"step_size": eta}
        if momentum != "none":
            given["beta"] = momentum_parameter(batch, eta, problem.spectrum.smallest)
    counts = []
    for seed in range(3):
        result = prepared.solve(
            problem.b, method="kaczmarz", momentum=momentum, batch_size=batch, seed=seed, **given
        )
        assert result.converged
        assert result.parameters.batch_size == batch
        counts.append(result.iterations)
    return batch, float(np.median(counts))


@pytest.mark.parametrize("known", [True, False], ids=["spectrum known", "spectrum estimated"])
@pytest.mark.parametrize(("momentum", "most"), [("nesterov", 0.3), ("heavy_ball", 0.4)])
def test_momentum_saves_iterations_at_four_times_the_stable_rank(case, momentum, most, known):
    _, with_momentum = iterations(case, 4, momentum, known=known)
    _, without = iterations(case, 4, "none", known=True)
    assert with_momentum <= most * without


@pytest.mark.parametrize("known", [True, False], ids=["spectrum known", "spectrum estimated"])
def test_the_work_does_not_depend_on_the_batch_up_to_saturation(case, known):
    work = [np.prod(iterations(case, ratio, "nesterov", known=known)) for ratio in (0, 0.25, 0.5, 1, 2, 3, 4)]
    assert max(work) <= 1.5 * min(work)


@pytest.mark.parametrize("momentum", ["nesterov", "heavy_ball"])
def test_nor_by_the_automatic_rule_for_either_momentum(case, momentum):
    """From single rows to B* = r·√κ/2, which is 4.15 r here."""
    spectrum = case[0].spectrum
    most = np.sqrt(spectrum.condition) / 2.0
    ratios = (0, 0.1, 0.5, 1, 2, 3, most)
    work = [np.prod(iterations(case, ratio, momentum, known=False)) for ratio in ratios]
    assert max(work) <= 2.0 * min(work)


def test_without_momentum_it_does(case):
    work = [np.prod(iterations(case, ratio, "none", known=True)) for ratio in (0, 4)]
    assert work[1] > 3 * work[0]


def test_estimates_are_near_the_true_spectrum(case):
    problem, prepared = case
    p = prepared.solve(problem.b, method="kaczmarz", momentum="heavy_ball", batch_size=117).parameters
    assert p.stable_rank == pytest.approx(problem.spectrum.stable_rank, rel=0.15)
    assert p.kappa == pytest.approx(problem.spectrum.condition, rel=0.6)
    assert p.lambda_max == pytest.approx(1 / p.stable_rank)
