import io
import json
import time
import zipfile

import numpy as np
import pytest

from solver_service.errors import DimensionMismatchError, MatrixNotFoundError, UnknownMethodError
from solver_service.tasks import replies
from solver_service.tasks.solve import SolveRequest, solve

JSON, NPZ = "application/json", "application/x-npz"


def request(tmp_path, body, media_type=JSON, accepted=None):
    accepted = time.monotonic() if accepted is None else accepted
    return SolveRequest({"body": json.dumps(body).encode()}, accepted, media_type, tmp_path / "reply")


def test_a_system_with_its_matrix(worker, tmp_path, context, matrix, document):
    A = matrix(0)
    x = np.arange(15.0)
    reply = solve(context(), request(tmp_path, {"matrix": document(A), "b": (A @ x).tolist()}))
    result = json.loads(reply.content)
    assert reply.media_type == JSON
    assert reply.size == len(reply.content)
    assert np.linalg.norm(A @ result["x"] - A @ x) <= 1e-6 * np.linalg.norm(A @ x)
    assert result["timings"]["queue"] == pytest.approx(0.25, abs=0.1)
    assert len(worker.cache) == 0


def test_a_stored_matrix_is_kept_prepared(worker, tmp_path, context, matrix, stored):
    A = matrix(1)
    id_ = stored(A).record.id
    body = {"matrix": {"id": id_}, "b": (A @ np.ones(15)).tolist()}
    for _ in range(2):
        assert json.loads(solve(context(), request(tmp_path, body)).content)["converged"] is True
        assert len(worker.cache) == 1
    worker.store.take_away(id_)()
    with pytest.raises(MatrixNotFoundError):
        solve(context(), request(tmp_path, body))


def test_npz(worker, tmp_path, context, matrix, document):
    A = matrix(2)
    body = {"matrix": document(A), "b": (A @ np.ones(15)).tolist()}
    reply = solve(context(), request(tmp_path, body, NPZ))
    with zipfile.ZipFile(io.BytesIO(reply.content)) as archive:
        assert archive.namelist() == ["x.npy", "result.json"]


@pytest.mark.parametrize("media_type", [JSON, NPZ])
def test_a_large_reply_is_a_file(worker, tmp_path, monkeypatch, media_type, context, matrix, document):
    monkeypatch.setattr(replies, "MESSAGE_BYTES", 100)
    A = matrix(3)
    body = {"matrix": document(A), "b": (A @ np.ones(15)).tolist()}
    reply = solve(context(), request(tmp_path, body, media_type))
    assert reply.content == tmp_path / "reply"
    assert reply.content.stat().st_size == reply.size


def test_a_cancelled_solve_answers_with_its_best(worker, tmp_path, context, matrix, document):
    A = matrix(4)
    body = {"matrix": document(A), "b": (A @ np.ones(15)).tolist(), "options": {"method": "kaczmarz"}}
    reply = solve(context(cancelled=lambda: True), request(tmp_path, body))
    assert json.loads(reply.content)["status"] == "cancelled"


def test_the_deadline_counts_from_acceptance(worker, tmp_path, context, matrix, document):
    A = matrix(5)
    body = {"matrix": document(A), "b": (A @ np.ones(15)).tolist(), "deadline": 5}
    body["options"] = {"method": "kaczmarz", "rtol": 0}
    late = request(tmp_path, body, accepted=time.monotonic() - 10)
    assert json.loads(solve(context(), late).content)["status"] == "time_limit"


@pytest.mark.parametrize(
    ("change", "kind", "field"),
    [
        ({"b": [1.0]}, DimensionMismatchError, "b"),
        ({"options": {"method": "magic"}}, UnknownMethodError, "options.method"),
    ],
)
def test_errors_name_the_fields_of_the_request(
    worker, tmp_path, change, kind, field, context, matrix, document
):
    A = matrix(6)
    body = {"matrix": document(A), "b": (A @ np.ones(15)).tolist(), **change}
    with pytest.raises(kind) as caught:
        solve(context(), request(tmp_path, body))
    assert [entry.field for entry in caught.value.errors] == [field]
