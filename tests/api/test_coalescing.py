"""Requests that wait for the same stored matrix are solved together, each with the result of a lone one."""

import base64
import json
import socket
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import numpy as np
import pytest
from scipy.sparse import coo_array, random_array

import solver_service

MOST_TOGETHER = 16
GENERATOR = np.random.default_rng(11)
A = random_array((60, 25), density=0.3, rng=GENERATOR, format="coo", data_sampler=GENERATOR.standard_normal)
SIDES = (A @ GENERATOR.standard_normal((25, 20))).T


def document(matrix):
    matrix = coo_array(matrix)
    numbers = {"row": matrix.row.tolist(), "col": matrix.col.tolist(), "data": matrix.data.tolist()}
    return {"format": "coo", "shape": list(matrix.shape), **numbers}


def encoded(b):
    return {"base64": base64.b64encode(np.ascontiguousarray(b).tobytes()).decode(), "dtype": "<f8"}


def system(id_, b, **options):
    return {"matrix": {"id": id_}, "b": encoded(b), "options": {"rtol": 1e-9, **options}}


def store(server, matrix):
    with server.client() as client:
        response = client.post("/v1/matrices", json=matrix)
        assert response.status_code in (200, 201)
        return response.json()["id"]


def send(server, body):
    """Send a request and return the connection, which hangs up when it is closed."""
    content = json.dumps(body).encode()
    head = ["POST /v1/solve HTTP/1.1", "Host: x", "Content-Type: application/json"]
    connection = socket.create_connection(("127.0.0.1", server.port))
    connection.sendall("\r\n".join([*head, f"Content-Length: {len(content)}", "", ""]).encode() + content)
    return connection


@contextmanager
def busy(server, endless, wait_until):
    """A server whose worker is at work until this ends."""
    with send(server, endless):
        wait_until(lambda: server.services.pool.stats.busy == 1)
        yield


@pytest.fixture
def ask(server, endless, wait_until):
    """Send requests of which all wait before the first of them is begun; return the responses."""
    with server.client() as client, ThreadPoolExecutor(32) as threads:

        def ask(*bodies):
            with busy(server, endless, wait_until):
                sent = []
                for body in bodies:
                    content = body if isinstance(body, str) else json.dumps(body)
                    headers = {"Content-Type": "application/json"}
                    sent.append(threads.submit(client.post, "/v1/solve", content=content, headers=headers))
                    wait_until(lambda: server.services.pool.stats.queued == len(sent))
            return sent

        yield ask
    wait_until(lambda: server.services.pool.stats.busy == 0)
    wait_until(lambda: not server.spooled())


def results(sent):
    responses = [one.result(60) for one in sent]
    assert {response.status_code for response in responses} == {200}
    return [response.json() for response in responses]


@pytest.mark.parametrize("method", ["auto", "kaczmarz", "ssor_cgls", "direct"])
def test_they_get_the_bits_of_a_lone_solve(server, ask, method):
    matrix = len(method) * A  # one of its own, of which nothing has been learned
    id_ = store(server, document(matrix))
    found = results(ask(*(system(id_, b, method=method) for b in SIDES[:5])))
    for b, result in zip(SIDES, found, strict=False):
        alone = solver_service.solve(matrix, b, method=method, rtol=1e-9, threads=1)
        assert result["parameters"]["tuning"] == alone.parameters.tuning
        assert result["x"] == alone.x.tolist()
        assert result["shared"] == 5
        assert np.linalg.norm(b - matrix @ result["x"]) <= 1e-9 * np.linalg.norm(b)
    with server.client() as client:
        assert client.get(f"/v1/matrices/{id_}").json()["uses"] == 5


def test_no_more_than_fit(server, ask):
    id_ = store(server, document(A))
    found = results(ask(*(system(id_, b, method="cgmn") for b in SIDES)))
    assert sorted(result["shared"] for result in found) == [4] * 4 + [MOST_TOGETHER] * 16


