"""Prepared parts of a stored matrix, as its state takes them from the store and gives them back."""

from __future__ import annotations

from collections.abc import Iterable

from ..methods import Derived, Snapshot
from ..storage import PreparedStore


class StoredParts:
    """The `Source` of a stored matrix.

    Parameters
    ----------
    store : PreparedStore
    matrix_id : str
    """

    def __init__(self, store: PreparedStore, matrix_id: str) -> None:
        self.matrix_id = matrix_id
        self._store = store
        self._seen: set[str] = set()

    def fetch(self, name: str) -> Snapshot | None:
        """Look whether anybody has stored it."""
        return self._store.load(self.matrix_id, name)

    def reject(self, name: str) -> None:
        """Remove it, so that what is built instead can be stored."""
        self._store.discard(self.matrix_id, name)

    def unsaved(self, derived: Iterable[Derived]) -> list[Derived]:
        """Those of the parts that are worth keeping, and that this has not returned before."""
        new = [part for part in derived if part.name not in self._seen]
        self._seen.update(part.name for part in new)
        return [part for part in new if part.worth_keeping]
