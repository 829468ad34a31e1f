"""The outer loop: when it measures and stops, what it forecasts, and that it can be left and re-entered."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.sparse import csr_array, eye_array

from solver_service import Status
from solver_service.kernels import RawCSR
from solver_service.methods.monitor import Monitor
from solver_service.methods.options import Options
from solver_service.methods.process import Drive, Process
from solver_service.methods.registry import METHODS
from solver_service.methods.state import State
from solver_service.problems.gallery import PROBLEMS
from solver_service.problems.matrix import Matrix

B = np.array([3.0, 4.0])


class Decay(Process):
    """x = (1 − q)·b, so that the residual is q·b; q follows a given law of the steps made."""

    def __init__(self, law, *, estimate=None, patience=0.0, ends=math.inf) -> None:
        self.law, self.estimate, self.patience, self.ends = law, estimate, patience, ends
        self.steps = 0
        self.told: list[float] = []

    def advance(self, monitor):
        if monitor.remaining_epochs < 1.0:
            return Status.MAX_EPOCHS
        self.steps += 1
        monitor.work.iterations += 1
        monitor.work.epochs += 1.0
        monitor.work.cost += 10.0
        return Status.STAGNATED if self.steps >= self.ends else None

    def solution(self):
        return (1.0 - self.law(self.steps)) * B

    @property
    def residual_estimate(self):
        return None if self.estimate is None else self.estimate(self.steps) * 5.0

    def check(self, norm):
        self.told.append(norm)


def monitor_of(target: float = 1e-6, **options) -> Monitor:
    monitor = Monitor(RawCSR.of(csr_array(eye_array(2))), B, np.zeros(2), target=5.0 * target, **options)
    monitor.begin()
    return monitor


def halved(steps: int) -> float:
    return 0.5**steps


def test_it_ends_at_the_target_and_not_before():
    process = Decay(halved)
    assert Drive(process, monitor_of(2.0**-10)).run() is Status.CONVERGED
    assert process.steps == 10


def test_an_estimate_spares_measurements_but_never_decides():
    asked = []
    process = Decay(halved, estimate=lambda steps: 0.9 * halved(steps))
    monitor = monitor_of(2.0**-30, confirm=lambda x: asked.append(1) or float(np.linalg.norm(B - x)))
    assert Drive(process, monitor).run() is Status.CONVERGED
    assert process.steps == 30
    assert len(process.told) < 15
    assert asked, "success is confirmed"


def test_measurements_are_confirmed_before_success_is_told():
    # The confirmation says that the residual is twice what was measured.
    process = Decay(halved)
    monitor = monitor_of(2.0**-10, confirm=lambda x: 2.0 * float(np.linalg.norm(B - x)))
    assert Drive(process, monitor).run() is Status.CONVERGED
    assert process.steps == 11


def test_an_estimate_that_lies_is_found_out():
    process = Decay(lambda _: 1.0, estimate=lambda _: 1e-9)
    assert Drive(process, monitor_of()).run() is Status.STAGNATED
    assert min(process.told) == pytest.approx(5.0)


def test_the_limit_is_a_limit_and_success_on_the_last_step_is_success():
    assert Drive(Decay(halved), monitor_of(2.0**-10, max_epochs=9)).run() is Status.MAX_EPOCHS
    assert Drive(Decay(halved), monitor_of(2.0**-10, max_epochs=10)).run() is Status.CONVERGED


def test_a_method_that_ends_with_the_target_met_has_converged():
    assert Drive(Decay(halved, ends=10), monitor_of(2.0**-10)).run() is Status.CONVERGED
    assert Drive(Decay(halved, ends=9), monitor_of(2.0**-10)).run() is Status.STAGNATED


@pytest.mark.parametrize("patience", [0.0, 50.0])
def test_a_stall_is_called_after_some_patience(patience):
    process = Decay(lambda steps: max(0.1, halved(steps)), patience=patience)
    assert Drive(process, monitor_of()).run() is Status.STAGNATED
    assert max(patience, 4) <= process.steps <= max(100, 2 * patience)


def test_slow_progress_is_no_stall():
    process = Decay(lambda steps: 1.0 / (1.0 + steps))
    assert Drive(process, monitor_of(1e-3)).run() is Status.CONVERGED


def test_growth_ends_it_where_nothing_can_recover():
    process = Decay(lambda steps: 10.0**steps)
    assert Drive(process, monitor_of()).run() is Status.STAGNATED
    assert process.steps < 8


def test_the_budget_is_respected_and_counts_this_call_only():
    process = Decay(halved)
    drive = Drive(process, monitor_of(2.0**-40))
    for calls in range(1, 5):
        assert drive.run(budget=50.0) is None
        assert process.steps == 5 * calls
        assert drive.spent == 50.0 * calls


def test_what_others_do_meanwhile_does_not_count():
    process = Decay(halved)
    monitor = monitor_of(2.0**-40)
    drive = Drive(process, monitor)
    drive.run(budget=50.0)
    before = drive.forecast
    monitor.work.cost += 1e6
    monitor.work.epochs += 1e3
    assert drive.forecast == before
    assert drive.run(budget=50.0) is None
    assert process.steps == 10
    assert drive.spent == 100.0


@pytest.mark.parametrize("estimated", [False, True])
@pytest.mark.parametrize("rate", [0.5, 0.9, 0.99])
def test_the_forecast_of_a_geometric_decay_is_exact(rate, estimated):
    def law(steps):
        return rate**steps

    drive = Drive(Decay(law, estimate=law if estimated else None, patience=1e9), monitor_of(1e-9))
    drive.run(budget=100.0)
    left = math.log(1e-9) / math.log(rate) - 10
    assert drive.forecast == pytest.approx(10.0 * left, rel=1e-6)
    assert min(norm for _, norm in drive._pace.points) == pytest.approx(5.0 * rate**10)


def test_the_forecast_follows_the_later_half():
    """Fast at first and slow then: what counts is the present rate."""
    drive = Drive(Decay(lambda k: 0.5 ** min(k, 10) * 0.99 ** max(0, k - 10), patience=1e9), monitor_of(1e-9))
    drive.run(budget=400.0)
    left = math.log(1e-9 / (0.5**10 * 0.99**30)) / math.log(0.99)
    assert drive.forecast == pytest.approx(10.0 * left, rel=0.05)


def test_without_any_decay_the_forecast_is_infinite():
    drive = Drive(Decay(lambda _: 1.0, patience=1e9), monitor_of())
    assert drive.forecast == math.inf
    drive.run(budget=100.0)
    assert drive.forecast == math.inf


def test_a_target_of_zero_is_never_forecast():
    drive = Drive(Decay(halved, patience=1e9), monitor_of(0.0))
    drive.run(budget=100.0)
    assert drive.forecast == math.inf


@pytest.mark.parametrize("method", ["kaczmarz", "coordinate_descent", "cgmn", "ssor_cgls", "ssor_cg", "lsmr"])
def test_left_and_entered_again_it_makes_the_same_iterates(method):
    problem = PROBLEMS["poisson2d"]()
    state = State(Matrix.from_any(problem.A))
    target = 1e-4 * float(np.linalg.norm(problem.b))
    found = []
    for budget in (math.inf, 4e3):
        monitor = Monitor(state.raw, problem.b, np.zeros(144), target=target, max_epochs=20_000)
        monitor.begin()
        process = METHODS[method].forms(state)[0].start(state, problem.b, np.zeros(144), Options(threads=1))
        drive = Drive(process, monitor)
        calls, status = 0, None
        while status is None:
            calls += 1
            status = drive.run(budget)
        assert status is Status.CONVERGED
        found.append((process.solution().tobytes(), monitor.work.iterations))
        last = calls
    assert found[0][1] == found[1][1]
    assert found[0][0] == found[1][0]
    assert last > 1, "the second must have been left and entered again"
