"""Logs: one line an event, JSON for machines, coloured text for a person at a terminal. Always on stderr."""

from __future__ import annotations

import logging
import logging.config
import sys
from typing import Any, Literal, TextIO

import orjson
import structlog
from structlog.typing import EventDict, Processor

LogFormat = Literal["auto", "json", "console"]


def configure(level: str = "info", format_: LogFormat = "auto", stream: TextIO | None = None) -> None:
    """Send structlog's and the standard library's records the same way; uvicorn's are among the latter.

    Parameters
    ----------
    level : str
        Least severe level to write.
    format_ : {"auto", "json", "console"}
        "auto" writes console text if the stream is a terminal.
    stream : text file, optional
        Default: stderr.
    """
    target = sys.stderr if stream is None else stream
    for_people = format_ == "console" or (format_ == "auto" and target.isatty())
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    rendering: list[Processor] = (
        # Plain: other tracebacks show the values of variables, and so the users' data.
        [
            structlog.dev.ConsoleRenderer(
                colors=target.isatty(), exception_formatter=structlog.dev.plain_traceback
            )
        ]
        if for_people
        else [structlog.processors.format_exc_info, _to_json]
    )
    handler = logging.StreamHandler(target)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*shared, structlog.stdlib.ExtraAdder(), _drop_colours],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *rendering],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level.upper())
    logging.getLogger("python_multipart").setLevel(logging.CRITICAL)  # it quotes from bodies
    logging.getLogger("alembic").setLevel(logging.WARNING)  # it tells of its plugins at every start
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.PositionalArgumentsFormatter(),
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )


def _drop_colours(_logger: Any, _method: str, event: EventDict) -> EventDict:
    event.pop("color_message", None)  # uvicorn sends every message twice
    return event


def _to_json(_logger: Any, _method: str, event: EventDict) -> str:
    return orjson.dumps(event, default=str).decode()
