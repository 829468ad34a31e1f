"""Jobs over HTTP, the same on SQLite and on PostgreSQL."""

from __future__ import annotations

import io
import json
import threading
import time

import numpy as np
import pytest
from scipy.sparse import coo_array, csr_array
from starlette.testclient import TestClient

from solver_service.api.app import create_app
from solver_service.settings import Settings
from solver_service.wire.replies import JobItem, JobPage, JobReply, SolutionReply


@pytest.fixture(scope="module", params=["sqlite", "postgres"])
def database(request):
    if request.param == "sqlite":
        yield None
        return
    with request.getfixturevalue("postgres_server").database() as url:
        yield url


@pytest.fixture(scope="module")
def settings(database, tmp_path_factory):
    return Settings(
        data_dir=tmp_path_factory.mktemp("jobs"),
        database_url=database,
        workers=1,
        job_workers=1,
        stall_seconds=2,
    )


@pytest.fixture(scope="module")
def client(settings):
    with TestClient(create_app(settings)) as client:
        yield client


@pytest.fixture(autouse=True)
def nothing_left(client):
    """A test that fails must not leave the one worker busy."""
    yield
    for state in ("queued", "running"):
        for job in client.get("/v1/jobs", params={"state": state}).json()["items"]:
            client.post(job["links"]["cancel"])
            ended(client, job["id"])


def submit(client, document, **headers):
    response = client.post("/v1/jobs", json=document, headers=headers)
    assert response.status_code == 202, response.text
    assert response.headers["location"] == f"/v1/jobs/{response.json()['id']}"
    return response.json()


def ended(client, id_, seconds=30):
    job = client.get(f"/v1/jobs/{id_}", params={"wait": seconds}).json()
    assert job["state"] in ("succeeded", "cancelled", "failed"), job
    return job


def running(client, id_, *, progress=True):
    end = time.monotonic() + 30
    while time.monotonic() < end:
        job = client.get(f"/v1/jobs/{id_}", params={"wait": 0.05}).json()
        assert job["state"] in ("queued", "running"), job
        if job["state"] == "running" and (not progress or (job["progress"] or {}).get("iterations")):
            return job
    raise AssertionError("it does not run")


def x_of(client, id_):
    response = client.get(f"/v1/jobs/{id_}/solution", headers={"Accept": "application/x-npy"})
    assert response.status_code == 200, response.text
    return np.load(io.BytesIO(response.content))


def problem(response, status, code):
    assert (response.status_code, response.json()["code"]) == (status, code), response.text
    return response.json()


def matrix_of(document):
    matrix = document["matrix"]
    return csr_array(coo_array((matrix["data"], (matrix["row"], matrix["col"])), shape=matrix["shape"]))


def test_a_job_from_submission_to_removal(client, system):
    job = submit(client, {**system, "priority": 3, "options": {"rtol": 1e-9}})
    JobReply.model_validate_json(json.dumps(job))
    assert (job["attempts"], job["priority"], job["result"], job["progress"]) == (0, 3, None, None)
    assert job["matrix"].startswith("mat_")
    assert job["options"]["rtol"] == 1e-9
    assert client.get(job["links"]["matrix"]).json()["shape"] == [3, 2]
    job = ended(client, job["id"])
    JobReply.model_validate_json(json.dumps(job))
    assert (job["state"], job["attempts"], job["queue_position"], job["error"]) == (
        "succeeded",
        1,
        None,
        None,
    )
    assert job["created_at"] <= job["started_at"] <= job["finished_at"]
    result = job["result"]
    assert result["status"] == "converged"
    assert "x" not in result
    assert job["progress"]["iterations"] == result["iterations"]
    assert result["timings"]["queue"] >= 0
    document = client.get(job["links"]["solution"]).json()
    SolutionReply.model_validate(document)
    assert document == {"x": pytest.approx([1.0, 1.0]), "certificate": None}
    np.testing.assert_array_equal(x_of(client, job["id"]), document["x"])
    assert client.delete(job["links"]["self"]).status_code == 204
    for path in (job["links"]["self"], job["links"]["solution"], job["links"]["events"]):
        problem(client.get(path), 404, "job_not_found")
    problem(client.delete(job["links"]["self"]), 404, "job_not_found")


