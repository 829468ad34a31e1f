"""What is derived from matrices, in the store."""

from __future__ import annotations

import errno
import logging
import os
import shutil
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from solver_service.storage import FORMAT, MatrixStore, prepared, snapshots

IDS = [f"mat_{k:032x}" for k in range(6)]


def large(seed=0, size=20_000):
    return {"part": {"data": np.random.default_rng(seed).standard_normal(size), "shift": 0.5, "none": None}}


@pytest.fixture
def kept(store):
    return store.prepared


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "data" / "prepared"


def descriptors():
    return len(list(Path("/proc/self/fd").iterdir()))


def content_of(folder, name="gram", matrix_id=IDS[0]):
    return folder / matrix_id / FORMAT / name / "content"


def test_a_part_comes_back_mapped_and_as_it_was_saved(kept):
    assert kept.load(IDS[0], "gram") is None
    assert kept.save(IDS[0], "gram", large())
    part = kept.load(IDS[0], "gram")["part"]
    assert_array_equal(part["data"], large()["part"]["data"])
    assert (part["shift"], part["none"]) == (0.5, None)
    assert not part["data"].flags.writeable
    assert part["data"].ctypes.data % 64 == 0
    assert kept.load(IDS[0], "other") is kept.load(IDS[1], "gram") is None


def test_small_parts_hold_no_descriptor(kept):
    for k in range(20):
        kept.save(IDS[0], f"tuning-{k}", {"version": k, "rates": np.ones(3)})
    before = descriptors()
    loaded = [kept.load(IDS[0], f"tuning-{k}") for k in range(20)]
    assert descriptors() == before
    assert [part["version"] for part in loaded] == list(range(20))


def test_what_is_there_is_never_overwritten(kept):
    assert kept.save(IDS[0], "tuning-1", {"who": "first"})
    assert not kept.save(IDS[0], "tuning-1", {"who": "second"})
    assert kept.load(IDS[0], "tuning-1") == {"who": "first"}


def test_parts_are_listed_with_their_sizes(kept, folder):
    assert kept.parts(IDS[0]) == []
    kept.save(IDS[0], "transpose", large())
    kept.save(IDS[0], "gram", large(size=9))
    assert [part.name for part in kept.parts(IDS[0])] == ["gram", "transpose"]
    assert [part.bytes for part in kept.parts(IDS[0])] == [
        content_of(folder, name).stat().st_size for name in ("gram", "transpose")
    ]
    assert kept.parts(IDS[1]) == []


@pytest.mark.parametrize("name", ["", ".", "..", "../x", "a/b", "x" * 101, "Gram"])
def test_no_name_leads_out_of_the_folder(kept, name):
    for call in (kept.load, kept.discard, lambda *of: kept.save(*of, {})):
        with pytest.raises(ValueError, match="no name"):
            call(IDS[0], name)
    with pytest.raises(ValueError, match="not the id"):
        kept.load("mat_../../x", "gram")


def _cut(path):
    os.truncate(path, path.stat().st_size - 8)


def _cut_head(path):
    os.truncate(path, 20)


def _flip_head(path):
    content = bytearray(path.read_bytes())
    content[30] ^= 1
    path.write_bytes(content)


def _flip(place):
    def flip(path):
        content = bytearray(path.read_bytes())
        content[int(place * (len(content) - 1))] ^= 1
        path.write_bytes(content)

    return flip


def _directory(path):
    path.unlink()
    path.mkdir()


def _file(path):
    path.unlink()
    path.parent.rmdir()
    path.parent.write_bytes(b"")


DAMAGES = [
    *(_cut, _cut_head, _flip_head, _directory, _file, Path.unlink),
    *map(_flip, (0.7, 0.9, 1.0)),
    lambda path: path.write_bytes(b""),
    lambda path: path.write_bytes(bytes(100_000)),
]


@pytest.mark.parametrize("size", [10, 20_000])
@pytest.mark.parametrize("damage", DAMAGES)
def test_what_is_damaged_is_removed_and_can_be_saved_anew(kept, folder, damage, size, caplog):
    kept.save(IDS[0], "gram", large(size=size))
    damage(content_of(folder))
    kept.parts(IDS[0])
    assert kept.load(IDS[0], "gram") is None
    assert "damaged" in caplog.text
    assert kept.parts(IDS[0]) == []
    assert kept.save(IDS[0], "gram", large(size=size))
    assert_array_equal(kept.load(IDS[0], "gram")["part"]["data"], large(size=size)["part"]["data"])


