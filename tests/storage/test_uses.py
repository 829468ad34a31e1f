"""How often stored matrices were used, and when."""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import UTC, datetime

import pytest

COUNT = """
import sys
from solver_service.storage import MatrixStore
store = MatrixStore(sys.argv[1])
print("ready", flush=True)
sys.stdin.read()
for _ in range(2000):
    store.touch(sys.argv[2], 1)
"""


def path_of(tmp_path, record):
    return tmp_path / "data" / "matrices" / record.id / "uses"


def test_a_new_matrix_was_not_used(store, make_matrix):
    before = datetime.now(UTC)
    record, _ = store.put(make_matrix(0))
    usage = store.usage_of(record)
    assert (usage.id, usage.bytes, usage.uses) == (record.id, record.bytes, 0)
    assert abs((usage.last_used - before).total_seconds()) < 60


def test_uses_are_added(store, make_matrix, tmp_path):
    record, _ = store.put(make_matrix(0))
    os.utime(path_of(tmp_path, record), (1000, 1000))
    store.touch(record.id)
    assert store.usage_of(record).uses == 0
    assert store.usage_of(record).last_used.year > 2000
    store.touch(record.id, 1)
    store.touch(record.id, 16)
    assert store.usage_of(record).uses == 17
    assert [usage.uses for usage in store.usage()] == [17]


def test_no_use_of_any_process_is_lost(store, make_matrix, tmp_path):
    record, _ = store.put(make_matrix(0))
    arguments = [sys.executable, "-c", COUNT, str(tmp_path / "data"), record.id]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    processes = [subprocess.Popen(arguments, **pipes) for _ in range(3)]
    for process in processes:
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        process.stdin.close()
    for process in processes:
        process.stdout.close()
        assert process.wait() == 0
    assert store.usage_of(record).uses == 6000


@pytest.mark.parametrize("content", [b"", b"nonsense", b"\xff" * 20, b"-1", b"12 34", b"x" * 5000])
def test_a_damaged_count_begins_anew(store, make_matrix, tmp_path, content):
    record, _ = store.put(make_matrix(0))
    path_of(tmp_path, record).write_bytes(content)
    assert store.usage_of(record).uses == 0
    store.touch(record.id, 2)
    assert store.usage_of(record).uses == 2


def test_the_list_keeps_its_order_whatever_is_used(store, make_matrix):
    records = [store.put(make_matrix(seed))[0] for seed in range(3)]
    store.touch(records[0].id, 1)
    assert store.list()[0] == records[::-1]


def test_a_matrix_that_is_gone_has_no_uses(store, make_matrix, tmp_path):
    record, _ = store.put(make_matrix(0))
    store.take_away(record.id)()
    store.touch(record.id, 1)
    usage = store.usage_of(record)
    assert (usage.uses, usage.last_used) == (0, record.created_at)
    assert not path_of(tmp_path, record).exists()
