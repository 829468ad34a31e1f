"""What the handlers work with: settings, pool, store and spool, started and stopped together."""

from __future__ import annotations

import asyncio
from functools import partial

from starlette.requests import Request

from ..engine import Pool, PoolConfig
from ..problems.limits import Limits
from ..settings import Settings
from ..storage import MatrixStore
from ..tasks.state import TaskConfig, configure
from ..wire.systems import InputLimits
from .body import StopSignal
from .spool import Spool, in_thread

ANSWER_SECONDS = 2.0
"""Time that a solve has, after its deadline or when asked to stop, to verify and encode its best x."""


class Services:
    """Everything that lives as long as the application.

    Parameters
    ----------
    settings : Settings
    """

    def __init__(self, settings: Settings) -> None:
        folder = settings.data_dir.resolve()
        self.settings = settings
        self.signal = StopSignal()
        self.spool = Spool(folder / "spool")
        self.store = MatrixStore(folder)
        config = TaskConfig(
            data_dir=folder,
            limits=InputLimits(limits_of(settings), settings.max_json_bytes),
            cache_bytes=settings.prepared_cache_bytes,
            default_deadline=settings.default_deadline,
            max_deadline=settings.max_deadline,
        )
        self.pool = Pool(
            PoolConfig(
                lanes={"solve": settings.workers, "intake": 1},
                queue_size=settings.queue_size,
                grace_seconds=ANSWER_SECONDS,
                memory_limit_bytes=settings.worker_memory_bytes,
                preload=("solver_service.tasks.preload",),
                initializer=partial(configure, config),
            )
        )

    async def start(self) -> None:
        """Open the spool and start the workers; returns before they are warm."""
        await in_thread(self.spool.open)
        await self.pool.start()

    async def close(self) -> None:
        """Stop the workers and remove all temporary files."""
        self.stop()
        await self.pool.close()
        await in_thread(self.spool.close)

    def stop(self) -> None:
        """Begin to stop: running solves answer with what they have, nothing new is taken."""
        if not self.signal.stopping:
            self.signal.stop()
            self.pool.cancel_running(grace_seconds=0.8 * self.settings.shutdown_grace)

    async def storage_writable(self) -> bool:
        """Whether a matrix could be stored now."""
        return await asyncio.to_thread(self.store.writable)

    def due(self, accepted: float, seconds: float | None) -> float:
        """Return when the answer to a request is due, given the deadline that it asks for."""
        settings = self.settings
        allowed = min(settings.default_deadline if seconds is None else seconds, settings.max_deadline)
        return accepted + allowed


def limits_of(settings: Settings) -> Limits:
    """Return the bounds on matrices and arrays."""
    return Limits(
        max_rows=settings.max_rows, max_columns=settings.max_columns, max_entries=settings.max_entries
    )


def services_of(request: Request) -> Services:
    """Return the services of the application that got the request."""
    services = request.app.state.services
    assert isinstance(services, Services)
    return services
