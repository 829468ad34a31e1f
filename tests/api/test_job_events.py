"""Server-sent events, and jobs over the end of a server: with real sockets."""

from __future__ import annotations

import json
import threading
import time
from base64 import b64encode

import httpx2
import numpy as np
import pytest
from scipy.sparse import coo_array, diags_array, eye_array, kron

from solver_service.wire.replies import JobReply, ProgressReply


class Event:
    def __init__(self, block):
        fields = dict(line.split(": ", 1) for line in block.split("\n"))
        self.kind, self.id, self.data = fields["event"], int(fields["id"]), json.loads(fields["data"])


def events(client, path, *, last=None, until=lambda event: event.kind == "end", seconds=30.0):
    """Read a stream until an event says so; return the events."""
    headers = {} if last is None else {"Last-Event-ID": str(last)}
    found, text, end = [], "", time.monotonic() + seconds
    with client.stream("GET", f"{path}/events", headers=headers) as response:
        assert response.status_code == 200
        assert response.headers["content-type"].startswith("text/event-stream")
        for piece in response.iter_text():
            text += piece
            while "\n\n" in text:
                block, text = text.split("\n\n", 1)
                if block.startswith("event"):
                    found.append(Event(block))
                    if until(found[-1]):
                        return found
            assert time.monotonic() < end, [event.kind for event in found]
    return found


def submit(client, document):
    return client.post("/v1/jobs", json=document).json()


def next_progress(client, job, before):
    """Wait until a job has told something new."""
    end = time.monotonic() + 30
    while time.monotonic() < end:
        progress = client.get(job["links"]["self"], params={"wait": 0.1}).json()["progress"]
        if progress != before:
            return progress
    raise AssertionError(before)


@pytest.fixture
def cancel(server):
    """Cancel a job, and wait for its end."""
    with server.client() as client:
        yield lambda job: (
            client.post(job["links"]["cancel"]),
            client.get(job["links"]["self"], params={"wait": 30}).json(),
        )[1]


def test_a_stream_from_begin_to_end(server, endless, cancel):
    with server.client() as client:
        job = submit(client, {**endless, "options": {**endless["options"], "time_limit": 2.5}})
        seen = events(client, job["links"]["self"])
    states = [event.data["state"] for event in seen if event.kind == "state"]
    assert states == ["queued", "running", "succeeded"]
    progress = [event for event in seen if event.kind == "progress"]
    assert 2 <= len(progress) <= 25  # 1 to 10 a second
    for event in progress:
        ProgressReply.model_validate(event.data)
    iterations = [event.data["iterations"] for event in progress]
    assert iterations == sorted(iterations)
    assert seen[-1].kind == "end"
    JobReply.model_validate_json(json.dumps(seen[-1].data))
    ids = [event.id for event in seen]
    assert ids == sorted(set(ids))


def test_a_client_that_reconnects_misses_nothing(server, endless, cancel):
    with server.client() as client:
        job = submit(client, endless)
        first = events(client, job["links"]["self"], until=lambda event: event.kind == "progress")
        while_nobody_looks = client.get(job["links"]["self"]).json()["progress"]
        for _ in range(2):  # the curve grows
            while_nobody_looks = next_progress(client, job, while_nobody_looks)
        cancel(job)
        rest = events(client, job["links"]["self"], last=first[-1].id)
        everything = events(client, job["links"]["self"])
        assert [event.id for event in first + rest] == [event.id for event in everything]
        assert sum(event.kind == "progress" for event in rest) >= 2
        again = client.get(f"{job['links']['self']}/events", headers={"Last-Event-ID": str(rest[-1].id)})
        assert (again.status_code, again.content) == (204, b"")
        ids = [event.id for event in events(client, job["links"]["self"], last="nonsense")]
        assert ids == [event.id for event in everything]


def test_ids_from_nowhere_and_heads_do_no_harm(server, endless, cancel):
    with server.client() as client:
        job = submit(client, endless)
        assert client.head(job["links"]["events"], timeout=5).status_code == 200
        first = events(client, job["links"]["self"], until=lambda event: event.kind == "progress", last=10**9)
        assert first[-1].id < 10**9
        cancel(job)
        answer = client.get(job["links"]["events"], headers={"Last-Event-ID": str(10**9)})
        assert answer.status_code == 204


def test_a_job_that_is_removed_ends_the_stream(server, system):
    with server.client() as client:
        job = submit(client, system)
        events(client, job["links"]["self"])
        client.delete(job["links"]["self"])
        assert client.get(job["links"]["events"]).status_code == 404


