"""Commits whose end is known even if the connection is lost in the middle of them."""

from __future__ import annotations

import logging
import time
from typing import Final

from sqlalchemy import Connection, Engine, RootTransaction, text
from sqlalchemy.exc import DBAPIError

from .connection import POSTGRESQL, for_reading
from .failures import InDoubtError, disconnected

_PAUSES: Final = (0.05, 0.2, 0.5, 1.0, 2.0, 3.0)
_NUMBER: Final = text("SELECT CAST(pg_current_xact_id_if_assigned() AS text)")
_STATUS: Final = text("SELECT pg_xact_status(CAST(:number AS xid8))")

logger = logging.getLogger(__name__)


def commit(engine: Engine, connection: Connection, transaction: RootTransaction) -> None:
    """Commit; return if it is committed, raise if it is not, and `InDoubtError` if nobody can be asked."""
    on_server = connection.dialect.name == POSTGRESQL
    number = connection.execute(_NUMBER).scalar() if on_server else None
    try:
        transaction.commit()
    except Exception as error:
        connection.invalidate()  # the transaction may still be open in it
        if not (isinstance(error, DBAPIError) and disconnected(error)):
            raise
        if number is None or not _was_committed(engine, number):
            raise
        logger.info("the connection to the database was lost after a commit that succeeded")


def _was_committed(engine: Engine, number: str) -> bool:
    for pause in _PAUSES:
        time.sleep(pause)
        try:
            with for_reading(engine).connect() as connection:
                status = connection.execute(_STATUS, {"number": number}).scalar()
        except DBAPIError:
            continue
        if status != "in progress":  # which the server believes until it sees that the connection is gone
            return bool(status == "committed")
    raise InDoubtError
