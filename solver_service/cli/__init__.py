"""The command line: ``solver-service COMMAND``."""

from .main import main

__all__ = ["main"]