def test_solve_answers_at_once_if_asked_to(client, system):
    response = client.post("/v1/solve", json=system, headers={"Prefer": "wait=5, Respond-Async"})
    assert response.status_code == 202
    assert response.headers["preference-applied"] == "respond-async"
    job = ended(client, response.json()["id"])
    assert response.headers["location"] == job["links"]["self"]
    assert job["result"]["converged"]


def test_many_right_hand_sides(client, system):
    document = {**system, "b": [[1.0, 0.0], [2.0, 2.0], [3.0, 3.0]]}
    job = ended(client, submit(client, document)["id"])
    assert len(job["result"]["columns"]) == 2
    JobReply.model_validate_json(json.dumps(job))
    np.testing.assert_allclose(x_of(client, job["id"]), [[1.0, 0.0], [1.0, 1.0]], atol=1e-5)


def test_multipart_and_a_stored_matrix(client, system):
    stored = client.post("/v1/matrices", json=system["matrix"]).json()
    files = {"b": ("b.json", json.dumps(system["b"])), "matrix_id": (None, stored["id"])}
    response = client.post("/v1/jobs", files=files)
    assert response.status_code == 202
    assert response.json()["matrix"] == stored["id"]
    assert ended(client, response.json()["id"])["result"]["converged"]


def test_an_inconsistent_system_keeps_its_certificate(client, system):
    job = ended(client, submit(client, {**system, "b": [1.0, 2.0, 4.0]})["id"])
    assert job["state"] == "succeeded"
    assert job["result"]["status"] == "inconsistent"
    assert set(job["result"]["certificate"]) == {"bound", "radius"}
    solution = client.get(job["links"]["solution"]).json()
    SolutionReply.model_validate(solution)
    y = np.array(solution["certificate"]["y"])
    A = matrix_of(system)
    np.testing.assert_allclose(A.T @ y, 0.0, atol=1e-12)
    assert abs(y @ [1.0, 2.0, 4.0]) > 0


def test_what_is_wrong_is_refused_and_leaves_nothing(client, settings, system):
    before = client.get("/v1/jobs").json()["items"]
    for change, code in (
        ({"b": [1.0]}, "dimension_mismatch"),
        ({"options": {"method": "magic"}}, "unknown_method"),
        ({"options": {"method": "cg"}}, "method_not_applicable"),
        ({"options": {"minimum_norm": True}, "x0": [1.0, 1.0]}, "invalid_request"),
        ({"b": [1.0, 2.0, 1e400]}, "non_finite"),
        ({"priority": 11}, "invalid_request"),
    ):
        problem(
            client.post(
                "/v1/jobs",
                content=json.dumps({**system, **change}),
                headers={"Content-Type": "application/json"},
            ),
            422,
            code,
        )
    problem(
        client.post("/v1/jobs", json={**system, "matrix": {"id": "mat_" + "0" * 32}}), 404, "matrix_not_found"
    )
    assert client.get("/v1/jobs").json()["items"] == before
    assert list((settings.data_dir / "staging").iterdir()) == []
    assert len(list((settings.data_dir / "jobs").iterdir())) == len(before)


def test_a_running_job_shows_how_far_it_is_and_can_be_cancelled(client, endless):
    job = running(client, submit(client, endless)["id"])
    progress = job["progress"]
    assert progress["iterations"] > 0
    assert 0 < progress["relative_residual"] < 1
    assert progress["seconds"] > 0
    assert job["queue_position"] is None
    problem(client.get(job["links"]["solution"]), 409, "solution_not_ready")
    problem(client.delete(job["links"]["self"]), 409, "job_active")
    problem(client.delete(job["links"]["matrix"]), 409, "matrix_in_use")
    problem(client.post(job["links"]["resume"]), 409, "job_active")
    answer = client.post(job["links"]["cancel"])
    assert answer.status_code == 202
    began = time.monotonic()
    job = ended(client, job["id"])
    assert time.monotonic() - began < 2.0
    assert (job["state"], job["result"]["status"]) == ("cancelled", "cancelled")
    x = x_of(client, job["id"])
    residual = np.linalg.norm(endless["b"] - matrix_of(endless) @ x) / np.linalg.norm(endless["b"])
    assert job["result"]["relative_residual"] == pytest.approx(residual)
    again = client.post(job["links"]["cancel"])
    assert (again.status_code, again.json()["state"]) == (200, "cancelled")