def _sign_bits(content):
    content[-7 * 4096 + 7] ^= 0x80
    content[-3 * 4096 + 7] ^= 0x80


def _swapped_pages(content):
    content[-20_480:-12_288] = content[-16_384:-12_288] + content[-20_480:-16_384]


@pytest.mark.parametrize("damage", [_sign_bits, _swapped_pages])
def test_damages_that_a_plain_sum_would_miss(kept, folder, damage):
    kept.save(IDS[0], "gram", large())
    content = bytearray(content_of(folder).read_bytes())
    damage(content)
    content_of(folder).write_bytes(content)
    assert kept.load(IDS[0], "gram") is None


def test_what_cannot_be_read_just_now_stays(kept, monkeypatch):
    kept.save(IDS[0], "gram", large())
    with monkeypatch.context() as patch:

        def short(_):
            raise OSError(errno.EMFILE, "too many open files")

        patch.setattr(prepared, "map_snapshot", short)
        assert kept.load(IDS[0], "gram") is None
    assert kept.load(IDS[0], "gram") is not None


def test_a_discarded_part_can_be_saved_anew(kept):
    kept.save(IDS[0], "gram", {"part": 1})
    kept.discard(IDS[0], "gram")
    kept.discard(IDS[0], "gram")
    assert kept.save(IDS[0], "gram", {"part": 2})
    assert kept.load(IDS[0], "gram") == {"part": 2}


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES])
def test_without_space_it_is_not_stored_which_is_logged_once(kept, monkeypatch, caplog, files, number):
    with monkeypatch.context() as patch:

        def full(*_):
            raise OSError(number, os.strerror(number))

        patch.setattr(prepared, "write_snapshot", full)
        assert not kept.save(IDS[0], "gram", large())
        assert not kept.save(IDS[0], "transpose", large())
    assert len([record for record in caplog.records if record.levelno == logging.WARNING]) == 1
    assert files() == []
    assert kept.save(IDS[0], "gram", large())


def use_at(folder, matrix_id, moment):
    os.utime(folder / matrix_id, (moment, moment))


def test_the_matrices_not_used_for_longest_go_first(kept, folder):
    for place, id_ in enumerate(IDS[:4]):
        kept.save(id_, "gram", large(place))
        kept.save(id_, "transpose", large(place))
        use_at(folder, id_, 1000 + place)
    kept.touch(IDS[0])
    size = sum(part.bytes for part in kept.parts(IDS[0]))
    kept.trim(4 * size)
    assert sorted(kept.ids()) == IDS[:4]
    kept.trim(2 * size)
    assert sorted(kept.ids()) == [IDS[0], IDS[3]]
    assert len(kept.parts(IDS[0])) == 2
    kept.trim(0)
    assert kept.ids() == []


def test_a_mapped_part_can_be_used_after_its_eviction(kept):
    kept.save(IDS[0], "gram", large())
    part = kept.load(IDS[0], "gram")["part"]
    kept.trim(0)
    assert kept.load(IDS[0], "gram") is None
    assert_array_equal(part["data"], large()["part"]["data"])


def test_tunings_outlast_an_eviction_but_not_the_matrix(kept):
    kept.save(IDS[0], "tuning-1", {"rate": 0.5})
    kept.save(IDS[0], "gram", large())
    kept.trim(0)
    assert [part.name for part in kept.parts(IDS[0])] == ["tuning-1"]
    kept.take_away(IDS[0])()
    assert kept.load(IDS[0], "tuning-1") is None


def test_another_version_is_not_seen_and_removed(store, kept, folder, make_matrix, monkeypatch):
    id_ = store.put(make_matrix(0))[0].id
    with monkeypatch.context() as patch:
        patch.setattr(prepared, "FORMAT", "1-0")
        kept.save(id_, "gram", large())
    assert kept.parts(id_) == []
    assert kept.load(id_, "gram") is None
    kept.save(id_, "transpose", large())
    store.remove_leftovers()
    assert [path.name for path in (folder / id_).iterdir()] == [FORMAT]
    assert [part.name for part in kept.parts(id_)] == ["transpose"]


