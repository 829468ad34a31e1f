import io
import json

import numpy as np
import pytest
from scipy.io import mmwrite
from scipy.sparse import coo_array, load_npz, random_array, save_npz

from solver_service.wire.replies import MatrixPage, MatrixReply


def sparse(seed, shape=(30, 20)):
    return random_array(shape, density=0.2, rng=np.random.default_rng(seed), format="csr")


def npz(matrix):
    file = io.BytesIO()
    save_npz(file, matrix)
    return file.getvalue()


def mtx(matrix):
    file = io.BytesIO()
    mmwrite(file, matrix)
    return file.getvalue()


def document(matrix):
    return {
        "format": "csr",
        "shape": list(matrix.shape),
        "indptr": matrix.indptr.tolist(),
        "indices": matrix.indices.tolist(),
        "data": matrix.data.tolist(),
    }


def test_every_form_of_the_same_content_is_the_same_matrix(client):
    A = sparse(1)
    first = client.post("/v1/matrices?name=first", content=npz(A))
    assert first.status_code == 201
    stored = MatrixReply.model_validate_json(first.content)
    assert first.headers["location"] == f"/v1/matrices/{stored.id}"
    again = [
        client.post("/v1/matrices?name=second", json=document(A)),
        client.post("/v1/matrices", files={"matrix": mtx(A)}),
        client.post("/v1/matrices", content=mtx(A), headers={"Content-Type": "text/plain"}),
        client.post("/v1/matrices", content=json.dumps(document(A))),
        client.post(
            "/v1/matrices", content=npz(A), headers={"Content-Type": "application/x-www-form-urlencoded"}
        ),
    ]
    assert [response.status_code for response in again] == [200] * 5
    assert {response.json()["id"] for response in again} == {stored.id}
    assert {response.json()["name"] for response in again} == {"first"}


def test_properties(client):
    A = sparse(2)
    found = client.post("/v1/matrices", content=npz(A)).json()
    properties = found["properties"]
    singular = np.linalg.svd(A.toarray(), compute_uv=False)
    assert found["shape"] == [30, 20]
    assert found["nnz"] == A.nnz
    assert properties["frobenius_norm"] == pytest.approx(np.linalg.norm(A.toarray()))
    assert properties["sigma_max"] == pytest.approx(singular[0], rel=1e-3)
    assert properties["stable_rank"] == pytest.approx((singular**2).sum() / singular[0] ** 2, rel=1e-2)
    assert found["created_at"].endswith("Z")


def test_show_and_content_and_delete(client):
    A = sparse(3)
    stored = client.post("/v1/matrices", content=npz(A)).json()
    address = f"/v1/matrices/{stored['id']}"
    assert client.get(address).json() == stored
    content = client.get(f"{address}/content")
    assert content.headers["content-type"] == "application/x-npz"
    assert (load_npz(io.BytesIO(content.content)) != A).nnz == 0
    assert client.delete(address).status_code == 204
    for response in (client.get(address), client.get(f"{address}/content"), client.delete(address)):
        assert (response.status_code, response.json()["code"]) == (404, "matrix_not_found")


def test_pages_from_newest_to_oldest(client):
    ids = [client.post("/v1/matrices", content=npz(sparse(k, (7, 5)))).json()["id"] for k in range(10, 15)]
    found, cursor = [], None
    while True:
        page = client.get("/v1/matrices", params={"limit": 2, **({"cursor": cursor} if cursor else {})})
        document = MatrixPage.model_validate_json(page.content)
        found += [item.id for item in document.items]
        cursor = document.next_cursor
        if cursor is None:
            break
    assert [id_ for id_ in found if id_ in ids] == ids[::-1]
    assert len(set(found)) == len(found)


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("limit=0", "limit"),
        ("limit=501", "limit"),
        ("limit=many", "limit"),
        ("limit=1.5", "limit"),
        ("cursor=nonsense", "cursor"),
        ("cursor=" + "a" * 300, "cursor"),
    ],
)
def test_wrong_pages(client, query, field):
    response = client.get(f"/v1/matrices?{query}")
    assert (response.status_code, response.json()["code"]) == (422, "invalid_request")
    assert response.json()["errors"][0]["field"] == field


@pytest.mark.parametrize("name", ["a" * 201, "two\nlines", "\x00"])
def test_wrong_names(client, name):
    response = client.post("/v1/matrices", params={"name": name}, content=npz(sparse(4)))
    assert response.json()["code"] == "invalid_request"
    assert response.json()["errors"][0]["field"] == "name"


