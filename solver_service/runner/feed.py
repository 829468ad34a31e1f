"""`Feed`: reading jobs, and waiting for them to change, whichever process changes them."""

from __future__ import annotations

import asyncio
import logging
import math
from collections import defaultdict
from collections.abc import Iterator, Mapping
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from typing import TypeVar

from ..errors import QueueFullError
from ..jobs import Job
from ..storage.database import JobTable

_INTERVAL = 0.25
MOST_WAITING = 2000

T = TypeVar("T")

logger = logging.getLogger(__name__)


async def answered(future: Future[T]) -> T:
    """Wait for the database."""
    return await asyncio.wrap_future(future)


class Feed:
    """Asks the database for all waiting clients at once: four times a second, and when poked.

    Parameters
    ----------
    table : JobTable
    most_waiting : int
        Clients that may wait; more are refused.
    """

    def __init__(self, table: JobTable, *, most_waiting: int = MOST_WAITING) -> None:
        self._table = table
        self._most_waiting = most_waiting
        self._guests = 0
        self._reads: dict[str, asyncio.Task[Job]] = {}
        self._waiting: defaultdict[str, set[tuple[int, asyncio.Future[None]]]] = defaultdict(set)
        self._poked = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._stopping = False

    def start(self) -> None:
        """Begin to watch."""
        self._task = asyncio.create_task(self._watch())

    def stop(self) -> None:
        """Wake everybody; from now on nobody waits."""
        self._stopping = True
        self._wake(None)

    async def close(self) -> None:
        """End."""
        self.stop()
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def poke(self) -> None:
        """Say that a job has changed just now."""
        self._poked.set()

    @contextmanager
    def guest(self) -> Iterator[None]:
        """Let a client wait in the block, as often as it likes; raise `QueueFullError` if too many do."""
        if self._guests >= self._most_waiting:
            raise QueueFullError("too many clients are waiting for jobs", retry_after=5)
        self._guests += 1
        try:
            yield
        finally:
            self._guests -= 1

    async def read(self, id_: str) -> Job:
        """Return a job as it is now, or raise `JobNotFoundError`; all who ask at once share the answer."""
        reading = self._reads.get(id_)
        if reading is None:
            reading = self._reads[id_] = asyncio.create_task(answered(self._table.ask(self._table.get, id_)))
            reading.add_done_callback(lambda _: self._reads.pop(id_, None))
        return await asyncio.shield(reading)

    async def wait(self, id_: str, revision: int, seconds: float) -> None:
        """Wait until the job is beyond `revision`, or gone, or the time is up."""
        if self._stopping:
            return
        future = asyncio.get_running_loop().create_future()
        entry = (revision, future)
        self._waiting[id_].add(entry)
        self._poked.set()  # it may have changed between the caller's look and now
        try:
            async with asyncio.timeout(seconds):
                await future
        except TimeoutError:
            pass
        finally:
            self._waiting[id_].discard(entry)
            if not self._waiting[id_]:
                del self._waiting[id_]

    async def _watch(self) -> None:
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(_INTERVAL if self._waiting else None):
                    await self._poked.wait()
            self._poked.clear()
            ids = list(self._waiting)
            if not ids:
                continue
            try:
                revisions = await answered(self._table.ask(self._table.revisions, ids))
            except Exception:
                logger.exception("the database cannot be asked for changes")
                await asyncio.sleep(_INTERVAL)
                continue
            self._wake({id_: revisions.get(id_, math.inf) for id_ in ids})  # inf: it is gone

    def _wake(self, revisions: Mapping[str, float] | None) -> None:
        for id_, entries in self._waiting.items():
            # Who came while the database was asked, or knows more than it said then, is for the next time.
            now = math.inf if revisions is None else revisions.get(id_, -math.inf)
            for revision, future in entries:
                if now > revision and not future.done():
                    future.set_result(None)
