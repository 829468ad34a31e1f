"""Resuming with other limits and tolerances, settling, and when states are captured and stored."""

from __future__ import annotations

import math
import signal
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import pytest
from killing import Ticks, always, columns, hard, killed, start, state, told

from solver_service import InvalidInputError, Options, Status, prepare
from solver_service.methods import (
    Keeper,
    compatible,
    resumption,
    solving_seconds,
)
from solver_service.methods.snapshot import nbytes
from solver_service.problems import gallery
from solver_service.problems.gallery import PROBLEMS
from solver_service.problems.problem import Problem
from solver_service.storage import read_snapshot

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
    snapshot = killed(system, options, max(1, ticks.count // 2), folder)
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
    for module in ("team", "sweeps"):  # steps in several pieces, in which it is looked whether to go on
        monkeypatch.setattr(f"solver_service.methods.{module}.BLOCK_ENTRIES", 500)
    problem = PROBLEMS["poisson2d"]()
    system, options = (problem.A, problem.b), {"method": "cgmn", "rtol": 1e-9}
    whole = start(system, options)
    left = []
    for last in range(3, 30):
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
    assert 0.0 < saved["seconds"][2] <= solving_seconds(snapshot)
    snapshot |= {"seconds": [100.0, 10.0, 1000.0]}
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


def test_what_is_kept_of_right_hand_sides_is_not_counted_again_for_each(monkeypatch):
    looks = []
    monkeypatch.setattr(resumption, "nbytes", lambda value: looks.append(1) or nbytes(value))
    A, b, _ = columns(1.0, 1.0, 1.0)
    result = start((A, np.tile(b, 20)), {"method": "lsmr", "rtol": 1e-3}, keeper=always())
    assert result.converged
    assert len(looks) <= 2 * 60
