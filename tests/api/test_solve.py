import io
import json
import zipfile

import numpy as np
import pytest
from scipy.io import mmwrite
from scipy.sparse import coo_array, random_array, save_npz

from solver_service.wire.replies import ResultReply


def npz(matrix):
    file = io.BytesIO()
    save_npz(file, matrix)
    return file.getvalue()


def mtx(matrix):
    file = io.BytesIO()
    mmwrite(file, matrix)
    return file.getvalue()


def npy(array):
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def tall(seed=0, m=300, n=60):
    generator = np.random.default_rng(seed)
    A = random_array((m, n), density=0.1, rng=generator, format="csr", data_sampler=generator.standard_normal)
    return A, generator.standard_normal(n)


def assert_solved(response, A, b, rtol=1e-6):
    assert response.status_code == 200, response.text
    result = ResultReply.model_validate_json(response.content)
    assert result.status.value == "converged"
    assert np.linalg.norm(b - A @ np.array(result.x)) <= rtol * np.linalg.norm(b)
    return result


def test_a_system_in_json(client):
    A, x = tall()
    coo = A.tocoo()
    b = A @ x
    matrix = {"format": "coo", "shape": list(A.shape), "row": coo.row.tolist(), "col": coo.col.tolist()}
    body = {"matrix": {**matrix, "data": coo.data.tolist()}, "b": b.tolist(), "options": {"rtol": 1e-9}}
    result = assert_solved(client.post("/v1/solve", json=body), A, b, 1e-9)
    assert result.parameters.threads == 1
    timings = result.timings
    stages = (timings.parse, timings.queue, timings.prepare, timings.solve, timings.verify, timings.encode)
    assert all(seconds is not None and seconds >= 0 for seconds in stages)
    assert timings.total == pytest.approx(sum(stages), rel=0.05, abs=1e-3)


@pytest.mark.parametrize("write", [npz, mtx])
def test_a_system_in_parts(client, write):
    A, x = tall(1)
    b = A @ x
    files = {"matrix": write(A), "b": npy(b), "x0": json.dumps([0.0] * len(x)).encode()}
    response = client.post("/v1/solve", files=files, data={"options": '{"method": "lsqr"}', "priority": "3"})
    assert assert_solved(response, A, b).method == "lsqr"


def test_many_right_hand_sides(client):
    A, _ = tall(2)
    B = A @ np.random.default_rng(3).standard_normal((A.shape[1], 3))
    response = client.post("/v1/solve", files={"matrix": npz(A), "b": npy(B)})
    assert len(assert_solved(response, A, B).columns) == 3


def test_a_stored_matrix_is_prepared_once(client):
    A, x = tall(4)
    id_ = client.post("/v1/matrices", content=npz(A)).json()["id"]
    b = A @ x
    body = {"matrix": {"id": id_}, "b": b.tolist(), "options": {"method": "kaczmarz"}}
    first, second = (client.post("/v1/solve", json=body) for _ in range(2))
    assert_solved(first, A, b)
    assert first.json()["x"] == second.json()["x"]
    assert second.json()["timings"]["prepare"] < first.json()["timings"]["prepare"]


def test_a_deleted_matrix_is_gone_though_it_was_prepared(client):
    A, x = tall(5)
    id_ = client.post("/v1/matrices", content=npz(A)).json()["id"]
    body = {"matrix": {"id": id_}, "b": (A @ x).tolist()}
    assert client.post("/v1/solve", json=body).status_code == 200
    assert client.delete(f"/v1/matrices/{id_}").status_code == 204
    assert client.post("/v1/solve", json=body).json()["code"] == "matrix_not_found"


def test_npz_reply(client, system):
    response = client.post("/v1/solve", json=system, headers={"Accept": "application/x-npz"})
    assert response.headers["content-type"] == "application/x-npz"
    with zipfile.ZipFile(io.BytesIO(response.content)) as archive:
        assert json.loads(archive.read("result.json"))["converged"] is True
    x = np.load(io.BytesIO(response.content))["x"]
    assert x == pytest.approx([1.0, 1.0])


