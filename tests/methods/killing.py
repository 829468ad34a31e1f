"""Solves that are killed, what is left of them, and what is told of a result."""

from __future__ import annotations

import math
from dataclasses import asdict

import numpy as np
import pytest

from solver_service import Options, prepare
from solver_service.methods import (
    Keeper,
    run,
)
from solver_service.problems.gallery import PROBLEMS
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


def hard():
    """A system on which `auto` turns to a factorisation."""
    rng = np.random.default_rng(0)
    U, _ = np.linalg.qr(rng.standard_normal((500, 80)))
    V, _ = np.linalg.qr(rng.standard_normal((80, 80)))
    A = U @ np.diag(np.logspace(0, -6, 80)) @ V
    return A, A @ rng.standard_normal(80)


def columns(*errors: float):
    """A system with a right-hand side for each error of its start: they end one after the other."""
    problem = PROBLEMS["poisson2d"]()
    rng = np.random.default_rng(0)
    x = rng.standard_normal((144, len(errors)))
    return problem.A, problem.A @ x, x + errors * rng.standard_normal((144, len(errors)))
