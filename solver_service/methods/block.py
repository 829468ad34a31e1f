"""Vectors of several solves, kept side by side in row-major blocks."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Collection, Hashable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Protocol

import numpy as np

from ..kernels import zero_block
from .result import FloatArray
from .together import Member
from .workspace import aligned, padded, stacked


class Vectors:
    """What owns vectors that may be moved into a `Block`: its attributes named in `vectors`.

    Alone its vectors are contiguous. In a block they are strided views, which the kernels for one vector do
    not take: call `move_out` before.
    """

    vectors: tuple[str, ...] = ()
    blank: tuple[str, ...] = ()
    """Those of them that hold nothing yet."""
    block: Block | None = None
    place = 0
    """Its column in the block."""

    def move_out(self) -> None:
        """Take the vectors out of the block, if they are in one."""
        if self.block is not None:
            for name in self.vectors:
                setattr(self, name, np.ascontiguousarray(getattr(self, name)))
            self.block = None
            self.moved()

    def moved(self) -> None:
        """Told that its vectors are elsewhere now."""


class Holding(Protocol):
    """A request, as far as a block is concerned: whose vectors it is about."""

    member: Member

    @property
    def holder(self) -> Vectors:
        """Their owner."""


class Block:
    """Vectors of several owners of one kind.

    Parameters
    ----------
    requests : sequence of Holding
        Theirs are moved in.

    Attributes
    ----------
    width : int
        Number of columns: those of the owners, then columns of zeros.
    """

    def __init__(self, requests: Sequence[Holding]) -> None:
        self.width = padded(len(requests))
        holders = [request.holder for request in requests]
        self._scratch: dict[str, FloatArray] = {}
        self._kept: dict[Hashable, FloatArray] = {}
        self._owners = [(weakref.ref(request.holder), request.member) for request in requests]
        self._workspace = requests[0].member.workspace
        self._arrays: dict[str, FloatArray] = {}
        for name in holders[0].vectors:
            vectors = [getattr(holder, name) for holder in holders]
            blank = all(name in holder.blank for holder in holders)
            self._arrays[name] = zero_block(vectors[0].size, self.width) if blank else stacked(vectors)
        for place, holder in enumerate(holders):
            holder.block, holder.place = self, place
            for name, array in self._arrays.items():
                setattr(holder, name, array[:, place])
            holder.moved()

    @classmethod
    def of(cls, requests: Sequence[Holding]) -> Block:
        """The block in which their vectors are, and no others of solves that still go on."""
        block = requests[0].holder.block
        if block is not None and block._belongs_to(requests):
            return block
        return cls(requests)

    def _belongs_to(self, requests: Sequence[Holding]) -> bool:
        if 2 * len(requests) <= self.width and self.width > padded(1):
            return False  # too many columns are nobody's any more
        if any(request.holder.block is not self for request in requests):
            return False
        return len(requests) == sum(self._owned(*owner) for owner in self._owners)

    def _owned(self, owner: weakref.ref[Vectors], member: Member) -> bool:
        holder = owner()
        return holder is not None and holder.block is self and not member.dead

    def __getitem__(self, name: str) -> FloatArray:
        """All vectors of that name, (size, width)."""
        return self._arrays[name]

    def scratch(self, name: str, size: int) -> FloatArray:
        """Room for other vectors, (size, width), zero at first; nobody else writes to it."""
        if name not in self._scratch:
            self._scratch[name] = zero_block(size, self.width)
        return self._scratch[name]

    def placed(self, vectors: Iterable[tuple[Vectors, FloatArray]]) -> FloatArray:
        """Put vectors that do not change, one of each owner, into the columns of their owners."""
        columns: list[FloatArray | None] = [None] * self.width
        for holder, vector in vectors:
            columns[holder.place] = vector
        return self._workspace.stack(columns, self.width)

    def kept(self, key: Hashable, make: Callable[[], FloatArray]) -> FloatArray:
        """Another block, made once for each key; it lasts as long as this one."""
        if key not in self._kept:
            self._kept[key] = aligned(make())
        return self._kept[key]

    def row(self) -> FloatArray:
        """A zero for each column, (width,)."""
        return np.zeros(self.width)

    def spread(self, values: Iterable[tuple[Vectors, float]]) -> FloatArray:
        """A number of each owner in the place of its column, 0 in the others, (width,)."""
        row = self.row()
        for holder, value in values:
            row[holder.place] = value
        return row

    @contextmanager
    def untouched(self, holders: Collection[Vectors], *names: str) -> Iterator[None]:
        """Leave vectors of these owners as they are, whatever is done to the others here."""
        places = [holder.place for holder in holders]
        kept = {name: self[name][:, places] for name in names} if places else {}
        yield
        for name, array in kept.items():
            self[name][:, places] = array
