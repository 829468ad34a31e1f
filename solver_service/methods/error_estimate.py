"""How far x is from the solution: estimates of ‖x − x*‖₂ that cost next to nothing.

Methods that hold factors of A take one more correction: `Process.error_estimate`. For all others the residual
tells, given how residuals and errors went together so far. With an iterate x′ of clearly larger residual,
x* − x′ ≈ x − x′ and A(x* − x′) = r′, and the error that is left has much the same make-up, so that

    ‖x − x*‖ ≈ ‖r‖·‖x − x′‖/√(‖r′‖² − ‖r‖²),

where the root is ‖A(x − x′)‖ as far as residuals fall by orthogonal parts. It can see neither what no
residual has shown yet nor a null space: of several solutions it means the one that x converges to. With x′
far back it rather overestimates.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from .result import FloatArray
from .snapshot import Snapshot

_FAR = 2.0
_TOO_FAR = 1e6


@dataclass(slots=True)
class Trail:
    """Two iterates on the way whose residuals are each at most half of the one before; none is copied."""

    start: float = math.inf
    _marks: list[tuple[float, FloatArray]] = field(default_factory=list)

    def passed(self, x: FloatArray, norm: float) -> None:
        """Note x, which must not change any more, with its residual norm, less than all before."""
        if norm <= (self._marks[-1][0] if self._marks else self.start) / _FAR:
            self._marks = [*self._marks[-1:], (norm, x)]

    def capture(self, best: FloatArray, copy: FloatArray) -> Snapshot:
        """Copies of all; of one that is the best so far there is a copy already."""
        marks = [[norm, copy if x is best else x.copy()] for norm, x in self._marks]
        return {"start": self.start, "marks": marks}

    @classmethod
    def restored(cls, snapshot: Snapshot) -> Trail:
        """Put together again what was captured."""
        return cls(snapshot["start"], [(norm, x.copy()) for norm, x in snapshot["marks"]])

    def estimate(self, x: FloatArray, norm: float) -> float | None:
        """‖x − x*‖ by the formula above for x of residual `norm`; None where none was measured near it."""
        if norm == 0.0:
            return 0.0
        far = [mark for mark in self._marks if mark[0] >= _FAR * norm]
        if not far or far[-1][0] > _TOO_FAR * norm:
            return None
        earlier, other = far[-1]
        with np.errstate(over="ignore", invalid="ignore"):
            distance = float(np.linalg.norm(x - other))
        value = norm * (distance / earlier) / math.sqrt(1.0 - (norm / earlier) ** 2)
        return value if math.isfinite(value) else None
