"""Whether x may be said to lie in the row space, which makes a solution that of minimum norm."""

from __future__ import annotations

from .monitor import Monitor
from .process import Process
from .result import FloatArray, Status
from .snapshot import Snapshot


class RowSpace:
    """Keeps count of it over the attempts; where x has to lie in it, leaves no x that may not.

    Parameters
    ----------
    required : bool
    minimum_norm : bool
        Whether the start lies in it.

    Attributes
    ----------
    minimum_norm : bool or None
        Whether a solution is that of minimum norm; None where it is the only one.
    """

    def __init__(self, *, required: bool, minimum_norm: bool) -> None:
        self.minimum_norm: bool | None = minimum_norm
        self._required = required
        self._entry: tuple[FloatArray, float]  # best x and norm when the attempt at work was entered

    def enter(self, monitor: Monitor) -> None:
        """Remember what was best before an attempt goes on."""
        self._entry = (monitor.best_x, monitor.best_norm)

    def judge(self, process: Process | None, monitor: Monitor, status: Status | None) -> Status | None:
        """Look at what an attempt leaves; returns its status, which may not be what it takes it for."""
        if process is not None and process.row_space:
            return status
        if status is Status.CONVERGED and process is not None and process.unique:
            self.minimum_norm = None
            return status
        self.leave(monitor)
        return Status.STAGNATED if self._required and status is Status.CONVERGED else status

    def leave(self, monitor: Monitor) -> None:
        """Give up what an attempt has found outside of the row space, or else the claim to lie in it."""
        x, x_norm = self._entry
        if self._required:
            monitor.best_x, monitor.best_norm = x, x_norm
        elif monitor.best_x is not x:
            self.minimum_norm = False

    def capture(self, monitor: Monitor) -> Snapshot:
        """The count so far, and the entry, unless that is the best x of the monitor itself."""
        x, x_norm = self._entry
        return {
            "entry": None if x is monitor.best_x else x.copy(),
            "entry_norm": x_norm,
            "minimum_norm": self.minimum_norm,
        }

    def restore(self, snapshot: Snapshot, monitor: Monitor) -> None:
        """Take it up, with a monitor that was restored."""
        entry = snapshot["entry"]
        self._entry = (monitor.best_x if entry is None else entry.copy(), snapshot["entry_norm"])
        self.minimum_norm = snapshot["minimum_norm"]
