"""``solver-service serve``: run the HTTP service."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import click

from .main import UNAVAILABLE
from .settings import settings_from


@click.command()
@click.option("--host", help="Address to listen on.  [default: 127.0.0.1]")
@click.option("--port", type=int, help="Port to listen on; 0 takes a free one.  [default: 8000]")
@click.option(
    "--data-dir",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder for everything that is kept.  [default: ./solver-data]",
)
@click.option(
    "--workers",
    type=int,
    help="Worker processes, and as many for jobs.  [default: number of cores]",
)
@click.option("--json", "as_json", is_flag=True, help="Tell the address as a JSON object.")
def serve(
    host: str | None, port: int | None, data_dir: Path | None, workers: int | None, as_json: bool
) -> None:
    """Run the HTTP service until it is told to stop.

    Once connections are accepted, one line with the address goes to stdout; /health/ready tells when systems
    can be solved. Logs go to stderr. Every option, and more, can be set by a variable SOLVER_SERVICE_...: see
    the README.
    """
    settings = settings_from(host=host, port=port, data_dir=data_dir, workers=workers)

    from .. import log
    from ..api.server import serve as run
    from ..runner import CannotStartError

    log.configure(settings.log_level, settings.log_format)

    def announce(url: str) -> None:
        line = json.dumps({"url": url, "pid": os.getpid()}) if as_json else f"solver-service listens on {url}"
        click.echo(line)
        sys.stdout.flush()

    try:
        run(settings, announce)
    except CannotStartError as error:
        click.echo(f"solver-service: {error}", err=True)
        sys.exit(UNAVAILABLE)
