"""Settings from the command line."""

from __future__ import annotations

import sys
from typing import Any

import click
from pydantic import ValidationError

from ..settings import Settings, explain
from .main import USAGE


def settings_from(**given: Any) -> Settings:
    """Return the settings with the options that were given, or say what is wrong with them and exit."""
    try:
        return Settings(**{name: value for name, value in given.items() if value is not None})
    except ValidationError as error:
        click.echo(explain(error), err=True)
        sys.exit(USAGE)
