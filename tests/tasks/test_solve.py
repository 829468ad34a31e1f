import io
import json
import time
import zipfile
from functools import partial

import numpy as np
import pytest

from solver_service.engine import Share
from solver_service.errors import (
    DimensionMismatchError,
    MalformedJsonError,
    MatrixNotFoundError,
    MethodNotApplicableError,
    UnknownMethodError,
)
from solver_service.tasks import replies
from solver_service.tasks.learning import Experience
from solver_service.tasks.solve import SolveRequest, solve

JSON, NPZ = "application/json", "application/x-npz"


def request(tmp_path, body, media_type=JSON, accepted=None):
    accepted = time.monotonic() if accepted is None else accepted
    return SolveRequest({"body": json.dumps(body).encode()}, accepted, media_type, tmp_path / "reply")


def test_a_system_with_its_matrix(worker, tmp_path, solve_one, context, matrix, document):
    A = matrix(0)
    x = np.arange(15.0)
    reply = solve_one(context(), request(tmp_path, {"matrix": document(A), "b": (A @ x).tolist()}))
    result = json.loads(reply.content)
    assert reply.media_type == JSON
    assert reply.size == len(reply.content)
    assert np.linalg.norm(A @ result["x"] - A @ x) <= 1e-6 * np.linalg.norm(A @ x)
    assert result["timings"]["queue"] == pytest.approx(0.25, abs=0.1)
    assert len(worker.cache) == 0


def test_a_stored_matrix_is_kept_prepared(worker, tmp_path, solve_one, context, matrix, stored):
    A = matrix(1)
    id_ = stored(A).record.id
    body = {"matrix": {"id": id_}, "b": (A @ np.ones(15)).tolist()}
    for _ in range(2):
        assert json.loads(solve_one(context(), request(tmp_path, body)).content)["converged"] is True
        assert len(worker.cache) == 1
    worker.store.take_away(id_)()
    with pytest.raises(MatrixNotFoundError):
        solve_one(context(), request(tmp_path, body))


def test_npz(worker, tmp_path, solve_one, context, matrix, document):
    A = matrix(2)
    body = {"matrix": document(A), "b": (A @ np.ones(15)).tolist()}
    reply = solve_one(context(), request(tmp_path, body, NPZ))
    with zipfile.ZipFile(io.BytesIO(reply.content)) as archive:
        assert archive.namelist() == ["x.npy", "result.json"]


@pytest.mark.parametrize("media_type", [JSON, NPZ])
def test_a_large_reply_is_a_file(
    worker, tmp_path, solve_one, monkeypatch, media_type, context, matrix, document
):
    monkeypatch.setattr(replies, "MESSAGE_BYTES", 100)
    monkeypatch.setattr("solver_service.tasks.solve.MESSAGE_BYTES", 100)
    (tmp_path / "reply").write_bytes(bytes(10_000))  # of an attempt that lost its worker
    A = matrix(3)
    body = {"matrix": document(A), "b": (A @ np.ones(15)).tolist()}
    reply = solve_one(context(), request(tmp_path, body, media_type))
    assert reply.content == tmp_path / "reply"
    assert reply.content.stat().st_size == reply.size


def test_a_cancelled_solve_answers_with_its_best(worker, tmp_path, solve_one, context, matrix, document):
    A = matrix(4)
    body = {"matrix": document(A), "b": (A @ np.ones(15)).tolist(), "options": {"method": "kaczmarz"}}
    reply = solve_one(context(cancelled=lambda: True), request(tmp_path, body))
    assert json.loads(reply.content)["status"] == "cancelled"


def test_the_deadline_counts_from_acceptance(worker, tmp_path, solve_one, context, matrix, document):
    A = matrix(5)
    body = {"matrix": document(A), "b": (A @ np.ones(15)).tolist(), "deadline": 5}
    body["options"] = {"method": "kaczmarz", "rtol": 0}
    late = request(tmp_path, body, accepted=time.monotonic() - 10)
    assert json.loads(solve_one(context(), late).content)["status"] == "time_limit"


