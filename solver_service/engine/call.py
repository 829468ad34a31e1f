"""One call of a task, from submission to answer."""

from __future__ import annotations

import asyncio
import logging
import pickle
import time
from collections.abc import Callable, Hashable
from typing import Any, Generic

from ..errors import SolverServiceError
from .context import Answer

logger = logging.getLogger(__name__)


class Call(Generic[Answer]):
    """The handle that `Pool.submit` returns: `answer`, `stop`, `abandon`, `begun`. The rest is the pool's.

    Attributes
    ----------
    begun : bool
        Whether a worker has been given the call. It becomes false again if that worker dies before it takes
        the call up, once at most, and if the call shared a task that ended without an answer.
    kind : hashable
        Calls of the same kind may share a worker; None shares with nobody.
    """

    __slots__ = (
        "_future",
        "_on_release",
        "_on_report",
        "begun",
        "deadline",
        "expiry",
        "handed_back",
        "kind",
        "message",
        "on_stop",
        "priority",
        "returned",
        "stopped",
        "submitted",
    )

    def __init__(
        self,
        deadline: float | None,
        on_release: Callable[[], object] | None,
        on_report: Callable[[Any], object] | None,
        priority: int,
        kind: Hashable,
    ) -> None:
        self.submitted = time.monotonic()
        self.deadline = deadline
        self.message = b""
        self.begun = False
        self.stopped = False
        self.handed_back = False
        self.returned = False
        self.priority = priority
        self.kind = kind
        self.expiry: asyncio.TimerHandle | None = None
        self.on_stop: Callable[[Call[Any], float | None], None] | None = None
        self._future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._on_release = on_release
        self._on_report = on_report

    async def answer(self) -> Answer:
        """Return the task's answer or raise as `Pool.run` does; cancelling this abandons the call."""
        try:
            answer: Answer = await self._future
        except asyncio.CancelledError:
            self.abandon()
            raise
        return answer

    def stop(self, grace_seconds: float | None = None) -> None:
        """Ask the task to stop; `answer` still gets what it answers.

        It raises `RequestTimeoutError` if the worker does not answer within `grace_seconds` (default: the
        configured time) and is killed, and at once if the call was still waiting for a worker.
        """
        if self.on_stop is not None:
            self.stopped = True
            self.on_stop(self, grace_seconds)

    def abandon(self) -> None:
        """Stop the task with the configured grace time; nobody waits for its answer any more."""
        self._future.cancel()
        self.stop()

    @property
    def done(self) -> bool:
        """Whether it was answered or abandoned."""
        return self._future.done()

    @property
    def rank(self) -> tuple[int, bool, float]:
        """Its order in the queue: by priority, those that were begun once first, then by arrival."""
        return -self.priority, not self.returned, self.submitted

    def take_back(self) -> None:
        """Note that it has to be begun once more, and from now on alone."""
        self.begun = False
        self.returned = True
        self.kind = None

    def pack(self, task: Callable[..., object], payload: object, *, shared: bool) -> None:
        """Pickle what the worker needs."""
        try:
            self.message = pickle.dumps((shared, task, payload), pickle.HIGHEST_PROTOCOL)
        except Exception as error:
            logger.exception("a call cannot be sent to a worker")
            raise SolverServiceError("internal error") from error

    def report(self, message: bytes | memoryview) -> None:
        """Pass on what the task reports, if the caller still waits and wants to know."""
        if self._on_report is not None and not self.done:
            try:
                self._on_report(pickle.loads(message))  # noqa: S301  # our own worker wrote it
            except Exception:
                logger.exception("a report of a task could not be passed on")

    def succeed(self, answer: object) -> None:
        """Answer the caller, if it still waits."""
        if not self.done:
            self._future.set_result(answer)
        self.release()

    def fail(self, error: Exception) -> None:
        """Raise `error` in the caller, if it still waits."""
        if not self.done:
            self._future.set_exception(error)
        self.release()

    def release(self) -> None:
        """Let go: nothing will work on this call any more. Only the first time counts."""
        if self.expiry is not None:
            self.expiry.cancel()
        self.message = b""
        self.on_stop = self._on_report = None
        on_release, self._on_release = self._on_release, None
        if on_release is not None:
            try:
                on_release()
            except Exception:
                logger.exception("the on_release callback of a task failed")
