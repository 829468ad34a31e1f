"""What stays on the disk when something goes wrong: full disks, damaged files, dead processes."""

import errno
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from numpy.testing import assert_array_equal

from solver_service.errors import MatrixNotFoundError, OutOfMemoryError, SolverServiceError
from solver_service.storage import MatrixStore

STALLED_PUT = """
import os, sys
from scipy.sparse import eye_array
from solver_service.problems.matrix import Matrix
from solver_service.storage import MatrixStore
store = MatrixStore(sys.argv[1])
def stall(descriptor):
    print("half written", flush=True)
    sys.stdin.read()
os.fsync = stall
store.put(Matrix.from_any(eye_array(9)))
"""


@pytest.fixture
def fail_at(monkeypatch):
    """Make the n-th call of a function fail, as the operating system would."""

    def fail_at(owner, name, number, code):
        original = getattr(owner, name)
        calls = []

        def failing(*arguments, **options):
            calls.append(arguments)
            if len(calls) == number:
                raise OSError(code, os.strerror(code))
            return original(*arguments, **options)

        monkeypatch.setattr(owner, name, failing)
        return calls

    return fail_at


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
@pytest.mark.parametrize(
    ("owner", "name", "number"),
    [(os, "fsync", n) for n in (1, 2, 3, 4, 5, 6)]
    # The first file opened is read: is the matrix there already?
    + [(os, "mkdir", 1), (os, "utime", 1), (Path, "open", 2), (Path, "open", 5), (Path, "rename", 1)],
)
def test_a_full_disk_is_reported_and_nothing_stays(
    store, make_matrix, files, fail_at, owner, name, number, code
):
    calls = fail_at(owner, name, number, code)
    with pytest.raises(OutOfMemoryError, match="no space left") as caught:
        store.put(make_matrix(0))
    assert len(calls) >= number
    assert caught.value.retry_after >= 1
    assert files() == []
    assert store.put(make_matrix(0))[1]


def test_other_failures_leave_nothing_either(store, make_matrix, files, fail_at):
    fail_at(os, "fsync", 2, errno.EIO)
    with pytest.raises(OSError, match="Input/output"):
        store.put(make_matrix(0))
    assert files() == []


def test_a_disk_that_fills_up_in_the_middle_of_a_file(store, make_matrix, files, monkeypatch):
    resource = pytest.importorskip("resource")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (600, hard))  # a real short write, then EFBIG
    try:
        with pytest.raises(OutOfMemoryError, match="no space"):
            store.put(make_matrix(0))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert files() == []
    assert store.put(make_matrix(0))[1]


def test_everything_is_on_the_disk_before_it_gets_its_name(store, make_matrix, monkeypatch):
    events = []
    fsync, rename = os.fsync, Path.rename

    def watched_fsync(descriptor):
        events.append(Path(f"/proc/self/fd/{descriptor}").readlink().name)
        fsync(descriptor)

    def watched_rename(path, target):
        events.append("rename")
        return rename(path, target)

    monkeypatch.setattr(os, "fsync", watched_fsync)
    monkeypatch.setattr(Path, "rename", watched_rename)
    store.put(make_matrix(0))
    directory = events[5]
    assert set(events[:5]) == {"indptr.npy", "indices.npy", "data.npy", "meta.json", "uses"}
    assert directory.startswith("new-")
    assert events[6:] == ["rename", "matrices"]


def truncate(path):
    os.truncate(path, path.stat().st_size - 8)


def damage_head(path):
    path.write_bytes(b"\x93NUMPY\x01\x00\xff\x00{{{{" + path.read_bytes()[14:])


def swap_in(name):
    return lambda path: path.write_bytes((path.parent / name).read_bytes())


