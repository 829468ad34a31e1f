"""How `auto` is kept from factorising: the one place that knows how the engine chooses.

To adapt it, change `exclude_direct` alone. Where the engine has changed so that it does not work any more it
raises `NoSuchHookError`, and the contestant is recorded as not applicable.
"""

from __future__ import annotations

EXCLUDED = frozenset({"direct"})
"""Methods that `auto` must not run; the contestant checks it by the phases of the result."""


class NoSuchHookError(Exception):
    """`auto` cannot be restricted in the way known here."""


def exclude_direct() -> None:
    """Make `auto` leave out the methods of `EXCLUDED`, in this process and for good."""
    from solver_service.methods import auto

    if not hasattr(getattr(auto, "Race", None), "factorisations"):
        raise NoSuchHookError("solver_service.methods.auto.Race.factorisations is gone: adapt exclude_direct")
    auto.Race.factorisations = lambda _: iter(())  # type: ignore[method-assign]  # meant