def test_waiting_jobs_know_their_place_and_go_by_priority(client, endless, system):
    blocker = running(client, submit(client, endless)["id"], progress=False)
    waiting = [submit(client, {**system, "priority": priority}) for priority in (0, 5, 0, -1)]
    positions = [client.get(job["links"]["self"]).json()["queue_position"] for job in waiting]
    assert positions == [2, 1, 3, 4]
    page = client.get("/v1/jobs", params={"state": "queued"}).json()
    JobPage.model_validate_json(json.dumps(page))
    assert {job["id"]: job["queue_position"] for job in page["items"]} == dict(
        zip([job["id"] for job in waiting], positions, strict=True)
    )
    dropped = client.post(waiting[2]["links"]["cancel"])
    assert (dropped.status_code, dropped.json()["state"], dropped.json()["result"]) == (
        202,
        "cancelled",
        None,
    )
    problem(client.get(waiting[2]["links"]["solution"]), 404, "no_solution")
    client.post(blocker["links"]["cancel"])
    done = [ended(client, waiting[k]["id"]) for k in (1, 0, 3)]
    starts = [job["started_at"] for job in done]
    assert starts == sorted(starts)
    assert [job["state"] for job in done] == ["succeeded"] * 3


def test_waiting_with_a_limit(client, endless):
    job = submit(client, endless)
    began = time.monotonic()
    assert client.get(job["links"]["self"], params={"wait": 0.3}).json()["state"] in ("queued", "running")
    assert 0.25 < time.monotonic() - began < 2.0
    client.post(job["links"]["cancel"])
    ended(client, job["id"])


def test_the_deadline_counts_waiting_and_cancels(client, endless, system):
    blocker = running(client, submit(client, endless)["id"], progress=False)
    late = ended(client, submit(client, {**system, "deadline": 0.3})["id"])
    assert (late["state"], late["result"], late["started_at"]) == ("cancelled", None, None)
    client.post(blocker["links"]["cancel"])
    job = ended(client, submit(client, {**endless, "deadline": 1.0})["id"])
    assert (job["state"], job["result"]["status"]) == ("cancelled", "time_limit")
    assert 0 < job["result"]["relative_residual"] < 1
    assert x_of(client, job["id"]).any()


def test_the_time_limit_is_a_result(client, endless):
    options = {**endless["options"], "time_limit": 0.4}
    job = ended(client, submit(client, {**endless, "options": options})["id"])
    assert (job["state"], job["result"]["status"]) == ("succeeded", "time_limit")
    assert 0.3 < job["progress"]["seconds"] < 3.0


def test_it_says_early_that_a_limit_comes_first(client):
    n = 20_000
    row = np.arange(n)
    matrix = {
        "format": "coo",
        "shape": [n, n],
        "row": [*row, *row[1:], *row[:-1]],
        "col": [*row, *row[:-1], *row[1:]],
        "data": [2.0001] * n + [-1.0] * (2 * n - 2),
    }
    matrix = {
        key: [int(v) for v in value] if key in ("row", "col") else value for key, value in matrix.items()
    }
    options = {"method": "cgmn", "rtol": 1e-12, "time_limit": 8}
    job = submit(client, {"matrix": matrix, "b": [1.0] * n, "options": options})
    end = time.monotonic() + 20
    seen = None
    while time.monotonic() < end and seen is None:
        seen = (client.get(job["links"]["self"], params={"wait": 0.2}).json()["progress"] or {}).get(
            "will_miss_deadline"
        )
    assert seen is True
    progress = client.get(job["links"]["self"]).json()["progress"]
    assert progress["eta_low"] <= progress["eta_seconds"] <= progress["eta_high"]
    client.post(job["links"]["cancel"])
    ended(client, job["id"])


