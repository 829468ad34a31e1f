"""A process that does nothing but run jobs, and what every process needs before it starts."""

from __future__ import annotations

import asyncio
import signal
import tempfile
from collections.abc import Callable
from pathlib import Path

from sqlalchemy.exc import DBAPIError

from ..errors import SolverServiceError
from ..settings import Settings
from ..storage import ForeignFolderError, JobFiles
from .host import JOBS, Host, open_table


class CannotStartError(Exception):
    """The service cannot run here; the text says why."""


def prepare(settings: Settings) -> None:
    """Make the folders, bring the database up to date, and see whether both can be used and belong together.

    Raises
    ------
    CannotStartError
        Something is not as it must be.
    """
    for folder in {settings.data_dir, settings.storage_dir}:
        _prepare_folder(folder)
    try:
        open_table(settings, JobFiles(settings.storage_dir)).close()
    except ForeignFolderError as error:
        raise CannotStartError(str(error)) from None
    except OSError as error:
        raise _unwritable(settings.storage_dir, error) from None
    except (SolverServiceError, ValueError) as error:
        raise CannotStartError(f"cannot use the database: {error}") from None
    except DBAPIError as error:
        raise CannotStartError(f"cannot use the database: {error.orig}") from None


def _prepare_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):  # without a name, so that nothing stays if we are killed
            pass
    except OSError as error:
        raise _unwritable(folder, error) from None


def _unwritable(folder: Path, error: OSError) -> CannotStartError:
    return CannotStartError(f"cannot write to the data folder {folder}: {error.strerror or error}")


async def run_worker(settings: Settings, announce: Callable[[], None]) -> None:
    """Run jobs until a signal comes.

    Parameters
    ----------
    settings : Settings
    announce : callable
        Called once all workers are warm.

    Raises
    ------
    CannotStartError
    """
    await asyncio.to_thread(prepare, settings)
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopped.set)
    host = Host(settings, {JOBS: settings.workers})
    await host.start()
    try:
        warm = asyncio.create_task(host.pool.wait_ready())
        stop = asyncio.create_task(stopped.wait())
        await asyncio.wait({warm, stop}, return_when=asyncio.FIRST_COMPLETED)
        if not stopped.is_set():
            announce()
        await stop
        warm.cancel()
    finally:
        host.stop(0.8 * settings.shutdown_grace)
        await host.close()