DAMAGES = [
    ("data.npy", truncate),
    ("data.npy", lambda path: path.write_bytes(b"")),
    ("data.npy", lambda path: path.write_bytes(b"junk")),
    ("data.npy", damage_head),
    ("data.npy", swap_in("indptr.npy")),
    ("data.npy", Path.unlink),
    ("indices.npy", truncate),
    ("indptr.npy", truncate),
    ("indptr.npy", swap_in("indices.npy")),
    ("meta.json", truncate),
    ("meta.json", Path.unlink),
    ("meta.json", lambda path: path.write_bytes(b"\xff\xfe")),
    ("meta.json", lambda path: path.write_text("[]")),
    ("meta.json", lambda path: path.write_text("{}")),
    ("meta.json", lambda path: path.write_text(path.read_text().replace("mat_", "tam_"))),
    ("meta.json", lambda path: path.write_text(path.read_text().replace('"nnz": ', '"nnz": 1'))),
]


@pytest.mark.parametrize(("name", "damage"), DAMAGES)
def test_a_damaged_matrix_is_an_internal_error_that_a_new_upload_heals(
    store, make_matrix, tmp_path, caplog, name, damage
):
    matrix = make_matrix(0)
    sound, _ = store.put(make_matrix(1))
    record, _ = store.put(matrix)
    damage(tmp_path / "data" / "matrices" / record.id / name)
    with pytest.raises(SolverServiceError) as caught:
        store.open(record.id)
    assert caught.value.code == "internal"
    assert str(tmp_path) not in caught.value.detail
    assert record.id in caplog.text
    assert sound in store.list()[0]
    healed, created = store.put(matrix)
    assert created
    assert_array_equal(store.open(healed.id).csr.toarray(), matrix.csr.toarray())


def test_a_shortage_of_this_process_does_not_condemn_a_matrix(store, make_matrix, fail_at):
    record, _ = store.put(make_matrix(0), name="first")
    fail_at(Path, "open", 1, errno.EMFILE)
    with pytest.raises(SolverServiceError):
        store.put(make_matrix(0), name="second")
    assert store.get(record.id).name == "first"


def start_stalled_put(root):
    process = subprocess.Popen(
        [sys.executable, "-c", STALLED_PUT, str(root)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline() == "half written\n"
    return process


def test_unfinished_work_of_dead_processes_is_removed_and_of_living_ones_kept(tmp_path, files):
    root = tmp_path / "data"
    with subprocess.Popen(
        [sys.executable, "-c", STALLED_PUT, str(root)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout.readline() == "half written\n"
        MatrixStore(root)
        assert len(files()) == 1
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert len(files()) == 1
    store = MatrixStore(root)
    assert files() == []
    assert store.list() == ([], None)


def test_a_living_process_finishes_though_others_start(tmp_path):
    root = tmp_path / "data"
    process = subprocess.Popen(
        [sys.executable, "-c", STALLED_PUT, str(root)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline() == "half written\n"
    stores = [MatrixStore(root) for _ in range(3)]
    process.communicate()
    assert process.returncode == 0
    assert len(stores[0].list()[0]) == 1
    assert list((root / "staging").iterdir()) == []


def test_what_a_deletion_left_behind_is_removed(store, make_matrix, tmp_path, files, monkeypatch):
    record, _ = store.put(make_matrix(0))
    with monkeypatch.context() as patch:
        patch.setattr("shutil.rmtree", lambda *_, **__: None)  # as if it died just then
        store.take_away(record.id)()
    with pytest.raises(MatrixNotFoundError):
        store.get(record.id)
    assert len(files()) == 5
    MatrixStore(tmp_path / "data")
    assert files() == []


def test_writable_tells_whether_matrices_can_be_stored(store, tmp_path, monkeypatch, files):
    assert store.writable()
    assert files() == []
    with monkeypatch.context() as patch:

        def full(*_, **__):
            raise OSError(errno.ENOSPC, "full")

        patch.setattr("tempfile.TemporaryFile", full)
        assert not store.writable()
    (tmp_path / "data" / "staging").rmdir()
    assert not store.writable()
