"""What a job is, independent of web and database: its record, its states, and the log that streams replay."""

from .job import Claim, Job, NewJob, Outcome, Report, Spec, solution_name
from .states import ACTIVE, ENDED, State, may_follow, sources

__all__ = [
    "ACTIVE",
    "ENDED",
    "Claim",
    "Job",
    "NewJob",
    "Outcome",
    "Report",
    "Spec",
    "State",
    "may_follow",
    "solution_name",
    "sources",
]
