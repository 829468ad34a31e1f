"""The preflight report: what is worth knowing of a matrix before it is solved with."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ..problems import components
from ..problems.matrix import Matrix
from .result import FloatArray
from .systems import csr_nbytes

if TYPE_CHECKING:
    from .state import State

_FIRST = 10
_WIDE = 1e4


@dataclass(frozen=True, slots=True)
class Indices:
    """How many rows or columns, and the first few of them (at most ten)."""

    count: int
    first: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class DuplicateRows:
    """Rows that are multiples of an earlier row, up to a few roundings of each entry.

    Parameters
    ----------
    count : int
        How many.
    groups : int
        How many different rows they repeat.
    pairs : tuple of (row, earlier row, multiple)
        The first few (at most ten): `row` is `multiple` times the first row of its group.
    """

    count: int
    groups: int
    pairs: tuple[tuple[int, int, float], ...]


@dataclass(frozen=True, slots=True)
class Components:
    """Independent systems into which A decomposes, leaving out empty rows and columns.

    `count` is None for a matrix too large to be searched; `largest` holds up to ten as (rows, columns,
    entries), by entries.
    """

    count: int | None
    largest: tuple[tuple[int, int, int], ...]


@dataclass(frozen=True, slots=True)
class Range:
    """Smallest and largest of some positive numbers; 0 and 0 if there are none, infinite beyond float64."""

    smallest: float
    largest: float

    @property
    def spread(self) -> float:
        """Largest over smallest, 1 if there are none."""
        return self.largest / self.smallest if self.smallest > 0.0 else 1.0


@dataclass(frozen=True, slots=True)
class Work:
    """Multiplications that a step of each kind takes.

    Parameters
    ----------
    one_pass : int
        One pass over A: its entries. An epoch of a result costs this.
    gram_columns, gram_rows : int
        Forming AᵀA, and AAᵀ.
    sparse_lu : float or None
        Predicted for a sparse LU from a band ordering, often too high; None where A is not square, infinite
        where it is too large to be ordered.
    """

    one_pass: int
    gram_columns: int
    gram_rows: int
    sparse_lu: float | None


@dataclass(frozen=True, slots=True)
class Memory:
    """Bytes of the matrix, and of what preparing it adds for row methods and for column methods."""

    matrix: int
    row_methods: int
    column_methods: int


@dataclass(frozen=True, slots=True)
class Report:
    """Facts about A that are cheap to find, for people and for a choice of method.

    `row_norms` and `column_norms` leave out empty rows and columns, `entries` are magnitudes; all are those
    of the matrix as given. `positive_diagonal` is that of a square matrix. `warnings` are plain sentences
    on what may matter.
    """

    shape: tuple[int, int]
    nnz: int
    zero_rows: Indices
    zero_columns: Indices
    duplicate_rows: DuplicateRows
    components: Components
    row_norms: Range
    column_norms: Range
    entries: Range
    symmetric: bool
    positive_diagonal: bool
    estimated_work: Work
    estimated_memory_bytes: Memory
    warnings: tuple[str, ...]


def build_report(state: State) -> Report:
    """Find it all, in O(nnz log nnz)."""
    matrix = state.matrix
    A = matrix.csr
    m, n = matrix.shape
    row_lengths = np.diff(A.indptr)
    column_lengths = np.bincount(A.indices, minlength=n)
    facts = Report(
        shape=(m, n),
        nnz=matrix.nnz,
        zero_rows=_indices(row_lengths == 0),
        zero_columns=_indices(column_lengths == 0),
        duplicate_rows=_duplicates(state),
        components=_components(matrix, row_lengths),
        row_norms=_row_norms(state, row_lengths),
        column_norms=_range(_norms(A.indices, A.data, n)),
        entries=_range(np.abs(A.data)),
        symmetric=state.symmetric,
        positive_diagonal=m == n and bool(np.all(A.diagonal() > 0.0)),
        estimated_work=Work(
            one_pass=matrix.nnz,
            gram_columns=_sum_of_squares(row_lengths),
            gram_rows=_sum_of_squares(column_lengths),
            sparse_lu=state.factor_cost if m == n else None,
        ),
        estimated_memory_bytes=_memory(
            matrix, int(np.count_nonzero(row_lengths)), int(np.count_nonzero(column_lengths))
        ),
        warnings=(),
    )
    return replace(facts, warnings=tuple(_warnings(facts)))


def _indices(marked: NDArray[np.bool_]) -> Indices:
    found = np.flatnonzero(marked)
    return Indices(int(found.size), tuple(found[:_FIRST].tolist()))


def _duplicates(state: State) -> DuplicateRows:
    parallel = state.parallel_rows
    firsts = parallel.firsts
    later = np.flatnonzero(parallel.rows != firsts)
    shown = later[np.argsort(parallel.rows[later])][:_FIRST]
    columns = (parallel.rows[shown].tolist(), firsts[shown].tolist(), parallel.multiples[shown].tolist())
    return DuplicateRows(parallel.count, parallel.groups, tuple(zip(*columns, strict=True)))


def _components(matrix: Matrix, row_lengths: NDArray[np.integer]) -> Components:
    labels = components.label(matrix)
    if labels is None:
        return Components(None, ())
    filled = labels.rows >= 0
    entries = np.zeros(labels.count, dtype=np.int64)
    np.add.at(entries, labels.rows[filled], row_lengths[filled])
    rows = np.bincount(labels.rows[filled], minlength=labels.count)
    columns = np.bincount(labels.columns[labels.columns >= 0], minlength=labels.count)
    largest = np.argsort(-entries, kind="stable")[:_FIRST]
    sizes = zip(rows[largest].tolist(), columns[largest].tolist(), entries[largest].tolist(), strict=True)
    return Components(labels.count, tuple(sizes))


def _row_norms(state: State, lengths: NDArray[np.integer]) -> Range:
    if state.exponent == 0:
        return _range(state.row_norms)
    rows = np.repeat(np.arange(lengths.size), lengths)
    return _range(_norms(rows, state.matrix.csr.data, lengths.size))


def _norms(places: NDArray[np.integer], data: FloatArray, size: int) -> FloatArray:
    """Euclidean norms of the entries at each place; scaled by the largest, squares stay inside float64."""
    peaks = np.zeros(size)
    np.maximum.at(peaks, places, np.abs(data))
    with np.errstate(over="ignore", under="ignore"):
        parts = data / peaks[places]
        return peaks * np.sqrt(np.bincount(places, weights=parts * parts, minlength=size))


def _range(values: FloatArray) -> Range:
    positive = values[values > 0.0]
    return Range(float(positive.min()), float(positive.max())) if positive.size else Range(0.0, 0.0)


def _sum_of_squares(lengths: NDArray[np.integer]) -> int:
    return int(np.sum(np.square(lengths, dtype=np.int64)))


def _memory(matrix: Matrix, rows: int, columns: int) -> Memory:
    A = matrix.csr
    index = A.indices.itemsize
    entries = matrix.nnz * (A.data.itemsize + index)

    def unit_rows(count: int) -> int:
        return entries + (count + 1) * index + count * 16  # the scaled copy; norms and numbers

    transpose = entries + (matrix.shape[1] + 1) * index
    return Memory(csr_nbytes(A), unit_rows(rows), transpose + unit_rows(columns))


def _warnings(report: Report) -> Iterator[str]:
    if report.nnz == 0:
        yield "A has no entries: only b = 0 can be met"
        return
    if report.zero_rows.count:
        rows = _counted(report.zero_rows.count, "row is empty: it is", "rows are empty: they are")
        yield f"{rows} consistent only where b is 0"
    if report.zero_columns.count:
        columns = _counted(report.zero_columns.count, "unknown is", "unknowns are")
        yield f"{columns} in no equation: any value will do, and the minimum-norm solution has 0"
    if report.duplicate_rows.count:
        row, first, _ = report.duplicate_rows.pairs[0]
        rows = _counted(report.duplicate_rows.count, "row is a multiple", "rows are multiples")
        yield (
            f"{rows} of an earlier one (row {row} of row {first}): unless b has the same ratio, the "
            "equations contradict one another"
        )
    if report.components.count is not None and report.components.count > 1:
        m, n, _ = report.components.largest[0]
        yield (
            f"A is {report.components.count:,} independent systems, the largest {m:,} × {n:,}: they can be "
            "solved apart"
        )
    if report.row_norms.spread > _WIDE:
        yield (
            f"row norms spread over {report.row_norms.spread:.0e}: the stopping rule, on the data as given, "
            "hardly sees the small ones, and row methods may be slow to satisfy the large ones"
        )
    if report.column_norms.spread > _WIDE:
        yield (
            f"column norms spread over {report.column_norms.spread:.0e}: the unknowns are of very different "
            "scale, and methods that do not rescale columns may be slow"
        )


def _counted(count: int, one: str, many: str) -> str:
    return f"{count:,} {one if count == 1 else many}"
