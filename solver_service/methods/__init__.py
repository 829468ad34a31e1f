"""The methods, the momentum rule, the one outer loop, and the verification of what comes out."""

from __future__ import annotations

from .contradictions import Contradiction, Contradictions
from .options import OPTIONS, Options
from .parts import Derived, Source
from .registry import METHODS, MethodSpec
from .report import Report
from .result import Progress, Result, Status
from .resumption import compatible, solving_seconds
from .running import Assignment, block_width, check, run, run_together
from .snapshot import Keeper, Snapshot
from .solve import Prepared, prepare, solve
from .spectrum import sigma_max
from .tuning import TUNING, Trial, Tuning, learn
from .warm_start import Solutions, Start, require_warm_start

__all__ = [
    "METHODS",
    "OPTIONS",
    "TUNING",
    "Assignment",
    "Contradiction",
    "Contradictions",
    "Derived",
    "Keeper",
    "MethodSpec",
    "Options",
    "Prepared",
    "Progress",
    "Report",
    "Result",
    "Snapshot",
    "Solutions",
    "Source",
    "Start",
    "Status",
    "Trial",
    "Tuning",
    "block_width",
    "check",
    "compatible",
    "learn",
    "prepare",
    "require_warm_start",
    "run",
    "run_together",
    "sigma_max",
    "solve",
    "solving_seconds",
]
