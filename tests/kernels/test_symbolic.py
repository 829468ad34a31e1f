"""Matching, trees, counts and orderings against dense, brute-force references."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import sparse
from scipy.sparse.csgraph import maximum_bipartite_matching

from solver_service import kernels
from solver_service.kernels import pattern_of

SEEDS = range(25)


def random_pattern(rng: np.random.Generator, m: int, n: int, most: float) -> sparse.csr_array:
    return sparse.csr_array(sparse.random_array((m, n), density=rng.uniform(0.0, most), rng=rng))


def cholesky_pattern(graph: np.ndarray) -> np.ndarray:
    """Eliminate node by node, marking all fill."""
    L = np.tril(graph) | np.eye(len(graph), dtype=bool)
    for k in range(len(L)):
        below = k + 1 + np.flatnonzero(L[k + 1 :, k])
        L[np.ix_(below, below)] = True
    return np.tril(L)


def gram_pattern(A: np.ndarray) -> np.ndarray:
    return (A.T.astype(int) @ A.astype(int)) > 0


def parents(L: np.ndarray) -> list[int]:
    return [
        int(below[0]) if (below := j + 1 + np.flatnonzero(L[j + 1 :, j])).size else len(L)
        for j in range(len(L))
    ]


def symbolic(graph, behind):
    n = graph[0].size - 1
    parent, post = np.empty((2, n), dtype=np.uint32)
    room, counts = np.empty((4, n + 1), dtype=np.uint32), np.empty(n, dtype=np.int64)
    kernels.elimination_tree(*graph, parent, room[0])
    kernels.postorder(parent, post, room)
    kernels.column_counts(*behind, parent, post, counts, room)
    return parent, post, counts


@pytest.mark.parametrize("index", [np.int32, np.int64], ids=["32-bit", "64-bit"])
def test_maximum_matching_has_the_cardinality_of_scipys(index):
    rng = np.random.default_rng(0)
    deficient = 0
    for _ in range(200):
        m, n = rng.integers(1, 40, size=2)
        A = random_pattern(rng, m, n, 0.15)
        A.indptr, A.indices = A.indptr.astype(index), A.indices.astype(index)
        column_of, row_of = np.empty(m, dtype=np.uint32), np.empty(n, dtype=np.uint32)
        room = np.empty((4, m), dtype=np.uint32)
        pairs = kernels.maximum_matching(*pattern_of(A), column_of, row_of, room)
        assert pairs == np.count_nonzero(maximum_bipartite_matching(A, perm_type="column") >= 0)
        matched = np.flatnonzero(column_of < n)
        assert matched.size == pairs == np.count_nonzero(row_of < m)
        assert np.all(A.toarray()[matched, column_of[matched]] != 0)
        np.testing.assert_array_equal(row_of[column_of[matched]], matched)
        deficient += pairs < min(m, n)
    assert 20 < deficient < 190, "the cases must be of both kinds"


def test_a_matching_that_needs_long_paths_is_found():
    # Row i may take column i or i + 1, the last row only column 0: all rows have to move.
    n = 500
    A = sparse.lil_array((n, n))
    A.setdiag(1.0)
    A.setdiag(1.0, 1)
    A[n - 1, :] = 0.0
    A[n - 1, 0] = 1.0
    A = sparse.csr_array(A)
    column_of, row_of = np.empty((2, n), dtype=np.uint32)
    pairs = kernels.maximum_matching(*pattern_of(A), column_of, row_of, np.empty((4, n), dtype=np.uint32))
    assert pairs == n
    np.testing.assert_array_equal(column_of, np.append(np.arange(1, n), 0))


@pytest.mark.parametrize("seed", SEEDS)
def test_tree_and_counts_of_a_symmetric_pattern(seed):
    rng = np.random.default_rng(seed)
    n = int(rng.integers(1, 40))
    A = random_pattern(rng, n, n, 0.2)
    both = sparse.csc_array(A + A.T)
    order = rng.permutation(n).astype(np.uint32)
    place = np.argsort(order).astype(np.uint32)
    graph = np.empty(n + 1, dtype=np.uint32), np.empty(both.nnz, dtype=np.uint32)
    kernels.renumbered(*pattern_of(both), order, place, *graph)
    L = cholesky_pattern((both.toarray() != 0)[np.ix_(order, order)])
    parent, post, counts = symbolic(graph, graph)
    np.testing.assert_array_equal(parent, parents(L))
    np.testing.assert_array_equal(counts, L.sum(axis=0))
    np.testing.assert_array_equal(np.sort(post), np.arange(n))
    position = np.argsort(post)
    for j in np.flatnonzero(parent < n):
        assert position[j] < position[parent[j]]
    for j in range(n):  # each subtree together: its nodes are just before its root
        below = {j}
        for k in range(j - 1, -1, -1):
            if parent[k] in below:
                below.add(k)
        assert {int(post[p]) for p in range(position[j] - len(below) + 1, position[j] + 1)} == below


@pytest.mark.parametrize("seed", SEEDS)
def test_tree_and_counts_of_the_gram_pattern_without_forming_it(seed):
    rng = np.random.default_rng(seed)
    m, n = (int(k) for k in rng.integers(1, 40, size=2))
    A = sparse.csc_array(random_pattern(rng, m, n, 0.2))
    order = rng.permutation(n).astype(np.uint32)
    left_out = rng.random(m) < 0.1
    first = np.where(left_out, n + 1, n).astype(np.uint32)
    graph = np.empty(n + 1, dtype=np.uint32), np.empty(A.nnz, dtype=np.uint32)
    kernels.row_stars(*pattern_of(A), order, first, *graph)
    ones = np.ones(A.nnz, dtype=np.int8)
    stars = sparse.csr_array((ones, graph[1].astype(np.int32), graph[0].astype(np.int32)), shape=(n, n))
    L = cholesky_pattern(gram_pattern((A.toarray() != 0)[:, order][~left_out]))
    parent, _, counts = symbolic(graph, pattern_of(sparse.csc_array(stars)))
    np.testing.assert_array_equal(parent, parents(L))
    np.testing.assert_array_equal(counts, L.sum(axis=0))


@pytest.mark.parametrize("seed", SEEDS)
def test_merged_rows_bound_the_columns_of_every_pivot_choice(seed):
    rng = np.random.default_rng(seed)
    n = 12
    A = sparse.csc_array(random_pattern(rng, n, n, 0.2) + sparse.eye_array(n))
    order, first = np.arange(n, dtype=np.uint32), np.full(n, n, dtype=np.uint32)
    graph = np.empty(n + 1, dtype=np.uint32), np.empty(A.nnz, dtype=np.uint32)
    kernels.row_stars(*pattern_of(A), order, first, *graph)
    parent, counts = np.empty(n, dtype=np.uint32), np.empty(n, dtype=np.int64)
    kernels.elimination_tree(*graph, parent, np.empty(n, dtype=np.uint32))
    kernels.merged_row_counts(first, parent, counts)
    most = np.zeros(n, dtype=int)
    for _ in range(50):
        rows = [set(np.flatnonzero(row)) for row in A.toarray() != 0]
        for j in range(n):
            candidates = [row for row in rows if j in row]
            most[j] = max(most[j], len(candidates))
            if not candidates:
                break
            pivot = candidates.pop(rng.integers(len(candidates)))
            rows = [row for row in rows if row is not pivot]
            for row in candidates:
                row |= pivot
                row.discard(j)
    assert np.all(most <= counts)
    assert np.any(most == counts)


def test_census_of_the_diagonal():
    A = sparse.csc_array(np.array([[1.0, 0.0, 5.0], [-4.0, 0.0, 0.0], [0.0, 3.0, -1.0]]))
    census = [kernels.diagonal_census(*pattern_of(A), A.data, threshold) for threshold in (0.0, 0.22, 0.3)]
    assert census == [(1, 1), (1, 2), (1, 3)]


@pytest.mark.parametrize("seed", SEEDS)
def test_entries_with_a_mirror_image(seed):
    A = random_pattern(np.random.default_rng(seed), 20, 20, 0.5)
    shared = kernels.shared_entries(*pattern_of(A), *pattern_of(sparse.csc_array(A)))
    pattern = A.toarray() != 0
    assert shared == np.count_nonzero(pattern & pattern.T)


@pytest.mark.parametrize("seed", SEEDS)
def test_renumbered_columns(seed):
    rng = np.random.default_rng(seed)
    A = sparse.csc_array(random_pattern(rng, 9, 9, 0.5))
    order, rows = rng.permutation(9).astype(np.uint32), rng.permutation(9).astype(np.uint32)
    new = np.empty(10, dtype=np.uint32), np.empty(A.nnz, dtype=np.uint32), np.empty(A.nnz)
    kernels.renumbered_columns(*pattern_of(A), A.data, order, np.argsort(rows).astype(np.uint32), *new)
    B = sparse.csc_array((new[2], new[1].astype(np.int32), new[0].astype(np.int32)), shape=A.shape)
    np.testing.assert_array_equal(B.toarray(), A.toarray()[np.ix_(rows, order)])


@pytest.mark.parametrize("seed", SEEDS)
def test_transposed_pattern(seed):
    A = random_pattern(np.random.default_rng(seed), 15, 15, 0.4)
    new = np.empty(16, dtype=np.uint32), np.empty(A.nnz, dtype=np.uint32)
    kernels.transposed(*pattern_of(A), *new)
    for mine, scipys in zip(new, pattern_of(sparse.csc_array(A)), strict=True):
        np.testing.assert_array_equal(mine, scipys)


def test_backward_error_is_that_of_oettli_and_prager():
    rng = np.random.default_rng(1)
    A = random_pattern(rng, 30, 20, 0.3)
    b, x = rng.standard_normal(30), rng.standard_normal(20)
    raw = kernels.RawCSR.of(A)
    expected = np.max(np.abs(b - A @ x) / (abs(A) @ np.abs(x) + np.abs(b)))
    assert kernels.backward_error(*raw, b, x) == pytest.approx(expected, rel=1e-12)
    assert kernels.backward_error(*raw, np.zeros(30), np.zeros(20)) == 0.0
    x[0] = np.nan
    assert kernels.backward_error(*kernels.RawCSR.of(sparse.csr_array(np.ones((30, 20)))), b, x) == np.inf


def eliminate(both: sparse.csc_array, spare: int, limit: float = np.inf, patience: int = 10**9):
    """Run the kernel on a symmetric pattern; (whether done, owners, steps)."""
    n = both.shape[0]
    counts = np.diff(both.indptr)
    lists = np.empty(both.nnz + n + spare, dtype=np.uint32)
    lists[: both.nnz] = both.indices
    owner, step, head, bucket = np.empty((4, n + 1), dtype=np.uint32)
    done = kernels.minimum_degree(
        both.indptr[:-1].astype(np.uint32),
        counts.astype(np.uint32),
        np.zeros(n, dtype=np.uint32),
        lists,
        np.int64(both.nnz),
        np.ones(n, dtype=np.int64),
        np.ones(n, dtype=np.int64),
        counts.astype(np.int64),
        limit,
        patience,
        owner,
        step,
        head,
        bucket,
        np.empty((4, n), dtype=np.uint32),
    )
    return done, owner[:n].astype(int), step[:n].astype(int)


@pytest.mark.parametrize("seed", SEEDS)
def test_minimum_degree_is_greedy_on_a_forest_and_needs_no_spare_room(seed):
    rng = np.random.default_rng(seed)
    n = int(rng.integers(2, 60))
    above = [int(rng.integers(i)) for i in range(1, n)]
    tree = sparse.coo_array((np.ones(n - 1), (np.arange(1, n), above)), shape=(n, n))
    both = sparse.csc_array(tree + tree.T)
    done, owner, step = eliminate(both, 0)
    assert done
    while np.any(owner < n):
        merged = owner < n
        step[merged], owner[merged] = step[owner[merged]], owner[owner[merged]]
    order = np.argsort(step, kind="stable")
    L = cholesky_pattern((both.toarray() != 0)[np.ix_(order, order)])
    assert L.sum() == 2 * n - 1, "leaves first: no fill"


@pytest.mark.parametrize("seed", range(5))
def test_minimum_degree_is_the_same_however_often_it_compacts(seed):
    A = random_pattern(np.random.default_rng(seed), 300, 300, 0.02)
    both = sparse.csc_array(A + A.T)
    tight, roomy = eliminate(both, 0), eliminate(both, 10**5)
    assert tight[0]
    for a, b in zip(tight[1:], roomy[1:], strict=True):
        np.testing.assert_array_equal(a, b)


def test_minimum_degree_gives_up():
    A = random_pattern(np.random.default_rng(3), 300, 300, 0.05)
    both = sparse.csc_array(A + A.T)
    for limits in ({"limit": 1e4}, {"patience": 1000}):
        done, owner, step = eliminate(both, 100, **limits)
        assert not done
        assert 0 < np.count_nonzero((step == 300) & (owner == 300)) < 300
