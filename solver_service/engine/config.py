"""What a pool is told, and what it tells about itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

SINGLE_THREADED: Mapping[str, str] = MappingProxyType(
    {
        "BLIS_NUM_THREADS": "1",
        "MKL_NUM_THREADS": "1",
        "NUMBA_NUM_THREADS": "1",
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
        "VECLIB_MAXIMUM_THREADS": "1",
    }
)
"""Environment that keeps numerical libraries to one thread for each worker process."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolConfig:
    """How many workers, what they may use, and how patient their supervisor is.

    Parameters
    ----------
    lanes : mapping of str to int
        Worker processes by the lane that they serve; each does one task at a time. A lane without
        workers takes no calls.
    queue_size : int, optional
        Most calls that may wait in each lane; further ones are refused.
    most_together : int, optional
        Most calls of `Pool.submit_shared` that are given to a worker as one task; 1 keeps them apart.
    memory_limit_bytes : int, optional
        Most memory that tasks may take in one worker, on top of what the warm, idle worker has. Memory
        mapped files do not count. Enforced on Linux only.
    grace_seconds : float, optional
        Time a worker gets to answer after its task was cancelled or its deadline passed; then it is killed.
    preload : tuple of str, optional
        Modules imported once, before any worker is forked.
    initializer : callable, optional
        Module-level callable without arguments, run in each worker before it counts as warm.
    start_seconds : float, optional
        Longest time a worker's start may take.
    environment : mapping, optional
        Variables set for the workers (not for this process) before anything is imported there.
    """

    lanes: Mapping[str, int]
    queue_size: int = 64
    most_together: int = 16
    memory_limit_bytes: int | None = None
    grace_seconds: float = 0.5
    preload: tuple[str, ...] = ()
    initializer: Callable[[], object] | None = None
    start_seconds: float = 120.0
    environment: Mapping[str, str] = field(default_factory=lambda: SINGLE_THREADED)

    def __post_init__(self) -> None:
        if min(self.lanes.values(), default=0) < 0 or self.workers < 1:
            raise ValueError(f"lanes must have a worker, and none fewer than none, not {dict(self.lanes)}")
        if self.queue_size < 0:
            raise ValueError(f"queue_size must not be negative, but is {self.queue_size}")
        if self.most_together < 1:
            raise ValueError(f"most_together must be positive, not {self.most_together}")
        if self.memory_limit_bytes is not None and self.memory_limit_bytes < 1:
            raise ValueError(f"memory_limit_bytes must be positive, not {self.memory_limit_bytes}")
        if not self.grace_seconds >= 0.0:
            raise ValueError(f"grace_seconds must not be negative, but is {self.grace_seconds}")
        if not self.start_seconds > 0.0:
            raise ValueError(f"start_seconds must be positive, not {self.start_seconds}")

    @property
    def workers(self) -> int:
        """Worker processes of all lanes."""
        return sum(self.lanes.values())


@dataclass(frozen=True, slots=True)
class LaneStats:
    """What a lane is doing now, and has done.

    Attributes
    ----------
    workers : int
        Warm worker processes.
    busy : int
        Worker processes with a task.
    together : int
        Calls whose answers these owe; more than `busy` when calls share a worker.
    queued : int
        Calls that wait.
    shared : int
        Calls so far that were given to a worker together with others.
    restarts : int
        Workers replaced so far.
    """

    workers: int
    busy: int
    together: int
    queued: int
    shared: int
    restarts: int


@dataclass(frozen=True, slots=True)
class PoolStats:
    """A snapshot of each lane, and their sums."""

    lanes: Mapping[str, LaneStats]

    @property
    def workers(self) -> int:
        """Warm worker processes."""
        return sum(lane.workers for lane in self.lanes.values())

    @property
    def busy(self) -> int:
        """Worker processes with a task."""
        return sum(lane.busy for lane in self.lanes.values())

    @property
    def together(self) -> int:
        """Calls whose answers these owe."""
        return sum(lane.together for lane in self.lanes.values())

    @property
    def queued(self) -> int:
        """Calls that wait."""
        return sum(lane.queued for lane in self.lanes.values())

    @property
    def shared(self) -> int:
        """Calls so far that were given to a worker together with others."""
        return sum(lane.shared for lane in self.lanes.values())

    @property
    def restarts(self) -> int:
        """Workers replaced so far."""
        return sum(lane.restarts for lane in self.lanes.values())
