"""The methods, the momentum rule, the one outer loop, and the verification of what comes out."""

from __future__ import annotations

from .contradictions import Contradiction, Contradictions
from .options import OPTIONS, Options
from .registry import METHODS, MethodSpec
from .report import Report
from .result import Progress, Result, Status
from .solve import Prepared, prepare, run, solve
from .spectrum import sigma_max

__all__ = [
    "METHODS",
    "OPTIONS",
    "Contradiction",
    "Contradictions",
    "MethodSpec",
    "Options",
    "Prepared",
    "Progress",
    "Report",
    "Result",
    "Status",
    "prepare",
    "run",
    "sigma_max",
    "solve",
]
