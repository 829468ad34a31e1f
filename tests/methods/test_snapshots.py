"""A solve that is killed at any moment goes on from its last snapshot as if nothing had happened."""

from __future__ import annotations

import math
import signal
import subprocess
import sys
import time
from dataclasses import asdict, replace

import numpy as np
import pytest
from scipy import sparse

from solver_service import InvalidInputError, Options, Status, prepare
from solver_service.methods import (
    Keeper,
    apart,
    auto,
    compatible,
    krylov,
    resumption,
    run,
    solving_seconds,
    spectrum,
    team,
)
from solver_service.methods import momentum as momentum_rule
from solver_service.methods.snapshot import nbytes
from solver_service.problems import gallery
from solver_service.problems.formats import read_matrix
from solver_service.problems.gallery import PROBLEMS
from solver_service.problems.limits import Limits
from solver_service.problems.problem import Problem
from solver_service.storage import read_snapshot, write_snapshot

SAMPLED = [
    {"method": method, "momentum": momentum, "batch_size": batch}
    for method in ("kaczmarz", "coordinate_descent")
    for momentum in ("none", "heavy_ball", "nesterov")
    for batch in (1, 7, "auto")
]
OTHERS = [
    {"method": name} for name in ("cgmn", "ssor_cgls", "ssor_cg", "lsmr", "lsqr", "cg", "direct", "auto")
]
CASES = [
    *SAMPLED,
    {"method": "kaczmarz", "beta": 0.9, "batch_size": 40},
    {"method": "kaczmarz", "step_size": 0.5},
    *OTHERS,
    {"method": "auto", "momentum": "nesterov"},
]
RANDOM = ("kaczmarz", "coordinate_descent")
SQUARE = ("ssor_cg", "cg")


class KilledError(BaseException):
    """Stands for kill -9: no handler of the code under test may get to see the solve again."""


class Ticks:
    """Asked whether to stop; kills at a given time of asking."""

    def __init__(self, last: float = math.inf) -> None:
        self.count, self.last = 0, last

    def __call__(self) -> bool:
        self.count += 1
        if self.count > self.last:
            raise KilledError
        return False


def always() -> Keeper:
    """Captures at every safe point."""
    return Keeper(share=math.inf)


def start(system, options, **kwargs):
    A, b, *rest = system
    prepared = prepare(A)  # as in a new process
    problem = Problem.build(prepared.matrix, b, *rest)
    return run(prepared, problem, Options(**({"threads": 1} | options)), **kwargs)


class Folder:
    """Snapshots on their way through files, as those of a crashed process."""

    def __init__(self, path) -> None:
        self.path, self.count = path, 0

    def through(self, snapshot):
        if snapshot is None:
            return None
        self.count += 1
        file = self.path / str(self.count)
        write_snapshot(file, snapshot)
        return read_snapshot(file)


@pytest.fixture
def folder(tmp_path):
    return Folder(tmp_path)


def killed(system, options, last, folder, snapshot=None):
    """What is left of a solve that is killed after so many ticks."""
    keeper = always()
    with pytest.raises(KilledError):
        start(system, options, should_stop=Ticks(last), keeper=keeper, snapshot=snapshot)
    return folder.through(keeper.latest)


def state(snapshot):
    """That of the only right-hand side."""
    (entry,) = snapshot["columns"]
    return entry["state"]


def told(result):
    """All of a result but the clock's."""
    document = asdict(result)
    document["x"] = result.x.tobytes()
    del document["timings"]
    for one in (document, *(document["columns"] or ())):
        one.pop("timings", None)
        if one["forecast"] is not None:
            del one["forecast"]["seconds"], one["forecast"]["expected_seconds"]
        if one["certificate"] is not None:
            one["certificate"]["y"] = one["certificate"]["y"].tobytes()
        for point in (*one["phases"], *one["history"]):
            del point["seconds"]
    return document


def fits(options, problem) -> bool:
    if options["method"] in SQUARE:
        return problem.spd
    return options["method"] != "direct" or problem.name != "rank_deficient"


def name_of(options) -> str:
    return "-".join(str(value) for value in options.values())


