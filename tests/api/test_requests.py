"""What holds for every request: ids, logs, errors, the reference."""

import json

import pytest
from starlette.testclient import TestClient

from solver_service.wire.errors import PROBLEMS


def lines(logged, request_id):
    return [
        line
        for line in map(json.loads, logged.getvalue().splitlines())
        if line.get("request_id") == request_id
    ]


@pytest.mark.parametrize("id_", ["abc", "A-1_b.2", "x" * 128])
def test_a_valid_request_id_is_kept(client, id_):
    assert client.get("/health/live", headers={"X-Request-Id": id_}).headers["x-request-id"] == id_


@pytest.mark.parametrize("id_", ["", "x" * 129, "a b", "ü", "a\tb", "<script>", "a/b"])
def test_other_request_ids_are_replaced(client, id_):
    given = client.get("/health/live", headers={"X-Request-Id": id_.encode()}).headers["x-request-id"]
    assert given != id_
    assert len(given) == 32


def test_ids_differ(client):
    assert len({client.get("/health/live").headers["x-request-id"] for _ in range(10)}) == 10


def test_one_line_of_log_and_nothing_of_the_body(client, logged):
    response = client.post("/v1/solve", json={"secret": "hunter2"}, headers={"X-Request-Id": "log-1"})
    (line,) = lines(logged, "log-1")
    assert (line["method"], line["path"], line["status"]) == ("POST", "/v1/solve", response.status_code)
    assert line["level"] == "info"
    assert line["seconds"] > 0
    assert line["bytes_out"] == len(response.content)
    assert "hunter2" not in logged.getvalue()
    assert "hunter2" not in response.text


def test_paths_are_logged_harmlessly(client, logged):
    client.get("/v1/%0a%1b[31m" + "a" * 500, headers={"X-Request-Id": "log-2"})
    (line,) = lines(logged, "log-2")
    assert len(line["path"]) <= 200
    assert "\x1b" not in line["path"]


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/", 404, "not_found"),
        ("GET", "/v1/jobs/job_x", 404, "job_not_found"),
        ("POST", "/v1/jobs", 415, "unsupported_media_type"),
        ("GET", "/v1/jobs?state=lost", 422, "invalid_request"),
        ("GET", "/v1/jobs/job_x?wait=61", 422, "invalid_request"),
        ("GET", "/metrics", 404, "not_found"),
        ("GET", "/v1/solve/", 404, "not_found"),
        ("GET", "/v1/solve", 405, "method_not_allowed"),
        ("PATCH", "/v1/matrices", 405, "method_not_allowed"),
        ("GET", "/v1/matrices/mat_x", 404, "matrix_not_found"),
        ("POST", "/v1/solve", 415, "unsupported_media_type"),
        ("GET", "/v1/matrices?limit=x", 422, "invalid_request"),
    ],
)
def test_one_shape_of_error(client, method, path, status, code):
    response = client.request(method, path)
    document = response.json()
    assert response.headers["content-type"] == "application/problem+json"
    assert (response.status_code, document["status"], document["code"]) == (status, status, code)
    assert document["request_id"] == response.headers["x-request-id"]
    assert set(document) - {"errors"} == {"type", "title", "status", "detail", "code", "request_id"}
    assert ("errors" in document) is (status == 422)


@pytest.mark.parametrize(
    ("path", "allowed"),
    [
        ("/v1/solve", {"POST"}),
        ("/v1/matrices", {"GET", "HEAD", "POST"}),
        ("/v1/matrices/x", {"GET", "HEAD", "DELETE"}),
        ("/health/live", {"GET", "HEAD"}),
    ],
)
def test_405_tells_what_is_allowed(client, path, allowed):
    response = client.request("PUT", path)
    assert response.status_code == 405
    assert set(response.headers["allow"].split(", ")) == allowed


def test_head_is_get_without_the_body(client):
    head, get = client.head("/v1/methods"), client.get("/v1/methods")
    assert head.status_code == 200
    assert head.headers["content-length"] == get.headers["content-length"]


