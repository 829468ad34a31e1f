"""The record of jobs in SQL: the same on SQLite and PostgreSQL. See docs/adr/0011."""

from .connection import open_engine
from .jobs import JobTable
from .migrate import migrate
from .writer import Writer

__all__ = ["JobTable", "Writer", "migrate", "open_engine"]
