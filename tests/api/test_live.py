"""What only a real server shows: hang-ups, lost workers, a full queue."""

import io
import json
import os
import signal
import socket
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from scipy.sparse import eye_array, random_array, save_npz


def request_bytes(path, body, *extra):
    head = [f"POST {path} HTTP/1.1", "Host: x", "Content-Type: application/json", *extra]
    return ("\r\n".join([*head, f"Content-Length: {len(body)}"]) + "\r\n\r\n").encode() + body


@pytest.fixture
def idle(server, wait_until):
    """The worker is idle before and after, and no file is left."""
    yield
    wait_until(lambda: server.services.pool.stats.busy == 0)
    wait_until(lambda: not server.spooled())


def test_a_client_that_hangs_up_frees_the_worker(server, endless, system, wait_until, idle):
    before = server.workers
    with socket.create_connection(("127.0.0.1", server.port)) as connection:
        connection.sendall(request_bytes("/v1/solve", json.dumps(endless).encode()))
        wait_until(lambda: server.services.pool.stats.busy == 1)
    wait_until(lambda: server.services.pool.stats.busy == 0, 5)
    with server.client() as client:
        assert client.post("/v1/solve", json=system).status_code == 200
    assert server.workers == before


def test_hanging_up_with_a_half_sent_body_leaves_nothing(server, wait_until, idle):
    with socket.create_connection(("127.0.0.1", server.port)) as connection:
        head = b"POST /v1/matrices HTTP/1.1\r\nHost: x\r\nContent-Length: 9000000\r\n\r\n"
        connection.sendall(head + bytes(4_000_000))
        wait_until(server.spooled)


def test_a_killed_worker_fails_its_own_request_only(tmp_path, live, endless, system, wait_until):
    with live(tmp_path, workers=2) as server, server.client() as client, ThreadPoolExecutor() as threads:
        before = server.workers
        doomed = threads.submit(client.post, "/v1/solve", json=endless)
        wait_until(lambda: server.services.pool.stats.busy == 1)
        begun = [process.cpu_times().user for process in before]

        def used():
            return [process.cpu_times().user - start for process, start in zip(before, begun, strict=True)]

        wait_until(lambda: max(used()) > 0.2)
        os.kill(before[int(np.argmax(used()))].pid, signal.SIGKILL)
        response = doomed.result(20)
        assert (response.status_code, response.json()["code"]) == (503, "worker_lost")
        assert int(response.headers["retry-after"]) >= 1
        assert client.post("/v1/solve", json=system).status_code == 200
        wait_until(lambda: server.services.pool.ready)
        assert server.services.pool.stats.restarts == 1


def test_a_full_queue_answers_at_once(tmp_path, live, endless, system, wait_until):
    with live(tmp_path, queue_size=1) as server, server.client() as client, ThreadPoolExecutor() as threads:
        running = threads.submit(client.post, "/v1/solve", json={**endless, "deadline": 20})
        wait_until(lambda: server.services.pool.stats.busy == 1)
        waiting = threads.submit(client.post, "/v1/solve", json=system)
        wait_until(lambda: server.services.pool.stats.queued == 1)
        refused = client.post("/v1/solve", json=system)
        assert (refused.status_code, refused.json()["code"]) == (503, "queue_full")
        assert int(refused.headers["retry-after"]) >= 1
        server.begin_stop()
        assert running.result(10).json()["status"] == "cancelled"
        assert waiting.result(10).json()["code"] == "shutting_down"


def test_matrices_do_not_wait_behind_solves(tmp_path, live, endless, system, wait_until):
    with live(tmp_path) as server, server.client() as client, ThreadPoolExecutor() as threads:
        running = threads.submit(client.post, "/v1/solve", json={**endless, "deadline": 20})
        wait_until(lambda: server.services.pool.stats.busy == 1)
        stored = client.post("/v1/matrices", json=system["matrix"])
        assert stored.status_code == 201
        assert client.get(f"/v1/matrices/{stored.json()['id']}/content").status_code == 200
        assert not running.done()
        server.begin_stop()
        assert running.result(10).json()["status"] == "cancelled"


def test_waiting_in_the_queue_counts(tmp_path, live, endless, system, wait_until):
    with live(tmp_path) as server, server.client() as client, ThreadPoolExecutor() as threads:
        running = threads.submit(client.post, "/v1/solve", json={**endless, "deadline": 2})
        wait_until(lambda: server.services.pool.stats.busy == 1)
        late = client.post("/v1/solve", json={**system, "deadline": 0.1})
        assert (late.status_code, late.json()["code"]) == (503, "queue_full")
        assert running.result(20).json()["status"] == "time_limit"


