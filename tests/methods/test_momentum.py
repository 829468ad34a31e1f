"""The rule as pure functions, against the formulas and the limits of METHOD: B = 1, B ≫ r, B = m."""

from __future__ import annotations

import math

import pytest

from solver_service.methods.momentum import (
    automatic_batch,
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


def test_automatic_batch_stays_below_saturation_and_the_number_of_rows():
    assert automatic_batch(60_000, 400, 600_000, saturation=486.0) == 160
    assert automatic_batch(60_000, 400, 600_000, saturation=100.0) == 1
    assert automatic_batch(100, 400, 1000, saturation=486.0) == 1
    assert automatic_batch(10, 1, 10, saturation=5.0) == 4
