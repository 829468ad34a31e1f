"""Start `solver-service serve` on this machine for as long as a `with` block lasts."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sysconfig
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import httpx2

READY_SECONDS = 180.0
STOP_SECONDS = 10.0


class ServiceNotStartedError(Exception):
    """The service ended, or was not ready in time; the text ends with what it said."""


@contextlib.contextmanager
def local_service(
    log: Path, *, settings: Mapping[str, str] | None = None, waiting: Callable[[float], None] | None = None
) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """Yield the address and the process of a service that is ready, with a data folder that goes with it.

    Parameters
    ----------
    log : Path
        Where the output of the service goes.
    settings : mapping, optional
        Further ``SOLVER_SERVICE_…`` variables.
    waiting : callable, optional
        Called with the seconds waited so far, several times a second, until the service is ready.
    """
    program = Path(sysconfig.get_path("scripts")) / "solver-service"
    if not program.exists():
        raise ServiceNotStartedError(f"{program} is missing: install the package into this environment")
    with tempfile.TemporaryDirectory(prefix="solver-service-") as data, log.open("wb") as output:
        command = [str(program), "serve", "--port", "0", "--data-dir", data, "--json"]
        process = None
        try:
            # A signal in the middle of Popen would leave a child that nobody knows of.
            with _signals_held():
                process = subprocess.Popen(
                    command,
                    env={**os.environ, **(settings or {})},
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=output,
                    # Ctrl-C is ours to handle: the service is told to stop once, by `_stop`.
                    start_new_session=True,
                )
            address = _announced(process, log)
            _wait_until_ready(address, process, log, waiting)
            yield address, process
        finally:
            if process is not None:
                _stop(process)


@contextlib.contextmanager
def _signals_held() -> Iterator[None]:
    received: list[int] = []
    numbers = (signal.SIGINT, signal.SIGTERM)
    handlers = [signal.signal(number, lambda caught, _: received.append(caught)) for number in numbers]
    try:
        yield
    finally:
        for number, handler in zip(numbers, handlers, strict=True):
            signal.signal(number, handler)
        for number in received:
            signal.raise_signal(number)


def _announced(process: subprocess.Popen[bytes], log: Path) -> str:
    assert process.stdout is not None
    with process.stdout as announcements:
        line = announcements.readline()
    if not line:
        raise ServiceNotStartedError(f"the service ended with status {process.wait()}; it said:\n{tail(log)}")
    return str(json.loads(line)["url"])


def _wait_until_ready(
    address: str, process: subprocess.Popen[bytes], log: Path, waiting: Callable[[float], None] | None
) -> None:
    started = time.monotonic()
    with httpx2.Client(base_url=address, timeout=5.0, trust_env=False) as client:
        while (waited := time.monotonic() - started) < READY_SECONDS:
            if waiting:
                waiting(waited)
            with contextlib.suppress(httpx2.TransportError):
                if client.get("/health/ready").status_code == 200:
                    return
            with contextlib.suppress(subprocess.TimeoutExpired):
                status = process.wait(timeout=0.1)
                raise ServiceNotStartedError(f"the service ended with status {status}; it said:\n{tail(log)}")
    raise ServiceNotStartedError(f"the service was not ready after {waited:.0f} s; it said:\n{tail(log)}")


def tail(log: Path, lines: int = 20) -> str:
    """Read the last lines of a log."""
    return "\n".join(log.read_text(errors="replace").splitlines()[-lines:])


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(timeout=STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()  # its workers see that, and end
        process.wait()
