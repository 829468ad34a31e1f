"""`Sweeper`: removes what is old, too much, or left by dead processes; never what is active."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import islice

from ..errors import JobActiveError, JobNotFoundError, MatrixInUseError, MatrixNotFoundError
from ..storage import JobFiles, MatrixStore
from ..storage.database import JobTable

_BATCH = 200

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Retention:
    """How long things are kept, in seconds, and how much in all, in bytes; None: without limit."""

    job_seconds: float | None
    matrix_seconds: float | None
    most_bytes: int | None
    interval_seconds: float = 600.0


class Sweeper:
    """Sweeps at the start and every some minutes. Several processes may do so at once.

    Parameters
    ----------
    table : JobTable
    files : JobFiles
    store : MatrixStore
    retention : Retention
    clock : callable, optional
        Returns the time in UTC.
    """

    def __init__(
        self,
        table: JobTable,
        files: JobFiles,
        store: MatrixStore,
        retention: Retention,
        *,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._clock = clock
        self._table, self._files, self._store, self._retention = table, files, store, retention
        self._task: asyncio.Task[None] | None = None
        self._closed = threading.Event()
        self._tidied = False

    def start(self) -> None:
        """Begin."""
        self._task = asyncio.create_task(self._forever())

    async def close(self) -> None:
        """End; a sweep under way ends soon."""
        self._closed.set()
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _forever(self) -> None:
        while True:
            try:
                await asyncio.to_thread(self.sweep)
            except Exception:
                logger.exception("old jobs and matrices cannot be removed now")
            await asyncio.sleep(self._retention.interval_seconds)

    def sweep(self) -> None:
        """Remove all that has to go; blocks."""
        self._table.forget_keys().result()
        if self._files.owner() != self._table.installation():
            logger.error("nothing is removed: the folder with the jobs does not belong to the database")
            return
        self._sweep_left_overs()
        self._store.remove_leftovers()
        self._sweep_old()
        self._sweep_excess()

    def _sweep_left_overs(self) -> None:
        """Directories without a job; at first also what killed processes have left in those of ended jobs."""
        for ids in _batches(self._files.ids(), _BATCH):
            if self._closed.is_set():
                return
            if self._tidied:
                on_record = self._table.revisions(ids)
                ids = [id_ for id_ in ids if id_ not in on_record]
            with self._files.unlocked(ids) as unlocked:  # first the lock, then the look
                known = self._table.known(unlocked)
                for id_ in unlocked:
                    job = known.get(id_)
                    if job is None:
                        logger.info("the files of job %s, which is not on record, are removed", id_)
                        self._files.remove_locked(id_)
                    elif not job.active:
                        without_x = job.solution is None  # resuming may be worth a try
                        self._files.folder(id_).tidy(job.solution, job.saved_state, keep_states=without_x)
        self._tidied = True

    def _sweep_old(self) -> None:
        now, retention = self._clock(), self._retention
        if retention.job_seconds is not None:
            before = now - timedelta(seconds=retention.job_seconds)
            while self._remove_jobs(job.id for job in self._table.ended(_BATCH, before=before)):
                pass
        if retention.matrix_seconds is not None:
            limit = now - timedelta(seconds=retention.matrix_seconds)
            for usage in self._store.usage():
                if usage.last_used < limit:
                    self._remove_matrix(usage.id)

    def _sweep_excess(self) -> None:
        """Ended jobs first, the oldest first; then matrices that were not used for longest."""
        most = self._retention.most_bytes
        if most is None:
            return
        matrices = sorted(self._store.usage(), key=lambda usage: usage.last_used)
        stored = sum(usage.bytes for usage in matrices)
        self._remove_oldest_jobs(self._table.total_size() + stored - most)
        for usage in matrices:
            if self._table.total_size() + stored <= most:
                return
            if self._remove_matrix(usage.id):
                stored -= usage.bytes

    def _remove_oldest_jobs(self, excess: int) -> None:
        while excess > 0:
            oldest = self._table.ended(_BATCH)
            for job in oldest:
                if excess > 0:
                    excess -= job.size * self._remove_jobs([job.id])
            if not oldest:
                return

    def _remove_jobs(self, ids: Iterable[str]) -> int:
        removed = 0
        for id_ in ids:
            with suppress(JobNotFoundError, JobActiveError):
                self._table.delete(id_).result()
                self._files.remove(id_)
                removed += 1
        return removed

    def _remove_matrix(self, id_: str) -> bool:
        with suppress(MatrixInUseError, MatrixNotFoundError):
            self._table.remove_matrix(id_, lambda: self._store.take_away(id_)).result()
            return True
        return False


def _batches(items: Iterable[str], size: int) -> Iterator[list[str]]:
    iterator = iter(items)
    while batch := list(islice(iterator, size)):
        yield batch
