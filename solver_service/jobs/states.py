"""The states of a job, and the one table of legal transitions."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Final


class State(StrEnum):
    """Where a job is in its life."""

    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    CANCELLED = "cancelled"
    FAILED = "failed"


TRANSITIONS: Final[Mapping[State, frozenset[State]]] = MappingProxyType(
    {
        # Claimed by a worker; cancelled before any took it, or its deadline passed.
        State.QUEUED: frozenset({State.RUNNING, State.CANCELLED}),
        # Given back at a shutdown or after a lost worker; or ended by itself, by request or by deadline.
        State.RUNNING: frozenset({State.QUEUED, State.SUCCEEDED, State.CANCELLED, State.FAILED}),
        State.SUCCEEDED: frozenset(),
        State.CANCELLED: frozenset(),
        State.FAILED: frozenset(),
    }
)
"""state → the states that may come next."""

ACTIVE: Final = frozenset(state for state, following in TRANSITIONS.items() if following)
ENDED: Final = frozenset(TRANSITIONS) - ACTIVE


def may_follow(before: State, after: State) -> bool:
    """Whether a job in state `before` may go over to `after`."""
    return after in TRANSITIONS[before]


def sources(after: State) -> frozenset[State]:
    """Return the states from which a job may come to `after`."""
    return frozenset(before for before in TRANSITIONS if may_follow(before, after))
