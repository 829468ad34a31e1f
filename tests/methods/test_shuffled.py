"""Unit rows in shuffled chunks, and the stream of rows that is drawn from them."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import sparse

from solver_service.methods.sampler import Sampler, Stream
from solver_service.methods.shuffled import ShuffledRows


def random(m: int, n: int, density: float, seed: int = 3) -> sparse.csr_array:
    return sparse.csr_array(sparse.random_array((m, n), density=density, rng=np.random.default_rng(seed)))


@pytest.mark.parametrize(("m", "n", "density"), [(50, 20, 0.05), (40_000, 30, 0.1), (100_000, 40, 0.05)])
@pytest.mark.parametrize("whole", [False, True])
def test_chunks_hold_every_filled_row_once_scaled_to_unit_norm(m, n, density, whole):
    A = random(m, n, density)
    system = ShuffledRows(A, whole=whole)
    assert (system.chunks > 1) == (m > 50 and not whole)
    chunks = [system.chunk(k) for k in range(system.chunks)]
    rows = np.concatenate([chunk.rows for chunk in chunks])
    filled = np.flatnonzero(np.diff(A.indptr))
    assert filled.size < m, "there are empty rows"
    np.testing.assert_array_equal(np.sort(rows), filled)
    for chunk in chunks:
        dense = chunk.csr.toarray()
        np.testing.assert_allclose(chunk.norms[:, None] * dense, A[chunk.rows].toarray(), rtol=1e-14)
        np.testing.assert_allclose(np.linalg.norm(dense, axis=1), 1.0, rtol=1e-14)
        assert chunk.csr.has_sorted_indices
        # A sample of the whole: no quarter of the matrix has much more or less than a quarter of the rows.
        counts = np.histogram(chunk.rows, bins=4, range=(0, m))[0] / chunk.rows.size
        assert counts.max() < (0.6 if m == 50 else 0.27)
        assert abs(np.corrcoef(np.arange(chunk.rows.size), chunk.rows)[0, 1]) < 0.35, "in shuffled order"


def test_chunks_are_made_when_they_are_read_and_are_the_same_each_time():
    A = random(40_000, 30, 0.1)
    system = ShuffledRows(A)
    before = system.nbytes
    first = system.chunk(1)
    assert system.nbytes == before + first.nbytes
    assert system.chunk(1) is first
    np.testing.assert_array_equal(ShuffledRows(A).chunk(1).rows, first.rows)


def test_rows_whose_squares_vanish_are_rows_too():
    A = sparse.csr_array(np.array([[1e-170, 0.0], [0.0, 2.0], [3e-200, 4e-200]]))
    chunk = ShuffledRows(A).chunk(0)
    assert sorted(chunk.rows) == [0, 1, 2]
    np.testing.assert_allclose(np.linalg.norm(chunk.csr.toarray(), axis=1), 1.0, rtol=1e-14)


@pytest.mark.parametrize("chunks", [1, 5])
@pytest.mark.parametrize("batch", [1, 7])
def test_the_stream_passes_over_growing_sets_of_chunks_without_replacement(chunks, batch):
    sizes = [40, 41, 35, 44, 39][:chunks]
    sampler = Sampler(Stream(chunks, sizes.__getitem__, 4, seed=5))
    stream: list[tuple[int, int]] = []
    while len(stream) < 12 * sum(sizes):
        for chunk, order in sampler.take(3, batch):
            assert order.size % batch == 0
            stream += [(chunk, int(row)) for row in order]
    passes: list[list[tuple[int, int]]] = []
    for used in [min(chunks, 2), min(chunks, 2), min(chunks, 4), min(chunks, 4), chunks, chunks, chunks]:
        rows, seen = [], set()
        while len(seen) < used or (
            stream[0][0] in seen and stream[0][0] == rows[-1][0] and stream[0] not in rows
        ):
            seen.add(stream[0][0])
            rows.append(stream.pop(0))
        assert len(set(rows)) == len(rows), "without replacement"
        left_out = sum(sizes[k] for k in seen) - len(rows)
        assert left_out < batch * used if chunks > 1 else left_out < batch
        passes.append(rows)
    assert passes[-1] != passes[-2]


def test_the_seed_decides_from_the_first_row_on():
    def stream(seed: int) -> list[int]:
        sampler = Sampler(Stream(1, lambda _: 1000, 4, seed))
        return [int(row) for _, order in sampler.take(50, 10) for row in order]

    assert stream(1) == stream(1) != stream(2)


def test_the_number_of_rows_asked_for_is_kept():
    sampler = Sampler(Stream(3, [40, 41, 35].__getitem__, 4, seed=5))
    assert [sum(order.size for _, order in sampler.take(5, 7)) for _ in range(10)] == [35] * 10


def test_a_stream_that_goes_on_from_a_state_can_be_read_again_from_there():
    """However far others are ahead by then: they are remembered for a while only."""
    stream = Stream(3, [40, 41, 35].__getitem__, 4, seed=5)
    first = Sampler(stream)
    taken = [(chunk, order.tolist()) for chunk, order in first.take(30, 1)]
    state = first.capture()

    def read(count: int) -> list[tuple[int, list[int]]]:
        sampler = Sampler(stream)
        sampler.restore(state)
        return [(chunk, order.tolist()) for chunk, order in sampler.take(count, 1)]

    ahead = Sampler(stream)
    ahead.restore(state)
    for _ in ahead.take(10_000, 1):
        pass
    assert taken
    assert read(500) == read(500)
    rows = [row for _, order in read(10) for row in order]
    assert rows == [row for _, order in first.take(10, 1) for row in order.tolist()]