@pytest.mark.parametrize(
    ("change", "kind", "field"),
    [
        ({"b": [1.0]}, DimensionMismatchError, "b"),
        ({"options": {"method": "magic"}}, UnknownMethodError, "options.method"),
    ],
)
def test_errors_name_the_fields_of_the_request(
    worker, tmp_path, solve_one, change, kind, field, context, matrix, document
):
    A = matrix(6)
    body = {"matrix": document(A), "b": (A @ np.ones(15)).tolist(), **change}
    with pytest.raises(kind) as caught:
        solve_one(context(), request(tmp_path, body))
    assert [entry.field for entry in caught.value.errors] == [field]


@pytest.fixture
def ask_all(context, tmp_path):
    """Solve several requests in one task; return results and errors by number, and the order of answers."""

    def ask(bodies, contexts=None):
        outcomes, later = {}, []
        shares = []
        for number, body in enumerate(bodies):
            members = {} if contexts is None else contexts[number]
            encoded = json.dumps(body).encode() if isinstance(body, dict) else body
            asked = SolveRequest({"body": encoded}, time.monotonic(), JSON, tmp_path / f"reply-{number}")
            keep = partial(outcomes.__setitem__, number)
            shares.append(Share(context(afterwards=later.append, **members), asked, keep, keep))
        solve(shares)
        for piece in later:
            piece()
        return {
            number: json.loads(outcome.content) if isinstance(outcome, replies.Reply) else outcome
            for number, outcome in outcomes.items()
        }

    return ask


def systems(id_, A, count, **options):
    """Requests with right-hand sides of their own."""
    x = np.random.default_rng(7).standard_normal((count, A.shape[1]))
    return [{"matrix": {"id": id_}, "b": (A @ row).tolist(), "options": {**options}} for row in x]


@pytest.mark.parametrize("method", ["auto", "kaczmarz", "cgmn", "ssor_cgls", "lsmr", "direct"])
def test_a_block_gives_each_the_bits_of_a_lone_solve(worker, matrix, stored, ask_all, method, monkeypatch):
    A = matrix(1)
    bodies = systems(stored(A).record.id, A, 5, method=method)
    monkeypatch.setattr(Experience, "note", lambda *_: None)
    alone = [ask_all([body])[0] for body in bodies]
    together = ask_all(bodies)
    for number, expected in enumerate(alone):
        assert together[number]["x"] == expected["x"]
        assert (together[number]["shared"], expected["shared"]) == (5, 1)


def test_a_mistake_costs_only_who_made_it(worker, matrix, stored, ask_all):
    A = matrix(1)
    bodies = systems(stored(A).record.id, A, 6)
    bodies[0]["b"] = [1.0]
    bodies[2] = b"{"
    bodies[3]["matrix"]["id"] = "mat_" + "0" * 32
    bodies[4]["options"] = {"method": "ssor_cg"}  # not for a matrix like this
    found = ask_all(bodies)
    assert isinstance(found[0], DimensionMismatchError)
    assert isinstance(found[2], MalformedJsonError)
    assert isinstance(found[3], MatrixNotFoundError)
    assert isinstance(found[4], MethodNotApplicableError)
    assert found[4].errors[0].field.startswith("options.")
    for number in (1, 5):
        b = np.array(bodies[number]["b"])
        assert found[number]["converged"] is True
        assert np.linalg.norm(b - A @ found[number]["x"]) <= 1e-6 * np.linalg.norm(b)


def test_a_wrong_guess_of_the_matrix_is_harmless(worker, matrix, stored, document, ask_all):
    A, B = matrix(1), matrix(2)
    first, second = (systems(stored(M).record.id, M, 2) for M in (A, B))
    inline = {**first[0], "matrix": document(B), "b": second[0]["b"]}
    found = ask_all([first[0], second[0], inline, first[1], second[1]])
    assert [found[number]["shared"] for number in range(5)] == [2, 2, 1, 2, 2]
    asked = [(A, first[0]), (B, second[0]), (B, inline), (A, first[1]), (B, second[1])]
    for number, (M, body) in enumerate(asked):
        b = np.array(body["b"])
        assert np.linalg.norm(b - M @ found[number]["x"]) <= 1e-6 * np.linalg.norm(b)


