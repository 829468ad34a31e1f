import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time

import httpx2
import numpy as np
import pytest
from click.testing import CliRunner

from solver_service.cli import main
from solver_service.cli.main import COMMANDS


@contextlib.contextmanager
def serve(folder, *arguments, **environment):
    """Yield the process and its address; it must have ended by itself, or is killed."""
    command = [sys.executable, "-m", "solver_service.cli", "serve", "--port", "0", "--json"]
    variables = {f"SOLVER_SERVICE_{name.upper()}": str(value) for name, value in environment.items()}
    with (folder / "log").open("wb") as log_file:
        process = subprocess.Popen(
            [*command, "--data-dir", str(folder / "data"), "--workers", "1", *arguments],
            stdout=subprocess.PIPE,
            stderr=log_file,
            env={**os.environ, **variables},
        )
    try:
        with process.stdout as output:
            announced = json.loads(output.readline())
        assert announced["pid"] == process.pid
        yield process, announced["url"]
    finally:
        process.kill()
        process.wait()


def logged(folder):
    return [json.loads(line) for line in (folder / "log").read_text().splitlines()]


def wait_until(condition, seconds=30.0):
    end, pause = time.monotonic() + seconds, threading.Event()
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        pause.wait(0.01)


def endless(n=2000):
    """Equations of a long rod, in an order and with a method that take hours."""
    row = [i for i in range(n) for _ in range(3)][1:-1]
    col = [j for i in range(n) for j in (i - 1, i, i + 1)][1:-1]
    matrix = {
        "format": "coo",
        "shape": [n, n],
        "row": row,
        "col": col,
        "data": [2.0 if i == j else -1.0 for i, j in zip(row, col, strict=True)],
    }
    options = {"method": "kaczmarz", "momentum": "none", "batch_size": 1, "rtol": 1e-13, "max_epochs": 1e12}
    return {"matrix": matrix, "b": np.sin(np.arange(n)).tolist(), "options": options}


def ready(client):
    return client.get("/health/ready").status_code == 200


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_answers_what_runs_and_ends_well(tmp_path, number):
    with (
        serve(tmp_path) as (process, url),
        httpx2.Client(base_url=url, timeout=30, trust_env=False) as client,
    ):
        wait_until(lambda: ready(client))
        answers = []
        caller = threading.Thread(target=lambda: answers.append(client.post("/v1/solve", json=endless())))
        caller.start()
        spool = tmp_path / "data" / "spool"
        wait_until(lambda: worker_is_busy(process))
        began = time.monotonic()
        process.send_signal(number)
        process.send_signal(number)  # an impatient second time is harmless
        assert process.wait(10) == 0
        assert time.monotonic() - began < 5
        caller.join(10)
        (answer,) = answers
        assert answer.status_code == 200
        assert answer.json()["status"] == "cancelled"
        assert list(spool.iterdir()) == []


def worker_is_busy(process):
    import psutil

    (fork_server,) = psutil.Process(process.pid).children()
    workers = fork_server.children()
    return any(worker.cpu_times().user > 0.2 for worker in workers)


def test_killing_the_server_ends_its_workers(tmp_path):
    import psutil

    with serve(tmp_path) as (process, url), httpx2.Client(base_url=url, trust_env=False) as client:
        wait_until(lambda: ready(client))
        family = psutil.Process(process.pid).children(recursive=True)
        assert len(family) == 4  # the fork server, one that solves, one for jobs, one that takes things in
        process.kill()
        gone, alive = psutil.wait_procs(family, timeout=5)
        assert (len(gone), alive) == (4, [])


def test_logs_are_json_lines_and_options_beat_variables(tmp_path):
    with serve(tmp_path, "--host", "127.0.0.1", workers=99, host="192.0.2.1", log_level="info") as (
        process,
        url,
    ):
        with httpx2.Client(base_url=url, trust_env=False) as client:
            client.get("/health/live", headers={"X-Request-Id": "one"})
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0
    lines = logged(tmp_path)
    assert {"event", "level", "logger", "timestamp"} <= set(lines[0])
    assert [line["path"] for line in lines if line.get("request_id") == "one"] == ["/health/live"]
    assert [line["url"] for line in lines if line["event"] == "listening"] == [url]


def run(*arguments, **environment):
    variables = {f"SOLVER_SERVICE_{name.upper()}": value for name, value in environment.items()}
    return CliRunner().invoke(main, ["serve", *arguments], env=variables)


@pytest.mark.parametrize(
    ("arguments", "environment", "message"),
    [
        (["--port", "70000"], {}, "port: must be less than or equal to 65535 (SOLVER_SERVICE_PORT)"),
        (["--workers", "0"], {}, "workers: must be greater than or equal to 1"),
        ([], {"port": "http"}, "port: must be a valid integer"),
        ([], {"max_rows": "-1"}, "max_rows: must be greater than or equal to 1 (SOLVER_SERVICE_MAX_ROWS)"),
        (["--prot", "1"], {}, "No such option"),
        (["--port", "http"], {}, "not a valid integer"),
    ],
)
def test_wrong_usage_is_status_2(arguments, environment, message):
    result = run(*arguments, **environment)
    assert result.exit_code == 2
    assert message in result.stderr
    assert result.stdout == ""


def test_a_taken_port_is_status_3(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        result = run("--port", str(port), "--data-dir", str(tmp_path))
    assert result.exit_code == 3
    assert f"cannot listen on 127.0.0.1 port {port}" in result.stderr


def test_an_unknown_host_is_status_3(tmp_path):
    result = run("--port", "0", "--host", "256.1.1.1", "--data-dir", str(tmp_path))
    assert result.exit_code == 3
    assert "cannot listen" in result.stderr


def test_a_data_folder_that_cannot_be_written_is_status_3(tmp_path):
    (tmp_path / "file").write_text("in the way")
    result = run("--port", "0", "--data-dir", str(tmp_path / "file" / "data"))
    assert result.exit_code == 3
    assert "cannot write to the data folder" in result.stderr


def test_help_names_all_commands():
    result = CliRunner().invoke(main, ["--help"])
    assert result.exit_code == 0
    assert all(name in result.output for name in COMMANDS)
    assert "--data-dir" in CliRunner().invoke(main, ["serve", "--help"]).output


def test_version():
    assert CliRunner().invoke(main, ["--version"]).output.startswith("solver-service, version ")


def test_an_unknown_command_is_status_2():
    assert CliRunner().invoke(main, ["sovle"]).exit_code == 2
