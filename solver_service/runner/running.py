"""One claimed job on its way through the pool."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from ..engine import Call
from ..jobs import Claim, Job, Report
from ..tasks.run_jobs import Heard, RunRequest

_SILENCE = 0.9
_TIME_LIMIT_SLACK = 1.0
"""The worker counts the seconds of `time_limit` itself; only native code lets it miss the end."""
_STATE_BYTES, _ENTRY_BYTES, _BYTES_A_SECOND = 80, 12, 1e8
"""Bytes of state for a row or column, of matrix for an entry, and how fast a slow machine takes them."""


class Running:
    """What is known of it between claim and end.

    Parameters
    ----------
    job : Job
        As it was claimed.
    block : sequence of Job
        All that were claimed to be solved together, itself included.
    """

    def __init__(self, job: Job, block: Sequence[Job]) -> None:
        self.job = job
        self.block = block
        self.claim: Claim = job.claim
        self.stop_requested = job.stop_requested
        self.lost = self.settling = self.ended = False
        self.call: Call[Any] | None = None
        self._progress: dict[str, Any] | None = dict(job.progress) if job.progress else None
        self._heard_at: float | None = None  # in this attempt
        self._rests = False
        self._told = self._advanced = False

    @property
    def due(self) -> float | None:
        """When the deadline passes, on the clock of `time.monotonic`."""
        allowed = self.job.spec.time_allowed
        if allowed is None:
            return None
        at = self.job.created_at + timedelta(seconds=allowed)
        return time.monotonic() + (at - datetime.now(UTC)).total_seconds()

    @property
    def seconds(self) -> float:
        """Solving seconds that were heard of last."""
        return self.job.spec.seconds_before if self._progress is None else float(self._progress["seconds"])

    @property
    def seconds_left(self) -> float | None:
        """What `time_limit` leaves; None without one."""
        limit = self.job.spec.options.get("time_limit")
        if limit is None:
            return None
        return max(float(limit) - (self.seconds - self.job.spec.seconds_before), 0.0)

    @property
    def overdue(self) -> bool:
        """Whether the deadline has passed."""
        due = self.due
        return due is not None and time.monotonic() >= due

    @property
    def grace_extra(self) -> float:
        """Seconds that verifying and writing x and the state may take beyond the usual, one after another."""
        return (
            sum(
                _STATE_BYTES * sum(job.spec.shape) * (job.spec.columns or 1) + _ENTRY_BYTES * job.spec.nnz
                for job in self.block
            )
            / _BYTES_A_SECOND
        )

    @property
    def hard_limit(self) -> float | None:
        """When a worker that has not ended by itself is to be killed, on the clock of `time.monotonic`."""
        left = self.seconds_left
        limits = [self.due, None if left is None else time.monotonic() + left + _TIME_LIMIT_SLACK]
        soonest = min((limit for limit in limits if limit is not None), default=None)
        return None if soonest is None else soonest + self.grace_extra

    def request(self) -> RunRequest:
        """What to send to the worker."""
        job = self.job
        started = job.started_at or datetime.now(UTC)
        return RunRequest(
            id=job.id,
            attempt=self.claim.attempt,
            matrix_id=job.spec.matrix_id,
            options=job.spec.options,
            waited=max((started - job.created_at).total_seconds(), 0.0),
            due=self.due,
            seconds_before=job.spec.seconds_before,
            seconds=self.seconds,
            tuning=job.spec.tuning,
            warm_start=job.spec.warm_start,
        )

    def hear(self, heard: Heard) -> None:
        """Take what the worker tells."""
        if heard.progress is not None:
            self._progress = self.told(heard.progress)
            self._heard_at = time.monotonic()
            self._told = False
        self._advanced = self._advanced or heard.saved

    def rests(self) -> None:
        """From now on nobody works on it: the seconds stand still."""
        if self._progress is not None and self._heard_at is not None and not self._rests:
            self._progress["seconds"] += time.monotonic() - self._heard_at
        self._rests = True

    def report(self) -> Report:
        """What to put on record now."""
        progress, advanced = None, self._advanced
        silent = 0.0
        if self._heard_at is not None and not self._rests:
            silent = time.monotonic() - self._heard_at
        if self._progress is not None and (not self._told or silent >= _SILENCE):
            progress = self._progress
            if self._told:  # in the middle of a long piece of work: it is alive all the same
                progress = {**progress, "seconds": progress["seconds"] + silent}
            self._told = True
        self._advanced = False
        return Report(claim=self.claim, progress=progress, advanced=advanced)

    def told(self, progress: Mapping[str, Any]) -> dict[str, Any]:
        """Add to the progress whether the job will be cut off before its end, as far as that can be told."""
        limits = [limit for limit in (self._until_due(), self.seconds_left) if limit is not None]
        eta = progress.get("eta_seconds")
        missed = None if eta is None or not limits else bool(eta > min(limits))
        return {**progress, "will_miss_deadline": missed}

    def _until_due(self) -> float | None:
        due = self.due
        return None if due is None else due - time.monotonic()
