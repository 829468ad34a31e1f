"""What a worker keeps between tasks: its configuration, the store, and prepared matrices."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ..methods import Prepared
from ..storage import MatrixStore
from ..wire.systems import InputLimits


@dataclass(frozen=True, slots=True)
class TaskConfig:
    """What a worker is told when it starts.

    Parameters
    ----------
    data_dir : Path
        Folder of the matrix store.
    limits : InputLimits
    cache_bytes : int
        Memory for prepared matrices.
    default_deadline, max_deadline : float
        Seconds from acceptance to answer.
    """

    data_dir: Path
    limits: InputLimits
    cache_bytes: int
    default_deadline: float
    max_deadline: float


_MOST_ENTRIES = 128
"""Each opened matrix holds three file descriptors."""


class PreparedCache:
    """Prepared matrices by id, least recently used first, bounded in bytes and number.

    Parameters
    ----------
    max_bytes : int
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._entries: OrderedDict[str, Prepared] = OrderedDict()

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, id_: str, build: Callable[[], Prepared]) -> Prepared:
        """Return the prepared matrix of that id, built now if it is not there."""
        if id_ not in self._entries:
            self._entries[id_] = build()
        self._entries.move_to_end(id_)
        return self._entries[id_]

    def trim(self) -> None:
        """Drop entries until the rest fits. They grow in use, so call this after each task."""
        total = sum(entry.nbytes for entry in self._entries.values())
        while self._entries and (total > self._max_bytes or len(self._entries) > _MOST_ENTRIES):
            _, entry = self._entries.popitem(last=False)
            total -= entry.nbytes


@dataclass(frozen=True, slots=True)
class WorkerState:
    """All of it."""

    config: TaskConfig
    store: MatrixStore
    cache: PreparedCache


_current: WorkerState | None = None


def configure(config: TaskConfig) -> None:
    """Prepare this process for tasks. The pool's initializer."""
    global _current  # one worker, one state
    _current = WorkerState(config, MatrixStore(config.data_dir), PreparedCache(config.cache_bytes))


def current() -> WorkerState:
    """Return the state of this worker."""
    if _current is None:
        raise RuntimeError("this process was not configured for tasks")
    return _current
