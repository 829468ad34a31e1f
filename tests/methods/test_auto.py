"""`auto`: what it tries, in which order, why, and that only the numbers decide."""

from __future__ import annotations

import math
import time
from dataclasses import replace

import numpy as np
import pytest

import solver_service
from solver_service import Status
from solver_service.methods import auto, column
from solver_service.methods.auto import Race
from solver_service.methods.options import Options
from solver_service.methods.result import Timings
from solver_service.methods.state import State
from solver_service.problems.gallery import PROBLEMS, ill_conditioned, tall_random
from solver_service.problems.matrix import Matrix


@pytest.fixture(scope="module", params=sorted(PROBLEMS))
def problem(request):
    return PROBLEMS[request.param]()


def race(A, b=None, **options) -> Race:
    state = State(Matrix.from_any(A))
    return Race(state, np.ones(state.A.shape[0]) if b is None else b, Options(**options))


def names(A, **options) -> list[str]:
    return [attempt.method for attempt in race(A, **options).attempts]


def without_times(result):
    phases = tuple(replace(phase, seconds=0.0) for phase in result.phases)
    history = tuple(replace(point, seconds=0.0) for point in result.history)
    forecast = (
        None if result.forecast is None else replace(result.forecast, seconds=0.0, expected_seconds=0.0)
    )
    return replace(
        result, x=result.x.tobytes(), phases=phases, history=history, timings=Timings(), forecast=forecast
    )


def test_it_explains_itself(problem):
    result = solver_service.solve(problem.A, problem.b)
    assert result.converged
    if not problem.b.any():
        assert result.phases == ()
        assert result.reason == "b is zero"
        return
    assert result.phases
    assert all(phase.reason for phase in result.phases)
    assert result.method == result.phases[-1].method
    assert result.reason == result.phases[-1].reason
    assert result.phases[-1].relative_residual <= 1e-6
    residuals = [phase.relative_residual for phase in result.phases]
    assert residuals == sorted(residuals, reverse=True), "in the order in which they ended"
    assert sum(phase.iterations for phase in result.phases) == result.iterations
    assert math.fsum(phase.epochs for phase in result.phases) == pytest.approx(result.epochs)


def test_the_clock_decides_nothing(problem, monkeypatch):
    first = without_times(solver_service.solve(problem.A, problem.b, threads=1, seed=5))
    ticks = iter(range(10**9))
    with monkeypatch.context() as patched:
        for name in ("perf_counter", "monotonic"):  # each look takes between a second and seven
            patched.setattr(time, name, lambda: float(7 * next(ticks) % 11 + 12 * next(ticks)))
        second = without_times(solver_service.solve(problem.A, problem.b, threads=1, seed=5))
    assert first == second


def test_a_factorisation_is_never_first_and_comes_with_a_forecast(problem):
    result = solver_service.solve(problem.A, problem.b)
    for place, phase in enumerate(result.phases):
        if phase.method == "direct":
            assert place > 0
            assert sum(before.iterations for before in result.phases[:place]) > 0
            assert "predicted to take" in phase.reason


def test_a_factorisation_takes_over_where_iterations_promise_to_take_long():
    problem = PROBLEMS["convection_diffusion"]()
    result = solver_service.solve(problem.A, problem.b)
    assert result.converged
    assert result.method == "direct"
    assert "would still take" in result.reason


def test_none_of_it_gives_up_the_minimum_norm(problem):
    for attempt in race(problem.A, problem.b, minimum_norm=True).attempts:
        assert attempt.method in ("kaczmarz", "cgmn", "lsmr", "direct")
        assert "columns scaled" not in attempt.reason
        assert "rows scaled" not in attempt.reason
    result = solver_service.solve(problem.A, problem.b, minimum_norm=True, rtol=1e-9)
    assert result.converged
    assert result.minimum_norm in (True, None)
    if result.minimum_norm is None:
        assert np.linalg.matrix_rank(problem.A.toarray()) == problem.A.shape[1], "there is one solution"


@pytest.mark.parametrize(
    "options",
    [{"batch_size": 4}, {"momentum": "nesterov"}, {"beta": 0.5}, {"step_size": 0.7}],
    ids=lambda options: next(iter(options)),
)
@pytest.mark.parametrize("minimum_norm", [False, True])
def test_batch_options_leave_only_the_mini_batch_methods(options, minimum_norm):
    A = PROBLEMS["spd_random"]().A
    found = names(A, minimum_norm=minimum_norm, **options)
    assert set(found) == ({"kaczmarz"} if minimum_norm else {"coordinate_descent", "kaczmarz"})
    assert names(PROBLEMS["tall_random"]().A, **options)[0] == "kaczmarz"