@pytest.mark.parametrize("accept", ["application/json", "application/x-npz"])
def test_large_replies_and_bodies_pass_through_files(client, accept):
    n = 80_000
    indices = np.arange(n)
    A = coo_array((np.full(n, 2.0), (indices, indices)), shape=(n, n))
    b = np.sin(indices)
    response = client.post("/v1/solve", files={"matrix": npz(A), "b": npy(b)}, headers={"Accept": accept})
    assert len(response.content) > 600_000
    assert int(response.headers["content-length"]) == len(response.content)
    if accept == "application/json":
        x = np.array(response.json()["x"])
    else:
        x = np.load(io.BytesIO(response.content))["x"]
    assert np.linalg.norm(b - A @ x) <= 1e-6 * np.linalg.norm(b)
    spool = client.app.state.services.settings.data_dir / "spool"
    assert [path for path in spool.rglob("*") if path.is_file()] == []


def test_the_deadline_ends_the_solve_with_the_best_x(client, endless):
    response = client.post("/v1/solve", json={**endless, "deadline": 0.2})
    assert response.status_code == 200
    result = response.json()
    assert result["status"] == "time_limit"
    assert 0 < result["relative_residual"] < 1
    assert result["timings"]["total"] < 2.0


@pytest.mark.parametrize(
    ("change", "status", "code", "field"),
    [
        ({"options": {"method": "magic"}}, 422, "unknown_method", "options.method"),
        (
            {"options": {"method": "lsqr", "batch_size": 4}},
            422,
            "method_not_applicable",
            "options.batch_size",
        ),
        ({"options": {"method": "cg"}}, 422, "method_not_applicable", "options.method"),
        ({"options": {"rtol": 2}}, 422, "invalid_request", "options.rtol"),
        ({"b": [1.0, 2.0]}, 422, "dimension_mismatch", "b"),
        ({"x0": [1.0]}, 422, "dimension_mismatch", "x0"),
        ({"matrix": {"id": "mat_" + "0" * 32}}, 404, "matrix_not_found", None),
        ({"matrix": {"id": "../../etc/passwd"}}, 404, "matrix_not_found", None),
    ],
)
def test_wrong_requests(client, system, change, status, code, field):
    response = client.post("/v1/solve", json={**system, **change})
    assert (response.status_code, response.json()["code"]) == (status, code)
    if field is not None:
        assert response.json()["errors"][0]["field"] == field


@pytest.mark.parametrize("literal", ["NaN", "Infinity", "-Infinity", "1e400"])
def test_literals_that_are_not_finite(client, literal):
    text = '{"matrix": {"format": "coo", "shape": [1, 1], "row": [0], "col": [0], "data": [1]}, "b": [%s]}'
    response = client.post("/v1/solve", content=text % literal, headers={"Content-Type": "application/json"})
    assert (response.status_code, response.json()["code"]) == (422, "non_finite")
    assert response.json()["errors"][0]["field"] == "b[0]"


@pytest.mark.parametrize(
    ("headers", "status", "code"),
    [
        ({"Content-Type": "text/plain"}, 415, "unsupported_media_type"),
        ({"Content-Type": "application/json; charset=utf-16"}, 415, "unsupported_media_type"),
        ({"Content-Type": ""}, 415, "unsupported_media_type"),
        ({"Content-Encoding": "gzip"}, 415, "unsupported_media_type"),
        ({"Accept": "text/html"}, 406, "not_acceptable"),
        ({"Accept": "application/json;q=0"}, 406, "not_acceptable"),
        ({"Content-Type": "multipart/form-data"}, 400, "malformed_multipart"),
        ({"Content-Type": "multipart/form-data; boundary=x"}, 400, "malformed_multipart"),
    ],
)
def test_wrong_headers(client, system, headers, status, code):
    body = json.dumps(system)
    response = client.post("/v1/solve", content=body, headers={"Content-Type": "application/json", **headers})
    assert (response.status_code, response.json()["code"]) == (status, code)


def test_identity_is_no_encoding_and_utf8_is_the_charset(client, system):
    headers = {"Content-Type": "application/json; charset=UTF-8", "Content-Encoding": "identity"}
    assert client.post("/v1/solve", content=json.dumps(system), headers=headers).status_code == 200


def test_a_body_over_the_limit(client):
    headers = {"Content-Type": "application/json"}
    response = client.post("/v1/solve", content=b" " * 1_000_001, headers=headers)
    assert (response.status_code, response.json()["code"]) == (413, "payload_too_large")
    streamed = client.post("/v1/solve", content=iter([b" " * 600_000] * 2), headers=headers)
    assert (streamed.status_code, streamed.json()["code"]) == (413, "payload_too_large")
