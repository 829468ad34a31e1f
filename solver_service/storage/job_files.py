"""The files of jobs: input, states saved on the way, solution. One directory for each job.

``<root>/jobs/<id>/`` appears by a rename with the input in it, before the job is put on record. Until that is
committed it is locked, so that a directory without a job whose lock is free was left by a dead process. Files
that attempts write bear their number: a worker that has lost its claim cannot spoil those of its successor.

``<root>/owner/database`` holds the id of the database that knows the jobs. It appears by a rename too.
"""

from __future__ import annotations

import errno
import os
import re
import shutil
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..errors import JobNotFoundError, NoSolutionError, SolverServiceError
from .files import full_disk_reported, sync_directory, write_array, write_bytes
from .staging import Staging, lock_directory

_ID = re.compile(r"job_[0-9a-f]{32}", re.ASCII)
_STATE = re.compile(r"state-([0-9]{1,9})\.zip", re.ASCII)
_INPUT = ("b.npy", "x0.npy")
_NO_LINKS = (errno.EPERM, errno.EXDEV, errno.EOPNOTSUPP, errno.EMLINK)
_OWNER = "owner"
_DATABASE = "database"


_ADVICE = (
    "Use the database that it belongs to (SOLVER_SERVICE_DATABASE_URL), or another folder "
    "(SOLVER_SERVICE_STORAGE_URL or SOLVER_SERVICE_DATA_DIR); if that database and its jobs are given up,"
)


class ForeignFolderError(SolverServiceError):
    """The folder belongs to another database."""


class Input(NamedTuple):
    """Right-hand side, (m,) or (m, k), and start, (n,) or (n, k), of a job."""

    b: NDArray[np.float64]
    x0: NDArray[np.float64] | None


