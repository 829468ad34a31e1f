"""What the handlers work with: settings, workers, matrices, jobs and spool, started and stopped together."""

from __future__ import annotations

import asyncio

from starlette.requests import Request

from ..engine import Pool
from ..runner import JOBS, Host
from ..settings import Settings
from ..storage import MatrixStore
from .body import StopSignal
from .spool import Spool, in_thread

SOLVE, INTAKE = "solve", "intake"


class Services:
    """Everything that lives as long as the application.

    Parameters
    ----------
    settings : Settings
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.signal = StopSignal()
        self.spool = Spool(settings.data_dir.resolve() / "spool")
        jobs = settings.workers if settings.job_workers is None else settings.job_workers
        # Long jobs must not keep short solves waiting, nor either of them what only wants to be stored.
        self.host = Host(settings, {SOLVE: settings.workers, JOBS: jobs, INTAKE: settings.intake_workers})

    @property
    def pool(self) -> Pool:
        """The worker processes."""
        return self.host.pool

    @property
    def store(self) -> MatrixStore:
        """The stored matrices."""
        return self.host.store

    async def start(self) -> None:
        """Open the spool and start the workers; returns before they are warm."""
        await in_thread(self.spool.open)
        await self.host.start()

    async def close(self) -> None:
        """Stop the workers and remove all temporary files."""
        self.stop()
        self.host.stop(0.8 * self.settings.shutdown_grace)  # it may have come while all was starting
        await self.host.close()
        await in_thread(self.spool.close)

    def stop(self) -> None:
        """Begin to stop: running solves answer with what they have, nothing new is taken."""
        if not self.signal.stopping:
            self.signal.stop()
            self.host.stop(0.8 * self.settings.shutdown_grace)

    async def storage_writable(self) -> bool:
        """Whether a matrix could be stored now."""
        return await asyncio.to_thread(self.store.writable)

    def due(self, accepted: float, seconds: float | None) -> float:
        """Return when the answer to a request is due, given the deadline that it asks for."""
        settings = self.settings
        allowed = min(settings.default_deadline if seconds is None else seconds, settings.max_deadline)
        return accepted + allowed


def services_of(request: Request) -> Services:
    """Return the services of the application that got the request."""
    services = request.app.state.services
    assert isinstance(services, Services)
    return services
