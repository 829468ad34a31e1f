"""A supervised pool of worker processes; it knows nothing of what the tasks do.

`Pool` starts workers by forking a warm *fork server* process (`fork_server`, started by `launcher`),
so a replacement is up within milliseconds. Each `slot` keeps one worker alive and gives it one task at
a time: one call, or several that waited for the same and share it. A death fails the one call whose fault
it is. A `lane` is a queue in front of some of the slots. Everything in the parent runs on one event loop.
"""

from .call import Call
from .config import SINGLE_THREADED, LaneStats, PoolConfig, PoolStats
from .context import Part, Share, TaskContext
from .pool import Pool

__all__ = [
    "SINGLE_THREADED",
    "Call",
    "LaneStats",
    "Part",
    "Pool",
    "PoolConfig",
    "PoolStats",
    "Share",
    "TaskContext",
]
