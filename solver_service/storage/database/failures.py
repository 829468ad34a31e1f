"""What a failure of the database means: whether to try again, and what to tell the caller."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from sqlalchemy.exc import DBAPIError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from ...errors import OutOfMemoryError, SolverServiceError, UnavailableError

_SQLITE_BUSY: Final = 5
_SQLITE_FULL: Final = 13
_SERIALIZATION: Final = frozenset({"40001", "40P01"})  # serialization_failure, deadlock_detected
_GOING_DOWN: Final = frozenset(
    {"57P01", "57P02", "57P03"}
)  # admin_shutdown, crash_shutdown, cannot_connect_now
_DISK_FULL: Final = "53100"


class InDoubtError(Exception):
    """The connection was lost while committing: nobody knows whether it was."""


def repeatable(error: Exception) -> bool:
    """Whether a transaction that failed so may succeed when it is tried again."""
    return isinstance(error, DBAPIError) and (_contended(error) or disconnected(error))


def concerns_all(error: Exception) -> bool:
    """Whether none of the operations of the transaction is to blame: it may be repeated as it was."""
    return isinstance(error, DBAPIError) and (disconnected(error) or _sqlite_code(error) == _SQLITE_BUSY)


def disconnected(error: DBAPIError) -> bool:
    """Whether there is no connection any more, or could be none."""
    if error.connection_invalidated or _sqlstate(error) in _GOING_DOWN:
        return True
    # No connection could be made, so there is neither a state nor a code.
    return isinstance(error, OperationalError) and _sqlstate(error) is None and _sqlite_code(error) is None


def spoils(error: DBAPIError) -> bool:
    """Whether not only the operation, but the transaction that it was part of, cannot go on."""
    return repeatable(error) or _full(error)


def translated(error: Exception) -> Exception:
    """Return what the caller is told."""
    if isinstance(error, SolverServiceError):
        return error
    if isinstance(error, DBAPIError) and _full(error):
        answer: SolverServiceError = OutOfMemoryError("no space left in the database", retry_after=30)
    elif isinstance(error, InDoubtError | PoolTimeoutError | OperationalError) or repeatable(error):
        answer = UnavailableError("the database does not answer", retry_after=5)
    else:
        return error
    answer.__cause__ = error
    return answer


@contextmanager
def reading() -> Iterator[None]:
    """Around a read: raise what `translated` gives."""
    try:
        yield
    except Exception as error:
        answer = translated(error)
        if answer is error:
            raise
        raise answer from error


def _contended(error: DBAPIError) -> bool:
    return _sqlite_code(error) == _SQLITE_BUSY or _sqlstate(error) in _SERIALIZATION


def _full(error: DBAPIError) -> bool:
    return _sqlite_code(error) == _SQLITE_FULL or _sqlstate(error) == _DISK_FULL


def _sqlstate(error: DBAPIError) -> str | None:
    return getattr(error.orig, "sqlstate", None)


def _sqlite_code(error: DBAPIError) -> int | None:
    code = getattr(error.orig, "sqlite_errorcode", None)
    return None if code is None else int(code) & 0xFF  # without the extension
