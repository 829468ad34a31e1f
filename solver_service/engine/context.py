"""What a task can ask about its own call, and the shared memory behind it."""

from __future__ import annotations

import mmap
import os
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass

_ENTRY_SIZE = 16


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
    """

    submitted: float
    deadline: float | None = None
    cancelled: Callable[[], bool] = _never
    report: Callable[[object], None] = _ignore


class TaskBoard:
    """Two words of shared memory for each slot: the task that is to stop, and the last that was begun.

    Tasks of a slot are numbered upwards and never share a number, so a word that is written late cannot
    stop the next task.
    """

    def __init__(self, descriptor: int, slots: int) -> None:
        self._memory = mmap.mmap(descriptor, slots * _ENTRY_SIZE)
        self._words = memoryview(self._memory).cast("Q")

    def cancel(self, slot: int, task_number: int) -> None:
        """Ask the task of that number, and no other, to stop."""
        self._words[2 * slot] = task_number

    def watch(self, slot: int, task_number: int) -> Callable[[], bool]:
        """Return the function that tells that task whether it is to stop."""
        words, place = self._words, 2 * slot
        return lambda: words[place] == task_number

    def begin(self, slot: int, task_number: int) -> None:
        """Note that a worker has taken up the task."""
        self._words[2 * slot + 1] = task_number

    def begun(self, slot: int) -> int:
        """Return the number of the last task that was taken up."""
        return self._words[2 * slot + 1]

    def close(self) -> None:
        """Unmap the memory."""
        self._words.release()
        self._memory.close()


def shared_memory(slots: int) -> int:
    """Return a file descriptor of zeroed memory for a `TaskBoard` of that many slots."""
    if sys.platform == "linux":
        descriptor = os.memfd_create("task-board", os.MFD_CLOEXEC)
    else:
        with tempfile.TemporaryFile() as file:
            descriptor = os.dup(file.fileno())
    os.truncate(descriptor, slots * _ENTRY_SIZE)
    return descriptor
