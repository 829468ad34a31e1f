"""A supervised pool of worker processes; it knows nothing of what the tasks do.

`Pool` starts workers by forking a warm *fork server* process (`fork_server`, started by `launcher`),
so a replacement is up within milliseconds. Each `slot` keeps one worker alive and gives it one task at
a time; a death fails that task only. Everything in the parent runs on one event loop.
"""

from .config import SINGLE_THREADED, PoolConfig, PoolStats
from .context import TaskContext
from .pool import Pool

__all__ = ["SINGLE_THREADED", "Pool", "PoolConfig", "PoolStats", "TaskContext"]
