"""Which jobs may be solved side by side with others."""

from __future__ import annotations

from ..jobs import Spec
from ..methods import METHODS, block_width


def room(spec: Spec) -> int:
    """Return how many right-hand sides a block may have that a job is in, its own included; 1: it is alone.

    Alone are those that may use several threads, as these do more for them, and those whose seconds of
    solving are limited, as they would be spent on others too; and where a method reads A for each solve
    anew, so that the jobs would only keep each other waiting.
    """
    options = spec.options
    method = METHODS.get(options.get("method", "auto"))
    if options.get("threads") != 1 or options.get("time_limit") is not None:
        return 1
    return block_width(spec.shape) if method is not None and method.gregarious else 1
