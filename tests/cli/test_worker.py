"""A server that takes jobs in, and workers that run them: processes that share a database and a folder."""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager

import httpx2
import psutil
import pytest

COO = {"format": "coo", "shape": [3, 2], "row": [0, 1, 2], "col": [0, 1, 1], "data": [1.0, 2.0, 3.0]}


@contextmanager
def process(*arguments, **settings):
    environment = {
        **os.environ,
        **{f"SOLVER_SERVICE_{key.upper()}": str(value) for key, value in settings.items()},
    }
    command = [sys.executable, "-m", "solver_service.cli", *arguments, "--json"]
    child = subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        yield child
    finally:
        if child.poll() is None:
            child.terminate()
        child.communicate(timeout=30)


def rod(n=2000):
    """Takes hours by single rows."""
    row = [*range(n), *range(1, n), *range(n - 1)]
    col = [*range(n), *range(n - 1), *range(1, n)]
    matrix = {
        "format": "coo",
        "shape": [n, n],
        "row": row,
        "col": col,
        "data": [2.0] * n + [-1.0] * (2 * n - 2),
    }
    options = {"method": "kaczmarz", "momentum": "none", "batch_size": 1, "rtol": 1e-13, "max_epochs": 1e12}
    x = [0.0, *[math.sin(k) for k in range(n)], 0.0]
    b = [2.0 * x[k] - x[k - 1] - x[k + 1] for k in range(1, n + 1)]
    return {"matrix": matrix, "b": b, "options": options}


@pytest.fixture
def server(tmp_path):
    settings = {"data_dir": tmp_path, "port": 0, "workers": 1, "job_workers": 0, "stall_seconds": 1}
    with process("serve", **settings) as child:
        url = json.loads(child.stdout.readline())["url"]
        with httpx2.Client(base_url=url, timeout=60, trust_env=False) as client:
            yield client


def worker(folder):
    return process("worker", data_dir=folder, workers=1, stall_seconds=1)


def test_jobs_wait_for_a_worker_and_outlive_it(server, tmp_path):
    small = server.post("/v1/jobs", json={"matrix": COO, "b": [1.0, 2.0, 3.0]}).json()
    assert server.get(small["links"]["self"], params={"wait": 0.5}).json()["state"] == "queued"
    with worker(tmp_path) as first:
        started = json.loads(first.stdout.readline())
        assert started == {"pid": first.pid, "workers": 1}
        assert server.get(small["links"]["self"], params={"wait": 30}).json()["state"] == "succeeded"
        long = server.post("/v1/jobs", json=rod()).json()
        until_it_runs(server, long)
        family = psutil.Process(first.pid).children(recursive=True)
        first.kill()
        assert psutil.wait_procs(family, timeout=5)[1] == []
    with worker(tmp_path) as second:
        job = until_it_runs(server, long, attempts=2)
        assert job["attempts"] == 2
        second.send_signal(signal.SIGTERM)
        assert second.wait(10) == 0
        job = server.get(long["links"]["self"]).json()
        assert (job["state"], job["queue_position"]) == ("queued", 1)
        server.post(long["links"]["cancel"])
        assert server.get(long["links"]["self"]).json()["state"] == "queued"  # its saved x is to be verified
    with worker(tmp_path):
        job = server.get(long["links"]["self"], params={"wait": 30}).json()
    assert (job["state"], job["attempts"]) == ("cancelled", 3)
    assert 0 < job["result"]["relative_residual"] < 1


def until_it_runs(client, job, attempts=1):
    """Wait until an attempt itself has told of progress."""
    end, seen = time.monotonic() + 30, []
    while time.monotonic() < end:
        document = client.get(job["links"]["self"], params={"wait": 0.1}).json()
        progress = document["progress"]
        if document["state"] == "running" and document["attempts"] == attempts and progress not in seen:
            seen.append(progress)
        if len(seen) > 2 and seen[-1]["iterations"]:
            return document
    raise AssertionError(document)


def test_a_database_that_cannot_be_used_is_said(tmp_path):
    for command in ("serve", "worker"):
        with process(
            command, data_dir=tmp_path, database_url="postgresql://nobody@127.0.0.1:1/none"
        ) as child:
            out, err = child.communicate(timeout=60)
        assert child.returncode == 3
        assert out == ""
        assert "cannot use the database" in err
        assert "Traceback" not in err
