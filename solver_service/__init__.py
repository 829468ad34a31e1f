"""Verified solutions of sparse linear systems A x = b, with diagnostics. This package imports numerics only.

The HTTP service lives in `solver_service.api` and starts with ``solver-service serve``.
"""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

from .errors import FieldError, InvalidInputError, SolverServiceError
from .methods import Options, Prepared, Progress, Report, Result, Status, prepare, solve

try:
    __version__ = version("solver-service")
except PackageNotFoundError:  # run from a source tree that was never installed
    __version__ = "0+unknown"

__all__ = [
    "FieldError",
    "InvalidInputError",
    "Options",
    "Prepared",
    "Progress",
    "Report",
    "Result",
    "SolverServiceError",
    "Status",
    "__version__",
    "prepare",
    "solve",
]
