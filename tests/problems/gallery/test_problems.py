import doctest
import math

import numpy as np
import pytest
import scipy.sparse as sp
from scipy.linalg import eigvalsh, null_space

from solver_service.problems import gallery
from solver_service.problems.matrix import Matrix

ALL = sorted(gallery.PROBLEMS)


@pytest.fixture(params=ALL)
def problem(request):
    return gallery.PROBLEMS[request.param]()


def test_consistent_small_and_canonical(problem):
    m, n = problem.A.shape
    assert problem.x.shape == (n,)
    assert problem.b.shape == (m,)
    assert n <= 2_000
    np.testing.assert_allclose(problem.A.toarray() @ problem.x, problem.b, rtol=1e-12, atol=1e-12)
    assert problem.name
    assert problem.note
    checked = Matrix.from_any(problem.A)
    assert np.shares_memory(checked.csr.data, problem.A.data) or problem.A.nnz == 0
    for array in (problem.A.data, problem.x, problem.b):
        assert array.dtype == np.float64


def test_the_same_arguments_give_the_same_system(problem):
    again = gallery.PROBLEMS[problem.name]() if problem.name in ALL else problem
    assert Matrix.from_any(again.A).id == Matrix.from_any(problem.A).id
    np.testing.assert_array_equal(again.b, problem.b)


def test_spd_is_said_of_exactly_the_spd_ones(problem):
    dense = problem.A.toarray()
    symmetric = dense.shape[0] == dense.shape[1] and np.array_equal(dense, dense.T)
    assert problem.spd == (symmetric and eigvalsh(dense)[0] > 0)


def test_null_spaces(problem):
    if problem.null_space is None:
        assert problem.minimum_norm is None
        return
    basis = problem.null_space
    expected = null_space(problem.A.toarray(), rcond=1e-10)
    assert basis.shape == expected.shape
    np.testing.assert_allclose(basis.T @ basis, np.eye(basis.shape[1]), atol=1e-12)
    np.testing.assert_allclose(problem.A @ basis, 0.0, atol=1e-12)
    least = np.linalg.lstsq(problem.A.toarray(), problem.b, rcond=1e-10)[0]
    np.testing.assert_allclose(problem.minimum_norm, least, atol=1e-8)


def test_names_and_kinds():
    assert set(gallery.EDGE_CASES) <= set(ALL)
    spd = {name for name in ALL if gallery.PROBLEMS[name]().spd}
    assert {"poisson2d", "spd_random", "one_by_one", "diagonal"} == spd
    for name in ("one_row", "one_column", "zero_row", "zero_column", "duplicated_rows", "no_entries"):
        assert name in gallery.EDGE_CASES


def test_the_measured_case_is_the_one_that_was_measured():
    problem = gallery.measured_case()
    assert problem.A.shape == (60_000, 400)
    assert (np.diff(problem.A.indptr) == 10).all()
    spectrum = problem.spectrum
    assert spectrum.stable_rank == pytest.approx(117, abs=0.5)
    assert spectrum.condition == pytest.approx(69, abs=0.5)
    assert spectrum.stable_rank * math.sqrt(spectrum.condition) / 2 == pytest.approx(486, abs=2)
    for text in ("r = 117", "κ = 68.58", "λ = 0.0085", "μ = 0.000124"):
        assert text in problem.note


def test_row_spectrum_against_singular_values():
    A = gallery.rank_deficient().A
    A = sp.csr_array(sp.vstack([A, sp.csr_array((3, A.shape[1]))]))
    dense = A.toarray()[:-3]
    dense = dense / np.linalg.norm(dense, axis=1, keepdims=True)
    values = np.linalg.svd(dense, compute_uv=False) ** 2 / len(dense)
    found = gallery.row_spectrum(A)
    assert found.largest == pytest.approx(values[0], rel=1e-10)
    assert found.smallest == pytest.approx(values[79], rel=1e-8)
    assert found.stable_rank == pytest.approx(np.linalg.norm(dense) ** 2 / np.linalg.norm(dense, 2) ** 2)


@pytest.mark.parametrize(("n", "per_row"), [(10, 10), (10, 3), (1000, 7), (2, 1)])
def test_rows_have_distinct_columns(n, per_row):
    A = gallery.tall_random(500, n, per_row).A
    assert (np.diff(A.indptr) == per_row).all()
    assert A.has_canonical_format


def test_seeds_differ():
    one, two = gallery.tall_random(50, 10, 3, seed=1), gallery.tall_random(50, 10, 3, seed=2)
    assert not np.array_equal(one.b, two.b)


def test_comparisons_are_differences():
    problem = gallery.comparisons(300, 40)
    np.testing.assert_array_equal(problem.A.sum(axis=1), 0.0)
    np.testing.assert_array_equal(abs(problem.A).sum(axis=1), 2.0)
    assert gallery.comparisons(3, 40).null_space.shape[1] >= 37


def test_poisson_has_its_known_eigenvalues():
    k = 6
    angles = np.sin(np.pi * np.arange(1, k + 1) / (2 * k + 2)) ** 2
    expected = np.sort((4 * angles[:, None] + 4 * angles[None, :]).ravel())
    np.testing.assert_allclose(eigvalsh(gallery.poisson2d(k).A.toarray()), expected, atol=1e-12)


def test_convection_makes_it_unsymmetric_but_stable():
    dense = gallery.convection_diffusion(8).A.toarray()
    assert not np.array_equal(dense, dense.T)
    assert np.linalg.eigvals(dense).real.min() > 0
    still = gallery.convection_diffusion(8, wind=0.0).A.toarray()
    np.testing.assert_array_equal(still, gallery.poisson2d(8).A.toarray())


def test_conditioning():
    assert 50 < np.linalg.cond(gallery.ill_conditioned(600, 60, 6, decades=2.0).A.toarray()) < 1000
    assert 1e3 < np.linalg.cond(gallery.ill_conditioned().A.toarray()) < 1e4
    grid = gallery.least_squares_grid(12)
    assert grid.A.shape == (2 * 12 * 11 + 1, 144)
    assert np.linalg.cond(grid.A.toarray()) > 100


def test_the_wide_one_has_its_solution_in_the_row_space():
    problem = gallery.wide_random(30, 100, 4)
    least = np.linalg.lstsq(problem.A.toarray(), problem.b, rcond=None)[0]
    np.testing.assert_allclose(problem.x, least, atol=1e-10)


def test_exported_names():
    for name in gallery.__all__:
        assert hasattr(gallery, name)


def test_the_example_in_the_documentation():
    assert doctest.testmod(gallery) == (0, 2)
