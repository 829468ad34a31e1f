"""Gram matrices of sparse rows against dense products."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import sparse

from solver_service.kernels import RawCSR, accumulate_gram

M, N = 40, 17


@pytest.fixture(params=[np.int32, np.int64], ids=["32-bit", "64-bit"])
def system(request):
    rng = np.random.default_rng(4)
    S = sparse.random_array((M, N), density=0.3, rng=rng, data_sampler=rng.standard_normal, format="csr")
    A = S.toarray()
    A[[0, 7, M - 1]] = 0.0
    A[:, 5] = 0.0
    S = sparse.csr_array(A)
    S.indices, S.indptr = S.indices.astype(request.param), S.indptr.astype(request.param)
    raw = RawCSR.of(S)
    for array in raw:
        array.flags.writeable = False
    return A, raw


def test_the_upper_triangle_of_the_gram_matrix(system):
    A, raw = system
    G = np.zeros((N, N))
    accumulate_gram(*raw, 0, M, G)
    np.testing.assert_allclose(G, np.triu(A.T @ A), rtol=1e-13, atol=1e-14)


def test_it_is_added_to_what_was_there_and_leaves_the_lower_triangle_alone(system):
    A, raw = system
    G = np.full((N, N), 2.0)
    accumulate_gram(*raw, 0, M, G)
    np.testing.assert_allclose(G, 2.0 + np.triu(A.T @ A), rtol=1e-13, atol=1e-13)


def test_ranges_add_up_bit_for_bit(system):
    A, raw = system
    once, parts = np.zeros((N, N)), np.zeros((N, N))
    accumulate_gram(*raw, 0, M, once)
    for start, stop in ((0, 1), (1, 1), (1, 8), (8, 33), (33, M)):
        accumulate_gram(*raw, start, stop, parts)
    assert once.tobytes() == parts.tobytes()
    some = np.zeros((N, N))
    accumulate_gram(*raw, 8, 33, some)
    np.testing.assert_allclose(some, np.triu(A[8:33].T @ A[8:33]), rtol=1e-13, atol=1e-14)
