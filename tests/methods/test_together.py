"""Several right-hand sides side by side: each gets what it would get alone, whatever the others do."""

from __future__ import annotations

import gc
import math
import time

import numpy as np
import pytest
from killing import CASES, fits, name_of, told
from scipy import sparse

from solver_service.errors import InvalidInputError
from solver_service.methods import Assignment, Keeper, Options, Status, prepare, run, run_together
from solver_service.methods.block import Block
from solver_service.problems.gallery import PROBLEMS, tall_random
from solver_service.problems.problem import Problem

SYSTEMS = ("tall_random", "poisson2d", "wide_random", "tomography", "badly_scaled_rows")
MANY = [*CASES, {"method": "kaczmarz", "batch_size": 10_000}, {"method": "cgmn", "minimum_norm": True}]


@pytest.fixture(autouse=True)
def _small_ones_too(monkeypatch):
    """Have columns of small systems take turns as well, which is not worth it."""
    monkeypatch.setattr("solver_service.methods.running._WORTHWHILE", 0)


def right_hand_sides(A):
    """Of all kinds: usual ones, zero, tiny and huge ones, one that may be inconsistent, and an easy one."""
    rng = np.random.default_rng(4)
    B = A @ rng.standard_normal((A.shape[1], 11))
    B[:, 2] = 0.0
    B[:, 3] *= 1e-180
    B[:, 4] *= 1e220
    B[:, 5] = rng.standard_normal(A.shape[0])
    B[:, 6] = A @ np.eye(A.shape[1])[1]
    return B


def told_of(result):
    """What is told of one right-hand side, without what only a whole has."""
    document = told(result)
    del document["columns"], document["x"]
    return document


@pytest.mark.parametrize("options", MANY, ids=name_of)
@pytest.mark.parametrize("name", SYSTEMS)
def test_the_bits_of_a_column_do_not_depend_on_the_others(name, options):
    problem = PROBLEMS[name]()
    if not fits(options, problem):
        pytest.skip("the method does not apply")
    prepared, B = prepare(problem.A), right_hand_sides(problem.A)
    options = {"threads": 1, "rtol": 1e-8, "max_epochs": 30.0, **options}
    together = prepared.solve(B, **options)
    whole = told(together)["columns"]
    for j, column in enumerate(whole):
        alone = prepared.solve(np.ascontiguousarray(B[:, j]), **options)
        assert alone.x.tobytes() == together.x[:, j].tobytes(), j
        assert told_of(alone) == column, j


@pytest.mark.parametrize("method", ["cgmn", "ssor_cgls", "kaczmarz", "coordinate_descent", "ssor_cg"])
def test_large_systems_are_worked_on_in_pieces_with_the_same_bits(method, monkeypatch):
    for module in ("team", "sweeps", "ssor_cg", "sampled"):
        monkeypatch.setattr(f"solver_service.methods.{module}.BLOCK_ENTRIES", 500)
    problem = PROBLEMS["poisson2d"]()
    prepared, B = prepare(problem.A), right_hand_sides(problem.A)
    options = {"method": method, "threads": 1, "rtol": 1e-6, "max_epochs": 20.0}
    together = prepared.solve(B, **options)
    for j in range(B.shape[1]):
        alone = prepared.solve(np.ascontiguousarray(B[:, j]), **options)
        assert alone.x.tobytes() == together.x[:, j].tobytes(), j


@pytest.mark.parametrize("count", [2, 3, 5, 40])
def test_any_number_of_columns_agrees_with_dense_algebra(count):
    problem = tall_random(300, 40, seed=3)
    X = np.random.default_rng(0).standard_normal((40, count))
    result = prepare(problem.A).solve(problem.A @ X, rtol=1e-12, threads=1)
    assert result.converged
    assert len(result.columns) == count
    np.testing.assert_allclose(result.x, X, rtol=1e-9, atol=1e-9)
    expected = np.linalg.lstsq(problem.A.toarray(), problem.A @ X, rcond=None)[0]
    np.testing.assert_allclose(result.x, expected, rtol=1e-9, atol=1e-9)