def test_who_is_alone_goes_alone_and_at_once(server, system):
    with server.client() as client:
        assert client.post("/v1/solve", json=system).json()["shared"] == 1
    before = server.services.pool.stats.shared
    id_ = store(server, document(A))
    with server.client() as client:
        body = {"matrix": {"id": id_}, "b": SIDES[0].tolist()}
        assert client.post("/v1/solve", json=body).json()["shared"] == 1
    assert server.services.pool.stats.shared == before


def test_by_parts_too(server, endless, wait_until):
    id_ = store(server, document(A))
    files = {"matrix_id": (None, id_), "options": (None, '{"method": "cgmn"}')}
    with server.client() as client, ThreadPoolExecutor() as threads:
        with busy(server, endless, wait_until):
            sent = []
            for b in SIDES[:3]:
                parts = {**files, "b": (None, json.dumps(b.tolist()))}
                sent.append(threads.submit(client.post, "/v1/solve", files=parts))
            wait_until(lambda: server.services.pool.stats.queued == 3)
        assert [result["shared"] for result in results(sent)] == [3, 3, 3]


def test_off_by_a_setting(tmp_path, live, endless, wait_until):
    with live(tmp_path, coalesce=False) as server, server.client() as client, ThreadPoolExecutor() as threads:
        id_ = store(server, document(A))
        with busy(server, endless, wait_until):
            sent = [
                threads.submit(client.post, "/v1/solve", json=system(id_, b, method="cgmn"))
                for b in SIDES[:3]
            ]
            wait_until(lambda: server.services.pool.stats.queued == 3)
        assert [result["shared"] for result in results(sent)] == [1, 1, 1]
        assert server.services.pool.stats.shared == 0


def test_a_mistake_costs_only_who_made_it(server, ask):
    id_ = store(server, document(A))
    short = system(id_, SIDES[0][:-1])
    broken = json.dumps(system(id_, SIDES[0]))[:-1]
    unsuitable = system(id_, SIDES[0], method="ssor_cg")
    sent = ask(system(id_, SIDES[0]), short, broken, unsuitable, system(id_, SIDES[1]))
    answers = [one.result(60) for one in sent]
    assert [answer.status_code for answer in answers] == [200, 422, 400, 422, 200]
    codes = [answer.json().get("code") for answer in answers[1:4]]
    assert codes == ["dimension_mismatch", "malformed_json", "method_not_applicable"]
    assert answers[0].json()["converged"] is answers[4].json()["converged"] is True


def test_a_wrong_guess_is_harmless(server, ask):
    id_ = store(server, document(A))
    # What looks like the id of a stored matrix is overruled by what follows it.
    disguised = json.dumps(system(id_, SIDES[1]))[:-1] + f', "matrix": {json.dumps(document(2.0 * A))}}}'
    found = results(ask(system(id_, SIDES[0]), disguised, system(id_, SIDES[2])))
    assert [result["shared"] for result in found] == [2, 1, 2]
    assert np.linalg.norm(SIDES[1] - 2.0 * A @ found[1]["x"]) <= 1e-6 * np.linalg.norm(SIDES[1])


def test_a_tight_deadline_is_met_and_disturbs_nobody(server, ask, endless):
    id_ = store(server, endless["matrix"])
    b = np.array(endless["b"])
    slow = {**system(id_, b), "options": endless["options"], "deadline": 1.5}
    sent = ask(slow, system(id_, b, method="direct"), system(id_, 2.0 * b, method="direct"))
    quick = results(sent[1:])
    assert not sent[0].done()
    assert [result["status"] for result in quick] == ["converged"] * 2
    (late,) = results(sent[:1])
    assert (late["status"], late["shared"]) == ("time_limit", 3)
    assert 0.0 < late["relative_residual"] < 1.0