def test_stale_versions_count_and_are_evicted(kept, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(prepared, "FORMAT", "1-0")
        kept.save(IDS[0], "gram", large())
    kept.trim(1000)
    assert kept.ids() == []


def test_it_goes_with_its_matrix(store, kept, make_matrix, files):
    id_ = store.put(make_matrix(0))[0].id
    kept.save(id_, "gram", large())
    remove = store.take_away(id_)
    assert kept.load(id_, "gram") is None
    remove()
    assert files() == []


def test_what_belongs_to_no_matrix_is_removed(store, kept, make_matrix):
    id_ = store.put(make_matrix(0))[0].id
    for name in (id_, IDS[1]):
        kept.save(name, "gram", large())
    store.remove_leftovers()
    assert kept.ids() == [id_]


SAVE = """
import sys, os
import numpy as np
from solver_service.storage import MatrixStore
kept = MatrixStore(sys.argv[1]).prepared
print("ready", flush=True)
sys.stdin.readline()
print([kept.save(f"mat_{k:032x}", "gram", {"part": np.full(20_000, k)}) for k in range(30)])
"""


def test_of_several_processes_exactly_one_stores_each_part(tmp_path, kept):
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", SAVE, str(tmp_path / "data")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(3)
    ]
    for process in processes:
        assert process.stdout.readline() == "ready\n"
    answers = [process.communicate("go\n")[0].strip().strip("[]").split(", ") for process in processes]
    assert all(process.returncode == 0 for process in processes)
    assert [sorted(told) for told in zip(*answers, strict=True)] == [["False", "False", "True"]] * 30
    for k in range(30):
        assert_array_equal(kept.load(f"mat_{k:032x}", "gram")["part"], np.full(20_000, k))
    assert list((tmp_path / "data" / "staging").iterdir()) == []


DIE = """
import os, signal, sys
import numpy as np
from solver_service.storage import MatrixStore, snapshots
write = snapshots.write_bytes
def write_half(path, *parts):
    path.write_bytes(b"".join(parts)[:1000])
    os.kill(os.getpid(), signal.SIGKILL)
snapshots.write_bytes = write_half
MatrixStore(sys.argv[1]).prepared.save("mat_" + "0" * 32, "gram", {"part": np.zeros(20_000)})
"""


def test_a_process_killed_while_it_saves_leaves_nothing(tmp_path, store, files):
    data = str(tmp_path / "data")
    assert subprocess.run([sys.executable, "-c", DIE, data], check=False).returncode == -signal.SIGKILL
    assert store.prepared.parts(IDS[0]) == []
    assert len(files()) == 1
    MatrixStore(data)
    assert files() == []


def test_saving_loading_evicting_and_removing_at_once(kept, tmp_path, monkeypatch):
    monkeypatch.setattr(snapshots, "_SMALL", 0)
    done = threading.Event()
    expected = large()["part"]["data"]

    def save():
        stored = 0
        for _ in range(60):
            stored += sum(kept.save(id_, "gram", large()) for id_ in IDS[:3])
        return stored

    def load():
        found = 0
        while not done.is_set():
            for id_ in IDS[:3]:
                kept.touch(id_)
                part = kept.load(id_, "gram")
                if part is not None:
                    assert_array_equal(part["part"]["data"], expected)
                    found += 1
                assert {part.name for part in kept.parts(id_)} <= {"gram"}
        return found

    def remove():
        while not done.is_set():
            kept.trim(200_000)
            kept.take_away(IDS[0])()

    with ThreadPoolExecutor(5) as threads:
        others = [threads.submit(load), threads.submit(load), threads.submit(remove)]
        stored = [saver.result() for saver in [threads.submit(save) for _ in range(2)]]
        done.set()
        assert sum(found.result() or 0 for found in others) > 0
    assert sum(stored) > 3
    kept.trim(0)
    assert kept.ids() == []
    assert list((tmp_path / "data" / "staging").iterdir()) == []


@pytest.mark.parametrize("what", ["fifo", "endless", "file"])
def test_what_is_no_file_is_removed_and_nobody_waits_for_it(kept, folder, what, files):
    kept.save(IDS[0], "gram", {"a": np.arange(20_000.0)})
    content = content_of(folder)
    if what == "file":
        shutil.rmtree(content.parent)
        content.parent.write_text("no directory")
    else:
        content.unlink()
        os.mkfifo(content) if what == "fifo" else content.symlink_to("/dev/zero")
    kept.load(IDS[0], "gram")
    kept.discard(IDS[0], "gram")
    assert kept.load(IDS[0], "gram") is None
    assert kept.save(IDS[0], "gram", {"a": np.arange(3.0)})
    assert not [path for path in files() if "staging" in path]
