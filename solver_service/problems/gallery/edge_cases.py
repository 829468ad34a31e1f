"""The smallest and strangest systems that every method must survive."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from types import MappingProxyType

import numpy as np
from scipy.linalg import null_space
from scipy.sparse import csr_array

from .model import ModelProblem, model


def _small(
    name: str, rows: Sequence[Sequence[float]], x: Sequence[float], note: str, *, spd: bool = False
) -> ModelProblem:
    dense = np.array(rows, dtype=np.float64)
    return model(
        name, csr_array(dense), np.array(x, dtype=np.float64), note, spd=spd, null_space=null_space(dense)
    )


_CASES = (
    partial(_small, "one_by_one", [[2.5]], [-3.0], "a single equation in a single unknown", spd=True),
    partial(_small, "one_row", [[1.0, 0.0, -2.0, 0.5, 3.0]], [1.0, 2.0, 3.0, 4.0, 5.0], "1 × 5"),
    partial(_small, "one_column", [[1.0], [-2.0], [0.0], [0.5]], [4.0], "4 × 1, with a zero row"),
    partial(
        _small,
        "zero_row",
        [[2.0, 1.0, 0.0], [0.0, 0.0, 0.0], [0.0, 1.0, 1.0], [1.0, 0.0, -3.0]],
        [1.0, -1.0, 2.0],
        "a row without entries, and 0 on its right side",
    ),
    partial(
        _small,
        "zero_column",
        [[2.0, 0.0, 1.0], [1.0, 0.0, -1.0], [0.0, 0.0, 3.0], [1.0, 0.0, 1.0]],
        [1.0, 7.0, -2.0],
        "an unknown in no equation",
    ),
    partial(
        _small,
        "duplicated_rows",
        [
            [1.0, 2.0, 0.0],
            [1.0, 2.0, 0.0],
            [0.0, 1.0, -1.0],
            [1.0, 2.0, 0.0],
            [3.0, 0.0, 1.0],
            [0.0, 1.0, -1.0],
        ],
        [0.5, -1.0, 2.0],
        "equations given twice and three times",
    ),
    partial(
        _small,
        "diagonal",
        np.diag([1.0, 4.0, 9.0, 16.0]).tolist(),
        [4.0, 3.0, 2.0, 1.0],
        "diagonal",
        spd=True,
    ),
    partial(
        _small,
        "badly_scaled_rows",
        [[1e-9, 2e-9, 0.0], [0.0, 1.0, 1.0], [3e9, 0.0, 1e9], [1.0, 1.0, 0.0]],
        [1.0, 2.0, 3.0],
        "norms of rows from 10⁻⁹ to 10⁹",
    ),
    partial(_small, "zero_right_side", [[2.0, 1.0], [1.0, -1.0], [0.0, 1.0]], [0.0, 0.0], "b = 0, so x = 0"),
    partial(_small, "no_entries", [[0.0, 0.0], [0.0, 0.0], [0.0, 0.0]], [0.0, 0.0], "A = 0 and b = 0"),
)

EDGE_CASES: Mapping[str, Callable[[], ModelProblem]] = MappingProxyType(
    {case.args[0]: case for case in _CASES}
)