def test_a_client_that_hangs_up_disturbs_nobody(server, ask, endless, wait_until):
    id_ = store(server, endless["matrix"])
    before = server.workers
    leaving = {**system(id_, np.array(endless["b"])), "options": endless["options"]}
    pool = server.services.pool
    with server.client() as client, ThreadPoolExecutor() as threads:
        with busy(server, endless, wait_until):
            connection = send(server, leaving)
            wait_until(lambda: pool.stats.queued == 1)
            staying = threads.submit(client.post, "/v1/solve", json={**leaving, "deadline": 2.5})
            wait_until(lambda: pool.stats.queued == 2)
        wait_until(lambda: pool.stats.together == 2 and pool.stats.queued == 0)
        connection.close()
        wait_until(lambda: pool.stats.together == 1)
        assert not staying.done()
        (late,) = results([staying])
    assert (late["status"], late["shared"]) == ("time_limit", 2)
    wait_until(lambda: pool.stats.busy == 0)
    assert server.workers == before


def test_when_their_worker_is_killed_each_is_repeated_alone(server, endless, wait_until):
    id_ = store(server, endless["matrix"])
    body = {**system(id_, np.array(endless["b"])), "options": endless["options"]}
    pool = server.services.pool
    with server.client() as client, ThreadPoolExecutor() as threads:
        with busy(server, endless, wait_until):
            sent = []
            for seconds in (2.5, 4.0):
                asked = {**body, "deadline": seconds}
                sent.append(threads.submit(client.post, "/v1/solve", json=asked))
                wait_until(lambda: pool.stats.queued == len(sent))
        wait_until(lambda: pool.stats.together == 2)
        begun = {worker: worker.cpu_times().user for worker in server.workers}

        def at_work():
            return [worker for worker, before in begun.items() if worker.cpu_times().user - before > 0.1]

        wait_until(at_work)
        at_work()[0].kill()
        found = results(sent)
    assert [(result["status"], result["shared"]) for result in found] == [("time_limit", 1)] * 2
    wait_until(lambda: pool.ready)


def test_one_without_a_solution_gets_its_proof(server, ask):
    id_ = store(server, document(A))
    b = SIDES[0] + np.random.default_rng(3).standard_normal(60)
    found = results(ask(system(id_, SIDES[1]), system(id_, b), system(id_, SIDES[2])))
    assert [result["status"] for result in found] == ["converged", "inconsistent", "converged"]
    assert [result["shared"] for result in found] == [3, 3, 3]
    y, bound = np.array(found[1]["certificate"]["y"]), found[1]["certificate"]["bound"]
    assert np.linalg.norm(A.T @ y) <= 1e-6 * np.linalg.norm(y)
    least = np.linalg.lstsq(A.toarray(), b)[0]
    assert 0.0 < bound <= np.linalg.norm(b - A @ least) * (1 + 1e-9)
    assert found[0]["certificate"] is found[2]["certificate"] is None


def test_priority_goes_before_arrival(server, ask, endless):
    id_ = store(server, document(A))
    low = {**endless, "priority": -1, "deadline": 2.0}
    sent = ask(low, {**system(id_, SIDES[0]), "priority": 1})
    (first,) = results(sent[1:])
    assert first["converged"]
    assert not sent[0].done()
    assert sent[0].result(60).status_code == 200


def test_what_is_learned_is_told(server):
    matrix = document(50.0 * A)
    id_ = store(server, matrix)
    with server.client() as client:
        assert client.get(f"/v1/matrices/{id_}").json()["prepared"] is None
        body = system(id_, SIDES[0])
        first = client.post("/v1/solve", json=body).json()
        second = client.post("/v1/solve", json=body).json()
        told = client.get(f"/v1/matrices/{id_}").json()["prepared"]["tuning"]
    assert first["parameters"]["tuning"] == "2"
    assert second["parameters"]["tuning"] == told == "2.1"


def test_a_warm_start_comes_from_earlier_solutions(server):
    id_ = store(server, document(60.0 * A))
    options = {"method": "cgmn", "warm_start": "auto"}
    with server.client() as client:
        first = client.post("/v1/solve", json=system(id_, SIDES[0], **options)).json()
        near = client.post("/v1/solve", json=system(id_, SIDES[0] + 1e-3 * SIDES[1], **options)).json()
        cold = client.post("/v1/solve", json=system(id_, SIDES[0], method="cgmn")).json()
    assert near["parameters"]["tuning"] == "2+1"
    assert near["converged"]
    assert near["epochs"] < first["epochs"]
    assert cold["x"] == first["x"]
