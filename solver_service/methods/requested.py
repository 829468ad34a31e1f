"""The candidates where the caller has chosen the method: its forms, one after the other."""

from __future__ import annotations

import math
from functools import partial

from .attempt import Attempt
from .options import Options
from .process import Process
from .registry import Form, MethodSpec
from .result import FloatArray
from .state import State


class Requested:
    """As `Race`, of one method.

    Parameters
    ----------
    spec : MethodSpec
    state : State
    b : ndarray, (m,)
    options : Options
    """

    def __init__(self, spec: MethodSpec, state: State, b: FloatArray, options: Options) -> None:
        def start(form: Form, x: FloatArray) -> Process:
            return form.start(state, b, x, options)

        self.attempts = [
            Attempt(spec.name, f"requested; {form.note}" if form.note else "requested", partial(start, form))
            for form in spec.forms(state)
            if not form.automatic
        ]

    def next(self) -> tuple[Attempt, float] | None:
        """Say which form goes on, until its end; None if all have ended."""
        return next(((attempt, math.inf) for attempt in self.attempts if not attempt.done), None)
