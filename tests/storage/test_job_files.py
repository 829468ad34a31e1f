import errno

import numpy as np
import pytest

from solver_service.errors import JobNotFoundError, NoSolutionError, OutOfMemoryError, SolverServiceError
from solver_service.storage import JobFiles

ID, OTHER = "job_" + "1" * 32, "job_" + "2" * 32


@pytest.fixture
def files(tmp_path):
    return JobFiles(tmp_path)


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def published(files, id_, b, x0=None):
    with files.receive() as folder:
        folder.write_input(b, x0)
        folder.publish(id_)
    return files.folder(id_)


@pytest.mark.parametrize("shape", [(7,), (7, 3), (1,), (1, 1)])
@pytest.mark.parametrize("order", ["C", "F"])
def test_numbers_come_back(files, shape, order):
    rng = np.random.default_rng(1)
    b, x0 = (np.asarray(rng.standard_normal(shape), order=order) for _ in range(2))
    folder = published(files, ID, b, x0)
    found = folder.read_input()
    np.testing.assert_array_equal(found.b, b)
    np.testing.assert_array_equal(found.x0, x0)
    name = folder.write_solution(3, x0, b)
    x, y = folder.read_solution(name)
    np.testing.assert_array_equal(x, x0)
    np.testing.assert_array_equal(y, b)
    file, size = folder.open_solution(name)
    with file:
        np.testing.assert_array_equal(np.load(file), x0)
        assert size == file.tell()


def test_without_start_and_certificate(files):
    folder = published(files, ID, np.ones(3))
    assert folder.read_input().x0 is None
    assert folder.read_solution(folder.write_solution(1, np.ones(2), None))[1] is None


def test_a_solution_that_is_written_again_takes_no_old_certificate_along(files):
    folder = published(files, ID, np.ones(3))
    folder.write_solution(1, np.ones(2), np.ones(3))
    assert folder.read_solution(folder.write_solution(1, np.zeros(2), None))[1] is None


def test_what_is_not_published_leaves_nothing(files, tmp_path):
    with files.receive() as folder:
        folder.write_input(np.ones(3), None)
    assert names(tmp_path / "staging") == names(tmp_path / "jobs") == []


def test_a_state_appears_whole_or_not_at_all(files):
    folder = published(files, ID, np.ones(3))
    with folder.new_state(1) as path:
        path.write_bytes(b"first")

    def fail():
        with folder.new_state(1) as path:
            path.write_bytes(b"sec")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert [path.read_bytes() for path in folder.states()] == [b"first"]
    assert names(folder.path) == ["b.npy", "state-1.zip"]


def test_later_attempts_come_first(files):
    folder = published(files, ID, np.ones(3))
    for attempt in (2, 10, 1):
        with folder.new_state(attempt) as path:
            path.touch()
    assert [path.name for path in folder.states()] == ["state-10.zip", "state-2.zip", "state-1.zip"]
    folder.tidy(None, "state-2.zip")
    assert [path.name for path in folder.states()] == ["state-2.zip"]


def test_what_another_job_left_is_taken_over(files):
    old = published(files, ID, np.ones(3), np.zeros(2))
    for attempt in (1, 2):
        with old.new_state(attempt) as path:
            path.write_text(f"state {attempt}")
    with files.receive() as folder:
        folder.take_over(old)
        folder.publish(OTHER)
    files.remove(ID)
    new = files.folder(OTHER)
    assert [path.read_text() for path in new.states()] == ["state 2"]
    np.testing.assert_array_equal(new.read_input().b, np.ones(3))


def test_lost_and_damaged_files_are_told_apart(files):
    folder = published(files, ID, np.ones(3))
    name = folder.write_solution(1, np.ones(2), None)
    (folder.path / name).write_bytes(b"junk")
    for look in (folder.read_solution, folder.open_solution):
        with pytest.raises(NoSolutionError, match="damaged"):
            look(name)
    (folder.path / name).unlink()
    for look in (folder.read_solution, folder.open_solution):
        with pytest.raises(NoSolutionError, match="missing"):
            look(name)
    (folder.path / "b.npy").unlink()
    with pytest.raises(NoSolutionError, match="missing"):
        folder.read_input()
    with pytest.raises(NoSolutionError, match="missing"), files.receive() as new:
        new.take_over(folder)
    files.remove(ID)
    with pytest.raises(JobNotFoundError):
        folder.read_solution(name)


def test_what_cannot_be_linked_is_copied(files, monkeypatch):
    def refuse(*_):
        raise OSError(errno.EPERM, "no links here")

    monkeypatch.setattr("pathlib.Path.hardlink_to", refuse)
    old = published(files, ID, np.ones(3))
    with files.receive() as folder:
        folder.take_over(old)
        folder.publish(OTHER)
    np.testing.assert_array_equal(files.folder(OTHER).read_input().b, np.ones(3))


def test_size_counts_what_stays(files):
    folder = published(files, ID, np.ones(1000))
    before = folder.size()
    assert before > 8000
    name = folder.write_solution(1, np.ones(500), None)
    with folder.new_state(1) as path:
        path.write_bytes(bytes(100))
    assert folder.size() == before
    assert folder.size(name, "state-1.zip") > before + 4100
    folder.tidy(name, "state-1.zip")
    assert folder.size(name, "state-1.zip") == sum(path.stat().st_size for path in folder.path.iterdir())


@pytest.mark.parametrize("id_", ["..", "job_1", "", "job_" + "g" * 32, "../jobs/" + ID])
def test_no_id_leads_out_of_the_folder(files, id_):
    with pytest.raises(SolverServiceError):
        files.folder(id_)


def test_a_full_disk_is_said_and_leaves_nothing(files, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "no space")

    monkeypatch.setattr("solver_service.storage.files.os.fsync", full)
    with pytest.raises(OutOfMemoryError), files.receive() as folder:
        folder.write_input(np.ones(3), None)
    assert names(tmp_path / "staging") == []
