"""Threads of daemons: unlike those of an executor they do not keep a process from ending when they hang."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, NamedTuple, TypeVar

from ...errors import ShuttingDownError, UnavailableError

T = TypeVar("T")


class _Task(NamedTuple):
    run: Callable[[], Any]
    future: Future[Any]


class Threads:
    """Some threads, each started when it is needed first.

    Parameters
    ----------
    name : str
        Of the threads.
    count : int
        How many at most.
    most_waiting : int
        How many tasks may wait; more are refused.
    """

    def __init__(self, name: str, count: int, *, most_waiting: int = 1000) -> None:
        self._name, self._count, self._most_waiting = name, count, most_waiting
        self._waiting: deque[_Task] = deque()
        self._changed = threading.Condition()
        self._threads: list[threading.Thread] = []
        self._idle = 0
        self._closed = False

    def submit(self, run: Callable[[], T]) -> Future[T]:
        """Have `run` called; its future fails with `UnavailableError` if too many wait already."""
        future: Future[T] = Future()
        with self._changed:
            if self._closed:
                future.set_exception(ShuttingDownError("the database is being closed"))
            elif len(self._waiting) >= self._most_waiting:
                future.set_exception(UnavailableError("the database does not answer", retry_after=5))
            else:
                self._waiting.append(_Task(run, future))
                if self._idle >= len(self._waiting) or len(self._threads) >= self._count:
                    self._changed.notify()
                else:
                    self._start()
        return future

    def close(self, seconds: float) -> bool:
        """Refuse what waits; return whether what was begun has ended, for which it waits no longer."""
        with self._changed:
            self._closed = True
            refused = list(self._waiting)
            self._waiting.clear()
            self._changed.notify_all()
        for task in refused:
            if task.future.set_running_or_notify_cancel():
                task.future.set_exception(ShuttingDownError("the database is being closed"))
        last = time.monotonic() + seconds
        for thread in self._threads:
            thread.join(max(0.0, last - time.monotonic()))
        return not any(thread.is_alive() for thread in self._threads)

    def _start(self) -> None:
        number = len(self._threads) + 1
        thread = threading.Thread(target=self._work, name=f"{self._name} {number}", daemon=True)
        self._threads.append(thread)
        thread.start()

    def _work(self) -> None:
        while (task := self._take()) is not None:
            if task.future.set_running_or_notify_cancel():
                try:
                    task.future.set_result(task.run())
                except BaseException as error:
                    task.future.set_exception(error)
            del task  # lest an idle thread keep what it returned alive

    def _take(self) -> _Task | None:
        with self._changed:
            self._idle += 1
            self._changed.wait_for(lambda: self._waiting or self._closed)
            self._idle -= 1
            return self._waiting.popleft() if self._waiting else None
