"""Many processes and threads at one store."""

import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from numpy.testing import assert_array_equal

from solver_service.errors import MatrixNotFoundError
from solver_service.problems.matrix import Matrix
from solver_service.storage import MatrixStore
from solver_service.storage import store as store_module

PUT = """
import sys
from scipy.sparse import eye_array
from solver_service.problems.matrix import Matrix
from solver_service.storage import MatrixStore
matrices = [Matrix.from_any(eye_array(size)) for size in range(1, 21)]
store = MatrixStore(sys.argv[1])
print("ready", flush=True)
sys.stdin.read()
for matrix in matrices:
    record, created = store.put(matrix, name=sys.argv[2])
    print(matrix.shape[0], created, record.name)
"""


def test_of_several_processes_exactly_one_creates(tmp_path):
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", PUT, str(tmp_path / "data"), f"process-{number}"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for number in range(3)
    ]
    for process in processes:
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        process.stdin.close()
    lines = [line.split() for process in processes for line in process.stdout]
    for process in processes:
        process.stdout.close()
        assert process.wait() == 0
    creators = {}
    for size, created, name in lines:
        if created == "True":
            assert size not in creators
            creators[size] = name
    assert len(creators) == 20
    assert all(name == creators[size] for size, _, name in lines)
    assert len(MatrixStore(tmp_path / "data").list()[0]) == 20
    assert list((tmp_path / "data" / "staging").iterdir()) == []


def test_of_several_threads_exactly_one_creates(store, make_matrix):
    gate = threading.Barrier(8)

    def put(number):
        gate.wait()
        return store.put(make_matrix(0), name=str(number))

    with ThreadPoolExecutor(8) as threads:
        results = list(threads.map(put, range(8)))
    (winner,) = [record for record, created in results if created]
    assert all(record == winner for record, _ in results)


def test_opening_during_deletion_works_or_finds_nothing(store, make_matrix):
    matrix = make_matrix(0)
    dense = matrix.csr.toarray()
    record, _ = store.put(matrix)
    done = threading.Event()

    def replace():
        for _ in range(50):
            store.take_away(record.id)()
            store.put(matrix)
        done.set()

    def read():
        found = missing = 0
        while not done.is_set():
            try:
                assert_array_equal(store.open(record.id).csr.toarray(), dense)
                assert store.get(record.id).shape == (30, 20)
                found += 1
            except MatrixNotFoundError:
                missing += 1
            store.list()
        return found, missing

    with ThreadPoolExecutor(3) as threads:
        readers = [threads.submit(read) for _ in range(2)]
        threads.submit(replace).result()
        counts = [reader.result() for reader in readers]
    assert all(found for found, _ in counts)


def test_a_record_can_be_read_while_the_matrix_is_deleted_and_stored_anew(tmp_path, monkeypatch):
    store = MatrixStore(tmp_path)
    matrix = Matrix.from_any([[1.0, 2.0], [3.0, 4.0]])
    store.put(matrix, name=None, properties={})
    read, missed = store_module._read_record, []

    def miss_twice(directory):
        if len(missed) < 2:
            missed.append(directory)
            raise FileNotFoundError(directory)  # deleted a moment ago; stored anew by the next look
        return read(directory)

    monkeypatch.setattr(store_module, "_read_record", miss_twice)
    assert store.get(matrix.id).id == matrix.id
    assert len(missed) == 2
    store.take_away(matrix.id)()
    missed.clear()
    with pytest.raises(MatrixNotFoundError):
        store.get(matrix.id)
