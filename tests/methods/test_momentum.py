"""The rule as pure functions, against the formulas and the limits of METHOD: B = 1, B ≫ r, B = m."""

from __future__ import annotations

import math

import numpy as np
import pytest

from solver_service.methods.momentum import (
    automatic_batch,
    critical_damping,
    momentum_parameter,
    saturation_batch,
    step_size,
)

R, KAPPA = 117.0, 69.0
LAMBDA, MU = 1 / R, 1 / (R * KAPPA)


def test_single_rows_take_the_full_step_without_momentum():
    assert step_size(1, LAMBDA) == 1.0
    assert momentum_parameter(1, 1.0, MU) == 0.0


def test_step_tends_to_the_stable_rank():
    assert step_size(10**9, LAMBDA) == pytest.approx(R, rel=1e-5)
    assert step_size(60_000, LAMBDA, full=True) == pytest.approx(R, rel=1e-15)


@pytest.mark.parametrize("ratio", [8, 16, 64, 256])
def test_beyond_the_stable_rank_the_rule_reads_r_over_b_or_critical_damping(ratio):
    batch = round(ratio * R)
    beta = momentum_parameter(batch, step_size(batch, LAMBDA), MU)
    assert 1 - beta == pytest.approx(max(1 / ratio, 2 / math.sqrt(KAPPA)), rel=0.13)


def test_the_two_terms_meet_at_saturation():
    batch = saturation_batch(LAMBDA, MU)
    assert batch == pytest.approx(R * math.sqrt(KAPPA) / 2)
    eta = step_size(round(batch), LAMBDA)
    assert eta / batch == pytest.approx(2 * math.sqrt(eta * MU), rel=0.15)


def test_unknown_mu_leaves_the_noise_term_alone():
    eta = step_size(5000, LAMBDA)
    assert momentum_parameter(5000, eta, None) == pytest.approx(1 - eta / 5000)
    assert momentum_parameter(5000, R, None, full=True) == 1.0


@pytest.mark.parametrize("kappa", [1.0, 1.5, 4.0, 69.0, 1e6])
def test_critical_damping_gives_the_best_rate_of_nesterov(kappa):
    """The spectral radius of the iteration on an eigenvalue μ·η = 1/κ, against other β."""

    def radius(beta: float) -> float:
        decay = 1.0 - 1.0 / kappa
        return float(np.abs(np.roots([1.0, -(1.0 + beta) * decay, beta * decay])).max())

    best = critical_damping(R, 1.0 / (R * kappa))
    assert radius(best) == pytest.approx(1.0 - 1.0 / math.sqrt(kappa), abs=1e-6)
    assert all(radius(best) <= radius(beta) + 1e-6 for beta in np.linspace(0.0, 0.999, 200))


def test_critical_damping_is_that_of_the_rule_where_kappa_is_large():
    mu = LAMBDA / 1e6
    assert 1 - critical_damping(R, mu) == pytest.approx(2 * math.sqrt(R * mu), rel=2e-3)
    assert critical_damping(4.0, 1.0) == 0.0


def test_automatic_batch_stays_below_saturation_and_the_number_of_rows():
    assert automatic_batch(60_000, 400, 600_000, saturation=486.0) == 160
    assert automatic_batch(60_000, 400, 600_000, saturation=100.0) == 1
    assert automatic_batch(100, 400, 1000, saturation=486.0) == 1
    assert automatic_batch(10, 1, 10, saturation=5.0) == 4
