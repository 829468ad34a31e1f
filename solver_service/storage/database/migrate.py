"""Bring a database up to the tables of this version."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from sqlalchemy import Connection, Engine, func, inspect, select, text
from sqlalchemy.exc import DBAPIError

from ...errors import SolverServiceError
from .connection import POSTGRESQL, for_writing
from .failures import translated

HEAD: Final = "0003"
"""The newest revision; named here so that a database that is up to date is recognised without Alembic."""

_LOCK: Final = 0x736F6C766572  # of all processes that migrate this database
_SCRIPTS: Final = Path(__file__).parent / "migrations"


def migrate(engine: Engine) -> None:
    """Create or upgrade the tables; of several processes one does it, and the others wait for it.

    Raises
    ------
    SolverServiceError
        The database was made by a newer version.
    UnavailableError
        It does not answer.
    """
    try:
        with engine.connect() as connection:
            if _revision(connection) == HEAD:
                return
        with for_writing(engine).begin() as connection:
            if connection.dialect.name == POSTGRESQL:
                connection.execute(select(func.pg_advisory_xact_lock(_LOCK)))
            _upgrade(connection)
    except DBAPIError as error:
        raise translated(error) from error


def _upgrade(connection: Connection) -> None:
    from alembic import command
    from alembic.config import Config
    from alembic.script import ScriptDirectory

    found = _revision(connection)  # again, as another process may have been here meanwhile
    if found == HEAD:
        return
    config = Config()
    config.set_main_option("script_location", str(_SCRIPTS).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
    if found is not None and found not in known:
        raise SolverServiceError(
            f"the database is of a newer version: its tables are at {found}, this one knows them up to {HEAD}"
        )
    command.upgrade(config, HEAD)


def _revision(connection: Connection) -> str | None:
    if not inspect(connection).has_table("alembic_version"):
        return None
    return connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
