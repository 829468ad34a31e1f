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
    workers : int
        Worker processes; each does one task at a time.
    queue_size : int, optional
        Most calls that may wait for a worker; further ones are refused.
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

    workers: int
    queue_size: int = 64
    memory_limit_bytes: int | None = None
    grace_seconds: float = 0.5
    preload: tuple[str, ...] = ()
    initializer: Callable[[], object] | None = None
    start_seconds: float = 120.0
    environment: Mapping[str, str] = field(default_factory=lambda: SINGLE_THREADED)

    def __post_init__(self) -> None:
        if self.workers < 1:
            raise ValueError(f"workers must be at least 1, not {self.workers}")
        if self.queue_size < 0:
            raise ValueError(f"queue_size must not be negative, but is {self.queue_size}")
        if self.memory_limit_bytes is not None and self.memory_limit_bytes < 1:
            raise ValueError(f"memory_limit_bytes must be positive, not {self.memory_limit_bytes}")
        if not self.grace_seconds >= 0.0:
            raise ValueError(f"grace_seconds must not be negative, but is {self.grace_seconds}")
        if not self.start_seconds > 0.0:
            raise ValueError(f"start_seconds must be positive, not {self.start_seconds}")


@dataclass(frozen=True, slots=True)
class PoolStats:
    """A snapshot: warm worker processes, those with a task, calls that wait, workers replaced so far."""

    workers: int
    busy: int
    queued: int
    restarts: int