def test_resuming_adds_up(client, endless):
    """N + N iterations are 2N, whatever the reason for the first end."""
    options = {**endless["options"], "max_epochs": 300}
    first = ended(client, submit(client, {**endless, "options": options})["id"])
    assert (first["state"], first["result"]["status"]) == ("succeeded", "max_epochs")
    answer = client.post(first["links"]["resume"], json={"options": {"max_epochs": 600}})
    assert answer.status_code == 202
    assert answer.json()["resumed_from"] == first["id"]
    second = ended(client, answer.json()["id"])
    whole = ended(client, submit(client, {**endless, "options": {**options, "max_epochs": 600}})["id"])
    assert (
        second["result"]["iterations"] == whole["result"]["iterations"] == 2 * first["result"]["iterations"]
    )
    np.testing.assert_array_equal(x_of(client, second["id"]), x_of(client, whole["id"]))
    assert client.delete(first["links"]["self"]).status_code == 204
    third = client.post(second["links"]["resume"], json={"options": {"max_epochs": 601}}).json()
    assert ended(client, third["id"])["result"]["iterations"] > second["result"]["iterations"]


def test_a_cancelled_job_goes_on_where_it_was(client, endless):
    job = running(client, submit(client, endless)["id"])
    client.post(job["links"]["cancel"])
    job = ended(client, job["id"])
    done = job["result"]["iterations"]
    options = {"max_epochs": job["result"]["epochs"] + 50}
    resumed = ended(client, client.post(job["links"]["resume"], json={"options": options}).json()["id"])
    assert resumed["result"]["status"] == "max_epochs"
    assert done < resumed["result"]["iterations"] <= done + 50 * 2000
    assert resumed["result"]["relative_residual"] <= 1.1 * job["result"]["relative_residual"]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"options": {"method": "cg"}}, "options.method"),
        ({"options": {"rtol": 2}}, "options.rtol"),
        ({"options": 3}, "options"),
        ({"b": [1]}, "b"),
        ({"priority": 50}, "priority"),
    ],
)
def test_what_cannot_be_changed_by_resuming(client, system, body, field):
    job = ended(client, submit(client, system)["id"])
    document = problem(client.post(job["links"]["resume"], json=body), 422, "invalid_request")
    assert document["errors"][0]["field"] == field


def test_resuming_without_a_body_and_of_nothing(client, system):
    job = ended(client, submit(client, system)["id"])
    assert ended(client, client.post(job["links"]["resume"]).json()["id"])["result"]["converged"]
    problem(client.post("/v1/jobs/job_" + "1" * 32 + "/resume"), 404, "job_not_found")
    problem(
        client.post(job["links"]["resume"], content=b"{", headers={"Content-Type": "application/json"}),
        400,
        "malformed_json",
    )
    problem(
        client.post(job["links"]["resume"], content=b"x=1", headers={"Content-Type": "text/plain"}),
        415,
        "unsupported_media_type",
    )


def test_a_start_from_a_job(client, system):
    job = ended(client, submit(client, system)["id"])
    for path in ("/v1/jobs", "/v1/solve"):
        answer = client.post(path, json={**system, "x0": {"job": job["id"]}})
        result = answer.json() if path == "/v1/solve" else ended(client, answer.json()["id"])["result"]
        assert result["converged"]
        assert result["iterations"] == 0
    wide = {**system, "b": [[1.0, 1.0]] * 3, "x0": {"job": job["id"]}}
    document = problem(client.post("/v1/jobs", json=wide), 422, "dimension_mismatch")
    assert document["errors"][0]["field"] == "x0"
    problem(client.post("/v1/jobs", json={**system, "x0": {"job": "job_none"}}), 404, "job_not_found")


def test_a_start_from_a_job_that_has_none(client, system, endless):
    active = submit(client, endless)
    start = {"job": active["id"]}
    problem(client.post("/v1/jobs", json={**system, "x0": start}), 409, "solution_not_ready")
    problem(client.post("/v1/solve", json={**system, "x0": start}), 409, "solution_not_ready")
    client.post(active["links"]["cancel"])
    ended(client, active["id"])


