"""`Job`: a solve that was acknowledged and is on record until it is removed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple

from ..errors import NoSolutionError, SolutionNotReadyError
from .states import ACTIVE, State

_LONGEST_DEADLINE = 1e9
"""Seconds, some thirty years: beyond it dates and the columns of a database end somewhere."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Spec:
    """What is to be solved, and how urgently. The numbers themselves are files of the job.

    Parameters
    ----------
    matrix_id : str
    shape : (int, int)
        m, n.
    nnz : int
    columns : int or None
        k for b of shape (m, k), None for (m,).
    options : mapping
        Options as the client gave them, checked.
    priority : int
    deadline : float or None
        Seconds from acceptance to the end.
    resumed_from : str or None
        The job whose state this one goes on from.
    seconds_before : float
        Solving seconds that came with that state; `time_limit` does not count them.
    tuning : int
        Version of what was known of the matrix when the job was accepted, with which it is solved.
    warm_start : int or None
        Version of the earlier solutions from which its x0 was made, 0 where they were of no use; None if that
        was not asked for.
    """

    matrix_id: str
    shape: tuple[int, int]
    nnz: int
    columns: int | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    priority: int = 0
    deadline: float | None = None
    resumed_from: str | None = None
    seconds_before: float = 0.0
    tuning: int = 0
    warm_start: int | None = None

    @property
    def time_allowed(self) -> float | None:
        """Seconds from acceptance to the end, within what clocks can tell; None without a deadline."""
        return None if self.deadline is None else min(self.deadline, _LONGEST_DEADLINE)


@dataclass(frozen=True, slots=True, kw_only=True)
class NewJob:
    """A job to be put on record.

    Parameters
    ----------
    id : str
        ``job_`` and 32 hex digits.
    spec : Spec
    size : int
        Bytes of its files.
    digest : str
        Hash of the parsed content, by which retries with one idempotency key are told from misuse.
    key : str or None
        The idempotency key.
    """

    id: str
    spec: Spec
    size: int
    digest: str
    key: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A job as it is on record.

    Parameters
    ----------
    number : int
        Order of acceptance.
    id : str
    state : State
    spec : Spec
    created_at, started_at, finished_at : datetime
        UTC; None as long as it has not happened. `started_at` is that of the first attempt.
    attempts : int
        How often it was claimed: together with `owner` the fence of the claim in force.
    strikes : int
        Attempts in a row that were lost without having got any further.
    owner : str or None
        The process that runs it.
    stop_requested : bool
        Whether a running job was asked to stop.
    progress : mapping or None
        The last that was heard.
    result : bytes or None
        JSON document of the result, without x and certificate.y. Not parsed: it may be long.
    error : (str, str) or None
        Code and detail.
    solution, saved_state : str or None
        Names of its files.
    size : int
        Bytes of its files.
    revision : int
        Counts every change.
    log : tuple of (int, str, document)
        Revision, kind (``state``, ``progress``) and data of what a stream replays: see `jobs.log`.
    """

    number: int
    id: str
    state: State
    spec: Spec
    created_at: datetime
    started_at: datetime | None = None
    finished_at: datetime | None = None
    attempts: int = 0
    strikes: int = 0
    owner: str | None = None
    stop_requested: bool = False
    progress: Mapping[str, Any] | None = None
    result: bytes | None = None
    error: tuple[str, str] | None = None
    solution: str | None = None
    saved_state: str | None = None
    size: int = 0
    revision: int = 0
    log: tuple[tuple[int, str, Any], ...] = ()

    @property
    def active(self) -> bool:
        """Whether it has not ended yet."""
        return self.state in ACTIVE

    @property
    def claim(self) -> Claim:
        """The claim in force."""
        return Claim(self.number, self.attempts, self.owner or "")


class Claim(NamedTuple):
    """The right to work on a job. Everything that a worker writes is fenced by it: once lost, it is void."""

    number: int
    attempt: int
    owner: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What the holder of a claim tells now and then: that it is alive, and how far the solve is.

    Parameters
    ----------
    claim : Claim
    progress : mapping or None
        None: nothing new.
    advanced : bool
        Whether the attempt has saved a state that is further than that of any before.
    """

    claim: Claim
    progress: Mapping[str, Any] | None = None
    advanced: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How a job ended.

    Parameters
    ----------
    state : State
        succeeded, cancelled or failed.
    result : bytes or None
        JSON document.
    error : (str, str) or None
    solution, saved_state : str or None
    size : int
        Bytes of the files that stay.
    progress : mapping or None
        The last.
    """

    state: State
    result: bytes | None = None
    error: tuple[str, str] | None = None
    solution: str | None = None
    saved_state: str | None = None
    size: int = 0
    progress: Mapping[str, Any] | None = None


def solution_name(job: Job) -> str:
    """Return the name of the file with the job's x.

    Raises
    ------
    SolutionNotReadyError
        The job has not ended yet.
    NoSolutionError
        It ended without x.
    """
    if job.active:
        raise SolutionNotReadyError("the job has not ended yet; wait for its state, or cancel it")
    if job.solution is None:
        raise NoSolutionError(f"the job ended as {job.state.value} before there was an x")
    return job.solution
