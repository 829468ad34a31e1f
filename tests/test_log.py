import io
import json
import logging
import sys

import pytest
import structlog

from solver_service import log


@pytest.fixture
def stream():
    yield io.StringIO()
    log.configure("warning", "json", sys.__stderr__)


def events(stream):
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_both_kinds_of_logger_write_the_same_lines(stream):
    log.configure("info", "auto", stream)
    structlog.stdlib.get_logger("ours").info("started", port=1)
    logging.getLogger("uvicorn.error").info("Started %d", 2, extra={"color_message": "Started %d"})
    ours, theirs = events(stream)
    assert (ours["event"], ours["port"], ours["logger"], ours["level"]) == ("started", 1, "ours", "info")
    assert (theirs["event"], theirs["logger"]) == ("Started 2", "uvicorn.error")
    assert "color_message" not in theirs
    assert ours["timestamp"].endswith("Z")


def test_levels(stream):
    log.configure("warning", "json", stream)
    logger = structlog.stdlib.get_logger("ours")
    logger.info("no")
    logger.warning("yes")
    assert [event["event"] for event in events(stream)] == ["yes"]


@pytest.mark.parametrize("format_", ["json", "console"])
def test_a_traceback_shows_no_variables(stream, format_):
    log.configure("info", format_, stream)

    def fail():
        secret = "hunter" + "2"
        raise ValueError(len(secret))

    try:
        fail()
    except ValueError:
        structlog.stdlib.get_logger("ours").exception("failed")
    assert "ValueError: 7" in stream.getvalue()
    assert "hunter2" not in stream.getvalue()
    assert len(stream.getvalue().splitlines()) == 1 or format_ == "console"


def test_for_people(stream):
    log.configure("info", "console", stream)
    structlog.stdlib.get_logger("ours").info("started", port=1)
    assert "started" in stream.getvalue()
    assert not stream.getvalue().startswith("{")


def test_a_terminal_is_for_people():
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    terminal = Terminal()
    log.configure("info", "auto", terminal)
    structlog.stdlib.get_logger("ours").info("started")
    log.configure("warning", "json", sys.__stderr__)
    assert "\x1b[" in terminal.getvalue()
