"""The group of all commands. A command's module is imported when the command is used."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any, Final

import click

USAGE: Final = 2
UNAVAILABLE: Final = 3
"""Exit statuses, besides 0 (converged, or done) and 1 (ran but did not converge)."""

COMMANDS: Final[Mapping[str, str]] = {
    "serve": "solver_service.cli.serve:serve",
    "worker": "solver_service.cli.worker:worker",
}
"""name → "module:attribute"."""


class LazyGroup(click.Group):
    """A group whose commands are loaded by name."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of all commands, in the order in which they are told."""
        del ctx
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Load a command."""
        del ctx
        if cmd_name not in COMMANDS:
            return None
        module, _, attribute = COMMANDS[cmd_name].partition(":")
        command: Any = getattr(import_module(module), attribute)
        assert isinstance(command, click.Command)
        return command


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="solver-service", prog_name="solver-service")
def main() -> None:
    """Solve sparse linear systems A x = b, and verify every answer."""
