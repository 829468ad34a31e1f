from __future__ import annotations

import gzip
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import psutil
import pytest
import scipy.io
from scipy.sparse import coo_array, random_array, vstack

SCRIPT = Path(__file__).parents[2] / "examples" / "tomography.py"
PNG = b"\x89PNG\r\n\x1a\n"


def start(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, str(SCRIPT), *arguments],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def run(folder: Path, *arguments: str) -> tuple[int, str, str]:
    process = start(folder, *arguments)
    out, err = process.communicate()
    return process.returncode, out, err


def write_matrix(path: Path) -> Path:
    rng = np.random.default_rng(1)
    A = vstack([random_array((80, 30), density=0.1, rng=rng), 2 * coo_array(np.eye(30))])
    with gzip.open(path, "wb") as file:
        scipy.io.mmwrite(file, A)
    return path


def test_scan_on_a_service_of_its_own(tmp_path: Path) -> None:
    status, out, err = run(tmp_path, "--pixels", "24")
    assert (status, err) == (0, "")
    assert "24 x 24 pixels" in out
    assert "converged" in out
    assert "error against the phantom" in out
    for name in ("reconstruction.png", "convergence.png"):
        assert f"solver-output/{name}" in out
        assert (tmp_path / "solver-output" / name).read_bytes().startswith(PNG)


def test_matrix_file_on_a_running_service(tmp_path: Path, service: str) -> None:
    matrix = write_matrix(tmp_path / "small.mtx.gz")
    status, out, err = run(tmp_path, "--matrix", str(matrix), "--server", service)
    assert (status, err) == (0, "")
    assert "small.mtx.gz" in out
    assert "error against the x behind b" in out
    assert not (tmp_path / "solver-output" / "reconstruction.png").exists()
    assert (tmp_path / "solver-output" / "convergence.png").exists()


def test_inconsistent_right_side_does_not_converge(tmp_path: Path, service: str) -> None:
    matrix = write_matrix(tmp_path / "small.mtx.gz")
    np.save(tmp_path / "b.npy", np.random.default_rng(0).standard_normal(110))
    status, out, _ = run(
        tmp_path, "--matrix", str(matrix), "--rhs", str(tmp_path / "b.npy"), "--server", service
    )
    assert status == 1
    assert "advice" in out


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--matrix", "missing.mtx"], "missing.mtx: No such file or directory"),
        (["--matrix", "broken.mtx"], "broken.mtx"),
        (["--matrix", "small.mtx.gz", "--rhs", "short.npy"], "110"),
        (["--matrix", "small.mtx.gz", "--method", "magic"], "options.method: must be one of auto"),
    ],
)
def test_bad_input_is_one_sentence(arguments: list[str], sentence: str, tmp_path: Path, service: str) -> None:
    write_matrix(tmp_path / "small.mtx.gz")
    (tmp_path / "broken.mtx").write_text("%%MatrixMarket matrix coordinate real general\n2 2 1\n5 5 1.0\n")
    np.save(tmp_path / "short.npy", np.ones(3))
    status, _, err = run(tmp_path, *arguments, "--server", service)
    assert status == 2
    assert err.startswith("error: ")
    assert sentence in err
    assert err.count("\n") == 1


def test_unreachable_service(tmp_path: Path) -> None:
    status, _, err = run(tmp_path, "--pixels", "8", "--server", "http://127.0.0.1:9")
    assert status == 3
    assert err.startswith("error: the service cannot be reached")


def test_service_that_does_not_start_shows_its_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOLVER_SERVICE_WORKERS", "none")
    status, _, err = run(tmp_path, "--pixels", "8")
    assert status == 3
    assert "SOLVER_SERVICE_WORKERS" in err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_run_leaves_no_process(number: signal.Signals, tmp_path: Path) -> None:
    process = start(tmp_path, "--pixels", "24")
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith("A is"):
            break
    family = psutil.Process(process.pid)
    while not (children := family.children(recursive=True)):
        assert process.poll() is None
    process.send_signal(number)
    process.communicate()
    assert process.returncode == 128 + number
    _, alive = psutil.wait_procs(children, timeout=10)
    assert not alive