def test_columns_are_dealt_out_to_threads(monkeypatch):
    monkeypatch.setattr("solver_service.methods.team.LEAST_ENTRIES", 1)
    monkeypatch.setattr("solver_service.methods.team.available_threads", lambda: 3)
    problem = PROBLEMS["poisson2d"]()
    prepared, B = prepare(problem.A), right_hand_sides(problem.A)[:, :7]
    one = prepared.solve(B, method="ssor_cg", threads=1)
    for threads in (2, 3):
        several = prepared.solve(B, method="ssor_cg", threads=threads)
        assert several.x.tobytes() == one.x.tobytes()


class TestSeveralProblems:
    """`run_together`: problems with the same matrix, each with conditions of its own."""

    def solve(self, assignments, A):
        outcomes, order = {}, []

        def done(number, outcome):
            outcomes[number] = outcome
            order.append(number)

        run_together(prepare(A), assignments, done)
        assert sorted(outcomes) == list(range(len(assignments)))
        return outcomes, order

    def assignment(self, A, seed, **conditions):
        options = {"threads": 1, "rtol": 1e-9, **conditions.pop("options", {})}
        b = conditions.pop("b", A @ np.random.default_rng(seed).standard_normal(A.shape[1]))
        return Assignment(problem=Problem.build(A, b), options=Options(**options), **conditions)

    def test_each_has_options_of_its_own(self):
        A = PROBLEMS["poisson2d"]().A
        chosen = [
            {"method": "cgmn"},
            {"method": "cgmn", "rtol": 1e-2},
            {"method": "ssor_cg"},
            {"method": "kaczmarz", "max_epochs": 5.0, "seed": 3},
            {"method": "kaczmarz", "max_epochs": 5.0, "seed": 4},
            {},
            {"minimum_norm": True},
        ]
        outcomes, order = self.solve([self.assignment(A, 1, options=o) for o in chosen], A)
        for number, options in enumerate(chosen):
            alone = self.assignment(A, 1, options=options)
            expected = run(prepare(A), alone.problem, alone.options)
            assert told(outcomes[number]) == told(expected), options
        assert order.index(1) < order.index(0)  # no answer waits for others

    def test_one_that_is_stopped_disturbs_nobody(self):
        A = PROBLEMS["poisson2d"]().A
        asked = iter(range(10**9))
        endless = {"method": "kaczmarz", "rtol": 1e-15}
        unlucky = [
            self.assignment(A, 0, options=endless, should_stop=lambda: next(asked) > 30),
            self.assignment(A, 0, options=endless, deadline=time.monotonic()),
            self.assignment(A, 0, options=endless | {"time_limit": 1e-9}),
            self.assignment(A, 0, options=endless, callback=lambda progress: progress.iterations > 2),
        ]
        lucky = [self.assignment(A, seed, options={"method": "cgmn"}) for seed in range(4)]
        outcomes, _ = self.solve([*unlucky, *lucky], A)
        ends = [Status.CANCELLED, Status.TIME_LIMIT, Status.TIME_LIMIT, Status.CANCELLED]
        assert [outcomes[number].status for number in range(4)] == ends
        for number, one in enumerate(lucky, len(unlucky)):
            assert told(outcomes[number]) == told(run(prepare(A), one.problem, one.options))

    def test_one_that_waits_for_a_place_is_stopped_all_the_same(self, monkeypatch):
        monkeypatch.setattr("solver_service.methods.running._WIDTH", 2)
        A = PROBLEMS["poisson2d"]().A
        answered = []
        endless = {"method": "kaczmarz", "rtol": 1e-15, "max_epochs": 1e9}
        assignments = [
            self.assignment(A, 0, options=endless, should_stop=lambda: 2 in answered),
            self.assignment(A, 1, options=endless, should_stop=lambda: 2 in answered),
            self.assignment(A, 2, options=endless, should_stop=lambda: True),
        ]
        run_together(prepare(A), assignments, lambda number, _: answered.append(number))
        assert answered[0] == 2

    def test_what_one_raises_is_its_own(self):
        A = PROBLEMS["tall_random"]().A

        def broken(progress):
            raise RuntimeError("broken")

        outcomes, _ = self.solve(
            [
                self.assignment(A, 0),
                self.assignment(A, 0, callback=broken),
                self.assignment(A, 0, options={"method": "ssor_cg"}),
                self.assignment(A, 0, snapshot={"fingerprint": {}}),
                self.assignment(A, 0, b=np.full(A.shape[0], 1e308)),
                self.assignment(A, 1),
            ],
            A,
        )
        assert outcomes[0].converged
        assert outcomes[5].converged
        assert str(outcomes[1]) == "broken"
        assert [outcomes[n].code for n in (2, 3, 4)] == [
            "method_not_applicable",
            "invalid_request",
            "non_finite",
        ]

    def test_what_goes_wrong_in_asking_is_its_own(self, monkeypatch):
        monkeypatch.setattr("solver_service.methods.together._PATIENCE", -1.0)
        monkeypatch.setattr("solver_service.methods.together._LONGEST_WAIT", -1.0)
        monkeypatch.setattr("solver_service.methods.running._WIDTH", 4)
        A = PROBLEMS["poisson2d"]().A

        def broken(last):
            asked = iter(range(10**9))

            def should_stop():
                if next(asked) >= last:
                    raise RuntimeError("broken")
                return False

            return should_stop

        for last in (0, 2, 5):
            assignments = [self.assignment(A, seed, options={"method": "cgmn"}) for seed in range(6)]
            for place in (1, 5):  # one at work, one that waits for a place
                assignments[place] = self.assignment(
                    A, place, options={"method": "cgmn"}, should_stop=broken(last)
                )
            outcomes, _ = self.solve(assignments, A)
            assert [str(outcomes[place]) for place in (1, 5)] == ["broken", "broken"]
            assert all(outcomes[place].converged for place in (0, 2, 3, 4))

    @pytest.mark.parametrize("method", ["cgmn", "kaczmarz", "coordinate_descent", "ssor_cgls", "ssor_cg"])
    def test_without_memory_in_the_middle_each_is_told(self, method, monkeypatch):
        A = PROBLEMS["poisson2d"]().A
        rows = iter(range(10**9))
        row = Block.row

        def scarce(block):
            if next(rows) == 9:
                raise MemoryError
            return row(block)

        monkeypatch.setattr(Block, "row", scarce)
        assignments = [
            self.assignment(A, seed, options={"method": method, "max_epochs": 50.0}) for seed in range(3)
        ]
        assignments.append(self.assignment(A, 3))
        outcomes, _ = self.solve(assignments, A)
        assert outcomes[3].converged
        for number in range(3):
            one = assignments[number]
            assert isinstance(outcomes[number], MemoryError) or told(outcomes[number]) == told(
                run(prepare(A), one.problem, one.options)
            )

    def test_seconds_count_from_the_moment_when_there_is_a_place(self, monkeypatch):
        monkeypatch.setattr("solver_service.methods.running._WIDTH", 1)
        A = PROBLEMS["poisson2d"]().A
        endless = {"method": "kaczmarz", "rtol": 1e-15, "max_epochs": 1e9, "time_limit": 0.3}
        outcomes, _ = self.solve(
            [
                self.assignment(A, 0, options=endless),
                self.assignment(A, 1, options={"method": "cgmn", "time_limit": 0.2}),
            ],
            A,
        )
        assert outcomes[0].status is Status.TIME_LIMIT
        assert outcomes[1].converged
        assert outcomes[1].timings.total < 0.2

    def test_an_inconsistent_one_is_called_so_and_the_others_are_solved(self):
        A = PROBLEMS["tall_random"]().A
        noise = np.random.default_rng(9).standard_normal(A.shape[0])
        outcomes, _ = self.solve(
            [self.assignment(A, 0), self.assignment(A, 1, b=noise), self.assignment(A, 2)], A
        )
        assert [outcomes[n].status for n in range(3)] == [
            Status.CONVERGED,
            Status.INCONSISTENT,
            Status.CONVERGED,
        ]
        assert outcomes[1].certificate.bound > outcomes[1].target

    def test_an_exception_of_whoever_is_told_ends_all(self):
        A = PROBLEMS["tall_random"]().A

        def done(number, outcome):
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            run_together(prepare(A), [self.assignment(A, seed) for seed in range(3)], done)