@pytest.mark.parametrize(
    ("content", "headers", "status", "code"),
    [
        (b"", {}, 400, "malformed_matrix"),
        (b"%%MatrixMarket matrix coordinate real general\n2 2 1\n3 1 1.0\n", {}, 422, "index_out_of_range"),
        (b"%%MatrixMarket matrix coordinate real general\n2 2 2\n1 1 1.0\n", {}, 400, "malformed_matrix"),
        (b'{"format": "coo"', {}, 400, "malformed_json"),
        (b"%%MatrixMarket", {"Content-Type": "application/json"}, 400, "malformed_json"),
        (b"", {"Content-Type": "application/json"}, 400, "malformed_json"),
        (b"PK\x03\x04", {"Content-Type": "image/png"}, 415, "unsupported_media_type"),
        (b"\x1f\x8b", {"Content-Encoding": "gzip"}, 415, "unsupported_media_type"),
    ],
)
def test_wrong_matrices(client, content, headers, status, code):
    before = client.get("/v1/matrices").json()
    response = client.post("/v1/matrices", content=content, headers=headers)
    assert (response.status_code, response.json()["code"]) == (status, code)
    assert client.get("/v1/matrices").json() == before


@pytest.mark.parametrize(
    "files",
    [
        [("other", b"x")],
        [("matrix", b"x"), ("matrix", b"y")],
        [("matrix", b"x"), ("name", b"y")],
    ],
)
def test_wrong_parts(client, files):
    response = client.post("/v1/matrices", files=files)
    assert (response.status_code, response.json()["code"]) == (400, "malformed_multipart")


def test_limits_hold_before_anything_is_allocated(client):
    wide = coo_array(([1.0], ([0], [0])), shape=(10**9, 1))
    response = client.post("/v1/matrices", content=npz(wide))
    assert (response.status_code, response.json()["code"]) == (422, "resource_limit")


@pytest.mark.parametrize(
    "id_", ["mat_zz", "..", "%2e%2e", "..%2f..%2fetc%2fpasswd", "mat_" + "0" * 32, "a" * 5000, "%00"]
)
def test_ids_that_are_none(client, id_):
    for method, path in (("GET", ""), ("DELETE", ""), ("GET", "/content")):
        response = client.request(method, f"/v1/matrices/{id_}{path}")
        assert response.status_code in (404, 405)
        assert response.headers["content-type"] == "application/problem+json"


def test_content_that_cannot_be_as_asked(client):
    id_ = client.post("/v1/matrices", content=npz(sparse(5))).json()["id"]
    response = client.get(f"/v1/matrices/{id_}/content", headers={"Accept": "text/csv"})
    assert (response.status_code, response.json()["code"]) == (406, "not_acceptable")


def test_uses_and_what_is_kept(client, wait_until):
    """A solve of some hundred milliseconds leaves its dense factor behind."""
    rng = np.random.default_rng(5)
    A = random_array((1200, 700), density=0.05, rng=rng, data_sampler=rng.standard_normal)
    stored = client.post("/v1/matrices", content=npz(A)).json()
    address = f"/v1/matrices/{stored['id']}"
    assert (stored["uses"], stored["prepared"]) == (0, None)
    body = {"matrix": {"id": stored["id"]}, "b": (A @ np.ones(700)).tolist(), "options": {"method": "direct"}}
    for _ in range(2):
        assert client.post("/v1/solve", json=body).json()["converged"]
    wait_until(lambda: client.get(address).json()["prepared"])
    found = MatrixReply.model_validate_json(client.get(address).content)
    assert found.uses == 2
    assert found.last_used_at >= MatrixReply.model_validate(stored).last_used_at
    assert "gram" in {part.name for part in found.prepared.parts}
    assert found.prepared.bytes == sum(part.bytes for part in found.prepared.parts) > 8 * 700**2
    assert found.prepared.format
    (listed,) = [one for one in client.get("/v1/matrices?limit=500").json()["items"] if one["id"] == found.id]
    assert (listed["uses"], listed["prepared"]["format"]) == (2, found.prepared.format)
    client.delete(address)
    again = client.post("/v1/matrices", content=npz(A)).json()
    assert (again["uses"], again["prepared"]) == (0, None)