def test_each_keeps_its_own_limits_and_tolerance(worker, matrix, stored, ask_all):
    A = matrix(1)
    bodies = systems(stored(A).record.id, A, 5, method="kaczmarz")
    bodies[0]["options"]["rtol"] = 1e-3
    bodies[1]["options"] |= {"rtol": 0, "max_epochs": 3}
    bodies[2]["deadline"] = 1e-6
    bodies[2]["options"]["rtol"] = 0
    found = ask_all(bodies, [{}, {}, {}, {"cancelled": lambda: True}, {}])
    statuses = [found[number]["status"] for number in range(5)]
    assert statuses == ["converged", "max_epochs", "time_limit", "cancelled", "converged"]
    assert found[0]["target"] > 100 * found[4]["target"]
    assert found[4]["relative_residual"] <= 1e-6


def test_who_wants_threads_gets_them_alone(worker, matrix, stored, ask_all):
    A = matrix(1)
    bodies = systems(stored(A).record.id, A, 3)
    bodies[1]["options"] = {"threads": 2, "method": "lsmr"}
    found = ask_all(bodies)
    assert [found[number]["shared"] for number in range(3)] == [2, 1, 2]
    assert all(found[number]["converged"] for number in range(3))


def test_want_of_memory_ends_the_block_but_not_a_lone_request(worker, matrix, stored, ask_all, monkeypatch):
    A = matrix(1)
    bodies = systems(stored(A).record.id, A, 3)

    def starve(*args):
        raise MemoryError

    monkeypatch.setattr("solver_service.tasks.solve.encode_json", starve)
    with pytest.raises(MemoryError):
        ask_all(bodies)


def test_each_is_answered_when_it_is_done(worker, matrix, stored, context, tmp_path):
    A = matrix(1)
    bodies = systems(stored(A).record.id, A, 2, method="kaczmarz")
    bodies[0]["options"]["rtol"] = 0
    answered = []
    # The first goes on until the second has its answer.
    contexts = [context(cancelled=lambda: answered == [1]), context()]
    shares = [
        Share(contexts[number], request(tmp_path, body), lambda _, number=number: answered.append(number))
        for number, body in enumerate(bodies)
    ]
    solve(shares)
    assert answered == [1, 0]


def test_the_second_solve_begins_with_what_the_first_has_learned(worker, matrix, stored, ask_all):
    A = matrix(3, 400, 150)
    (body,) = systems(stored(A).record.id, A, 1)
    first, second = ask_all([body])[0], ask_all([body])[0]
    assert (first["parameters"]["tuning"], second["parameters"]["tuning"]) == ("2", "2.1")
    assert "in earlier solves of this matrix" in second["reason"]


def test_a_warm_start_begins_nearer(worker, matrix, stored, ask_all):
    A = matrix(1, 400, 150)
    id_ = stored(A).record.id
    (body,) = systems(id_, A, 1, method="cgmn", warm_start="auto")
    first, second = ask_all([body])[0], ask_all([body])[0]
    assert first["parameters"]["tuning"] == "2"
    assert second["parameters"]["tuning"] == "2+1"
    assert second["converged"]
    assert second["epochs"] < first["epochs"]
    (cold,) = systems(id_, A, 1, method="cgmn")
    assert ask_all([cold])[0]["x"] == first["x"]


def test_only_what_converged_is_started_from(worker, matrix, stored, ask_all):
    A = matrix(1, 400, 150)
    id_ = stored(A).record.id
    (body,) = systems(id_, A, 1, method="kaczmarz", warm_start="auto", max_epochs=1, rtol=1e-12)
    assert ask_all([body])[0]["status"] == "max_epochs"
    assert [part.name for part in worker.store.prepared.parts(id_) if "solutions" in part.name] == []
