"""Engines for the two databases, set up so that what is committed is on the disk."""

from __future__ import annotations

import importlib
import logging
import os
import sqlite3
import time
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any, Final

from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError

from ...errors import SolverServiceError, UnavailableError

POSTGRESQL: Final = "postgresql"

_BUSY_SECONDS: Final = 30
# So that a server that is gone without a word (a machine without power, a network that was cut) is noticed
# within some 15 seconds. In libpq's units: seconds, but milliseconds for the last.
_POSTGRESQL_PATIENCE: Final = {
    "connect_timeout": 5,
    "keepalives": 1,
    "keepalives_idle": 5,
    "keepalives_interval": 3,
    "keepalives_count": 3,
    "tcp_user_timeout": 15_000,
}
_SOUND_SQLITE: Final = (3, 51, 3)
_BEGIN: Final = "solver_service_begin"

logger = logging.getLogger(__name__)


def open_engine(url: str) -> Engine:
    """Return an engine for the database; nothing is connected yet.

    Parameters
    ----------
    url : str
        ``sqlite:///path`` (four slashes for an absolute one) or ``postgresql://user:password@host/name``.

    Raises
    ------
    SolverServiceError
        The URL is not understood, or what is needed to speak to this database is not installed.
    """
    try:
        parsed = make_url(url)
    except ArgumentError:
        # Not shown: it may hold a password.
        raise SolverServiceError("the database URL is not of the form dialect://…") from None
    match parsed.get_backend_name():
        case "sqlite":
            return _open_sqlite(parsed)
        case "postgresql":
            return _open_postgresql(parsed)
    raise SolverServiceError(
        "the database must be sqlite:///… or postgresql://…, "
        f"not {parsed.render_as_string(hide_password=True)}"
    )


def for_reading(engine: Engine) -> Engine:
    """Return the engine for reads of one statement each, which need no transaction around them."""
    if engine.dialect.name == POSTGRESQL:
        return engine.execution_options(isolation_level="AUTOCOMMIT")
    return engine


def for_writing(engine: Engine) -> Engine:
    """Return the engine for transactions that write.

    On SQLite they take the lock for writing at their beginning, where waiting for it is possible; a reader
    that begins to write after another has written can only fail.
    """
    return engine.execution_options(**{_BEGIN: "BEGIN IMMEDIATE"})


def sqlite_module() -> ModuleType:
    """Return the DB-API module of the newest SQLite at hand."""
    try:
        return importlib.import_module("pysqlite3.dbapi2")
    except ImportError:
        return sqlite3


def journal_mode(module: ModuleType) -> str:
    """Return WAL, or the slower rollback journal with a SQLite that may corrupt a WAL (3.7.0 to 3.51.2)."""
    return "wal" if module.sqlite_version_info >= _SOUND_SQLITE else "delete"


def _open_sqlite(url: URL) -> Engine:
    if not url.database or url.database == ":memory:" or url.query.get("mode") == "memory":
        raise SolverServiceError("the SQLite database must be a file: sqlite:///path")
    module = sqlite_module()
    if not url.database.startswith("file:"):
        Path(url.database).parent.mkdir(parents=True, exist_ok=True)
    engine = create_engine(
        url.set(drivername="sqlite+pysqlite"),
        module=module,
        connect_args={"timeout": _BUSY_SECONDS},
        max_overflow=32,
        hide_parameters=True,
    )
    mode = journal_mode(module)
    if mode != "wal":
        logger.warning(
            "SQLite %s is not sound with a WAL: the slower rollback journal is used; install pysqlite3",
            module.sqlite_version,
        )
    event.listen(engine, "connect", partial(_set_up_sqlite, mode))
    event.listen(engine, "begin", partial(_begin_sqlite, _Watched(url.database)))
    return engine


class _Watched:
    """Notices that the file of the database was removed or replaced: what is written then is lost."""

    def __init__(self, database: str) -> None:
        self._path = None if database.startswith("file:") else Path(database)
        self._identity: tuple[int, int] | None = None

    def check(self) -> None:
        """Raise `UnavailableError` if it is not the file that it was."""
        if self._path is None:
            return
        try:
            found = self._path.stat()
        except OSError:
            raise UnavailableError("the file of the database is gone", retry_after=30) from None
        identity = (found.st_dev, found.st_ino)
        if self._identity is None:
            self._identity = identity
        elif identity != self._identity:
            raise UnavailableError("the file of the database was replaced", retry_after=30)


def _set_up_sqlite(wanted: str, connection: Any, _: Any) -> None:
    connection.isolation_level = None  # the driver begins no transactions: _begin_sqlite does
    cursor = connection.cursor()
    try:
        cursor.execute(f"PRAGMA busy_timeout = {_BUSY_SECONDS * 1000}")
        mode = _set_journal_mode(cursor, wanted)
        if mode != wanted:
            raise SolverServiceError(f"the SQLite database has journal mode {mode}, and cannot have {wanted}")
        cursor.execute("PRAGMA synchronous = FULL")  # a commit returns when it is on the disk
    finally:
        cursor.close()


def _set_journal_mode(cursor: Any, mode: str) -> str:
    """Set the journal mode and return it. Others who do so just now are waited for, which SQLite does not."""
    last = time.monotonic() + _BUSY_SECONDS
    while True:
        try:
            return str(cursor.execute(f"PRAGMA journal_mode = {mode}").fetchone()[0])
        except Exception as error:
            if getattr(error, "sqlite_errorname", "") != "SQLITE_BUSY" or time.monotonic() > last:
                raise
            time.sleep(0.01)


def _begin_sqlite(watched: _Watched, connection: Connection) -> None:
    watched.check()
    connection.exec_driver_sql(connection.get_execution_options().get(_BEGIN, "BEGIN"))


def _open_postgresql(url: URL) -> Engine:
    if url.drivername == POSTGRESQL:
        url = url.set(drivername="postgresql+psycopg")
    try:
        return create_engine(
            url,
            connect_args=_patience(url),
            pool_pre_ping=True,
            max_overflow=32,
            hide_parameters=True,
        )
    except ImportError as error:
        raise SolverServiceError(
            f"PostgreSQL needs a driver ({error.name}): pip install 'solver-service[postgres]'"
        ) from error


def _patience(url: URL) -> dict[str, int]:
    """Return how long to wait for a server, as far as neither the URL nor the environment says it."""
    chosen = set(url.query)
    if "PGCONNECT_TIMEOUT" in os.environ:
        chosen.add("connect_timeout")
    return {name: value for name, value in _POSTGRESQL_PATIENCE.items() if name not in chosen}
