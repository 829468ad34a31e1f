"""What moves jobs: claims them, sees them through the worker pool, tells how far they are, and cleans up."""

from .feed import Feed
from .host import GRACE_SECONDS, JOBS, Host
from .process import CannotStartError, prepare, run_worker
from .runner import Runner, RunnerConfig
from .sweeper import Retention, Sweeper

__all__ = [
    "GRACE_SECONDS",
    "JOBS",
    "CannotStartError",
    "Feed",
    "Host",
    "Retention",
    "Runner",
    "RunnerConfig",
    "Sweeper",
    "prepare",
    "run_worker",
]
