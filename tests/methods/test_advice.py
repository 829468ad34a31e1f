"""Stalls are told apart: the floor of rounding, and residuals that nothing explains."""

from __future__ import annotations

import numpy as np
import pytest

import solver_service
from solver_service import Status
from solver_service.methods.advice import stall_advice
from solver_service.methods.solve import prepare


@pytest.mark.parametrize("method", ["auto", "cgmn", "ssor_cgls", "lsmr", "direct"])
def test_a_tolerance_below_rounding_is_said_to_be_that_with_what_can_be_reached(method):
    rng = np.random.default_rng(0)
    A = rng.standard_normal((60, 20))
    result = solver_service.solve(A, A @ np.ones(20), method=method, rtol=0.0)
    assert result.status is Status.STAGNATED
    assert "below what float64 allows" in result.advice
    assert f"{result.relative_residual:.0e}" in result.advice


def test_an_ill_conditioned_system_whose_solution_is_huge_has_a_higher_floor():
    rng = np.random.default_rng(1)
    U, _ = np.linalg.qr(rng.standard_normal((20, 20)))
    V, _ = np.linalg.qr(rng.standard_normal((20, 20)))
    A, b = (U * np.logspace(0, -12, 20)) @ V, rng.standard_normal(20)
    result = solver_service.solve(A, b, method="direct", rtol=1e-12)
    assert result.status is Status.STAGNATED
    assert 1e-8 < result.relative_residual < 1e-2
    assert "below what float64 allows" in result.advice


def test_other_stalls_say_that_nothing_is_proven_and_what_to_try():
    state = prepare(np.eye(3)).state
    b, x = np.ones(3), np.zeros(3)
    for method, hint in (("kaczmarz", "try method auto"), ("auto", "loosen rtol")):
        advice = stall_advice(state, method, b, x, 0.5)
        assert "without a proof" in advice
        assert hint in advice
        assert advice.count(". ") == 0, "one sentence"
    assert "float64" in stall_advice(state, "auto", b, np.ones(3), 1e-15)
