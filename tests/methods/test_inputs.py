"""Wrong and unusual input, for every method: the contract's codes, or a solution."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import sparse

import solver_service
from solver_service import Status, errors
from solver_service.methods import METHODS, Options

ALL = list(METHODS)
A = sparse.csr_array(np.array([[4.0, 1.0, 0.0], [1.0, 5.0, 2.0], [0.0, 2.0, 6.0]]))  # fits every method
X = np.array([1.0, -2.0, 3.0])
B = A @ X


@pytest.fixture(params=ALL)
def method(request) -> str:
    return request.param


def solves(A, b, x, method, **options):
    result = solver_service.solve(A, b, method=method, rtol=1e-9, **options)
    assert result.status is Status.CONVERGED, result
    np.testing.assert_allclose(result.x, x, rtol=1e-5)


def test_shapes_that_do_not_fit(method):
    with pytest.raises(errors.DimensionMismatchError) as caught:
        solver_service.solve(A, np.ones(4), method=method)
    assert caught.value.errors[0].field == "b"
    with pytest.raises(errors.DimensionMismatchError) as caught:
        solver_service.solve(A, B, x0=np.ones(2), method=method)
    assert caught.value.errors[0].field == "x0"


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_non_finite_numbers(method, bad):
    spoiled = A.copy()
    spoiled.data[2] = bad
    with pytest.raises(errors.NonFiniteError):
        solver_service.solve(spoiled, B, method=method)
    with pytest.raises(errors.NonFiniteError) as caught:
        solver_service.solve(A, np.array([1.0, bad, 0.0]), method=method)
    assert "b[1]" in str(caught.value.errors)


def test_indices_outside_the_shape(method):
    spoiled = A.copy()
    spoiled.indices = spoiled.indices.copy()
    spoiled.indices[0] = 7
    with pytest.raises(errors.IndexOutOfRangeError):
        solver_service.solve(spoiled, B, method=method)


@pytest.mark.parametrize("shape", [(0, 3), (3, 0)])
def test_nothing_to_solve(method, shape):
    with pytest.raises(errors.InvalidInputError):
        solver_service.solve(sparse.csr_array(shape), np.zeros(shape[0]), method=method)


def test_one_by_one(method):
    solves([[-4.0]] if method != "cg" else [[4.0]], [8.0], [-2.0] if method != "cg" else [2.0], method)


@pytest.mark.parametrize("dtype", [np.float32, np.int8, np.uint16, np.int64])
def test_other_number_types(method, dtype):
    solves(A.astype(dtype), B.astype(np.float32), X, method)


def test_complex_numbers_are_refused(method):
    with pytest.raises(errors.InvalidInputError, match="complex"):
        solver_service.solve(A.astype(complex), B, method=method)


def test_unsorted_and_duplicate_entries_and_explicit_zeros(method):
    coo = A.tocoo()
    row = np.concatenate([coo.row[::-1], coo.row, [0]])
    col = np.concatenate([coo.col[::-1], coo.col, [2]])
    data = np.concatenate([coo.data[::-1] * 0.25, coo.data * 0.75, [0.0]])
    messy = sparse.coo_array((data, (row, col)), shape=A.shape)
    before = (row.copy(), col.copy(), data.copy())
    solves(messy, B, X, method)
    for array, copy in zip((row, col, data), before, strict=True):
        np.testing.assert_array_equal(array, copy)


@pytest.mark.parametrize("kind", [sparse.csc_array, sparse.lil_array, sparse.bsr_array, sparse.csr_matrix])
def test_any_sparse_format(method, kind):
    solves(kind(A), B, X, method)


def test_dense_lists(method):
    solves(A.toarray().tolist(), B.tolist(), X, method)


def test_arguments_are_left_alone(method):
    M, b, x0 = A.copy(), B.copy(), np.array([0.5, 0.5, 0.5])
    b.setflags(write=False)
    solver_service.solve(M, b, x0=x0, method=method)
    np.testing.assert_array_equal(M.toarray(), A.toarray())
    np.testing.assert_array_equal(x0, 0.5)


def test_read_only_arrays(method):
    M = A.copy()
    for array in (M.data, M.indices, M.indptr):
        array.setflags(write=False)
    solves(M, B, X, method)


@pytest.mark.parametrize("scale", [1e-300, 1e-170, 1e170, 1e300])
def test_extreme_scales(method, scale):
    solves(A * scale, B * scale, X, method)
    solves(A, B * scale, X * scale, method)


def test_a_solution_beyond_float64_is_not_claimed(method):
    result = solver_service.solve(A * 1e-250, B * 1e250, method=method)
    assert np.isfinite(result.x).all()
    assert not result.converged


def test_a_norm_beyond_float64_is_refused(method):
    with pytest.raises(errors.NonFiniteError, match="norm of b"):
        solver_service.solve(A, np.full(3, 1.7e308), method=method)


def test_a_zero_right_hand_side(method):
    result = solver_service.solve(A, np.zeros(3), method=method)
    assert result.status is Status.CONVERGED
    assert (result.relative_residual, result.iterations) == (0.0, 0)
    assert not result.x.any()
    off = solver_service.solve(A, np.zeros(3), x0=np.ones(3), method=method)
    assert off.converged
    assert not off.x.any()


def test_unknown_method():
    with pytest.raises(errors.UnknownMethodError, match="kaczmarz"):
        solver_service.solve(A, B, method="jacobi")


CANNOT = [
    (name, option)
    for name, spec in METHODS.items()
    for option in ("batch_size", "momentum", "beta", "step_size", "minimum_norm")
    if option not in spec.options
]
SET = {"batch_size": 2, "momentum": "nesterov", "beta": 0.5, "step_size": 0.5, "minimum_norm": True}


@pytest.mark.parametrize(("name", "option"), CANNOT)
def test_an_option_that_the_method_cannot_use_is_named_with_it(name, option):
    with pytest.raises(errors.MethodNotApplicableError) as caught:
        solver_service.solve(A, B, method=name, **{option: SET[option]})
    assert name in caught.value.detail
    assert option in caught.value.detail


def test_beta_without_momentum_is_refused():
    with pytest.raises(errors.MethodNotApplicableError, match="beta"):
        solver_service.solve(A, B, momentum="none", beta=0.5)


def test_methods_that_do_not_fit_the_matrix():
    tall = np.eye(4, 3)
    for name, matrix in (
        ("cg", np.triu(A.toarray())),
        ("cg", tall),
        ("ssor_cg", tall),
        ("ssor_cg", np.array([[1.0, 2.0], [2.0, -1.0]])),
        ("direct", sparse.eye_array(4000, 3500)),
        ("direct", np.array([[1.0, 2.0, 3.0], [0, 0, 4.0], [0, 0, 5.0]])),
    ):
        with pytest.raises(errors.MethodNotApplicableError, match=name):
            solver_service.solve(matrix, np.ones(matrix.shape[0]), method=name)


def test_every_option_is_checked_before_any_work():
    with pytest.raises(errors.InvalidInputError, match="rtol"):
        solver_service.solve(A, B, rtol=-1)
    with pytest.raises(errors.InvalidInputError):
        solver_service.prepare(A).solve(B, nonsense=1)
    assert Options().method == "auto"