def test_of_k_columns_one_error_is_raised_and_one_word_stops_all():
    A = PROBLEMS["poisson2d"]().A
    B = right_hand_sides(A)
    B[:, 1] = 1e308
    with pytest.raises(InvalidInputError, match="the norm of b"):
        prepare(A).solve(B, threads=1)
    result = prepare(A).solve(
        right_hand_sides(A), method="cgmn", rtol=1e-14, threads=1, callback=lambda p: p.iterations > 40
    )
    assert result.status is Status.CANCELLED
    assert np.isfinite(result.x).all()


def test_progress_of_k_columns_is_that_of_the_whole():
    problem = PROBLEMS["poisson2d"]()
    B = problem.A @ np.random.default_rng(0).standard_normal((144, 5))
    told_so_far = []
    result = prepare(problem.A).solve(B, method="cgmn", rtol=1e-6, threads=1, callback=told_so_far.append)
    counts = [progress.iterations for progress in told_so_far]
    assert counts == sorted(counts)
    assert counts[-1] <= result.iterations
    assert max(counts) > max(column.iterations for column in result.columns)
    assert told_so_far[0].relative_residual == 1.0
    assert told_so_far[-1].relative_residual <= 1e-6


def test_times_of_k_columns_are_those_of_the_clock():
    A = tall_random(20_000, 100, seed=1).A
    B = A @ np.random.default_rng(0).standard_normal((100, 30))
    start = time.perf_counter()
    timings = prepare(A).solve(B, threads=1).timings
    elapsed = time.perf_counter() - start
    assert 0.0 < timings.total <= elapsed
    assert timings.prepare + timings.solve + timings.verify == pytest.approx(timings.total)
    assert timings.verify > 0.0