def test_stopping_answers_what_runs_and_refuses_what_comes(tmp_path, live, endless, system, wait_until):
    with live(tmp_path) as server, server.client() as client, ThreadPoolExecutor() as threads:
        running = threads.submit(client.post, "/v1/solve", json=endless)
        wait_until(lambda: server.services.pool.stats.busy == 1)
        server.refuse_work()
        wait_until(lambda: server.services.signal.stopping)
        refused = client.post("/v1/solve", json=system)
        assert (refused.status_code, refused.json()["code"]) == (503, "shutting_down")
        assert client.get("/health/ready").json()["code"] == "shutting_down"
        assert client.get("/health/live").status_code == 200
        answer = running.result(10)
        assert answer.status_code == 200
        assert answer.json()["status"] == "cancelled"
        assert 0 < answer.json()["relative_residual"] <= 1


def test_a_stalled_body_times_out(tmp_path, live):
    with (
        live(tmp_path, body_timeout=0.3) as server,
        socket.create_connection(("127.0.0.1", server.port)) as connection,
    ):
        connection.sendall(request_bytes("/v1/solve", b'{"b": [1, 2')[:-3])
        answer = connection.makefile("rb").read()
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 408 ")
    assert json.loads(body)["code"] == "request_timeout"


@pytest.mark.parametrize(
    "head",
    [
        b"\x16\x03\x01\r\n\r\n",
        b"GET / HTTP/1.1\r\nX: " + b"y" * 200_000,
        b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 50_000,
    ],
)
def test_what_is_no_request_is_a_problem_too(server, head):
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as connection:
        connection.sendall(head)
        answer = connection.recv(65536)
    lines, _, body = answer.partition(b"\r\n\r\n")
    assert lines.startswith(b"HTTP/1.1 400 ")
    assert b"content-type: application/problem+json" in lines
    document = json.loads(body)
    assert (document["status"], document["code"]) == (400, "invalid_request")
    assert f"x-request-id: {document['request_id']}".encode() in lines


def test_stopping_ends_uploads(tmp_path, live, wait_until):
    with live(tmp_path) as server, socket.create_connection(("127.0.0.1", server.port)) as connection:
        head = b"POST /v1/matrices HTTP/1.1\r\nHost: x\r\nContent-Length: 9000000\r\n\r\n"
        connection.sendall(head + bytes(4_000_000))
        wait_until(server.spooled)
        server.begin_stop()
        answer = connection.makefile("rb").read()
    assert answer.startswith(b"HTTP/1.1 503 ")
    assert b'"shutting_down"' in answer


@pytest.fixture(scope="module")
def uninterruptible():
    """A system whose factorisation takes very long, and cannot be stopped from inside."""
    n = 8000
    generator = np.random.default_rng(0)
    A = random_array((n, n), density=10 / n, rng=generator, format="csr") + 100 * eye_array(n, format="csr")
    file, b = io.BytesIO(), io.BytesIO()
    save_npz(file, A)
    np.save(b, A @ np.ones(n))
    return {"matrix": file.getvalue(), "b": b.getvalue(), "options": b'{"method": "direct"}'}


def test_a_deadline_ends_even_what_cannot_be_stopped(tmp_path, live, uninterruptible, system, wait_until):
    with live(tmp_path) as server, server.client() as client:
        began = time.monotonic()
        response = client.post("/v1/solve", files={**uninterruptible, "deadline": b"0.5"})
        assert (response.status_code, response.json()["code"]) == (408, "request_timeout")
        assert 0.5 < time.monotonic() - began < 5
        assert client.post("/v1/solve", json=system).status_code == 200
        wait_until(lambda: not server.spooled())


def test_stopping_ends_even_what_cannot_be_stopped(tmp_path, live, uninterruptible, wait_until):
    with live(tmp_path) as server, server.client() as client, ThreadPoolExecutor() as threads:
        running = threads.submit(client.post, "/v1/solve", files=uninterruptible)
        used = server.seconds_worked
        wait_until(lambda: server.seconds_worked > used + 0.2)
        began = time.monotonic()
        server.begin_stop()
        response = running.result(10)
        assert (response.status_code, response.json()["code"]) == (503, "shutting_down")
        server.stop()
        assert time.monotonic() - began < 5


def test_hanging_up_ends_even_what_cannot_be_stopped(tmp_path, live, uninterruptible, wait_until):
    with live(tmp_path) as server, server.client() as client:
        request = client.build_request("POST", "/v1/solve", files=uninterruptible)
        head = "".join(f"{name}: {value}\r\n" for name, value in request.headers.items())
        used = server.seconds_worked
        with socket.create_connection(("127.0.0.1", server.port)) as connection:
            connection.sendall(f"POST /v1/solve HTTP/1.1\r\n{head}\r\n".encode() + request.read())
            wait_until(lambda: server.seconds_worked > used + 0.2)
        wait_until(lambda: server.services.pool.stats.restarts == 1, 10)
        wait_until(lambda: not server.spooled())
