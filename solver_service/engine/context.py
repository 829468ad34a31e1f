"""What a task can ask about its own call, and the shared memory behind it."""

from __future__ import annotations

import mmap
import os
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

_WORD_SIZE = 8

Payload = TypeVar("Payload")
Answer = TypeVar("Answer")


def _never() -> bool:
    return False


def _ignore(message: object) -> None:
    del message


@dataclass(frozen=True, slots=True)
class TaskContext:
    """First argument of every task. Times are those of `time.monotonic`, which all processes share.

    Attributes
    ----------
    submitted : float
        When the call was made.
    deadline : float or None
        When the answer is due; a little later the worker is killed.
    cancelled : callable
        Whether the task should stop and return its best answer; cheap enough for any loop.
    report : callable
        Sends its argument, small and picklable, to the caller. For the task's own thread, while it runs.
    afterwards : callable
        Has its argument called, without arguments, when the answer is on its way. What it raises is logged.
        One piece of such work may keep the next task waiting; the others wait for the worker to be idle.
    """

    submitted: float
    deadline: float | None = None
    cancelled: Callable[[], bool] = _never
    report: Callable[[object], None] = _ignore
    afterwards: Callable[[Callable[[], None]], None] = _ignore


@dataclass(slots=True, eq=False)
class Share(Generic[Payload, Answer]):
    """One of the calls that a shared task works on, to be answered or failed once, by the task's own thread.

    The caller learns of it at once, while the task goes on with the others: from then on the task reports
    nothing for it, and leaves alone what belongs to it. Tests give `on_answer` and `on_fail`.

    Attributes
    ----------
    context : TaskContext
        The call's own: its deadline, whether it is to stop, where its reports go.
    payload : object
        What the call is about.
    settled : bool
        Whether it was answered or failed.
    """

    context: TaskContext
    payload: Payload
    on_answer: Callable[[Answer], object] = _ignore
    on_fail: Callable[[BaseException], object] = _ignore
    settled: bool = field(default=False, init=False)

    def answer(self, value: Answer) -> None:
        """Send the caller its answer."""
        self._settle()
        self.on_answer(value)

    def fail(self, error: BaseException) -> None:
        """Raise in the caller what a task alone would raise there for this error."""
        self._settle()
        self.on_fail(error)

    def _settle(self) -> None:
        if self.settled:
            raise RuntimeError("a share can be answered or failed only once")
        self.settled = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Part(Generic[Payload]):
    """One of several calls that are made at once.

    Attributes
    ----------
    payload : object
    deadline : float or None
    on_report : callable or None
        As for `Pool.run`.
    """

    payload: Payload
    deadline: float | None = None
    on_report: Callable[[Any], object] | None = None


class TaskBoard:
    """Words of shared memory for each slot: the last task that was begun, and the calls that are to stop.

    Calls of a slot are numbered upwards and never share a number, so a word that is written late cannot stop
    another call. Those of one task, at most `most_together`, have consecutive numbers, and so a word each.
    """

    def __init__(self, descriptor: int, slots: int, most_together: int) -> None:
        self._memory = mmap.mmap(descriptor, _board_size(slots, most_together))
        self._words = memoryview(self._memory).cast("Q")
        self._most_together = most_together

    def cancel(self, slot: int, number: int) -> None:
        """Ask for the call of that number, and no other, to stop."""
        self._words[self._place(slot, number)] = number

    def watch(self, slot: int, number: int) -> Callable[[], bool]:
        """Return the function that tells whether that call is to stop."""
        words, place = self._words, self._place(slot, number)
        return lambda: words[place] == number

    def begin(self, slot: int, number: int) -> None:
        """Note that a worker has taken up the task whose first call has that number."""
        self._words[slot * (1 + self._most_together)] = number

    def begun(self, slot: int) -> int:
        """Return the number of the first call of the last task that was taken up."""
        return self._words[slot * (1 + self._most_together)]

    def _place(self, slot: int, number: int) -> int:
        return slot * (1 + self._most_together) + 1 + number % self._most_together

    def close(self) -> None:
        """Unmap the memory."""
        self._words.release()
        self._memory.close()


def shared_memory(slots: int, most_together: int) -> int:
    """Return a file descriptor of zeroed memory for a `TaskBoard` of that size."""
    if sys.platform == "linux":
        descriptor = os.memfd_create("task-board", os.MFD_CLOEXEC)
    else:
        with tempfile.TemporaryFile() as file:
            descriptor = os.dup(file.fileno())
    os.truncate(descriptor, _board_size(slots, most_together))
    return descriptor


def _board_size(slots: int, most_together: int) -> int:
    return slots * (1 + most_together) * _WORD_SIZE
