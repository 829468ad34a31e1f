"""Several solves that take turns, so that what they ask of A at the same time is done in one reading of it.

Each solve runs in a greenlet of its own and goes its own way. Where it needs a piece of work on A it makes a
`Request`, and waits. Once all wait, requests of the same kind are done together, on blocks of vectors, with
kernels that give every column the bits that it would have alone. So nothing that one solve does depends on
the others: they come and go, end, fail or are stopped, each by itself.
"""

from __future__ import annotations

import contextvars
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from typing import Any, Generic, Self, TypeVar

import numpy as np
from greenlet import getcurrent, greenlet

from .workspace import Workspace

_PATIENCE = 0.005
"""Seconds between two looks at the limits of those whose requests are being done."""
_LONGEST_WAIT = 0.05
"""The same, of those who wait for a place."""

S = TypeVar("S", bound=Callable[[], None])


class Request(ABC):
    """A piece of work on A that one solve waits for.

    Attributes
    ----------
    key : hashable
        Requests of equal keys, which are of one class, can be done together; those without one cannot.
    urgent : bool
        Whether it is done before those that are not. What takes a look at an iterate comes first, so that
        those who looked can take the next step together with those who did not.
    least : int
        Fewer are not worth putting together, and each is done alone.
    tick : callable
        Raises `Interrupted` if the solve has to end now.
    result
        What came out, after `together`.
    """

    key: Hashable = None
    urgent: bool = False
    least: int = 2
    tick: Callable[[], None]
    result: Any = None
    member: Member

    @abstractmethod
    def alone(self) -> Any:
        """Do it, by the solve itself; returns the result."""

    @classmethod
    @abstractmethod
    def together(cls, requests: Sequence[Self]) -> Iterator[None]:
        """Do all of them, setting each `result`; yields between pieces of some milliseconds.

        And once before the first, when there is room for all, and nothing has changed yet.
        """


def perform(request: Request) -> Any:
    """Have a request done, together with others where there are any, and return its result."""
    member = getcurrent()
    if isinstance(member, Member) and member.wait_for(request):
        return request.result
    return request.alone()


class Member(greenlet):
    """One solve among several.

    Attributes
    ----------
    number : int
        In the order in which they begin.
    workspace : Workspace
        That of all.
    leaving : bool
        Whether it was interrupted, and does what is left without waiting for anybody.
    """

    def __init__(self, solve: Callable[[], None], number: int, workspace: Workspace) -> None:
        super().__init__(solve)
        self.number = number
        self.workspace = workspace
        self.leaving = False
        self.gr_context = contextvars.copy_context()

    def wait_for(self, request: Request) -> bool:
        """Wait until the request was done; False if it is to be done alone."""
        if self.leaving or request.key is None:
            return False
        request.member = self
        assert self.parent is not None
        return bool(self.parent.switch(request))


class Ensemble(Generic[S]):
    """Runs solves in turns, so many at a time.

    Parameters
    ----------
    width : int
        Most solves at a time. New ones are begun once half of the places are free: those that begin together
        stay together.
    over : callable
        Whether a solve that still waits has to end now: then it is begun even if there is no place for it.
    """

    def __init__(self, width: int, over: Callable[[S], bool] = lambda _: False) -> None:
        self._width = width
        self._over = over
        self._begun = 0
        self._workspace = Workspace()
        self._members: set[Member] = set()
        self._groups: dict[Hashable, list[Request]] = {}
        self._later: dict[Hashable, list[Request]] = {}
        self._waiting: deque[S] = deque()
        self._asked_at = 0.0

    def run(self, solves: Iterable[S]) -> None:
        """Run all of them to their end. What one of them raises ends all."""
        self._waiting = deque(solves)
        try:
            while True:
                self._admit()
                if not self._members:
                    return
                self._groups, self._later = self._later, {}
                while self._groups:
                    self._do_next_group()
        finally:
            for member in self._members:
                member.throw()

    def _admit(self) -> None:
        if 2 * len(self._members) <= self._width:
            while self._waiting and len(self._members) < self._width:
                self._begin(self._waiting.popleft())
        if self._waiting and time.monotonic() > self._asked_at + _LONGEST_WAIT:
            self._asked_at = time.monotonic()
            waiting, self._waiting = self._waiting, deque()
            for solve in waiting:
                if self._is_over(solve):
                    self._begin(solve)
                else:
                    self._waiting.append(solve)

    def _is_over(self, solve: S) -> bool:
        try:
            return self._over(solve)
        except Exception:
            return True  # it will meet the same, and deal with it

    def _begin(self, solve: S) -> None:
        member = Member(solve, self._begun, self._workspace)
        self._begun += 1
        self._members.add(member)
        self._resume(member)

    def _resume(self, member: Member, *answer: bool, error: Exception | None = None) -> None:
        """Let a solve go on until its next request, and put that with its like."""
        request = member.switch(*answer) if error is None else member.throw(error)
        if member.dead:
            self._members.discard(member)
            return
        groups = self._groups if request.key in self._groups else self._later
        groups.setdefault(request.key, []).append(request)

    def _do_next_group(self) -> None:
        """Do what is urgent, and small groups first: whom it helps on may join a larger one still to come."""
        groups = self._groups
        requests = groups.pop(min(groups, key=lambda key: (not groups[key][0].urgent, len(groups[key]))))
        requests.sort(key=lambda request: request.member.number)
        short = False
        together = len(requests) >= requests[0].least
        try:
            together = together and self._do_together(requests)
        except MemoryError:
            short = True  # each has to see how it goes on
        for request in requests:
            if not request.member.dead:
                self._resume(request.member, together, error=MemoryError() if short else None)

    def _do_together(self, requests: list[Request]) -> bool:
        """Do a group; False if there is no room for it."""
        work = type(requests[0]).together(requests)
        with np.errstate(all="ignore"):  # divergence is noticed by its residual
            try:
                next(work, None)
            except MemoryError:
                return False
            looked_at = time.monotonic()
            for _ in work:
                # Not in what is short: there the state of a solve cannot be captured.
                if time.monotonic() > looked_at + _PATIENCE:
                    for request in requests:
                        self._look_at_limits(request)
                    looked_at = time.monotonic()
        return True

    def _look_at_limits(self, request: Request) -> None:
        member = request.member
        if member.dead:
            return
        try:
            request.tick()
        except Exception as reason:  # `Interrupted`, or what went wrong in asking
            member.leaving = True
            member.throw(reason)
            self._members.discard(member)