def limits(options) -> dict:
    """Sampling is slow on some of the problems; a limit that ends it is as good as success."""
    return options | {"rtol": 1e-9} | ({"max_epochs": 60.0} if options["method"] in RANDOM else {})


SYSTEMS = ("tall_random", "poisson2d", "wide_random", "ill_conditioned")


@pytest.mark.parametrize("name", SYSTEMS)
@pytest.mark.parametrize("options", CASES, ids=name_of)
def test_killed_at_any_moment_it_ends_with_the_same_bits(options, name, folder):
    problem = PROBLEMS[name]()
    if not fits(options, problem):
        pytest.skip("the method does not apply")
    system, options = (problem.A, problem.b), limits(options)
    ticks = Ticks()
    whole = start(system, options, should_stop=ticks)
    for part in (0.15, 0.5, 0.8, 0.97):
        snapshot = killed(system, options, int(part * ticks.count), folder)
        assert told(start(system, options, snapshot=snapshot)) == told(whole)


@pytest.mark.parametrize("name", SYSTEMS[:2])
@pytest.mark.parametrize("options", CASES, ids=name_of)
def test_killed_again_and_again(options, name, folder):
    problem = PROBLEMS[name]()
    if not fits(options, problem):
        pytest.skip("the method does not apply")
    system, options = (problem.A, problem.b), limits(options)
    ticks = Ticks()
    whole = start(system, options, should_stop=ticks)
    snapshot = None
    kills = 0
    for _ in range(4):
        keeper = always()
        try:
            result = start(
                system, options, should_stop=Ticks(ticks.count // 3), keeper=keeper, snapshot=snapshot
            )
            break
        except KilledError:
            kills += 1
            snapshot = folder.through(keeper.latest)
    else:
        result = start(system, options, snapshot=snapshot)
    assert kills > 0
    assert told(result) == told(whole)


@pytest.mark.parametrize(("name", "limit"), [*zip(SYSTEMS, [3.0, 3.0, 11.5, 7.0], strict=True)])
@pytest.mark.parametrize("options", CASES, ids=name_of)
def test_a_limit_raised_later_is_as_if_it_had_been_so_from_the_start(options, name, limit, folder):
    problem = PROBLEMS[name]()
    if not fits(options, problem):
        pytest.skip("the method does not apply")
    system, options = (problem.A, problem.b), options | {"rtol": 1e-11}
    keeper = always()
    first = start(system, options | {"max_epochs": limit}, keeper=keeper)
    assert first.status in (Status.MAX_EPOCHS, Status.CONVERGED)
    whole = start(system, options | {"max_epochs": 2.0 * limit})
    second = start(
        system, options | {"max_epochs": 2.0 * limit}, snapshot=folder.through(keeper.latest), keeper=keeper
    )
    assert told(second) == told(whole)
    third = start(system, options | {"max_epochs": 100.0}, snapshot=folder.through(keeper.latest))
    assert told(third) == told(start(system, options | {"max_epochs": 100.0}))


def hard():
    """A system on which `auto` turns to a factorisation."""
    rng = np.random.default_rng(0)
    U, _ = np.linalg.qr(rng.standard_normal((500, 80)))
    V, _ = np.linalg.qr(rng.standard_normal((80, 80)))
    A = U @ np.diag(np.logspace(0, -6, 80)) @ V
    return A, A @ rng.standard_normal(80)


def test_auto_that_goes_to_and_fro(folder, monkeypatch):
    monkeypatch.setattr(auto.Race, "factorisations", lambda _: iter(()))
    problem = gallery.convection_diffusion(20)
    system, options = (problem.A, problem.b), {"rtol": 1e-10}
    ticks = Ticks()
    whole = start(system, options, should_stop=ticks)
    assert len(whole.phases) > 3
    left = set()
    for last in np.linspace(2, ticks.count - 1, 15, dtype=int):
        snapshot = killed(system, options, last, folder)
        left.add((state(snapshot)["at_work"], len(state(snapshot)["attempts"])))
        assert told(start(system, options, snapshot=snapshot)) == told(whole)
    assert len(left) > 4


@pytest.mark.parametrize("minimum_norm", [False, True])
def test_auto_that_turns_to_a_factorisation(minimum_norm, folder):
    system, options = hard(), {"minimum_norm": minimum_norm, "rtol": 1e-9}
    ticks = Ticks()
    whole = start(system, options, should_stop=ticks)
    assert "direct" in [phase.method for phase in whole.phases]
    for last in np.linspace(2, ticks.count - 1, 9, dtype=int):
        snapshot = killed(system, options, last, folder)
        assert told(start(system, options, snapshot=snapshot)) == told(whole)


@pytest.mark.parametrize("method", ["auto", "kaczmarz", "cgmn", "lsmr", "direct"])
def test_the_minimum_norm_is_still_claimed(method, folder):
    problem = PROBLEMS["wide_random"]()
    system, options = (problem.A, problem.b), {"method": method, "minimum_norm": True, "rtol": 1e-10}
    ticks = Ticks()
    whole = start(system, options, should_stop=ticks)
    assert whole.minimum_norm
    for part in (0.4, 0.9):
        snapshot = killed(system, options, int(part * ticks.count), folder)
        assert told(start(system, options, snapshot=snapshot)) == told(whole)


@pytest.mark.parametrize("method", ["auto", "cgmn", "lsmr", "ssor_cgls"])
def test_a_start_and_an_inconsistent_system(method, folder):
    problem = PROBLEMS["tall_random"]()
    rng = np.random.default_rng(0)
    b = problem.b + 0.01 * rng.standard_normal(problem.b.size)
    system = (problem.A, b, rng.standard_normal(problem.A.shape[1]))
    ticks = Ticks()
    whole = start(system, {"method": method}, should_stop=ticks)
    assert whole.status is Status.INCONSISTENT
    for part in (0.3, 0.6, 0.9):
        snapshot = killed(system, {"method": method}, int(part * ticks.count), folder)
        assert told(start(system, {"method": method}, snapshot=snapshot)) == told(whole)


def demanding():
    """Systems by what they make a method do: restarts, shorter steps, several chunks, a stall."""
    rng = np.random.default_rng(0)
    poisson, ill = PROBLEMS["poisson2d"](), PROBLEMS["ill_conditioned"]()
    wide, dense = PROBLEMS["wide_random"](), gallery.ill_conditioned(600, 60, 6, decades=7.0)
    noisy = ill.b + 0.1 * rng.standard_normal(600)
    empty = sparse.csr_array(sparse.hstack([ill.A, sparse.csr_array((600, 3))]))
    tiny = {"rtol": 1e-17, "max_epochs": 4000.0}
    for method in ("cgmn", "ssor_cgls", "lsmr", "lsqr"):
        yield f"rounding-{method}", (ill.A, ill.b), tiny | {"method": method}
        yield f"wide-rounding-{method}", (wide.A, wide.b), tiny | {"method": method}
        yield f"noise-{method}", (ill.A, noisy), {"method": method, "rtol": 1e-8}
    for method in ("ssor_cg", "cg", "lsmr", "lsqr", "cgmn", "ssor_cgls"):
        yield f"square-rounding-{method}", (poisson.A, poisson.b), tiny | {"method": method}
    for method in ("kaczmarz", "coordinate_descent"):
        for momentum in ("none", "heavy_ball", "nesterov"):
            options = {"method": method, "momentum": momentum, "batch_size": 20, "rtol": 1e-9}
            start_at = (empty, ill.b, rng.standard_normal(63))
            yield f"empty-columns-{method}-{momentum}", start_at, options | {"max_epochs": 60.0}
        yield f"stall-{method}", (ill.A, noisy), {"method": method, "rtol": 1e-8, "max_epochs": 700.0}
    yield "gram", (dense.A, dense.b), {"method": "direct", "rtol": 1e-15}
    yield (
        "gram-wide",
        (sparse.csr_array(dense.A.T), dense.A.T @ rng.standard_normal(600)),
        {
            "method": "direct",
            "rtol": 1e-15,
        },
    )


DEMANDING = {name: case for name, *case in demanding()}


@pytest.mark.parametrize("name", DEMANDING)
def test_restarts_chunks_and_stalls(name, folder, monkeypatch):
    monkeypatch.setattr(krylov, "_CHUNK_ENTRIES", 0)  # the first chunks are as short as can be
    system, options = DEMANDING[name]
    ticks = Ticks()
    whole = start(system, options, should_stop=ticks)
    for part in (0.1, 0.2, 0.4, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99):
        snapshot = killed(system, options, max(2, int(part * ticks.count)), folder)
        assert told(start(system, options, snapshot=snapshot)) == told(whole)


@pytest.mark.parametrize("method", ["kaczmarz", "coordinate_descent"])
def test_steps_that_were_shortened_stay_short(method, folder, monkeypatch):
    real = spectrum.Spectrum.safe_lambda.fget
    monkeypatch.setattr(spectrum.Spectrum, "safe_lambda", property(lambda self: real(self) / 50.0))
    problem = PROBLEMS["tall_random"]()
    system = (problem.A, problem.b)
    batch = 500 if method == "kaczmarz" else 80
    options = {"method": method, "batch_size": batch, "momentum": "nesterov", "rtol": 1e-8, "max_epochs": 400}
    ticks = Ticks()
    whole = start(system, options, should_stop=ticks)
    inflations = set()
    for part in np.linspace(0.05, 0.95, 12):
        snapshot = killed(system, options, max(3, int(part * ticks.count)), folder)
        drive = state(snapshot)["candidates"][0]["drive"]
        inflations.add(drive["process"]["_inflation"])
        assert told(start(system, options, snapshot=snapshot)) == told(whole)
    assert len(inflations) > 1


def columns():
    problem = PROBLEMS["poisson2d"]()
    rng = np.random.default_rng(0)
    return problem.A, problem.A @ rng.standard_normal((144, 3))


@pytest.mark.parametrize("method", ["auto", "kaczmarz", "ssor_cg", "lsmr"])
def test_several_right_hand_sides(method, folder):
    system, options = columns(), {"method": method, "rtol": 1e-4}
    ticks = Ticks()
    whole = start(system, options, should_stop=ticks)
    places = set()
    for part in (0.1, 0.3, 0.5, 0.7, 0.9):
        snapshot = killed(system, options, int(part * ticks.count), folder)
        places.add(sum(entry["result"] is not None for entry in snapshot["columns"]))
        result = start(system, options, snapshot=snapshot)
        assert told(result) == told(whole)
        assert result.timings.total >= solving_seconds(snapshot)
    assert places == {0, 1, 2}


@pytest.mark.parametrize("room", [0, 10**9])
def test_limits_and_tolerances_of_several_right_hand_sides(room, folder, monkeypatch):
    monkeypatch.setattr(resumption, "_MOST_BYTES", room)
    system, options = columns(), {"method": "ssor_cg", "rtol": 1e-9}
    whole = start(system, options)

    def first(**limits):
        keeper = always()
        result = start(system, options | limits, keeper=keeper)
        assert [entry["result"] is not None for entry in keeper.latest["columns"]] == [True, True, False]
        assert (nbytes(keeper.latest["columns"][0]["state"]) > 0) == (room > 0)
        return result, folder.through(keeper.latest)

    result, snapshot = first(max_epochs=9.0)
    assert result.status is Status.MAX_EPOCHS
    assert told(start(system, options, snapshot=snapshot)) == told(whole)
    assert told(start(system, options | {"max_epochs": 9.0}, snapshot=snapshot)) == told(result)
    result, snapshot = first(rtol=1e-3)
    again = start(system, options, snapshot=snapshot)
    assert again.converged
    assert all(column.relative_residual <= 1e-9 for column in again.columns)
    loose = start(system, options | {"rtol": 1e-2}, snapshot=snapshot)
    assert loose.converged
    np.testing.assert_array_equal(loose.x[:, 0], result.x[:, 0])
    assert loose.columns[0].target == pytest.approx(10.0 * result.columns[0].target)


def test_an_interruption_leaves_finished_and_unfinished_right_hand_sides(folder):
    system, options = columns(), {"method": "ssor_cg", "rtol": 1e-9}
    whole = start(system, options)
    ticks = Ticks()
    start(system, options, should_stop=ticks)
    count = Ticks()
    keeper = always()
    result = start(
        system, options, keeper=keeper, should_stop=lambda: count() or count.count > 0.5 * ticks.count
    )
    assert [c.status.value for c in result.columns] == ["converged", "cancelled", "cancelled"]
    snapshot = folder.through(keeper.latest)
    settled = start(system, options, snapshot=snapshot, should_stop=lambda: True)
    assert settled.columns[0].converged
    assert settled.columns[1].status is Status.CANCELLED
    assert told(start(system, options, snapshot=snapshot)) == told(whole)


@pytest.fixture
def blocks(monkeypatch):
    """Blocks that are searched for at once, and take long enough to be left in the middle."""
    monkeypatch.setattr(auto, "_SELDOM", 0.0)
    monkeypatch.setattr(apart, "_BLOCK", 0.0)
    monkeypatch.setattr(apart.cost, "gram", lambda *_: 1e-3)
    monkeypatch.setattr(auto.Race, "factorisations", lambda _: iter(()))
    parts = [PROBLEMS[name]() for name in ("ill_conditioned", "poisson2d", "convection_diffusion")]
    A = sparse.csr_array(sparse.block_diag([part.A for part in parts]))
    return A, A @ np.concatenate([part.x for part in parts])


@pytest.mark.parametrize("minimum_norm", [False, True])
def test_blocks_are_left_and_taken_up_in_the_middle(blocks, minimum_norm, folder):
    options = {"rtol": 1e-10, "minimum_norm": minimum_norm}
    ticks = Ticks()
    whole = start(blocks, options, should_stop=ticks)
    assert "apart" in whole.phases[-1].reason
    inside = 0
    for last in np.linspace(2, ticks.count - 1, 12, dtype=int):
        snapshot = killed(blocks, options, last, folder)
        drives = [c["drive"] for c in state(snapshot)["candidates"] if c["drive"]]
        inside += any(drive["process"].get("_block") is not None for drive in drives)
        assert told(start(blocks, options, snapshot=snapshot)) == told(whole)
    assert inside > 3


def test_a_limit_that_cuts_a_block(blocks, folder):
    whole = start(blocks, {"rtol": 1e-10})
    for limit in (5.0, 20.0, 0.9 * whole.epochs):
        keeper = always()
        assert start(blocks, {"rtol": 1e-10, "max_epochs": limit}, keeper=keeper).status is Status.MAX_EPOCHS
        snapshot = folder.through(keeper.latest)
        assert told(start(blocks, {"rtol": 1e-10}, snapshot=snapshot)) == told(whole)


@pytest.mark.parametrize("method", ["kaczmarz", "coordinate_descent", "cgmn", "ssor_cgls", "lsmr"])
def test_with_two_threads_it_goes_on(method, folder, monkeypatch):
    monkeypatch.setattr(team, "available_threads", lambda: 2)
    monkeypatch.setattr(team, "LEAST_ENTRIES", 1)
    monkeypatch.setattr(momentum_rule, "_HANDOVER", 1)
    problem = PROBLEMS["tall_random"]()
    system, options = (problem.A, problem.b), {"method": method, "threads": 2, "rtol": 1e-8}
    if method in ("kaczmarz", "coordinate_descent"):
        options["batch_size"] = 400 if method == "kaczmarz" else 80
    ticks = Ticks()
    whole = start(system, options, should_stop=ticks)
    assert whole.converged
    assert whole.parameters.threads == 2
    snapshot = killed(system, options, ticks.count // 2, folder)
    result = start(system, options, snapshot=snapshot)
    assert result.converged
    assert result.iterations == pytest.approx(whole.iterations, rel=0.1)


TOLERANT = ["auto", "kaczmarz", "coordinate_descent", "cgmn", "ssor_cgls", "ssor_cg", "lsmr", "cg"]


@pytest.mark.parametrize("method", TOLERANT[:-1])
def test_a_looser_tolerance_that_is_met_ends_it_at_once(method, folder):
    problem = gallery.poisson2d(20)
    system, options = (problem.A, problem.b), {"method": method, "rtol": 1e-8, "max_epochs": 2000}
    ticks = Ticks()
    start(system, options, should_stop=ticks)
    snapshot = killed(system, options, int(0.9 * ticks.count), folder)
    best = state(snapshot)["monitor"]["best_norm"] / np.linalg.norm(problem.b)
    result = start(system, options | {"rtol": 1.01 * best}, snapshot=snapshot)
    assert result.converged
    assert result.iterations == state(snapshot)["monitor"]["work"][0]
    assert result.x.tobytes() == state(snapshot)["monitor"]["best_x"].tobytes()
    assert result.phases[-1].iterations > 0


@pytest.mark.parametrize("method", [*TOLERANT, "lsqr", "direct"])
def test_a_tighter_tolerance_goes_on_from_where_it_was(method, folder):
    problem = gallery.poisson2d(20)
    system, options = (problem.A, problem.b), {"method": method, "rtol": 1e-2}
    keeper = always()
    first = start(system, options, keeper=keeper)
    assert first.converged
    snapshot = folder.through(keeper.latest)
    result = start(system, options | {"rtol": 1e-5}, snapshot=snapshot)
    assert result.converged
    assert result.relative_residual <= 1e-5
    assert result.iterations >= state(snapshot)["monitor"]["work"][0]


@pytest.mark.parametrize(
    "changed",
    [
        {"method": "lsmr"},
        {"seed": 1},
        {"momentum": "none"},
        {"minimum_norm": True},
        {"batch_size": 3},
    ],
    ids=str,
)
def test_what_does_not_fit_is_refused(changed, folder):
    problem = PROBLEMS["tall_random"]()
    system, options = (problem.A, problem.b), {"method": "kaczmarz", "rtol": 1e-9}
    snapshot = killed(system, options, 10, folder)
    matrix = prepare(problem.A).matrix
    given = Options(threads=1, **options)
    assert compatible(snapshot, matrix, Problem.build(matrix, problem.b), given)
    loose = replace(given, rtol=0.1, atol=1.0, max_epochs=7.0, time_limit=1.0)
    assert compatible(snapshot, matrix, Problem.build(matrix, problem.b), loose)
    assert not compatible({}, matrix, Problem.build(matrix, problem.b), given)
    two = np.stack([problem.b] * 2, axis=1)
    assert not compatible(snapshot, matrix, Problem.build(matrix, two), given)
    changes = options | changed
    with pytest.raises(InvalidInputError, match="snapshot") as caught:
        start(system, changes, snapshot=snapshot)
    assert caught.value.errors[0].field == "snapshot"


@pytest.mark.parametrize("how", ["stop", "deadline", "time_limit", "callback"])
@pytest.mark.parametrize("method", ["auto", "kaczmarz", "coordinate_descent", "ssor_cg", "lsmr", "direct"])
def test_a_run_that_may_not_go_on_settles_for_what_was_found(method, how, folder, monkeypatch):
    problem = PROBLEMS["poisson2d"]()
    system, options = (problem.A, problem.b), {"method": method, "rtol": 1e-12, "max_epochs": 500}
    ticks = Ticks()
    start(system, options, should_stop=ticks)
    snapshot = killed(system, options, max(3, ticks.count // 2), folder)
    monkeypatch.setattr("solver_service.methods.attempt.Attempt.restart", None)  # nothing is rebuilt
    keeper = always()
    why = {
        "stop": {"should_stop": lambda: True},
        "deadline": {"deadline": time.monotonic()},
        "time_limit": {"seconds_spent": 10.0},
        "callback": {"callback": lambda _: True},
    }[how]
    limit = {"time_limit": 5.0} if how == "time_limit" else {}
    result = start(system, options | limit, snapshot=snapshot, keeper=keeper, **why)
    assert result.status is (Status.CANCELLED if how in ("stop", "callback") else Status.TIME_LIMIT)
    saved = state(snapshot)["monitor"]
    assert result.x.tobytes() == saved["best_x"].tobytes()
    assert result.residual_norm == pytest.approx(np.linalg.norm(problem.b - problem.A @ result.x))
    assert result.iterations == saved["work"][0]
    assert sum(phase.iterations for phase in result.phases) == result.iterations
    assert result.timings.total >= solving_seconds(snapshot)
    assert keeper.latest is snapshot


def test_settling_for_the_minimum_norm_leaves_out_what_has_it_not(folder):
    system, options = hard(), {"minimum_norm": True, "rtol": 1e-9}
    ticks = Ticks()
    start(system, options, should_stop=ticks)
    snapshot = killed(system, options, ticks.count - 1, folder)
    state(snapshot)["row_space"] = False
    entry = np.full(80, 0.25)
    state(snapshot).update(entry=entry, entry_norm=1.0)
    result = start(system, options, snapshot=snapshot, should_stop=lambda: True)
    assert result.x.tobytes() == entry.tobytes()


@pytest.mark.parametrize("how", ["should_stop", "callback"])
def test_an_interruption_between_two_pieces_of_work_loses_nothing(how, folder, monkeypatch):
    """The last state is captured even where it was not due; within a piece the older one stays."""
    monkeypatch.setattr("solver_service.methods.monitor.SILENCE", 0.0)
    monkeypatch.setattr("solver_service.methods.snapshot._LONGEST_PATIENCE", 0.0)
    problem = PROBLEMS["poisson2d"]()
    system, options = (problem.A, problem.b), {"method": "ssor_cg", "rtol": 1e-9}
    whole = start(system, options)
    left = []
    for last in range(3, 16):
        ticks = Ticks()
        keeper = Keeper(share=1e-12)  # captures once, at the first occasion
        interrupt = {how: lambda *_, ticks=ticks, last=last: ticks() or ticks.count > last}
        result = start(system, options, keeper=keeper, **interrupt)
        assert result.status is Status.CANCELLED
        snapshot = folder.through(keeper.latest)
        left.append((result.iterations, state(snapshot)["monitor"]["work"][0]))
        assert told(start(system, options, snapshot=snapshot)) == told(whole)
    assert sum(found == saved > 0 for found, saved in left) > 2
    assert any(found > saved == 0 for found, saved in left)


def test_short_solves_are_not_slowed_down_by_captures():
    A = np.array([[2.0, 0.0], [1.0, 3.0], [0.0, 1.0]])
    system = (A, A @ np.ones(2))
    start(system, {})  # compiles what it needs
    keeper = Keeper()
    assert start(system, {}, keeper=keeper).converged
    assert keeper.captures == 0


KILLED = """
import math
import sys
from pathlib import Path

from solver_service import Options, prepare
from solver_service.methods import Keeper, run
from solver_service.problems import gallery
from solver_service.problems.problem import Problem
from solver_service.storage import write_snapshot

folder = Path(sys.argv[1])


def store(snapshot):
    write_snapshot(folder / "new", snapshot)
    (folder / "new").rename(folder / "latest")
    if snapshot["columns"][0]["state"]["monitor"]["work"][2] > 3.0:
        (folder / "enough").touch()


problem = gallery.poisson2d(60)
prepared = prepare(problem.A)
options = Options(method="kaczmarz", rtol=1e-14, threads=1)
keeper = Keeper(store, interval=0.0, share=math.inf)  # stores at every safe point, which takes long
run(prepared, Problem.build(prepared.matrix, problem.b), options, keeper=keeper)
"""


def test_after_a_real_kill(tmp_path):
    process = subprocess.Popen([sys.executable, "-c", KILLED, str(tmp_path)])
    end = time.monotonic() + 60.0
    while not (tmp_path / "enough").exists():
        assert process.poll() is None
        assert time.monotonic() < end
        time.sleep(0.005)
    process.kill()
    assert process.wait() == -signal.SIGKILL
    problem = gallery.poisson2d(60)
    system, snapshot = (problem.A, problem.b), read_snapshot(tmp_path / "latest")
    limit = state(snapshot)["monitor"]["work"][2] + 20.0
    options = {"method": "kaczmarz", "rtol": 1e-14, "max_epochs": limit}
    assert told(start(system, options, snapshot=snapshot)) == told(start(system, options))


def test_times_go_on_counting(folder):
    problem = PROBLEMS["poisson2d"]()
    system, options = (problem.A, problem.b), {"method": "lsmr", "rtol": 1e-9}
    snapshot = killed(system, options, 40, folder)
    saved = state(snapshot)
    assert 0.0 < saved["seconds"][2] == solving_seconds(snapshot)
    saved |= {"seconds": [100.0, 10.0, 1000.0], "monitor": saved["monitor"] | {"seconds": 890.0}}
    assert solving_seconds(snapshot) == 1000.0
    result = start(system, options, snapshot=snapshot)
    assert 100.0 <= result.timings.prepare < 101.0
    assert 10.0 <= result.timings.verify < 11.0
    assert 1000.0 <= result.timings.total < 1001.0
    assert 890.0 <= result.history[-1].seconds < 891.0
    assert result.phases[-1].seconds > 800.0


def test_a_snapshot_owns_its_arrays(folder):
    """Neither the run that made it nor one that goes on from it changes it."""
    problem = PROBLEMS["poisson2d"]()
    system, options = (problem.A, problem.b), {"method": "cgmn", "rtol": 1e-9}
    seen = []
    keeper = Keeper(lambda s: seen.append((s, folder.through(s))), interval=0.0, share=math.inf)
    start(system, options, keeper=keeper)
    assert len(seen) > 10
    snapshot = seen[5][0]
    result = start(system, options, snapshot=snapshot)
    result.x[:] = np.nan
    for own, stored in seen:
        saved, other = state(own)["monitor"]["best_x"], state(stored)["monitor"]["best_x"]
        assert saved.tobytes() == other.tobytes()
        mine, theirs = (state(s)["candidates"][0]["drive"]["process"] for s in (own, stored))
        assert all(mine[name].tobytes() == theirs[name].tobytes() for name in ("_x", "_r", "_p", "_scalars"))


class Clock:
    """A clock that only captures and stores move, beside what the test adds."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_keeper_takes_a_bounded_share_of_the_time(monkeypatch):
    clock = Clock()
    monkeypatch.setattr("solver_service.methods.snapshot.time.perf_counter", clock)

    def spend(seconds, what=None):
        clock.now += seconds
        return what or {}

    stored = []

    def store(snapshot):
        stored.append((clock.now, snapshot))
        spend(0.5)

    keeper = Keeper(store, interval=5.0, share=0.04)
    begun = clock.now
    while clock.now < begun + 1000.0:
        keeper.offer(lambda: spend(0.01, {"at": clock.now}))
        spend(0.05)
    assert keeper.stores == len(stored)
    assert stored[0][0] >= begun + 5.0
    assert np.diff([at for at, _ in stored]).min() >= 25.0
    assert keeper.seconds == pytest.approx(0.01 * keeper.captures + 0.5 * keeper.stores)
    assert 0.03 < keeper.seconds / 1000.0 <= 0.041
    assert all(at - snapshot["at"] < 0.6 for at, snapshot in stored)


@pytest.mark.parametrize("name", ["well1850", "football_massey", "1138_bus"])
@pytest.mark.parametrize("options", CASES, ids=name_of)
def test_on_real_matrices(options, name, matrices, folder):
    """Killed half way it ends with the same bits, and N + N = 2N."""
    (path,) = matrices.glob(f"{name}.*")
    A = read_matrix(path, Limits()).csr
    if options["method"] in SQUARE and name != "1138_bus":
        pytest.skip("the method does not apply")
    system = (A, A @ np.random.default_rng(0).standard_normal(A.shape[1]))
    whole = start(system, options | {"max_epochs": 40.0}, should_stop=(ticks := Ticks()))
    snapshot = killed(system, options | {"max_epochs": 40.0}, ticks.count // 2, folder)
    assert told(start(system, options | {"max_epochs": 40.0}, snapshot=snapshot)) == told(whole)
    keeper = always()
    start(system, options | {"max_epochs": 20.0}, keeper=keeper)
    resumed = start(system, options | {"max_epochs": 40.0}, snapshot=folder.through(keeper.latest))
    assert told(resumed) == told(whole)


def test_what_is_kept_of_right_hand_sides_is_not_counted_again_for_each(monkeypatch):
    looks = []
    monkeypatch.setattr(resumption, "nbytes", lambda value: looks.append(1) or nbytes(value))
    A, b = columns()
    result = start((A, np.tile(b, 20)), {"method": "lsmr", "rtol": 1e-3}, keeper=always())
    assert result.converged
    assert len(looks) <= 2 * 60
