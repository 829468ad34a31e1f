"""The rows (or columns) of a matrix as the sampling methods read them: unit rows in shuffled chunks."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from ..kernels import RawCSR, gather_unit_rows, pattern_of
from .parts import Form, Parts, csr_form, flat, mapped, sized, vector
from .result import FloatArray
from .sampler import Sampler, Streams
from .spectrum import COARSE, FINE, SPECTRUM, Spectrum, extrapolated, row_spectrum
from .systems import TINY, csr_nbytes, row_norms

_RUN_ENTRIES = 64
_CHUNK_ROWS = 2000
_CHUNK_ENTRIES = 50_000
_READ_ENTRIES = 16
_ROWS_PER_UNKNOWN = 4


@dataclass(frozen=True, eq=False)
class Chunk:
    """Some rows, scaled to unit norm, as a copy in shuffled order.

    Parameters
    ----------
    csr : csr_array, (s, n)
        The scaled rows.
    norms : ndarray, (s,)
        Their norms before scaling.
    rows : ndarray of intp, (s,)
        Which row of the matrix each was.
    """

    csr: csr_array
    norms: FloatArray
    rows: NDArray[np.intp]

    @classmethod
    def of(cls, A: csr_array, rows: NDArray[np.intp], rng: np.random.Generator) -> Chunk:
        """Copy `rows`, shuffled, and scale them; rows of zeros are left out."""
        source = RawCSR.of(A)
        places = rng.permutation(rows.size)
        lengths = np.zeros(rows.size + 1, dtype=A.indptr.dtype)
        lengths[places + 1] = A.indptr[rows + 1] - A.indptr[rows]
        indptr = np.cumsum(lengths, dtype=A.indptr.dtype)
        entries = int(indptr[-1])
        copy = csr_array(
            (np.empty(entries), np.empty(entries, dtype=A.indices.dtype), indptr),
            shape=(rows.size, A.shape[1]),
        )
        norms = np.empty(rows.size)
        unsigned = source.indptr.dtype
        gather_unit_rows(
            *source, rows.astype(unsigned), places.astype(unsigned), *pattern_of(copy), copy.data, norms
        )
        shuffled = np.empty_like(rows)
        shuffled[places] = rows
        if not norms.min(initial=1.0) > TINY:  # squares that vanished, or lost digits
            norms = row_norms(A[shuffled])
            kept = np.flatnonzero(norms)
            norms, shuffled = norms[kept], shuffled[kept]
            copy = csr_array(A[shuffled])
            copy.data /= np.repeat(norms, np.diff(copy.indptr))
        return cls(copy, norms, shuffled)

    @cached_property
    def raw(self) -> RawCSR:
        """The arrays for the kernels."""
        return RawCSR.of(self.csr)

    def head(self, rows: int) -> csr_array:
        """The first `rows` rows."""
        stop = int(self.csr.indptr[rows])
        parts = (self.csr.data[:stop], self.csr.indices[:stop], self.csr.indptr[: rows + 1])
        return csr_array(parts, shape=(rows, self.csr.shape[1]))

    @property
    def nbytes(self) -> int:
        """Bytes held."""
        return csr_nbytes(self.csr) + self.norms.nbytes + self.rows.nbytes


def _chunk_form(columns: int) -> Form[Chunk]:
    return sized(
        "rows",
        lambda size: flat(
            Chunk,
            csr=csr_form((size, columns)),
            norms=vector(np.float64, size),
            rows=mapped(np.intp, size),
        ),
    )


class ShuffledRows:
    """All non-zero rows in chunks that are copied when they are first read.

    Every chunk takes one row (of short rows a few neighbours) from each of `strata` parts of the matrix, so
    that it is a random sample of the whole and is yet copied in storage order: a tall, well-conditioned
    system is solved from a few chunks, and the rest of it is never touched. Within a chunk rows are shuffled,
    for neighbours often resemble each other. All of this is fixed: it belongs to the matrix, not to a solve's
    seed.

    Parameters
    ----------
    A : csr_array, (m, n)
    whole : bool
        Make one chunk of it.
    parts : Parts, optional
        Where chunks and spectra come from that were derived before.
    """

    def __init__(self, A: csr_array, *, whole: bool = False, parts: Parts | None = None) -> None:
        self._A = A
        self._parts = Parts() if parts is None else parts
        m, n = A.shape
        filled = np.flatnonzero(np.diff(A.indptr)) if (A.indptr[1:] == A.indptr[:-1]).any() else None
        self._filled = filled
        self.count = m if filled is None else int(filled.size)
        self.nnz = int(A.nnz)
        entries_per_row = max(1.0, self.nnz / max(self.count, 1))
        least = max(_ROWS_PER_UNKNOWN * n, _CHUNK_ROWS, int(_CHUNK_ENTRIES / entries_per_row))
        self.chunks = 1 if whole else max(1, self.count // least)
        self._width = 1 if self.chunks == 1 else max(1, int(_READ_ENTRIES / entries_per_row))
        strata = 0 if self.chunks == 1 else -(-self.count // (self.chunks * self._width))
        self._shift = np.random.default_rng(1).integers(self.chunks, size=strata, dtype=np.int64)
        self._streams = Streams(self.chunks, lambda number: self.chunk(number).rows.size, self.run)
        self._made: dict[int, Chunk] = {}
        self._lock = threading.Lock()

    def chunk(self, number: int) -> Chunk:
        """Chunk `number`, made when first asked for."""
        with self._lock:
            if number not in self._made:
                self._made[number] = self._parts.make(
                    f"chunk-{number}", lambda: self._make(number), _chunk_form(self._A.shape[1])
                )
            return self._made[number]

    def _make(self, number: int) -> Chunk:
        if self.chunks == 1:
            places = np.arange(self.count)
        else:
            strata = np.arange(self._shift.size, dtype=np.int64) * self.chunks
            starts = (strata + (self._shift + number) % self.chunks) * self._width
            places = np.add.outer(starts, np.arange(self._width)).ravel()
            places = places[places < self.count]
        rows = places if self._filled is None else self._filled[places]
        return Chunk.of(self._A, rows, np.random.default_rng(number))

    @property
    def run(self) -> int:
        """Neighbouring rows of a chunk to read together."""
        return max(1, _RUN_ENTRIES * self.count // max(self.nnz, 1))

    def sampler(self, seed: int) -> Sampler:
        """A reader of a stream of the rows of all chunks."""
        return self._streams.sampler(seed)

    @cached_property
    def spectrum(self) -> Spectrum:
        """λ, and a rough μ, estimated on the first chunk."""
        return self._parts.make("spectrum", lambda: self._spectrum(COARSE), SPECTRUM)

    @cached_property
    def fine_spectrum(self) -> Spectrum:
        """The same with a better μ, at four times the cost."""
        return self._parts.make("fine_spectrum", lambda: self._spectrum(FINE), SPECTRUM)

    def _spectrum(self, steps: int) -> Spectrum:
        first = self.chunk(0)
        rows, n = first.csr.shape
        sample = rows
        if self.chunks == 1:
            sample = max(_ROWS_PER_UNKNOWN * n, _CHUNK_ROWS, rows // 16)
            if 2 * sample >= rows:
                return row_spectrum(first.csr, steps)
        return extrapolated(
            row_spectrum(first.head(sample), steps), row_spectrum(first.head(sample // 2), steps)
        )

    @property
    def nbytes(self) -> int:
        """Bytes held so far."""
        return sum(chunk.nbytes for chunk in list(self._made.values())) + self._shift.nbytes