def test_a_retry_with_a_key_is_the_same_job(client, system):
    job = submit(client, system, **{"Idempotency-Key": "key 1"})
    other_bytes = {**system, "b": [1, 2, 3], "x0": None, "priority": 0, "options": {"method": "auto"}}
    assert submit(client, other_bytes, **{"Idempotency-Key": "key 1"})["id"] == job["id"]
    response = client.post(
        "/v1/solve", json=system, headers={"Idempotency-Key": "key 1", "Prefer": "respond-async"}
    )
    assert response.json()["id"] == job["id"]
    for other in (
        {**system, "b": [2.0, 4.0, 6.0]},
        {**system, "x0": [0.0, 0.0]},
        {**system, "options": {"seed": 1}},
    ):
        answer = client.post("/v1/jobs", json=other, headers={"Idempotency-Key": "key 1"})
        problem(answer, 409, "idempotency_conflict")
    ended(client, job["id"])
    assert submit(client, system, **{"Idempotency-Key": "key 1"})["state"] == "succeeded"
    resume = [
        client.post(job["links"]["resume"], headers={"Idempotency-Key": "key 2"}).json()["id"] for _ in "ab"
    ]
    assert resume[0] == resume[1] != job["id"]


def test_twenty_retries_at_once_are_one_job(client, system):
    found = set()

    def send():
        found.add(submit(client, system, **{"Idempotency-Key": "race"})["id"])

    threads = [threading.Thread(target=send) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 1


def test_lists_are_paged_newest_first(client, system):
    ids = [submit(client, system)["id"] for _ in range(5)]
    first = client.get("/v1/jobs", params={"limit": 3}).json()
    assert [job["id"] for job in first["items"]] == ids[:1:-1]
    second = client.get("/v1/jobs", params={"limit": 2, "cursor": first["next_cursor"]}).json()
    assert [job["id"] for job in second["items"]] == ids[1::-1]
    assert "result" not in first["items"][0]
    for item in first["items"]:
        JobItem.model_validate_json(json.dumps(item))
    problem(client.get("/v1/jobs", params={"cursor": "x"}), 422, "invalid_request")


def test_threads_of_a_job(client, system):
    job = ended(client, submit(client, {**system, "options": {"threads": 2}})["id"])
    assert job["result"]["parameters"]["threads"] == 1  # too small to gain by more


@pytest.mark.parametrize("seconds", [1e10, 1e12, 1e300])
def test_a_deadline_beyond_all_calendars_is_as_good_as_any(client, system, seconds):
    job = ended(client, submit(client, {**system, "deadline": seconds})["id"])
    assert (job["state"], job["deadline"]) == ("succeeded", seconds)
    again = client.post(job["links"]["resume"], json={"deadline": seconds})
    assert again.status_code == 202
    assert ended(client, again.json()["id"])["state"] == "succeeded"


def test_numbers_are_compared_as_numbers_and_may_be_large_integers(client, system):
    job = submit(client, {**system, "options": {"max_epochs": 10**30}})
    assert job["options"]["max_epochs"] == 1e30
    ended(client, job["id"])
    for path, document in (("/v1/jobs", system), (job["links"]["resume"], {})):
        key = {"Idempotency-Key": f"numbers {path}"}
        ids = {
            client.post(path, json={**document, "options": {"max_epochs": value}}, headers=key).json()["id"]
            for value in (10**30, 1e30)
        }
        assert len(ids) == 1


def test_a_job_that_is_removed_while_its_solution_is_asked_for(client, system, settings):
    job = ended(client, submit(client, system)["id"])
    folder = settings.storage_dir / "jobs" / job["id"]
    folder.rename(folder.with_name("gone"))
    try:
        for media_type in ("application/json", "application/x-npy"):
            answer = client.get(job["links"]["solution"], headers={"Accept": media_type})
            problem(answer, 404, "job_not_found")
        problem(client.post("/v1/jobs", json={**system, "x0": {"job": job["id"]}}), 404, "job_not_found")
        problem(client.post(job["links"]["resume"]), 404, "job_not_found")
    finally:
        folder.with_name("gone").rename(folder)
