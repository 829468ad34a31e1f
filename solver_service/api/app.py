"""The application factory. Nothing is built at import."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import PackageNotFoundError, version

from fastapi import FastAPI
from fastapi_offline import FastAPIOffline

from ..settings import Settings
from . import errors, openapi
from .middleware import RequestScope, UnreadBody
from .routes import health, jobs, matrices, methods, solve
from .services import Services

DESCRIPTION = """
Solves consistent sparse linear systems **A x = b** of any shape and rank, and verifies every answer:
`converged` is only said after the true residual was recomputed on the data as sent.

Send a whole system to `POST /v1/solve`, or store the matrix once with `POST /v1/matrices` and name it by id.
What takes longer goes to `POST /v1/jobs`: once acknowledged it is never lost, and it can be followed, stopped
and resumed.
Errors are `application/problem+json` (RFC 9457) with a stable `code`.
"""


def create_app(settings: Settings | None = None) -> FastAPI:
    """Return the application.

    Parameters
    ----------
    settings : Settings, optional
        Default: from the environment.
    """
    services = Services(settings if settings is not None else Settings())

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        await services.start()
        try:
            yield
        finally:
            await services.close()

    app = FastAPIOffline(  # /docs must not need the internet
        title="solver-service",
        version=_version(),
        description=DESCRIPTION,
        lifespan=lifespan,
        redoc_url=None,
        redirect_slashes=False,
    )
    app.state.services = services
    errors.install(app)
    openapi.install(app)
    app.add_middleware(UnreadBody, signal=services.signal)
    app.add_middleware(RequestScope, signal=services.signal)
    for routes in (solve, jobs, matrices, methods, health):
        app.include_router(routes.router)
    return app


def _version() -> str:
    try:
        return version("solver-service")
    except PackageNotFoundError:
        return "0"
