"""`JobTable`: the jobs on record, shared by all processes that open the same database."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from typing import Any, Final, ParamSpec, TypeVar

from sqlalchemy import Connection, Engine

from ...jobs import Claim, Job, NewJob, Outcome, Report, Spec, State
from . import admission, claims, queries, transitions
from .connection import for_reading
from .failures import reading
from .rows import to_microseconds
from .threads import Threads
from .writer import Writer

KEY_SECONDS: Final = 48 * 3600.0

_READERS: Final = 4
_CLOSE_SECONDS: Final = 5.0

P = ParamSpec("P")
T = TypeVar("T")

logger = logging.getLogger(__name__)


def _now() -> datetime:
    return datetime.now(UTC)


class JobTable:
    """The record of jobs.

    Reads are synchronous and may be called from any thread; `ask` calls them in threads of their own, so that
    a database that does not answer makes nothing else wait. Writes return a future that is resolved once they
    are committed; they may fail with what is named at each, or with `UnavailableError` (the database
    does not answer: whether it was done is not known), `OutOfMemoryError` (its disk is full) and
    `ShuttingDownError`.

    Parameters
    ----------
    engine : Engine
        Of a database that is migrated.
    clock : callable, optional
        Returns the time in UTC.
    key_seconds : float
        How long an idempotency key is remembered.
    """

    def __init__(
        self, engine: Engine, *, clock: Callable[[], datetime] = _now, key_seconds: float = KEY_SECONDS
    ) -> None:
        self._engine = engine
        self._reading = for_reading(engine)
        self._clock = clock
        self._key_microseconds = round(key_seconds * 1e6)
        self._writer = Writer(engine)
        self._readers = Threads("database reader", _READERS)
        self._tidying = Threads("removal of matrices", 1)

    # ── coming and going ──

    def add(
        self, new: NewJob, *, most_queued: int, matrix_exists: Callable[[], bool]
    ) -> Future[tuple[Job, bool]]:
        """Put a job on record, queued; return it, and True.

        If its key was used lately with the same content, return the job of then as it is now, and False.
        `matrix_exists` is asked while the matrix cannot be removed.

        Raises
        ------
        IdempotencyConflictError, QueueFullError, MatrixNotFoundError
        """

        def run(connection: Connection) -> tuple[Job, bool]:
            now = self._now()
            return admission.add(
                connection,
                new,
                now=now,
                keys_since=now - self._key_microseconds,
                most_queued=most_queued,
                matrix_exists=matrix_exists,
            )

        return self._writer.submit(run)

    def delete(self, job_id: str) -> Future[Job]:
        """Remove a job that has ended, and its key; raise `JobActiveError` or `JobNotFoundError`."""
        return self._writer.submit(partial(transitions.remove, job_id=job_id))

    def remove_matrix(
        self, matrix_id: str, take_away: Callable[[], Callable[[], object] | None]
    ) -> Future[None]:
        """Call `take_away` while no job with this matrix can come; `MatrixInUseError` if one is active.

        It is called in the transaction, which other writes wait for, so it should be quick; what it returns
        is called later, in a thread that does nothing else. It is not called again once it has succeeded:
        the matrix is removed then, whatever becomes of the transaction.
        """
        rest: list[Callable[[], object] | None] = []
        answer: Future[None] = Future()

        def run(connection: Connection) -> None:
            if not rest:
                admission.remove_matrix(connection, matrix_id, lambda: rest.append(take_away()))

        def end(inner: Future[None]) -> None:
            if rest and rest[0] is not None:
                self._tidying.submit(rest[0])
            # Not to be cancelled from outside: the matrix may be gone already.
            if answer.set_running_or_notify_cancel():
                error = None if rest else inner.exception()
                answer.set_exception(error) if error is not None else answer.set_result(None)

        self._writer.submit(run).add_done_callback(end)
        return answer

    def forget_keys(self) -> Future[int]:
        """Remove the idempotency keys that are too old; return how many."""
        return self._writer.submit(
            lambda connection: admission.forget_keys(connection, self._now() - self._key_microseconds)
        )

    # ── the life of a job ──

    def claim(
        self, owner: str, limit: int, room: Callable[[Spec], int] | None = None
    ) -> Future[list[list[Job]]]:
        """Hand the next jobs to `owner`, in at most `limit` blocks: by priority, then in order of acceptance.

        Before all others come those that were begun, given back, and are to stop or are overdue: they are
        only to be settled.

        With `room` others may join the first job of a block, if more wait than are handed out so: those of
        the same matrix and priority, as evenly as possible. `room` is asked how many right-hand sides a block
        may have that a job begins; what gives a job no room for others lets it join none. Those stay alone,
        too, whose last attempt was lost.
        """
        return self._change(claims.claim, owner=owner, limit=limit, room=room)

    def report(self, reports: Sequence[Report]) -> Future[list[Claim]]:
        """Say that claims are alive, and how far they are; return those that are lost."""
        return self._change(transitions.report, reports=reports)

    def finish(self, claim: Claim, outcome: Outcome) -> Future[bool]:
        """End a job; return False if the claim is lost. To say the same again does no harm."""
        return self._change(transitions.finish, of=claim, outcome=outcome)

    def give_back(
        self, claim: Claim, *, strike: bool, most_strikes: int, progress: Mapping[str, Any] | None = None
    ) -> Future[Job | None]:
        """Queue a running job again at its old place; return None if the claim is lost.

        With `strike` it counts as lost; `most_strikes` of these in a row fail the job.
        """
        return self._change(
            transitions.give_back, of=claim, strike=strike, most_strikes=most_strikes, progress=progress
        )

    def give_back_stalled(self, seconds: float, most_strikes: int) -> Future[list[str]]:
        """Give back, with a strike, the jobs whose holder was silent for so long; return their ids."""

        def run(connection: Connection) -> list[str]:
            now = self._now()
            return transitions.give_back_stalled(
                connection, now - round(seconds * 1e6), most_strikes, now=now
            )

        return self._writer.submit(run)

    def request_stop(self, job_id: str) -> Future[Job]:
        """Cancel a job that was never begun, ask one that was to stop; `JobNotFoundError`."""
        return self._change(transitions.request_stop, job_id=job_id)

    def expire(self) -> Future[list[str]]:
        """Cancel jobs that were never begun and whose deadline has passed; return their ids."""
        return self._change(transitions.expire)

    # ── reads ──

    def ask(self, read: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Call one of the reads below in one of few threads that do nothing else: ``ask(table.get, id)``.

        Besides what it raises, the future may fail with `UnavailableError` (too many reads wait already) or
        `ShuttingDownError`.
        """
        return self._readers.submit(partial(read, *args, **kwargs))

    def get(self, job_id: str) -> Job:
        """Return a job, or raise `JobNotFoundError`."""
        with self._read() as connection:
            return queries.get(connection, job_id)

    def position(self, job: Job) -> int | None:
        """Return its place in the queue, 1 for the next; None if it is not queued."""
        with self._read() as connection:
            return queries.position(connection, job, self._now())

    def positions(self, jobs: Iterable[Job]) -> dict[int, int]:
        """Return number → place in the queue of those that are queued."""
        with self._read() as connection:
            return queries.positions(connection, jobs, self._now())

    def stopping(self, owner: str) -> list[Claim]:
        """Return the claims of `owner` that were asked to stop."""
        with self._read() as connection:
            return queries.stopping(connection, owner)

    def ended(self, limit: int, *, before: datetime | None = None) -> list[Job]:
        """Return jobs that have ended (before a moment), without result and log, the first to end first.

        Those are left out that an idempotency key still names: a retry is to find them.
        """
        moment = None if before is None else to_microseconds(before)
        with self._read() as connection:
            return queries.ended(connection, moment, self._now() - self._key_microseconds, limit)

    def total_size(self) -> int:
        """Return the bytes of the files of all jobs."""
        with self._read() as connection:
            return queries.total_size(connection)

    def known(self, ids: Iterable[str]) -> dict[str, Job]:
        """Return id → job, without result and log, of those that are on record."""
        with self._read() as connection:
            return queries.known(connection, ids)

    def revisions(self, ids: Iterable[str]) -> dict[str, int]:
        """Return id → revision of those that are on record."""
        with self._read() as connection:
            return queries.revisions(connection, ids)

    def count_queued(self) -> int:
        """Return how many jobs wait."""
        with self._read() as connection:
            return queries.count_queued(connection)

    def counts(self) -> dict[State, int]:
        """Return how many jobs are in each state."""
        with self._read() as connection:
            return queries.counts(connection)

    def list(
        self, state: State | None = None, limit: int = 50, cursor: str | None = None
    ) -> tuple[list[Job], str | None]:
        """Return a page of jobs without result and log, newest first, and the cursor of the next or None.

        Raises
        ------
        InvalidInputError
            The limit is not in 1 … 500, or the cursor is not one that this method gave.
        """
        with self._read() as connection:
            return queries.page(connection, state, limit, cursor)

    def installation(self) -> str:
        """Return the id of the database, which the folder with the files of its jobs bears too."""
        with self._read() as connection:
            return queries.installation_id(connection)

    def ping(self) -> None:
        """Raise `UnavailableError` if the database does not answer."""
        with self._read() as connection:
            queries.ping(connection)

    def close(self) -> None:
        """Finish the writes that wait, and close all connections; give up if the database does not answer."""
        self._writer.close(_CLOSE_SECONDS)
        self._tidying.close(1.0)  # what is left over is removed at the next start
        if not self._readers.close(1.0):
            logger.error("the database does not answer: it is closed while it is being read")
        self._engine.dispose()

    def _now(self) -> int:
        return to_microseconds(self._clock())

    def _change(self, run: Callable[..., Any], **arguments: Any) -> Future[Any]:
        return self._writer.submit(lambda connection: run(connection, now=self._now(), **arguments))

    @contextmanager
    def _read(self) -> Iterator[Connection]:
        with reading(), self._reading.connect() as connection:
            yield connection
