"""The methods, the momentum rule, the one outer loop, and the verification of what comes out."""

from __future__ import annotations

from .contradictions import Contradiction, Contradictions
from .options import OPTIONS, Options
from .registry import METHODS, MethodSpec
from .report import Report
from .result import Progress, Result, Status
from .resumption import compatible, solving_seconds
from .snapshot import Keeper, Snapshot
from .solve import Prepared, check, prepare, run, solve
from .spectrum import sigma_max

__all__ = [
    "METHODS",
    "OPTIONS",
    "Contradiction",
    "Contradictions",
    "Keeper",
    "MethodSpec",
    "Options",
    "Prepared",
    "Progress",
    "Report",
    "Result",
    "Snapshot",
    "Status",
    "check",
    "compatible",
    "prepare",
    "run",
    "sigma_max",
    "solve",
    "solving_seconds",
]
