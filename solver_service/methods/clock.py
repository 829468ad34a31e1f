"""Where the seconds of a solve went."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

from .result import Timings
from .state import State


class Clock:
    """Begins now; knows what it takes meanwhile to derive things from A, and to verify.

    Parameters
    ----------
    state : State
    whole : Clock, optional
        That of several columns: what any of them verifies is counted there, too, but no second twice.
    """

    def __init__(self, state: State, whole: Clock | None = None) -> None:
        self._made = self._start = time.perf_counter()
        self._state = state
        self._prepared_before = state.seconds
        self._verify = 0.0
        self._whole = whole
        self._verifying = 0
        self._verifying_since = 0.0
        self._lock = threading.Lock()

    def begin(self) -> None:
        """Begin now instead."""
        now = time.perf_counter()
        self._start += now - self._made
        self._made = now

    @contextmanager
    def verifying(self) -> Iterator[None]:
        """Count what is done here as verification."""
        with self._lock:
            if self._verifying == 0:
                self._verifying_since = time.perf_counter()
            self._verifying += 1
        try:
            with nullcontext() if self._whole is None else self._whole.verifying():
                yield
        finally:
            with self._lock:
                self._verifying -= 1
                if self._verifying == 0:
                    self._verify += time.perf_counter() - self._verifying_since

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
