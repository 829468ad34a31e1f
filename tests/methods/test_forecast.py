"""What a running solve expects, and what became of it."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.sparse import csr_array

import solver_service
from solver_service.kernels import RawCSR
from solver_service.methods.monitor import Monitor
from solver_service.methods.process import _Pace
from solver_service.problems import gallery


def test_progress_tells_what_is_expected_and_the_result_what_became_of_it():
    problem = gallery.poisson2d(40)
    seen = []
    result = solver_service.solve(
        problem.A, problem.b, method="ssor_cgls", rtol=1e-8, callback=lambda p: seen.append(p)
    )
    assert result.converged
    told = [p for p in seen if p.expected_iterations is not None]
    assert len(told) > 5
    assert all(p.expected_iterations >= p.iterations for p in told)
    assert all(p.eta_seconds >= 0.0 for p in told)
    late = told[-3]
    assert late.expected_iterations == pytest.approx(result.iterations, rel=0.3), "near the end it is known"
    forecast = result.forecast
    assert forecast.expected_iterations == told[0].expected_iterations
    assert forecast.iterations == result.iterations
    assert 0.0 < forecast.seconds <= result.timings.total
    assert forecast.expected_seconds > 0.0


def test_a_linear_rate_is_forecast_well():
    """With equal singular values randomized Kaczmarz contracts by the same factor in each pass."""
    rng = np.random.default_rng(0)
    Q, _ = np.linalg.qr(rng.standard_normal((400, 100)))
    b = Q @ rng.standard_normal(100)
    result = solver_service.solve(Q, b, method="kaczmarz", momentum="none", batch_size=1, rtol=1e-10)
    assert result.converged
    assert result.forecast.expected_iterations == pytest.approx(result.iterations, rel=0.35)


def test_no_forecast_is_made_where_there_is_nothing_to_tell():
    assert solver_service.solve(np.eye(2), [1.0, 2.0]).forecast is None
    assert solver_service.solve(np.eye(2), [0.0, 0.0]).forecast is None


def test_a_factorisation_is_forecast_by_its_predicted_cost():
    rng = np.random.default_rng(0)
    U, _ = np.linalg.qr(rng.standard_normal((500, 80)))
    V, _ = np.linalg.qr(rng.standard_normal((80, 80)))
    A = U @ np.diag(np.logspace(0, -6, 80)) @ V
    result = solver_service.solve(A, A @ rng.standard_normal(80), rtol=1e-9)
    assert result.method == "direct"
    assert result.forecast is not None
    phase = result.phases[-1]
    assert "predicted" in phase.reason
    assert "would still take" in phase.reason


def band(progress):
    return progress.eta_low, progress.eta_seconds, progress.eta_high


def test_the_time_left_is_told_as_a_band():
    problem = gallery.poisson2d(40)
    seen = []
    result = solver_service.solve(
        problem.A, problem.b, method="ssor_cgls", rtol=1e-8, callback=lambda p: seen.append(p)
    )
    assert result.converged
    assert band(seen[0]) == (None, None, None), "nothing is known yet"
    told = [band(p) for p in seen if p.eta_seconds is not None]
    assert len(told) > 5
    for low, eta, high in told:
        assert 0.0 <= low <= 0.8 * eta
        assert high is None or high >= 1.2 * eta
    assert any(high is not None for *_, high in told)


def test_the_band_is_wide_where_the_rate_changes():
    pace = _Pace(0.0, Monitor(RawCSR.of(csr_array(np.eye(1))), np.ones(1), np.zeros(1), target=1e-12))

    def outlook(norms):
        pace.points = [(float(k), norm) for k, norm in enumerate(norms)]
        pace.cost, pace._iterations = len(norms) - 1.0, len(norms) - 1
        _, price, low, high = pace.outlook(1e-12)
        return low / price, high / price

    steady = outlook(0.5 ** np.arange(20.0))
    assert steady == pytest.approx((0.8, 1.25))
    slower = outlook([*0.1 ** np.arange(10.0), *(1e-9 * 0.9 ** np.arange(1.0, 11.0))])
    assert slower[0] < 0.3
    ended = outlook([*0.5 ** np.arange(17.0), *[0.5**16] * 6])
    assert ended[1] == np.inf
