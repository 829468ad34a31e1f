"""Servers and workers on one data folder and one database, in processes that may be killed at any moment.

Every process that a member starts, and every one that those start, inherits a variable that names the
cluster, the member and its generation: so all of them are found, whoever their parent is by now.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import psutil

MARK = "CHAOS_MEMBER"
LONGEST_AFTERLIFE = 5.0
"""Seconds that the workers of a killed server may live on."""

ROOT = Path(__file__).parents[2]


def wait_until(condition: Callable[[], object], seconds: float, what: str) -> None:
    """Poll a condition."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise AssertionError(f"after {seconds:g} s still not: {what}")
        time.sleep(0.05)


def free_port() -> int:
    """A port that a member keeps over its restarts."""
    with socket.create_server(("127.0.0.1", 0)) as sock:
        return int(sock.getsockname()[1])


class Member:
    """One server or worker, in all its generations."""

    def __init__(self, cluster: Cluster, name: str, command: str, settings: Mapping[str, str]) -> None:
        self.name, self.command = name, command
        self.port = free_port() if command == "serve" else None
        self.generation = 0
        self.log = cluster.folder / f"{name}.log"
        self._cluster, self._settings = cluster, settings
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str | None:
        return None if self.port is None else f"http://127.0.0.1:{self.port}"

    @property
    def alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        self.generation += 1
        arguments = [self.command, "--data-dir", str(self._cluster.data), "--json"]
        if self.port is not None:
            arguments += ["--port", str(self.port)]
        path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
        mark = {MARK: self._mark(self.generation), "PYTHONPATH": path}
        with self.log.open("ab") as log:
            log.write(b"--- generation %d\n" % self.generation)
            self._process = subprocess.Popen(
                [sys.executable, "-m", "solver_service.cli", *arguments],
                env={**os.environ, **self._cluster.settings, **self._settings, **mark},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def kill(self) -> None:
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def stop(self) -> None:
        """End it as an administrator would; complain if it does not go in peace."""
        assert self._process is not None
        self._process.terminate()
        status = self._process.wait(20)
        assert status == 0, f"{self.name} ended with status {status}: {self.last_words()}"

    def processes(self, generation: int | None = None) -> list[psutil.Process]:
        """All processes of a generation (the present one), the one that was started by us first."""
        found = marked(self._mark(self.generation if generation is None else generation))
        top = None if self._process is None else self._process.pid
        return sorted(found, key=lambda process: process.pid != top)

    def fork_servers(self) -> list[psutil.Process]:
        top = None if self._process is None else self._process.pid
        return [process for process in self.processes() if _parent(process) == top]

    def pool_workers(self) -> list[psutil.Process]:
        others = {process.pid for process in self.processes()[:1] + self.fork_servers()}
        return [process for process in self.processes() if process.pid not in others]

    def last_words(self, lines: int = 15) -> str:
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])

    def _mark(self, generation: int) -> str:
        return f"{self._cluster.id}:{self.name}:{generation}"


class Cluster:
    """All members together.

    Parameters
    ----------
    folder : Path
    settings : mapping
        ``SOLVER_SERVICE_…`` variables for all.
    members : sequence of (name, command, settings)
    """

    def __init__(
        self,
        folder: Path,
        settings: Mapping[str, str],
        members: Sequence[tuple[str, str, Mapping[str, str]]],
    ) -> None:
        self.id = uuid.uuid4().hex
        self.folder, self.data = folder, folder / "data"
        self.settings = settings
        self.members = [Member(self, *member) for member in members]
        self.complaints: list[str] = []
        self._threads: list[threading.Thread] = []

    @property
    def urls(self) -> list[str]:
        return [member.url for member in self.members if member.url is not None]

    def start(self) -> None:
        for member in self.members:
            member.start()

    def kill_and_restart(self, member: Member, pause: float) -> None:
        """Kill a member; start it again after a while, and see whether all that was its own goes too."""
        generation = member.generation
        member.kill()
        killed = time.monotonic()

        def restart() -> None:
            time.sleep(pause)
            member.start()
            try:
                left = LONGEST_AFTERLIFE - (time.monotonic() - killed)
                what = f"the processes of the killed {member.name} are gone"
                wait_until(lambda: not member.processes(generation), left, what)
            except AssertionError as error:
                self.complaints.append(str(error))

        self._threads.append(threading.Thread(target=restart))
        self._threads[-1].start()

    @property
    def restarting(self) -> bool:
        return any(thread.is_alive() for thread in self._threads)

    def ended_by_itself(self) -> list[str]:
        """Members that nobody has killed, and that are not there."""
        self.settle()
        return [f"{one.name} ended: {one.last_words()}" for one in self.members if not one.alive]

    def settle(self) -> None:
        """Wait for restarts under way."""
        for thread in self._threads:
            thread.join()
        self._threads.clear()

    def processes(self) -> list[psutil.Process]:
        return marked(self.id)

    def destroy(self) -> None:
        """Whatever happened, leave nothing behind."""
        self.settle()
        for process in self.processes():
            process.kill()
        for member in self.members:
            if member.generation:
                member.kill()


def marked(prefix: str) -> list[psutil.Process]:
    """All processes whose mark begins so, zombies left out."""
    found = []
    for process in psutil.process_iter():
        try:
            mark = process.environ().get(MARK, "")
        except (psutil.Error, OSError):
            continue
        if f"{mark}:".startswith(f"{prefix}:"):
            found.append(process)
    return found


def _parent(process: psutil.Process) -> int | None:
    try:
        return int(process.ppid())
    except psutil.Error:
        return None
