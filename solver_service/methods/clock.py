"""Where the seconds of a solve went."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from .result import Timings
from .state import State


class Clock:
    """Begins now; knows what it takes meanwhile to derive things from A, and to verify.

    Parameters
    ----------
    state : State
    """

    def __init__(self, state: State) -> None:
        self._start = time.perf_counter()
        self._state = state
        self._prepared_before = state.seconds
        self._verify = 0.0

    @contextmanager
    def verifying(self) -> Iterator[None]:
        """Count what is done here as verification."""
        start = time.perf_counter()
        yield
        self._verify += time.perf_counter() - start

    def timings(self) -> Timings:
        """Seconds so far."""
        total = time.perf_counter() - self._start
        prepare = self._state.seconds - self._prepared_before
        solve = max(0.0, total - prepare - self._verify)
        return Timings(prepare=prepare, solve=solve, verify=self._verify, total=total)

    def capture(self) -> list[float]:
        """All but what follows from the others; the total comes last."""
        seconds = self.timings()
        return [seconds.prepare, seconds.verify, seconds.total]

    def restore(self, seconds: list[float]) -> None:
        """Add what was captured."""
        prepare, verify, total = seconds
        self._prepared_before -= prepare
        self._verify += verify
        self._start -= total
