"""Hundreds of hostile requests, many at once: all are refused, and nothing is left of them."""

import importlib.util
import json
import socket
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from solver_service.wire.errors import PROBLEMS

PATH = Path(__file__).with_name("hostile_requests.py")


@pytest.fixture(scope="module")
def table():
    spec = importlib.util.spec_from_file_location("hostile_requests", PATH)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module.all_requests(seed=20)


@pytest.fixture(scope="module")
def target(live, tmp_path_factory):
    settings = {
        "workers": 2,
        "max_body_bytes": 2_000_000,
        "max_json_bytes": 500_000,
        "max_rows": 1_000_000,
        "max_columns": 1_000_000,
        "max_entries": 1_000_000,
        "worker_memory_bytes": 2**30,
        "default_deadline": 20,
        "body_timeout": 5,
    }
    with live(tmp_path_factory.mktemp("hostile"), **settings) as server:
        yield server


def send(server, client, hostile):
    """Return status, content type and body."""
    if hostile.raw is not None:
        return send_raw(server, hostile.raw)
    response = client.request(hostile.method, hostile.path, headers=hostile.headers, content=hostile.body)
    return response.status_code, response.headers.get("content-type", ""), response.content


def send_raw(server, content):
    with socket.create_connection(("127.0.0.1", server.port), timeout=60) as connection:
        try:
            connection.sendall(content)
            connection.shutdown(socket.SHUT_WR)
        except OSError:
            pass  # it was refused before it was all sent
        try:
            answer = connection.makefile("rb").read()
        except ConnectionResetError:
            return None
    head, _, body = answer.partition(b"\r\n\r\n")
    if not head:
        return None  # the client had hung up first
    status, *lines = head.decode("latin-1").split("\r\n")
    headers = dict(line.lower().split(": ", 1) for line in lines if ": " in line)
    return int(status.split()[1]), headers.get("content-type", ""), body


def judge(hostile, answer):
    """Say what is wrong with the answer, or None."""
    if answer is None:
        return None if hostile.raw is not None else "no answer"
    status, media_type, body = answer
    if status >= 500 and status != 503:
        return f"status {status}"
    if status < 400:
        return None if hostile.may_succeed else f"status {status}"
    if media_type != "application/problem+json":
        return f"{status} as {media_type}"
    document = json.loads(body)
    if document["code"] not in PROBLEMS or document["status"] != status or not document["request_id"]:
        return f"document {document}"
    broken_http = hostile.raw is not None and status == 400
    return (
        None if broken_http or PROBLEMS[document["code"]][0] == status else f"{status} for {document['code']}"
    )


def test_the_service_stands(target, table, system, wait_until):
    assert len(table) >= 200
    assert len({hostile.name for hostile in table}) == len(table)
    before = target.workers
    with ThreadPoolExecutor(8) as threads, target.client() as client:
        answers = list(threads.map(lambda hostile: send(target, client, hostile), table))
    complaints = {
        hostile.name: complaint
        for hostile, answer in zip(table, answers, strict=True)
        if (complaint := judge(hostile, answer)) is not None
    }
    assert complaints == {}
    # Refused by the request's own fault, not because there was too much to do.
    assert [answer for answer in answers if answer is not None and answer[0] == 503] == []
    wait_until(lambda: target.services.pool.stats.busy == 0)
    assert target.workers == before
    assert target.services.pool.stats.restarts == 0
    wait_until(lambda: not target.spooled())
    with target.client() as client:
        assert client.get("/v1/matrices").json() == {"items": [], "next_cursor": None}
        assert client.get("/v1/jobs").json() == {"items": [], "next_cursor": None}
    assert [path for folder in ("jobs", "staging") for path in (target.data_dir / folder).iterdir()] == []
    with target.client() as client:
        assert client.get("/health/ready").status_code == 200
        good = client.post("/v1/solve", json=system).json()
    assert good["converged"] is True
    assert good["x"] == pytest.approx([1.0, 1.0])
    stored = target.data_dir / "matrices"
    assert [path for path in stored.rglob("*") if path.is_file()] == []