def test_a_stop_of_the_server_ends_streams_and_keeps_the_job(live, tmp_path, endless):
    options = {**endless["options"], "max_epochs": 60_000}
    with live(tmp_path) as server, server.client() as client:
        job = submit(client, {**endless, "options": options})
        with client.stream("GET", job["links"]["events"]) as response:
            lines = response.iter_lines()
            for _ in range(3):
                while "event: progress" not in next(lines):
                    pass
            began = time.monotonic()
            server.begin_stop()
            for _ in lines:
                pass
        assert time.monotonic() - began < 2.0
    (folder,) = (tmp_path / "jobs").iterdir()
    assert any(path.name.startswith("state-1") for path in folder.iterdir())
    with live(tmp_path) as server, server.client() as client:
        before = client.get(job["links"]["self"]).json()["progress"]
        assert before["iterations"] > 0
        seen = events(client, job["links"]["self"], until=lambda event: event.kind == "progress", last=4)
        assert seen[-1].data["iterations"] >= 0
        client.post(job["links"]["cancel"])
        ended = client.get(job["links"]["self"], params={"wait": 30}).json()
    assert (ended["state"], ended["attempts"]) == ("cancelled", 2)
    assert ended["result"]["iterations"] >= before["iterations"]


def test_a_waiting_request_is_answered_when_the_server_stops(live, tmp_path, endless):
    with live(tmp_path) as server, server.client() as client:
        job = submit(client, endless)
        began = time.monotonic()
        threading.Timer(0.5, server.begin_stop).start()
        answer = client.get(job["links"]["self"], params={"wait": 60})
        assert answer.status_code in (200, 503)
        assert time.monotonic() - began < 3.0


def test_hanging_up_on_a_solve_frees_the_worker(server, endless, wait_until):
    pool = server.services.pool
    with pytest.raises(httpx2.TimeoutException), server.client() as client:
        client.post("/v1/solve", json=endless, timeout=0.5)
    began = time.monotonic()
    wait_until(lambda: pool.stats.lanes["solve"].busy == 0)
    assert time.monotonic() - began < 1.0


def test_a_worker_that_dies_costs_a_job_nothing(live, tmp_path, endless, wait_until):
    options = {**endless["options"], "max_epochs": 40_000}
    with live(tmp_path) as server, server.client() as client:
        job = submit(client, {**endless, "options": options})
        events(
            client,
            job["links"]["self"],
            until=lambda event: event.kind == "progress" and event.data["iterations"] > 0,
        )
        busiest = max(server.workers, key=lambda worker: worker.cpu_times().user)
        busiest.kill()
        again = events(
            client,
            job["links"]["self"],
            until=lambda event: event.kind == "end",
            seconds=60,
        )
    states = [event.data["state"] for event in again if event.kind == "state"]
    assert states == ["queued", "running", "queued", "running", "succeeded"]
    assert again[-1].data["attempts"] == 2
    assert again[-1].data["result"]["status"] == "max_epochs"
    assert again[-1].data["result"]["iterations"] == 40_000 * 2000
    assert np.isfinite(again[-1].data["result"]["relative_residual"])


@pytest.fixture(scope="module")
def stubborn():
    """A system whose factorisation takes long and cannot be interrupted."""
    n = 36
    one, rod = (
        eye_array(n),
        diags_array([-np.ones(n - 1), 2.0 * np.ones(n), -np.ones(n - 1)], offsets=[-1, 0, 1]),
    )
    A = coo_array(kron(kron(rod, one), one) + kron(kron(one, rod), one) + kron(kron(one, one), rod))
    row, col = (index.astype("<i4") for index in A.coords)
    matrix = {
        "format": "coo",
        "shape": list(A.shape),
        "row": base64(row),
        "col": base64(col),
        "data": base64(A.data),
    }
    return {"matrix": matrix, "b": base64(np.ones(n**3)), "options": {"method": "direct"}}


def base64(array):
    return {"base64": b64encode(array.tobytes()).decode(), "dtype": array.dtype.str}


def test_a_worker_that_does_not_react_is_replaced(server, stubborn, system):
    restarts = server.services.pool.stats.restarts
    with server.client() as client:
        job = submit(client, stubborn)
        events(client, job["links"]["self"], until=lambda event: event.kind == "progress")
        began = time.monotonic()
        client.post(job["links"]["cancel"])
        job = client.get(job["links"]["self"], params={"wait": 30}).json()
        assert 1.5 < time.monotonic() - began < 6.0
        assert (job["state"], job["result"]["status"]) == ("cancelled", "cancelled")
        assert job["result"]["relative_residual"] == 1.0  # the best x was where it began
        assert server.services.pool.stats.restarts == restarts + 1
        after = client.get(submit(client, system)["links"]["self"], params={"wait": 30}).json()
        assert after["result"]["converged"]


@pytest.mark.parametrize(("limit", "state"), [("deadline", "cancelled"), ("time_limit", "succeeded")])
def test_native_code_does_not_outlast_a_limit_for_long(server, stubborn, limit, state):
    options = {**stubborn["options"], **({"time_limit": 0.5} if limit == "time_limit" else {})}
    document = {**stubborn, "options": options, **({"deadline": 0.5} if limit == "deadline" else {})}
    with server.client() as client:
        began = time.monotonic()
        job = client.get(submit(client, document)["links"]["self"], params={"wait": 30}).json()
        assert time.monotonic() - began < 8.0
    assert (job["state"], job["result"]["status"]) == (state, "time_limit")
    assert job["attempts"] == 1
