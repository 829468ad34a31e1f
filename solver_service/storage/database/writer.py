"""One thread that writes: what waits is committed together and shares one flush to the disk."""

from __future__ import annotations

import logging
import random
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from functools import partial
from typing import Any, Final, NamedTuple, TypeVar

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError

from ...errors import QueueFullError, ShuttingDownError, UnavailableError
from .commit import commit
from .connection import for_writing
from .failures import InDoubtError, concerns_all, repeatable, spoils, translated

T = TypeVar("T")

_LARGEST_BATCH: Final = 256
_PAUSES: Final = (0.02, 0.1, 0.5, 1.0)

logger = logging.getLogger(__name__)


class _Operation(NamedTuple):
    run: Callable[[Connection], Any]
    future: Future[Any]


class Writer:
    """Executes write operations one after another, in as few transactions as may be.

    Parameters
    ----------
    engine : Engine
    most_waiting : int
        How many operations may wait; more are refused.
    """

    def __init__(self, engine: Engine, *, most_waiting: int = 10_000) -> None:
        self._engine = for_writing(engine)
        self._most_waiting = most_waiting
        self._waiting: deque[_Operation] = deque()
        self._changed = threading.Condition()
        self._closed = False
        self._given_up = False
        self._current: Sequence[_Operation] = ()
        self._written = 0
        self._thread = threading.Thread(target=self._work, name="database writer", daemon=True)
        self._thread.start()

    def submit(self, run: Callable[[Connection], T]) -> Future[T]:
        """Have an operation executed; its future is resolved when its effects are committed.

        `run` may be called more than once, each time in a transaction in which the calls before had no
        effect. What it raises is the future's exception, and undoes what it did, but nothing else.
        """
        future: Future[T] = Future()
        with self._changed:
            if self._closed:
                future.set_exception(ShuttingDownError("the database is being closed"))
            elif len(self._waiting) >= self._most_waiting:
                future.set_exception(QueueFullError("too many changes wait for the database"))
            else:
                self._waiting.append(_Operation(run, future))
                self._changed.notify()
        return future

    def close(self, seconds: float = 5.0) -> None:
        """Finish what waits, and stop; if nothing is written for so many seconds, give up what is left."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        written = -1
        while self._thread.is_alive() and written != self._written:
            written = self._written
            self._thread.join(seconds)
        if self._thread.is_alive():
            self._give_up()

    def _give_up(self) -> None:
        with self._changed:
            self._given_up = True
            left = [*self._current, *self._waiting]
            self._waiting.clear()
        logger.error("the database does not answer: it is closed with %d changes unwritten", len(left))
        for operation in left:
            # It may be written all the same, or end just now.
            with suppress(InvalidStateError):
                operation.future.set_exception(
                    UnavailableError("the database does not answer", retry_after=5)
                )

    def _work(self) -> None:
        while (batch := self._take()) is not None:
            if batch:
                self._execute(batch)

    def _take(self) -> Sequence[_Operation] | None:
        """Wait for operations; return None at the end."""
        with self._changed:
            self._current = ()
            self._changed.wait_for(lambda: self._waiting or self._closed)
            if not self._waiting:
                return None
            batch = [self._waiting.popleft() for _ in range(min(len(self._waiting), _LARGEST_BATCH))]
            # From here on they cannot be cancelled any more.
            self._current = [
                operation for operation in batch if operation.future.set_running_or_notify_cancel()
            ]
            return self._current

    def _execute(self, batch: Sequence[_Operation]) -> None:
        for pause in (*_PAUSES, None):
            try:
                ends = self._transaction(batch)
            except Exception as error:
                if len(batch) > 1 and not (isinstance(error, InDoubtError) or concerns_all(error)):
                    logger.debug("a batch of %d writes is repeated one by one: %s", len(batch), error)
                    for operation in batch:
                        self._execute([operation])
                    return
                if pause is None or self._given_up or not repeatable(error):
                    for operation in batch:
                        _resolve(partial(operation.future.set_exception, translated(error)))
                    return
                time.sleep(pause * random.uniform(0.5, 1.5))  # noqa: S311 - no secret
            else:
                self._written += 1
                for resolve in ends:
                    _resolve(resolve)
                return

    def _transaction(self, batch: Sequence[_Operation]) -> list[Callable[[], None]]:
        """Return what resolves the futures."""
        with self._engine.connect() as connection:
            transaction = connection.begin()
            if len(batch) == 1:
                value = batch[0].run(connection)
                ends: list[Callable[[], None]] = [partial(batch[0].future.set_result, value)]
            else:
                ends = [_in_savepoint(connection, operation) for operation in batch]
            commit(self._engine, connection, transaction)
        return ends


def _resolve(resolve: Callable[[], None]) -> None:
    with suppress(InvalidStateError):  # it was given up meanwhile
        resolve()


def _in_savepoint(connection: Connection, operation: _Operation) -> Callable[[], None]:
    """Execute an operation; return what resolves its future once all is committed."""
    savepoint = connection.begin_nested()
    try:
        value = operation.run(connection)
        savepoint.commit()
    except Exception as error:
        if isinstance(error, DBAPIError) and spoils(error):
            raise
        savepoint.rollback()
        return partial(operation.future.set_exception, translated(error))
    return partial(operation.future.set_result, value)
