"""How `auto` is kept from sparse LU: the one place that knows how the engine chooses.

To adapt it, change `exclude_direct` alone. Where the engine has changed so that it does not work any more it
raises `NoSuchHookError`, and the contestant is recorded as not applicable.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

EXCLUDED = frozenset({"direct"})
"""Methods that `auto` must not run; the contestant checks it by the phases of the result."""


class NoSuchHookError(Exception):
    """`auto` cannot be restricted in the way known here."""


def exclude_direct() -> None:
    """Make `auto` leave out the methods of `EXCLUDED`, in this process and for good."""
    from solver_service.methods import auto

    choose: Any = getattr(auto, "candidates", None)
    if choose is None:
        raise NoSuchHookError("solver_service.methods.auto.candidates is gone: adapt exclude_direct")

    def restricted(*arguments: Any, **options: Any) -> Iterator[Any]:
        return (one for one in choose(*arguments, **options) if one.method not in EXCLUDED)

    auto.candidates = restricted