def test_what_is_tried_depends_on_the_shape():
    spd, tall, wide = (PROBLEMS[name]().A for name in ("spd_random", "tall_random", "wide_random"))
    assert names(spd)[0] == "ssor_cg"
    assert "kaczmarz" in names(tall)
    assert "kaczmarz" not in names(wide)
    assert "ssor_cg" not in names(tall) + names(wide)
    assert names(wide).index("ssor_cgls") < names(wide).index("cgmn")
    assert names(-spd)[0] == "ssor_cg"


def test_a_tall_well_conditioned_system_takes_a_part_of_the_rows():
    problem = tall_random()
    result = solver_service.solve(problem.A, problem.b, threads=1)
    assert result.converged
    assert result.method == "kaczmarz"
    assert result.epochs < 1.0
    assert result.parameters.batch_size == 1


def test_the_first_of_the_list_begins_and_then_the_least_forecast_goes_on():
    running = race(PROBLEMS["rank_deficient"]().A)
    attempt, budget = running.next()
    assert attempt is running.attempts[0]
    assert budget == 2.0 * attempt.step
    attempt.done = True
    other, _ = running.next()
    assert other is not attempt

    class Driven:
        """Stands for steps that were made."""

        def __init__(self, spent: float, forecast: float) -> None:
            self.spent, self.forecast = spent, forecast

    first, *others = (a for a in running.attempts if not a.final)
    first.done = False
    first.drive = Driven(1e5, 1e9)
    for final in running.attempts:
        final.done = final.done or final.final
    attempt, _ = running.next()
    assert attempt is min(others, key=lambda a: a.forecast)
    first.drive = Driven(1e5, 1.0)
    assert running.next() == (first, max(2.0 * first.step, 0.25 * 1e5))


def test_when_all_have_ended_there_is_no_next():
    running = race(PROBLEMS["rank_deficient"]().A)
    for attempt in running.attempts:
        attempt.done = True
    assert running.next() is None


def test_the_price_of_a_factorisation_is_asked_for_only_where_it_may_pay():
    running = race(PROBLEMS["poisson2d"]().A)
    (lu,) = [attempt for attempt in running.attempts if "sparse LU" in attempt.reason]
    running.next()
    assert lu.refine is not None, "nothing has been iterated yet"


def test_a_factorisation_beyond_all_measure_is_left_out(monkeypatch):
    A = PROBLEMS["poisson2d"]().A
    monkeypatch.setattr(auto, "_LONGEST_FACTORISATION", 1.0)
    assert "direct" not in names(A)
    # The guess may promise more than the exact price holds.
    monkeypatch.undo()
    running = race(A)
    (lu,) = [attempt for attempt in running.attempts if "sparse LU" in attempt.reason]
    for attempt in running.attempts:
        attempt.done = attempt is not lu
    monkeypatch.setattr(auto, "_LONGEST_FACTORISATION", 1.0)
    assert running.next() is None
    assert lu.drive is None


def test_inconsistent_data_end_with_a_proof():
    problem = PROBLEMS["rank_deficient"]()
    b = problem.b + np.random.default_rng(0).standard_normal(problem.b.size)
    result = solver_service.solve(problem.A, b)
    assert result.status is Status.INCONSISTENT
    assert result.certificate is not None
    assert "proof" in result.phases[-1].reason


def test_what_nothing_can_reach_is_stagnation():
    problem = ill_conditioned(300, 60, decades=3.0)
    result = solver_service.solve(problem.A, problem.b, rtol=1e-18)
    assert result.status is Status.STAGNATED
    assert {phase.method for phase in result.phases} >= {"cgmn", "ssor_cgls", "lsmr"}
    assert result.relative_residual < 1e-12


def test_phases_come_in_the_order_in_which_they_ended(monkeypatch):
    class ToAndFro(Race):
        """The first two candidates by turns, some steps each."""

        turn = 0

        def next(self):
            first, second = self.attempts[:2]
            self.turn += 1
            attempt = second if self.turn == 2 else first
            return (attempt, 3 * attempt.step) if self.turn < 3 else (first, math.inf)

    monkeypatch.setattr(column, "Race", ToAndFro)
    problem = ill_conditioned(300, 60, decades=2.0)
    result = solver_service.solve(problem.A, problem.b, rtol=1e-9)
    assert result.converged
    assert [phase.method for phase in result.phases] == ["ssor_cgls", "cgmn"]
    assert result.method == "cgmn"
    residuals = [phase.relative_residual for phase in result.phases]
    assert residuals == sorted(residuals, reverse=True)
    assert sum(phase.iterations for phase in result.phases) == result.iterations
