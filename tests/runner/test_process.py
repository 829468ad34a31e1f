"""What a process needs before it starts: above all that its folder and its database belong together."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from solver_service.runner import CannotStartError, prepare
from solver_service.settings import Settings
from solver_service.storage import JobFiles

ID = "job_" + "f" * 32


@pytest.fixture
def at(tmp_path):
    """Settings for a database of this name, and a folder that all share."""

    def at(name, folder="storage"):
        return Settings(data_dir=tmp_path / name, storage_url=f"file://{tmp_path / folder}")

    return at


def test_a_folder_belongs_to_the_database_that_came_first(at):
    prepare(at("one"))
    prepare(at("one"))
    with pytest.raises(CannotStartError) as caught:
        prepare(at("two"))
    folder = at("one").storage_dir
    for said in (
        f"folder {folder} belongs to another database",
        "SOLVER_SERVICE_STORAGE_URL",
        folder / "owner",
    ):
        assert str(said) in str(caught.value)
    prepare(at("two", "other"))
    prepare(at("one"))
    assert (folder / "owner" / "database").read_text() != (
        at("two", "other").storage_dir / "owner" / "database"
    ).read_text()
    assert list((folder / "staging").iterdir()) == []


def test_a_folder_with_jobs_of_others_is_not_adopted(at):
    folder = at("one").storage_dir
    (folder / "jobs" / ID).mkdir(parents=True)
    with pytest.raises(CannotStartError, match="1 of the 1 jobs in it are not in this one"):
        prepare(at("one"))
    assert (folder / "jobs" / ID).is_dir()
    assert not (folder / "owner").exists()
    (folder / "jobs" / ID).rmdir()
    prepare(at("one"))


def test_jobs_on_record_make_a_folder_ones_own(at):
    files = JobFiles(at("one").storage_dir)
    files.folder(ID).path.mkdir()
    files.adopt("a" * 32, lambda _: {ID: 1})
    assert files.owner() == "a" * 32


def test_a_job_that_comes_while_another_process_adopts(at):
    files = JobFiles(at("one").storage_dir)
    files.folder(ID).path.mkdir()

    def known(_):
        JobFiles(at("one").storage_dir).adopt("a" * 32, lambda ids: ids)
        return {}

    files.adopt("a" * 32, known)
    assert files.owner() == "a" * 32


@pytest.mark.parametrize("databases", [["one"] * 4, ["one", "two", "three", "four"]])
def test_many_that_start_at_once(at, root, databases):
    script = """
import sys
from pathlib import Path
from solver_service.runner import CannotStartError, prepare
from solver_service.settings import Settings
print(flush=True)
sys.stdin.readline()
try:
    prepare(Settings(data_dir=Path(sys.argv[1]), storage_url=sys.argv[2]))
except CannotStartError as error:
    print("belongs to another" in str(error))
else:
    print("started")
"""
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", script, str(at(name).data_dir), at(name).storage_url],
            env=os.environ | {"PYTHONPATH": str(root)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for name in databases
    ]
    for process in processes:
        process.stdout.readline()
    for process in processes:
        process.stdin.write("\n")
        process.stdin.flush()
    said = sorted(process.communicate(timeout=60)[0].strip() for process in processes)
    assert said == (["started"] * 4 if len(set(databases)) == 1 else ["True"] * 3 + ["started"])


def test_a_folder_that_cannot_be_marked(at, monkeypatch):
    def refuse(*_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(JobFiles, "_mark", refuse)
    with pytest.raises(CannotStartError, match=r"cannot write to the data folder .*: Permission denied"):
        prepare(at("one"))