def test_a_callback_may_solve_something_itself():
    A = PROBLEMS["poisson2d"]().A
    prepared, B = prepare(A), right_hand_sides(A)
    inner = []

    def callback(progress):
        if progress.iterations < 200:
            inner.append(prepared.solve(B[:, 0], method="cgmn", threads=1))

    result = prepared.solve(B[:, :5], method="cgmn", rtol=1e-6, threads=1, callback=callback)
    assert told(result)["x"] == told(prepared.solve(B[:, :5], method="cgmn", rtol=1e-6, threads=1))["x"]
    assert len({one.x.tobytes() for one in inner}) == 1


def test_columns_that_are_resumed_go_side_by_side_again(monkeypatch):
    problem = PROBLEMS["tall_random"]()
    B = problem.A @ np.random.default_rng(0).standard_normal((80, 6))
    options = Options(method="kaczmarz", batch_size=20, rtol=1e-12, threads=1)
    prepared = prepare(problem.A)
    widths = []
    of = Block.of.__func__
    monkeypatch.setattr(
        Block, "of", classmethod(lambda cls, requests: widths.append(len(requests)) or of(cls, requests))
    )
    keeper, asked = Keeper(share=math.inf), iter(range(10**9))
    whole = run(prepared, Problem.build(prepared.matrix, B), options)
    run(
        prepared,
        Problem.build(prepared.matrix, B),
        options,
        keeper=keeper,
        should_stop=lambda: next(asked) > 100,
    )
    widths.clear()
    fresh = prepare(problem.A)
    again = run(fresh, Problem.build(fresh.matrix, B), options, snapshot=keeper.latest)
    assert told(again) == told(whole)
    assert max(widths) >= 5


def test_nothing_large_waits_for_the_collector_of_garbage():
    A = PROBLEMS["poisson2d"]().A
    prepared, B = prepare(A), right_hand_sides(A)
    gc.collect()
    gc.disable()
    try:
        for method in ("auto", "cgmn", "kaczmarz"):
            prepared.solve(B, method=method, threads=1, max_epochs=30.0)
            assert not [one for one in gc.get_objects() if isinstance(one, Block)]
    finally:
        gc.enable()


def test_stored_matrices_that_are_read_only_do_as_well():
    A = sparse.csr_array(PROBLEMS["tall_random"]().A)
    for array in (A.data, A.indices, A.indptr):
        array.flags.writeable = False
    B = right_hand_sides(A)[:, :4]
    B[:, 2:] = A @ np.ones((A.shape[1], 2))
    for method in ("cgmn", "ssor_cgls", "kaczmarz", "auto"):
        assert prepare(A).solve(B, method=method, threads=1, max_epochs=500.0).converged
