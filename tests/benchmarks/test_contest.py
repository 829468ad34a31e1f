"""The contest itself, in processes of their own: a contestant may do what it likes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from contest import arena
from contest.contestants import CONTESTANTS, NotApplicableError
from contest.systems import System, all_systems, read
from scipy.io import mmwrite
from scipy.sparse import csr_array, diags_array, save_npz

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"

ARENA = """
import json, os, sys, time
sys.path.insert(0, sys.argv[1])
import numpy as np
from contest import arena
from contest.contestants import Attempt, Contestant, NotApplicableError
from contest.systems import System
from scipy.sparse import eye_array

def absent(*_):
    raise NotApplicableError("no")

def raises(*_):
    raise ValueError("broken")

def slow(system, rtol, limit):
    time.sleep(0.0 if system.name == "poisson2d" else limit + 0.1)
    return Attempt(system.b)

def hang(system, rtol, limit):
    if system.name != "poisson2d":
        time.sleep(60)

def crash(system, rtol, limit):
    if system.name != "poisson2d":
        os.abort()

arena.GRACE = 0.5
system = System("identity", eye_array(3, format="csr"), np.arange(3.0))
solvers = {
    "good": lambda system, rtol, limit: Attempt(system.b, {"iterations": 1}),
    "wrong": lambda system, rtol, limit: Attempt(system.b + 1e-3),
    "nan": lambda system, rtol, limit: Attempt(system.b * np.nan),
    "absent": absent, "raises": raises, "slow": slow, "hang": hang, "crash": crash,
}
found = {name: arena.compete(system, Contestant(name, solve), 1e-6, 0.3) for name, solve in solvers.items()}
print(json.dumps({name: outcome.document() for name, outcome in found.items()}))
"""


def run(*arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env={**os.environ, "SOLVER_SERVICE_TEST_MATRICES": str(folder / "nowhere"), "BENCH": ""},
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_contestant_harms_only_itself(tmp_path: Path) -> None:
    done = run("-c", ARENA, str(BENCHMARKS), folder=tmp_path)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    assert {name: one["outcome"] for name, one in found.items()} == {
        "good": "solved",
        "wrong": "failed",
        "nan": "failed",
        "absent": "not applicable",
        "raises": "failed",
        "slow": "limit",
        "hang": "limit",
        "crash": "crashed",
    }
    assert 7 <= len(found["good"]["runs"]) == len(found["good"]["processor"]) <= 14
    assert found["good"]["seconds"] == arena.typical(found["good"]["runs"], found["good"]["processor"])
    assert found["good"]["relative_residual"] == 0.0
    assert found["good"]["says"] == {"iterations": 1}
    assert len(found["slow"]["runs"]) == 1
    assert found["raises"]["note"] == "ValueError: broken"
    assert all(one["seconds"] is None for name, one in found.items() if name != "good")


def test_disturbed_runs_count_with_their_processor_time() -> None:
    assert arena.typical([1.0, 9.0, 4.0], [1.0, 5.0, 3.9]) == 4.0
    assert arena.typical([1.0, 9.0, 4.0], [1.0, 3.0, 3.9]) == 3.0


def test_script_on_a_folder(tmp_path: Path) -> None:
    matrices = tmp_path / "matrices"
    matrices.mkdir()
    rng = np.random.default_rng(0)
    save_npz(matrices / "tall.npz", csr_array(rng.standard_normal((40, 10))))
    mmwrite(matrices / "line.mtx", diags_array([-1.0, 2.0, -1.0], offsets=[-1, 0, 1], shape=(30, 30)))
    (matrices / "README.md").write_text("no matrix")
    chosen = ["auto", "auto without direct", "scipy lsqr", "scipy cg", "scipy direct"]
    script = str(BENCHMARKS / "solvers.py")
    options = ["--folder", str(matrices), "--no-gallery", "--output", str(tmp_path / "out"), "--limit", "5"]
    done = run(script, *options, "--contestants", *chosen, "--rtol", "1e-6", "1e-8", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    record = json.loads((tmp_path / "out" / "solvers.json").read_text())
    assert [system["name"] for system in record["systems"]] == ["line", "tall"]
    assert len(record["outcomes"]) == 2 * 2 * len(chosen)
    outcomes = {(one["system"], one["contestant"], one["rtol"]): one for one in record["outcomes"]}
    assert outcomes["line", "scipy direct", 1e-8]["outcome"] == "solved"
    assert outcomes["tall", "scipy direct", 1e-8]["outcome"] == "not applicable"
    assert outcomes["tall", "scipy cg", 1e-6]["outcome"] == "not applicable"
    assert "direct" not in outcomes["line", "auto without direct", 1e-6]["says"]["phases"]
    assert set(record["summaries"]) == {"1e-06", "1e-08", "all"}
    assert record["summaries"]["all"]["auto_solves"] == 1.0
    assert (tmp_path / "out" / "profile_1e-06.png").is_file()
    assert "| tall | 40 × 10 |" in (tmp_path / "out" / "solvers.md").read_text()
    assert json.loads(done.stdout.splitlines()[-1])["results"]["all"]["auto_solves"] == 1.0


def test_right_side_is_that_of_a_seeded_solution(tmp_path: Path) -> None:
    A = csr_array(np.array([[1.0, 2.0], [0.0, 3.0], [4.0, 0.0]]))
    save_npz(tmp_path / "a.npz", A)
    system = read(tmp_path / "a.npz")
    assert system.name == "a"
    x = np.random.default_rng(0).standard_normal(2)
    np.testing.assert_array_equal(system.b, A @ x)
    assert system.relative_residual(x) < 1e-15
    assert system.relative_residual(np.zeros(2)) == pytest.approx(1.0)
    assert system.relative_residual(np.zeros(3)) == np.inf
    assert system.relative_residual([np.nan, 1.0]) == np.inf


def test_selection() -> None:
    everything = [name for name, _ in all_systems(None)]
    few = [name for name, _ in all_systems(None, few=True)]
    assert set(few) < set(everything)
    assert [name for name, _ in all_systems(None, only=["poisson"])] == ["poisson2d"]
    assert list(all_systems(None, with_gallery=False)) == []


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_scipy_cg_takes_definite_matrices_of_either_sign(sign: float) -> None:
    A = csr_array(sign * diags_array([1.0, -4.0, 1.0], offsets=[-1, 0, 1], shape=(20, 20)))
    system = System("line", A, A @ np.ones(20))
    attempt = CONTESTANTS["scipy cg"].solve(system, 1e-8, 1.0)
    assert system.relative_residual(attempt.x) <= 1e-8


@pytest.mark.parametrize("diagonal", [[1.0, -1.0], [1.0, 0.0]])
def test_scipy_cg_is_not_sent_to_others(diagonal: list[float]) -> None:
    with pytest.raises(NotApplicableError):
        CONTESTANTS["scipy cg"].solve(System("x", csr_array(np.diag(diagonal)), np.ones(2)), 1e-6, 1.0)


def test_a_peer_that_is_missing_is_not_applicable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "kaczmarz", None)
    with pytest.raises(NotApplicableError, match="not installed"):
        CONTESTANTS["kaczmarz-algorithms"].solve(System("x", csr_array(np.eye(2)), np.ones(2)), 1e-6, 1.0)
