"""A solve that is killed at any moment goes on from its last snapshot as if nothing had happened."""

from __future__ import annotations

import numpy as np
import pytest
from killing import (
    CASES,
    SQUARE,
    SYSTEMS,
    KilledError,
    Ticks,
    always,
    columns,
    fits,
    hard,
    killed,
    limits,
    name_of,
    start,
    state,
    told,
)
from scipy import sparse

from solver_service import Status
from solver_service.methods import (
    apart,
    auto,
    krylov,
    resumption,
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


@pytest.mark.parametrize("worthwhile", [0, 5000])
@pytest.mark.parametrize("method", ["auto", "kaczmarz", "ssor_cg", "lsmr"])
def test_several_right_hand_sides(method, worthwhile, folder, monkeypatch):
    """Side by side, and one after the other."""
    monkeypatch.setattr("solver_service.methods.running._WORTHWHILE", worthwhile)
    system, options = columns(1e-3, 1.0, 1e9), {"method": method, "rtol": 1e-4}
    ticks = Ticks()
    whole = start(system, options, should_stop=ticks)
    places = set()
    for part in (0.1, 0.3, 0.5, 0.7, 0.9, 0.99):
        snapshot = killed(system, options, int(part * ticks.count), folder)
        if snapshot is None:  # nothing was done yet
            continue
        places.add(sum(entry["result"] is not None for entry in snapshot["columns"]))
        result = start(system, options, snapshot=snapshot)
        assert told(result) == told(whole)
        assert result.timings.total >= solving_seconds(snapshot)
    assert len(places) > 1


@pytest.mark.parametrize("room", [0, 10**9])
def test_limits_and_tolerances_of_several_right_hand_sides(room, folder, monkeypatch):
    monkeypatch.setattr(resumption, "_MOST_BYTES", room)
    options = {"method": "ssor_cg", "rtol": 1e-9}

    def first(system, **limits):
        keeper = always()
        result = start(system, options | limits, keeper=keeper)
        assert [entry["result"] is not None for entry in keeper.latest["columns"]] == [True, True, False]
        assert (nbytes(keeper.latest["columns"][0]["state"]) > 0) == (room > 0)
        return result, folder.through(keeper.latest)

    system = columns(1e-8, 1e-6, 1.0)
    result, snapshot = first(system, max_epochs=9.0)
    assert result.status is Status.MAX_EPOCHS
    assert told(start(system, options, snapshot=snapshot)) == told(start(system, options))
    assert told(start(system, options | {"max_epochs": 9.0}, snapshot=snapshot)) == told(result)
    system = columns(1e-1, 1.0, 1e6)
    result, snapshot = first(system, rtol=1e-3)
    again = start(system, options, snapshot=snapshot)
    assert again.converged
    assert all(column.relative_residual <= 1e-9 for column in again.columns)
    loose = start(system, options | {"rtol": 1e-2}, snapshot=snapshot)
    assert loose.converged
    np.testing.assert_array_equal(loose.x[:, 0], result.x[:, 0])
    assert loose.columns[0].target == pytest.approx(10.0 * result.columns[0].target)


def test_an_interruption_leaves_finished_and_unfinished_right_hand_sides(folder, monkeypatch):
    monkeypatch.setattr("solver_service.methods.running._WORTHWHILE", 0)
    system, options = columns(1e-8, 1e-6, 1.0), {"method": "ssor_cg", "rtol": 1e-9}
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
