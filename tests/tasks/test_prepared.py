"""Prepared state that outlives a worker: a second one loads what the first has built."""

import json
import time

import numpy as np
import pytest

from solver_service.methods import parts
from solver_service.storage import snapshots
from solver_service.tasks import state
from solver_service.tasks.prepared import StoredParts
from solver_service.tasks.solve import SolveRequest


@pytest.fixture
def all_parts(monkeypatch):
    """Take every part to be worth keeping."""
    monkeypatch.setattr(parts, "_LEAST_SECONDS", 0.0)
    monkeypatch.setattr(parts, "_BYTES_PER_SECOND", 1e18)


@pytest.fixture
def ask(context, tmp_path, solve_one):
    """Solve with a stored matrix, and do what was left for later; return the result."""

    def ask(id_, b, **options):
        later = []
        body = {"matrix": {"id": id_}, "b": b.tolist(), "options": {"rtol": 1e-9, **options}}
        request = SolveRequest(
            {"body": json.dumps(body).encode()}, time.monotonic(), "application/json", tmp_path / "reply"
        )
        reply = solve_one(context(afterwards=later.append), request)
        saved = state.current().store.prepared.parts(id_)
        for piece in later:
            piece()
        return json.loads(reply.content), saved, later

    return ask


def restart(worker, **changes):
    """Begin anew, as another worker would."""
    config = worker.config
    limits = {name: getattr(config, name) for name in config.__slots__}
    state.configure(state.TaskConfig(**limits | changes))
    return state.current()


def state_of(worker, id_):
    return worker.cache.get(id_, lambda: pytest.fail("it is not in the cache")).state


@pytest.mark.parametrize("method", ["cgmn", "kaczmarz", "ssor_cgls", "direct"])
@pytest.mark.usefixtures("all_parts")
def test_a_second_worker_loads_what_the_first_has_built(worker, matrix, stored, ask, method):
    A = matrix(1)
    id_ = stored(A).record.id
    b = A @ np.arange(15.0)
    first, before, _ = ask(id_, b, method=method)
    built = {part.name for part in state_of(worker, id_).derived}
    assert before == []
    assert {part.name for part in worker.store.prepared.parts(id_)} == built != set()
    second = restart(worker)
    again, _, later = ask(id_, b, method=method)
    assert state_of(second, id_).derived == []
    assert state_of(second, id_).parts.fetched <= built
    assert state_of(second, id_).parts.fetched
    assert later == []
    assert again["x"] == first["x"]


@pytest.mark.usefixtures("all_parts")
def test_what_only_a_later_solve_needs_is_added(worker, matrix, stored, ask):
    A = matrix(2)
    id_ = stored(A).record.id
    ask(id_, A @ np.ones(15), method="direct")
    gram = {part.name for part in worker.store.prepared.parts(id_)}
    _, _, later = ask(id_, A @ np.ones(15), method="kaczmarz")
    assert gram < {part.name for part in worker.store.prepared.parts(id_)}
    assert len(later) > 1
    assert ask(id_, A @ np.ones(15), method="kaczmarz")[2] == []


def test_what_is_not_worth_it_is_not_stored(worker, matrix, stored, ask, monkeypatch):
    monkeypatch.setattr(parts, "_LEAST_SECONDS", 1e9)
    A = matrix(1)
    id_ = stored(A).record.id
    assert ask(id_, A @ np.ones(15), method="direct")[2] == []
    assert worker.store.prepared.parts(id_) == []


def _nonsense(_):
    return b"nonsense"


def _flipped(content):
    return content[:-1] + bytes([content[-1] ^ 0x40])