class JobFolder:
    """The directory of one job.

    Parameters
    ----------
    path : Path
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def size(
        self, solution: str | None = None, saved_state: str | None = None, *, states: bool = False
    ) -> int:
        """Bytes of the input and of the files named, and of all states if so wished."""
        kept = _kept(solution, saved_state)
        try:
            return sum(
                entry.stat().st_size
                for entry in os.scandir(self.path)
                if entry.name in kept or (states and _STATE.fullmatch(entry.name))
            )
        except FileNotFoundError:
            return 0

    def write_input(self, b: NDArray[np.float64], x0: NDArray[np.float64] | None) -> None:
        """Write the numbers of a job, down to the disk."""
        with full_disk_reported():
            for name, array in zip(_INPUT, (b, x0), strict=True):
                if array is not None:
                    write_array(self.path / name, np.ascontiguousarray(array))
            sync_directory(self.path)

    def read_input(self) -> Input:
        """Read them, mapped into memory."""
        b, x0 = (self.path / name for name in _INPUT)
        with _loss_reported(self.path):
            return Input(_mapped(b), _mapped(x0) if x0.exists() else None)

    def write_solution(self, attempt: int, x: NDArray[np.float64], y: NDArray[np.float64] | None) -> str:
        """Write x, and the y of a certificate, down to the disk; return the name by which they are read."""
        name = f"solution-{attempt}.npy"
        with full_disk_reported():
            for target, array in ((name, x), (_certificate(name), y)):
                (self.path / target).unlink(missing_ok=True)  # of this attempt, before it was settled
                if array is not None:
                    write_array(self.path / target, np.ascontiguousarray(array))
            sync_directory(self.path)
        return name

    def read_solution(self, name: str) -> tuple[NDArray[np.float64], NDArray[np.float64] | None]:
        """Read x and y; raise `JobNotFoundError` if the job was removed since it was looked up."""
        certificate = self.path / _certificate(name)
        with _loss_reported(self.path):
            return _mapped(self.path / name), _mapped(certificate) if certificate.exists() else None

    def open_solution(self, name: str) -> tuple[BinaryIO, int]:
        """Open the file with x; return it and its size; `JobNotFoundError` as in `read_solution`."""
        with _loss_reported(self.path):
            _mapped(self.path / name)  # it may be damaged
            file = (self.path / name).open("rb")
        return file, os.fstat(file.fileno()).st_size

    @contextmanager
    def new_state(self, attempt: int) -> Iterator[Path]:
        """Yield where to write a state durably; it replaces the one before when it is complete."""
        target = self.path / f"state-{attempt}.zip"
        draft = target.with_suffix(".new")
        try:
            draft.unlink(missing_ok=True)
            yield draft
            draft.replace(target)
            sync_directory(self.path)
        finally:
            with suppress(OSError):
                draft.unlink(missing_ok=True)

    def states(self) -> list[Path]:
        """Return the saved states, those of later attempts first."""
        found = [
            (int(match[1]), entry) for entry in self.path.iterdir() if (match := _STATE.fullmatch(entry.name))
        ]
        return [entry for _, entry in sorted(found, reverse=True)]

    def take_over(self, other: JobFolder) -> None:
        """Link input and last state of another job: what this one goes on from.

        Raises
        ------
        JobNotFoundError
            It was removed since it was looked up.
        OutOfMemoryError
            No space is left on the disk.
        """
        with _loss_reported(other.path), full_disk_reported():
            b, x0 = _INPUT
            _link(other.path / b, self.path / b)
            if (other.path / x0).exists():
                _link(other.path / x0, self.path / x0)
            for state in other.states()[:1]:
                with suppress(FileNotFoundError):  # tidied away just now: the solve begins anew
                    _link(state, self.path / "state-0.zip")
            sync_directory(self.path)

    def tidy(self, solution: str | None, saved_state: str | None, *, keep_states: bool = False) -> None:
        """Remove all but the input and the files named, and all states if so wished."""
        kept = _kept(solution, saved_state)
        with suppress(FileNotFoundError):
            for entry in list(self.path.iterdir()):
                if entry.name not in kept and not (keep_states and _STATE.fullmatch(entry.name)):
                    entry.unlink(missing_ok=True)


class Incoming(JobFolder):
    """A directory under preparation; see `JobFiles.receive`."""

    def __init__(self, path: Path, jobs: Path) -> None:
        super().__init__(path)
        self._jobs = jobs

    def publish(self, id_: str) -> None:
        """Give it its name, down to the disk. It stays locked until the end of `JobFiles.receive`."""
        target = self._jobs / id_
        with full_disk_reported():
            self.path.rename(target)
            self.path = target
            sync_directory(self._jobs)


class JobFiles:
    """The directories of all jobs.

    Parameters
    ----------
    root : path
        Data folder; made if it is not there.
    """

    def __init__(self, root: str | os.PathLike[str]) -> None:
        self._root = Path(root)
        self._jobs = self._root / "jobs"
        staging = self._root / "staging"
        if not (self._jobs.is_dir() and staging.is_dir()):
            self._jobs.mkdir(parents=True, exist_ok=True)
            staging.mkdir(exist_ok=True)
            sync_directory(self._root)
        self._staging = Staging(staging)

    def owner(self) -> str | None:
        """Return the id of the database that the data folder belongs to; None if to none yet."""
        try:
            return (self._root / _OWNER / _DATABASE).read_text("ascii", "replace").strip()
        except FileNotFoundError:
            return None

    def adopt(self, database: str, known: Callable[[Collection[str]], Collection[str]]) -> None:
        """Make the data folder that of a database, unless it is so already: the first that comes has it.

        Two databases that shared a folder would take each other's jobs for left-overs, and remove them.

        Parameters
        ----------
        database : str
            Its id.
        known : callable
            Return those ids of jobs that are on record there.

        Raises
        ------
        ForeignFolderError
            It belongs to another one, or there are jobs in it that are not on record in this one.
        OutOfMemoryError
            No space is left on the disk.
        """
        if self.owner() is None:
            ids = self.ids()
            strangers = set(ids) - set(known(ids))
            # If it was adopted meanwhile, they may be jobs that are just coming.
            if strangers and self.owner() is None:
                raise ForeignFolderError(
                    f"the folder {self._root} belongs to another database: "
                    f"{len(strangers)} of the {len(ids)} jobs in it are not in this one. "
                    f"{_ADVICE} remove {self._jobs}"
                )
            if not strangers:
                self._mark(database)
        if self.owner() != database:
            raise ForeignFolderError(
                f"the folder {self._root} belongs to another database. "
                f"{_ADVICE} remove {self._jobs} and {self._root / _OWNER}"
            )

    def _mark(self, database: str) -> None:
        with full_disk_reported(), self._staging.directory() as directory:
            write_bytes(directory / _DATABASE, f"{database}\n".encode("ascii"))
            sync_directory(directory)
            try:
                directory.rename(self._root / _OWNER)  # which fails if another was first
            except OSError as error:
                if error.errno not in (errno.EEXIST, errno.ENOTEMPTY):
                    raise
            sync_directory(self._root)

    def folder(self, id_: str) -> JobFolder:
        """Return the directory of a job."""
        if _ID.fullmatch(id_) is None:  # so that no id can lead out of the folder
            raise SolverServiceError("not the id of a job")
        return JobFolder(self._jobs / id_)

    @contextmanager
    def receive(self) -> Iterator[Incoming]:
        """Make a locked directory; it is removed at the end unless it was published."""
        with full_disk_reported(), self._staging.directory() as path:
            yield Incoming(path, self._jobs)

    def remove(self, id_: str) -> None:
        """Remove the directory of a job, if it is there."""
        with suppress(FileNotFoundError):
            self._staging.discard(self.folder(id_).path)

    def ids(self) -> list[str]:
        """Return the ids of all directories."""
        return [entry.name for entry in os.scandir(self._jobs) if _ID.fullmatch(entry.name)]

    @contextmanager
    def unlocked(self, ids: Collection[str]) -> Iterator[list[str]]:
        """Lock those directories that nobody is preparing, and yield their ids."""
        locked: dict[str, int] = {}
        try:
            for id_ in ids:
                descriptor = lock_directory(self._jobs / id_, wait=False)
                if descriptor is not None:
                    locked[id_] = descriptor
            yield list(locked)
        finally:
            for descriptor in locked.values():
                os.close(descriptor)

    def remove_locked(self, id_: str) -> None:
        """Remove a directory that `unlocked` has yielded."""
        shutil.rmtree(self._jobs / id_, ignore_errors=True)


@contextmanager
def _loss_reported(folder: Path) -> Iterator[None]:
    """Raise `JobNotFoundError` where all of a job is gone, `NoSolutionError` where only some of it is."""
    try:
        yield
    except FileNotFoundError:
        if folder.is_dir():
            raise NoSolutionError("files of this job are missing from the storage") from None
        raise JobNotFoundError("the job was removed, or its files are missing from the storage") from None
    except (ValueError, EOFError):
        raise NoSolutionError("files of this job are damaged") from None


def _kept(solution: str | None, saved_state: str | None) -> set[str | None]:
    return {*_INPUT, solution, saved_state, None if solution is None else _certificate(solution)}


def _link(source: Path, target: Path) -> None:
    try:
        target.hardlink_to(source)
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        write_bytes(target, source.read_bytes())


def _certificate(solution: str) -> str:
    return solution.replace("solution", "certificate")


def _mapped(path: Path) -> NDArray[Any]:
    array: NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
    return np.asarray(array)
