"""Row-major blocks of vectors that are put together from those of several solves."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Sequence

import numpy as np

from ..kernels import zero_block
from .result import FloatArray

_LANES = (4, 8, 16)
"""Columns that are worked on by one vector instruction."""
_REMEMBERED = 2
_TILE = 4096
"""Rows that are copied for all vectors while they are in the cache."""


def padded(count: int) -> int:
    """Columns of a block for so many vectors."""
    return next((lanes for lanes in _LANES if count <= lanes), -(-count // _LANES[-1]) * _LANES[-1])


def stacked(vectors: Sequence[FloatArray | None], width: int | None = None) -> FloatArray:
    """Copy vectors into the columns of an array; zeros for None, and in the columns after them."""
    size = next(vector.size for vector in vectors if vector is not None)
    return spread(size, enumerate(vectors), padded(len(vectors)) if width is None else width)


def spread(size: int, vectors: Iterable[tuple[int, FloatArray | None]], width: int) -> FloatArray:
    """Copy vectors into those columns of an array, (size, width); zeros in the others."""
    array = zero_block(size, width)
    columns = [(place, vector) for place, vector in vectors if vector is not None]
    whole = _rows_of_one([vector for _, vector in columns])
    if whole is not None and [place for place, _ in columns] == list(range(len(columns))):
        array[:, : len(columns)] = whole.T
        return array
    for start in range(0, size, _TILE):
        rows = slice(start, start + _TILE)
        for place, vector in columns:
            array[rows, place] = vector[rows]
    return array


def _rows_of_one(vectors: Sequence[FloatArray]) -> FloatArray | None:
    """The array of which these are all the rows, in their order, if there is one: it is copied faster."""
    base = vectors[0].base
    if not isinstance(base, np.ndarray) or base.shape != (len(vectors), vectors[0].size):
        return None
    same = base.flags.c_contiguous and all(
        vector.base is base and vector.ctypes.data == base[place].ctypes.data
        for place, vector in enumerate(vectors)
    )
    return base if same else None


def aligned(array: FloatArray) -> FloatArray:
    """A copy that is in memory as the kernels like it."""
    block = zero_block(*array.shape)
    block[:] = array
    return block


class Workspace:
    """What solves that go on side by side share: the right-hand sides as blocks, and room for residuals."""

    def __init__(self) -> None:
        self._stacks: OrderedDict[tuple[int, ...], tuple[Sequence[object], FloatArray]] = OrderedDict()
        self._rooms: dict[tuple[int, int], FloatArray] = {}

    def stack(self, vectors: Sequence[FloatArray | None], width: int | None = None) -> FloatArray:
        """As `stacked`, remembered for some time: neither the vectors nor the block may be changed."""
        key = (width or padded(len(vectors)), *map(id, vectors))
        if key not in self._stacks:
            self._stacks[key] = (tuple(vectors), stacked(vectors, width))  # ids are theirs while they live
            if len(self._stacks) > _REMEMBERED:
                self._stacks.popitem(last=False)
        self._stacks.move_to_end(key)
        return self._stacks[key][1]

    def among(self, vectors: Sequence[FloatArray]) -> tuple[FloatArray, list[int]]:
        """A block with these vectors and perhaps others, and their places in it."""
        for (width, *known), (_, block) in self._stacks.items():
            places = {address: place for place, address in enumerate(known)}
            found = [places.get(id(vector)) for vector in vectors]
            if width <= 2 * padded(len(vectors)) and None not in found:
                return block, [place for place in found if place is not None]
        return self.stack(vectors), list(range(len(vectors)))

    def room(self, shape: tuple[int, int]) -> FloatArray:
        """An array of that shape, for use until the next request is done."""
        if shape not in self._rooms:
            self._rooms = {shape: zero_block(*shape)}
        return self._rooms[shape]
