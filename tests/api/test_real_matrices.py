"""Real systems over HTTP under default options, confirmed with SciPy; skipped where there are none."""

from __future__ import annotations

import io
import zipfile

import httpx2
import numpy as np
import pytest
import scipy.io
import scipy.sparse

NAMES = """ash958 well1850 illc1033 abtaha2 football_massey Chem97Zt lp_afiro 1138_bus sherman1
Maragal_2""".split()
RTOL = 1e-6


@pytest.fixture(scope="module")
def client(service):
    with httpx2.Client(base_url=service, timeout=60) as client:
        yield client


@pytest.fixture(scope="module", params=NAMES)
def system(request, matrices):
    """The file, the matrix as SciPy reads it, and b = A·x for a seeded normal x."""
    (path,) = matrices.glob(f"{request.param}.*")
    read = scipy.sparse.load_npz if path.suffix == ".npz" else scipy.io.mmread
    A = scipy.sparse.csr_array(read(path)).astype(float)
    return path, A, A @ np.random.default_rng(0).standard_normal(A.shape[1])


def confirm(A, b, x, result):
    residual = np.linalg.norm(b - A @ x)
    assert residual <= RTOL * np.linalg.norm(b) * (1 + 1e-9)
    assert (result["status"], result["converged"]) == ("converged", True)
    assert result["residual_norm"] == pytest.approx(residual, rel=1e-6, abs=1e-13 * np.linalg.norm(b))
    assert result["target"] == pytest.approx(RTOL * np.linalg.norm(b))


def test_upload_then_solve_by_id(client, system):
    path, A, b = system
    stored = client.post("/v1/matrices", params={"name": path.stem}, content=path.read_bytes())
    assert stored.status_code in (200, 201), stored.text
    document = stored.json()
    assert (tuple(document["shape"]), document["nnz"]) == (A.shape, np.count_nonzero(A.data))
    reply = client.post("/v1/solve", json={"matrix": {"id": document["id"]}, "b": b.tolist()})
    assert reply.status_code == 200, reply.text
    result = reply.json()
    confirm(A, b, np.array(result["x"]), result)


def test_one_multipart_request(client, system):
    path, A, b = system
    vector = io.BytesIO()
    np.save(vector, b)
    files = {"matrix": (path.name, path.read_bytes()), "b": ("b.npy", vector.getvalue())}
    reply = client.post("/v1/solve", files=files, headers={"Accept": "application/x-npz"})
    assert reply.status_code == 200, reply.text
    with zipfile.ZipFile(io.BytesIO(reply.content)) as archive:
        x = np.load(io.BytesIO(archive.read("x.npy")))
        result = httpx2.Response(200, content=archive.read("result.json")).json()
    confirm(A, b, x, result)
    assert "x" not in result
