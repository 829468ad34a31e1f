"""One call of `Pool.run`, from submission to answer."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

logger = logging.getLogger(__name__)


class Job:
    """A pickled call, the future its caller waits for, and when its answer is due."""

    __slots__ = ("_on_release", "deadline", "expiry", "future", "handed_back", "message", "submitted")

    def __init__(
        self, submitted: float, deadline: float | None, on_release: Callable[[], object] | None
    ) -> None:
        self.future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self.message = b""
        self.submitted = submitted
        self.deadline = deadline
        self.handed_back = False
        self.expiry: asyncio.TimerHandle | None = None
        self._on_release = on_release

    def succeed(self, result: object) -> None:
        """Answer the caller, if it still waits."""
        if not self.future.done():
            self.future.set_result(result)
        self.release()

    def fail(self, error: Exception) -> None:
        """Raise `error` in the caller, if it still waits."""
        if not self.future.done():
            self.future.set_exception(error)
        self.release()

    def release(self) -> None:
        """Let go: nothing will work on this job any more. Only the first call counts."""
        if self.expiry is not None:
            self.expiry.cancel()
        self.message = b""
        on_release, self._on_release = self._on_release, None
        if on_release is not None:
            try:
                on_release()
            except Exception:
                logger.exception("the on_release callback of a task failed")
