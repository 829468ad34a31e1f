"""Rows to jobs and back."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import fields, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import orjson
from sqlalchemy import Column, Row, RowMapping

from ...errors import SolverServiceError
from ...jobs import Job, Spec, State
from .tables import jobs

logger = logging.getLogger(__name__)

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)
_LONG: Final = frozenset({"result", "log"})

_DAMAGE: Final = (ValueError, TypeError, KeyError, AttributeError)

DAMAGED: Final = "the record of this job is damaged"

LIGHT: Final[tuple[Column[Any], ...]] = tuple(column for column in jobs.c if column.name not in _LONG)
"""All columns but those that may be long."""


class DamagedRecordError(SolverServiceError):
    """The documents of a row cannot be read."""


def to_job(row: Row[Any]) -> Job:
    """Return the job of a row, or raise `DamagedRecordError`."""
    values = row._mapping
    try:
        return _to_job(
            values,
            spec=_to_spec(values["spec"]),
            progress=from_json(values["progress"]),
            result=None if values["result"] is None else values["result"].encode(),
            log=to_log(values["log"]),
        )
    except _DAMAGE as error:
        logger.exception("the record of job %s cannot be read", values["id"])
        raise DamagedRecordError(DAMAGED) from error


def to_light_job(row: Row[Any]) -> Job:
    """Return the job of a row without result and log; of a damaged one what can be known, and an error."""
    values = row._mapping
    try:
        return _to_job(values, spec=_to_spec(values["spec"]), progress=from_json(values["progress"]))
    except _DAMAGE:
        spec = Spec(
            matrix_id=values["matrix_id"],
            shape=(0, 0),
            nnz=0,
            priority=values["priority"],
            deadline=values["deadline"],
        )
        return replace(_to_job(values, spec=spec), error=("internal", DAMAGED))


def to_known_job(row: Row[Any]) -> Job:
    """Return the job of a row; of a damaged one as `to_light_job`."""
    try:
        return to_job(row)
    except DamagedRecordError:
        return replace(to_light_job(row), error=("internal", DAMAGED))


def _to_job(values: RowMapping, **documents: Any) -> Job:
    return Job(
        number=values["number"],
        id=values["id"],
        state=State(values["state"]),
        created_at=to_datetime(values["created_at"]),
        started_at=_to_datetime_or_none(values["started_at"]),
        finished_at=_to_datetime_or_none(values["finished_at"]),
        attempts=values["attempts"],
        strikes=values["strikes"],
        owner=values["owner"],
        stop_requested=values["stop_requested"],
        error=None if values["error_code"] is None else (values["error_code"], values["error_detail"] or ""),
        solution=values["solution"],
        saved_state=values["saved_state"],
        size=values["size"],
        revision=values["revision"],
        **documents,
    )


def from_spec(spec: Spec) -> str:
    """Return the JSON of a spec."""
    return to_json({field.name: getattr(spec, field.name) for field in fields(Spec)})


def _to_spec(text: str) -> Spec:
    document = orjson.loads(text)
    m, n = document.pop("shape")
    return Spec(shape=(m, n), **document)


def to_log(text: str) -> tuple[tuple[int, str, Any], ...]:
    """Return the log of its JSON."""
    return tuple((revision, kind, data) for revision, kind, data in orjson.loads(text))


def to_sound_log(text: str) -> tuple[tuple[int, str, Any], ...]:
    """Return the log of its JSON; an empty one if it is damaged."""
    try:
        return to_log(text)
    except _DAMAGE:
        return ()


def to_json(value: Any) -> str:
    """Return JSON text."""
    return orjson.dumps(value, default=_plain).decode()


def from_json(text: str | None) -> Any:
    """Return the value of JSON text; None for none."""
    return None if text is None else orjson.loads(text)


def to_microseconds(moment: datetime) -> int:
    """Return the microseconds since 1970."""
    return (moment - _EPOCH) // _MICROSECOND


def to_datetime(microseconds: int) -> datetime:
    """Invert `to_microseconds`."""
    return _EPOCH + microseconds * _MICROSECOND


def storable(text: str) -> bool:
    """Whether text that came from outside can be compared in every database (PostgreSQL refuses NUL)."""
    return text.isascii() and text.isprintable()


def _to_datetime_or_none(microseconds: int | None) -> datetime | None:
    return None if microseconds is None else to_datetime(microseconds)


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"{type(value).__name__} has no JSON form")
