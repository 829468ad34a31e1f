"""``solver-service worker``: run jobs that servers have taken in."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from pathlib import Path

import click

from .main import UNAVAILABLE
from .settings import settings_from


@click.command()
@click.option(
    "--data-dir",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder that is shared with the servers.  [default: ./solver-data]",
)
@click.option("--workers", type=int, help="Worker processes.  [default: number of cores]")
@click.option("--json", "as_json", is_flag=True, help="Tell that it has started as a JSON object.")
def worker(data_dir: Path | None, workers: int | None, as_json: bool) -> None:
    """Run jobs until it is told to stop.

    Takes jobs from the database (SOLVER_SERVICE_DATABASE_URL) and the storage (SOLVER_SERVICE_STORAGE_URL)
    that it shares with servers and other workers. What runs when it is stopped goes back into the queue, with
    its state.
    """
    settings = settings_from(data_dir=data_dir, workers=workers)

    from .. import log
    from ..runner import CannotStartError, run_worker

    log.configure(settings.log_level, settings.log_format)

    def announce() -> None:
        text = f"solver-service runs jobs with {settings.workers} workers"
        click.echo(json.dumps({"pid": os.getpid(), "workers": settings.workers}) if as_json else text)
        sys.stdout.flush()

    try:
        asyncio.run(run_worker(settings, announce))
    except CannotStartError as error:
        click.echo(f"solver-service: {error}", err=True)
        sys.exit(UNAVAILABLE)
    finally:
        for stop in (signal.SIGINT, signal.SIGTERM):
            signal.signal(stop, signal.SIG_IGN)  # on the way out there is nothing left to interrupt