@pytest.mark.parametrize("method", ["cgmn", "kaczmarz", "ssor_cgls", "direct"])
@pytest.mark.parametrize("damaged", [_nonsense, _flipped])
@pytest.mark.usefixtures("all_parts")
def test_a_damaged_part_is_built_and_stored_anew(worker, matrix, stored, ask, monkeypatch, damaged, method):
    monkeypatch.setattr(snapshots, "_SMALL", 0)  # all are mapped
    A = matrix(3)
    id_ = stored(A).record.id
    b = A @ np.ones(15)
    expected, _, _ = ask(id_, b, method=method)
    sizes = worker.store.prepared.parts(id_)
    for path in (worker.config.data_dir / "prepared" / id_).rglob("content"):
        path.write_bytes(damaged(path.read_bytes()))
    second = restart(worker)
    again, _, _ = ask(id_, b, method=method)
    assert again["x"] == expected["x"]
    assert state_of(second, id_).derived
    assert second.store.prepared.parts(id_) == sizes


@pytest.mark.usefixtures("all_parts")
def test_with_no_disk_for_it_none_is_stored_and_none_is_read(worker, matrix, stored, ask):
    A = matrix(4)
    id_ = stored(A).record.id
    without = restart(worker, prepared_disk_bytes=0)
    assert ask(id_, A @ np.ones(15))[2] == []
    assert without.store.prepared.parts(id_) == []
    restart(worker)
    ask(id_, A @ np.ones(15))
    assert worker.store.prepared.parts(id_)
    without = restart(worker, prepared_disk_bytes=0)
    ask(id_, A @ np.ones(15))
    assert state_of(without, id_).parts.fetched == set()


@pytest.mark.usefixtures("all_parts")
def test_the_disk_for_it_is_bounded_in_all(worker, matrix, stored, ask):
    bounded = restart(worker, prepared_disk_bytes=12_000)
    ids = []
    for seed in range(5):
        A = matrix(seed)
        ids.append(stored(A).record.id)
        ask(ids[-1], A @ np.ones(15), method="direct")
    sizes = [sum(part.bytes for part in bounded.store.prepared.parts(id_)) for id_ in ids]
    assert sum(sizes) <= 12_000
    assert sizes[-1] > 0
    assert sizes[0] == 0


@pytest.mark.usefixtures("all_parts")
def test_what_is_larger_than_all_of_the_disk_for_it_is_not_even_written(worker, matrix, stored, ask):
    bounded = restart(worker, prepared_disk_bytes=1000)
    A = matrix(1)
    id_ = stored(A).record.id
    ask(id_, A @ np.ones(15), method="direct")
    names = {part.name for part in bounded.store.prepared.parts(id_)}
    assert "gram" in {part.name for part in state_of(bounded, id_).derived} - names


@pytest.mark.usefixtures("all_parts")
def test_nothing_stays_of_a_matrix_that_was_deleted_before_it_was_saved(worker, matrix, stored, ask, context):
    A = matrix(5)
    id_ = stored(A).record.id
    prepared = worker.prepared(id_)
    prepared.solve(A @ np.ones(15), method="direct")
    later = []
    worker.keep(prepared, context(afterwards=later.append))
    worker.store.take_away(id_)()
    assert later
    for piece in later:
        piece()
    assert worker.store.prepared.ids() == []


def test_a_matrix_that_came_with_its_system_leaves_nothing(
    worker, matrix, document, context, tmp_path, solve_one
):
    A = matrix(6)
    later = []
    body = {"matrix": document(A), "b": (A @ np.ones(15)).tolist()}
    request = SolveRequest(
        {"body": json.dumps(body).encode()}, time.monotonic(), "application/json", tmp_path
    )
    solve_one(context(afterwards=later.append), request)
    assert later == []
    assert worker.store.prepared.ids() == []


def test_uses_are_counted(worker, matrix, stored, ask):
    A = matrix(7)
    record = stored(A).record
    for _ in range(3):
        ask(record.id, A @ np.ones(15))
    assert worker.store.usage_of(record).uses == 3


def test_each_part_is_offered_once(worker, matrix):
    source = StoredParts(worker.store.prepared, "mat_" + "0" * 32)
    part = parts.Derived("gram", 1.0, lambda: {"part": 1})
    small = parts.Derived("symmetric", 0.0, lambda: {"part": True})
    assert source.unsaved([part, small]) == [part]
    assert source.unsaved([part, small]) == []
