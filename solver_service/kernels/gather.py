"""Copies of selected rows, scaled to unit norm."""

from __future__ import annotations

import math

import numpy as np

from .jit import ONE, FloatArray, UnsignedArray, kernel


@kernel
def gather_unit_rows(
    indptr: UnsignedArray,
    indices: UnsignedArray,
    data: FloatArray,
    rows: UnsignedArray,
    places: UnsignedArray,
    new_indptr: UnsignedArray,
    new_indices: UnsignedArray,
    new_data: FloatArray,
    norms: FloatArray,
) -> None:
    """Row places[k] of the copy ← row rows[k] over its norm, which goes to norms[places[k]].

    Rows of norm 0 are copied as they are. `new_indptr` is given. Cost: the entries of these rows, read in the
    order of `rows`.
    """
    for k in range(rows.size):
        i = np.uint64(rows[k])
        place = np.uint64(places[k])
        first = np.uint64(indptr[i])
        length = np.uint64(indptr[i + ONE]) - first
        start = np.uint64(new_indptr[place])
        total = 0.0
        for p in range(length):
            value = data[first + p]
            total += value * value
            new_data[start + p] = value
            new_indices[start + p] = indices[first + p]
        norm = math.sqrt(total)
        norms[place] = norm
        if norm > 0.0:
            for p in range(length):
                new_data[start + p] /= norm
