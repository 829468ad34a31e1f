"""`Host`: what every process has that runs jobs or takes them in, started and stopped together."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from functools import partial
from typing import ParamSpec, TypeVar

from ..engine import Pool, PoolConfig
from ..problems.limits import Limits
from ..settings import Settings
from ..storage import JobFiles, MatrixStore
from ..storage.database import JobTable, migrate, open_engine
from ..tasks.state import TaskConfig, configure
from ..wire.systems import InputLimits
from .feed import Feed, answered
from .runner import Runner, RunnerConfig
from .sweeper import Retention, Sweeper

GRACE_SECONDS = 2.0
"""Time that a solve has, after its deadline or when asked to stop, to verify and encode its best x."""

MOST_TOGETHER = 16
"""Most requests that a worker is given as one block: as many columns as go side by side."""

JOBS = "jobs"

_CLOSE_SECONDS = 8.0

P = ParamSpec("P")
T = TypeVar("T")


class Host:
    """Database, files, workers, and the runner of jobs.

    Parameters
    ----------
    settings : Settings
    lanes : mapping of str to int
        Worker processes for each kind of work; those of lane ``jobs`` run jobs.
    """

    table: JobTable
    feed: Feed
    runner: Runner

    def __init__(self, settings: Settings, lanes: Mapping[str, int]) -> None:
        folder = settings.storage_dir
        self.settings = settings
        self.store = MatrixStore(folder)
        self.files = JobFiles(folder)
        config = TaskConfig(
            data_dir=folder,
            database_url=settings.database,
            limits=InputLimits(limits_of(settings), settings.max_json_bytes),
            cache_bytes=settings.prepared_cache_bytes,
            default_deadline=settings.default_deadline,
            max_deadline=settings.max_deadline,
            checkpoint_seconds=settings.checkpoint_seconds,
            prepared_disk_bytes=settings.prepared_disk_bytes,
        )
        self._lanes = lanes
        self._sweeper: Sweeper | None = None
        self.pool = Pool(
            PoolConfig(
                lanes=lanes,
                queue_size=settings.queue_size,
                most_together=MOST_TOGETHER if settings.coalesce else 1,
                grace_seconds=GRACE_SECONDS,
                memory_limit_bytes=settings.worker_memory_bytes,
                preload=("solver_service.tasks.preload",),
                initializer=partial(configure, config),
            )
        )

    async def start(self) -> None:
        """Bring the database up to date and start everything; returns before the workers are warm."""
        settings = self.settings
        self.table = await asyncio.to_thread(open_table, settings, self.files)
        self.feed = Feed(self.table)
        config = RunnerConfig(
            lane=JOBS,
            workers=self._lanes[JOBS],
            grace_seconds=GRACE_SECONDS,
            stall_seconds=settings.stall_seconds,
            beat_seconds=min(0.5, settings.stall_seconds / 5),
            most_strikes=settings.job_strikes,
            coalesce=settings.coalesce,
        )
        self.runner = Runner(self.table, self.files, self.pool, self.feed, config)
        retention = Retention(
            job_seconds=settings.job_retention,
            matrix_seconds=settings.matrix_retention,
            most_bytes=settings.max_storage_bytes,
        )
        self._sweeper = Sweeper(self.table, self.files, self.store, retention)
        await self.pool.start()
        self.feed.start()
        self.runner.start()
        self._sweeper.start()

    async def read(self, look: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Look into the database without keeping the event loop or the threads for files waiting."""
        return await answered(self.table.ask(look, *args, **kwargs))

    def stop(self, grace_seconds: float) -> None:
        """Begin to stop: running work answers with what it has, jobs go back into the queue."""
        if self._sweeper is not None:
            self.runner.stop()
            self.feed.stop()
            self.pool.cancel_running(grace_seconds=grace_seconds)

    async def close(self) -> None:
        """End everything; `stop` comes before."""
        if self._sweeper is None:
            return
        await self._sweeper.close()
        closing = asyncio.create_task(self.runner.close())
        await asyncio.wait([closing], timeout=self.settings.shutdown_grace + _CLOSE_SECONDS)
        if not closing.done():  # the database does not answer: it is given up, and with it who waits for it
            await asyncio.to_thread(self.table.close)
        await closing
        await self.feed.close()
        await self.pool.close()
        await asyncio.to_thread(self.table.close)


def open_table(settings: Settings, files: JobFiles) -> JobTable:
    """Bring the database up to date, and see that the folder is its own.

    Raises
    ------
    ForeignFolderError
        The folder belongs to another database.
    SolverServiceError
        The database cannot be used.
    """
    engine = open_engine(settings.database)
    try:
        migrate(engine)
        table = JobTable(engine, key_seconds=settings.idempotency_seconds)
    except BaseException:
        engine.dispose()
        raise
    try:
        files.adopt(table.installation(), table.revisions)
    except BaseException:
        table.close()
        raise
    return table


def limits_of(settings: Settings) -> Limits:
    """Return the bounds on matrices and arrays."""
    return Limits(
        max_rows=settings.max_rows, max_columns=settings.max_columns, max_entries=settings.max_entries
    )
