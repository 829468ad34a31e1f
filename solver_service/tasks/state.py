"""What a worker keeps between tasks: its configuration, the store, and prepared matrices."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path

from ..engine import TaskContext
from ..errors import SolverServiceError
from ..jobs import solution_name
from ..methods import Derived, Prepared, Snapshot
from ..methods.snapshot import nbytes
from ..storage import JobFiles, MatrixStore
from ..storage.database import JobTable, open_engine
from ..wire.arrays import FloatArray
from ..wire.documents import JobStart
from ..wire.systems import InputLimits
from .prepared import StoredParts


@dataclass(frozen=True, slots=True)
class TaskConfig:
    """What a worker is told when it starts.

    Parameters
    ----------
    data_dir : Path
        Folder of the matrix store and of the files of jobs.
    database_url : str
        Where the jobs are on record.
    limits : InputLimits
    cache_bytes : int
        Memory for prepared matrices.
    default_deadline, max_deadline : float
        Seconds from acceptance to answer.
    checkpoint_seconds : float
        Least seconds between two saves of the state of a job.
    prepared_disk_bytes : int
        Disk for what is derived from stored matrices; 0 for none.
    """

    data_dir: Path
    database_url: str
    limits: InputLimits
    cache_bytes: int
    default_deadline: float
    max_deadline: float
    checkpoint_seconds: float = 5.0
    prepared_disk_bytes: int = 2**32


_MOST_ENTRIES = 64
"""Each opened matrix holds three file descriptors, and one for each large part that is mapped."""


class PreparedCache:
    """Prepared matrices by id, least recently used first, bounded in bytes and number.

    Parameters
    ----------
    max_bytes : int
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._entries: OrderedDict[str, Prepared] = OrderedDict()

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, id_: str, build: Callable[[], Prepared]) -> Prepared:
        """Return the prepared matrix of that id, built now if it is not there."""
        if id_ not in self._entries:
            self._entries[id_] = build()
        self._entries.move_to_end(id_)
        return self._entries[id_]

    def trim(self) -> None:
        """Drop entries until the rest fits. They grow in use, so call this after each task."""
        total = sum(entry.nbytes for entry in self._entries.values())
        while self._entries and (total > self._max_bytes or len(self._entries) > _MOST_ENTRIES):
            _, entry = self._entries.popitem(last=False)
            total -= entry.nbytes


@dataclass(frozen=True)
class WorkerState:
    """All of it."""

    config: TaskConfig
    store: MatrixStore
    files: JobFiles
    cache: PreparedCache

    @cached_property
    def jobs(self) -> JobTable:
        """The record of jobs, for the few tasks that look into it."""
        return JobTable(open_engine(self.config.database_url))

    def prepared(self, matrix_id: str, *, uses: int = 0) -> Prepared:
        """Return a stored matrix, prepared as far as earlier tasks of all workers have needed it.

        `uses` are added to its count.
        """
        self.store.get(matrix_id)  # it may have been deleted since it was cached
        self.store.touch(matrix_id, uses)
        self.store.prepared.touch(matrix_id)
        return self.cache.get(matrix_id, lambda: self._open(matrix_id))

    def _open(self, matrix_id: str) -> Prepared:
        kept = self.config.prepared_disk_bytes > 0
        return Prepared(
            self.store.open(matrix_id), StoredParts(self.store.prepared, matrix_id) if kept else None
        )

    def keep(self, prepared: Prepared, context: TaskContext) -> None:
        """Have what was derived from a stored matrix saved for all workers, once the task has answered."""
        source = prepared.state.parts.source
        if not isinstance(source, StoredParts):
            return
        unsaved = source.unsaved(prepared.state.derived)
        for part in unsaved:
            context.afterwards(partial(self._save_part, source.matrix_id, part))
        if unsaved:
            context.afterwards(self.trim)

    def _save_part(self, matrix_id: str, part: Derived) -> None:
        self.save(matrix_id, part.name, part.pack())

    def save(self, matrix_id: str, name: str, snapshot: Snapshot) -> bool:
        """Store something that belongs to a matrix, as `PreparedStore.save` does, if it is not too large."""
        if nbytes(snapshot) > self.config.prepared_disk_bytes:
            return False
        saved = self.store.prepared.save(matrix_id, name, snapshot)
        try:
            self.store.get(matrix_id)
        except SolverServiceError:  # it was deleted meanwhile, or is damaged
            self.store.prepared.take_away(matrix_id)()
        return saved

    def trim(self) -> None:
        """Keep what is derived from matrices within the disk that there is for it."""
        self.store.prepared.trim(self.config.prepared_disk_bytes)

    def start(self, x0: FloatArray | JobStart | None) -> FloatArray | None:
        """Return the numbers of `x0`, which may name a job.

        Raises
        ------
        JobNotFoundError, SolutionNotReadyError, NoSolutionError
        """
        if not isinstance(x0, JobStart):
            return x0
        job = self.jobs.get(x0.job)
        return self.files.folder(job.id).read_solution(solution_name(job))[0]


_current: WorkerState | None = None


def configure(config: TaskConfig) -> None:
    """Prepare this process for tasks. The pool's initializer."""
    global _current  # one worker, one state
    folder = config.data_dir
    _current = WorkerState(config, MatrixStore(folder), JobFiles(folder), PreparedCache(config.cache_bytes))


def current() -> WorkerState:
    """Return the state of this worker."""
    if _current is None:
        raise RuntimeError("this process was not configured for tasks")
    return _current