def test_a_crash_tells_nothing_but_the_id(client, logged, monkeypatch):
    def crash(*_):
        raise ZeroDivisionError("the secret of the crash")

    monkeypatch.setattr(client.app.state.services.store, "get", crash)
    response = client.get("/v1/matrices/mat_x", headers={"X-Request-Id": "crash-1"})
    assert (response.status_code, response.json()["code"]) == (500, "internal")
    assert "secret" not in response.text
    assert response.json()["request_id"] == "crash-1"
    trace, line = lines(logged, "crash-1")
    assert "the secret of the crash" in trace["exception"]
    assert line["status"] == 500


def test_methods(client):
    found = client.get("/v1/methods").json()
    methods = {method["name"]: method for method in found["methods"]}
    options = {option["name"]: option for option in found["options"]}
    ours = {"kaczmarz", "coordinate_descent", "cgmn", "ssor_cgls", "ssor_cg"}
    assert {"auto", *ours, "lsqr", "lsmr", "cg", "direct"} == set(methods)
    assert "batch_size" in methods["kaczmarz"]["options"]
    assert "batch_size" not in methods["lsqr"]["options"]
    assert options["momentum"]["choices"] == ["auto", "none", "heavy_ball", "nesterov"]
    assert options["rtol"]["default"] == 1e-6
    assert options["threads"]["default"] == 1
    assert all(option["help"] for option in options.values())


def test_health(client):
    assert client.get("/health/live").json() == {"status": "alive"}


@pytest.fixture(scope="module")
def schema(client):
    return client.get("/openapi.json").json()


def test_every_call_is_there(schema):
    calls = {(method, path) for path, methods in schema["paths"].items() for method in methods}
    assert calls == {
        ("post", "/v1/solve"),
        ("post", "/v1/jobs"),
        ("get", "/v1/jobs"),
        ("get", "/v1/jobs/{id}"),
        ("delete", "/v1/jobs/{id}"),
        ("get", "/v1/jobs/{id}/solution"),
        ("get", "/v1/jobs/{id}/events"),
        ("post", "/v1/jobs/{id}/cancel"),
        ("post", "/v1/jobs/{id}/resume"),
        ("post", "/v1/matrices"),
        ("get", "/v1/matrices"),
        ("get", "/v1/matrices/{id}"),
        ("delete", "/v1/matrices/{id}"),
        ("get", "/v1/matrices/{id}/content"),
        ("get", "/v1/methods"),
        ("get", "/health/live"),
        ("get", "/health/ready"),
    }


def test_errors_are_problem_documents(schema):
    for methods in schema["paths"].values():
        for operation in methods.values():
            for status, response in operation["responses"].items():
                if int(status) >= 400:
                    assert list(response["content"]) == ["application/problem+json"]
                    codes = response["description"].replace("`", "").split(", ")
                    assert all(PROBLEMS[code][0] == int(status) for code in codes)


def test_the_examples_are_true(client, schema):
    examples = schema["paths"]["/v1/solve"]["post"]["requestBody"]["content"]["application/json"]["examples"]
    for name in ("coo", "base64"):
        assert client.post("/v1/solve", json=examples[name]["value"]).json()["converged"] is True
    assert client.post("/v1/solve", json=examples["stored"]["value"]).json()["code"] == "matrix_not_found"
    examples = schema["paths"]["/v1/matrices"]["post"]["requestBody"]["content"]["application/json"][
        "examples"
    ]
    ids = {client.post("/v1/matrices", json=example["value"]).json()["id"] for example in examples.values()}
    assert len(ids) == 1


def test_options_are_those_of_the_list(client, schema):
    body = schema["paths"]["/v1/solve"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    names = {option["name"] for option in client.get("/v1/methods").json()["options"]}
    assert set(body["properties"]["options"]["properties"]) == names


def test_the_page_is_served(client):
    assert client.get("/docs").headers["content-type"].startswith("text/html")


def test_not_ready_until_the_workers_are_warm(tmp_path):
    from solver_service.api.app import create_app
    from solver_service.settings import Settings

    with TestClient(create_app(Settings(data_dir=tmp_path, workers=1))) as client:
        response = client.get("/health/ready")
        assert (response.status_code, response.json()["code"]) == (503, "worker_lost")
        assert response.headers["retry-after"] == "1"
        assert client.get("/health/live").status_code == 200


def test_not_ready_without_storage(client, monkeypatch):
    monkeypatch.setattr(client.app.state.services.store, "writable", lambda: False)
    client.post("/v1/solve", json={})  # the workers are warm when this is answered
    assert client.get("/health/ready").json()["code"] == "out_of_memory"
