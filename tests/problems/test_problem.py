import numpy as np
import pytest
import scipy.sparse as sp

from solver_service.errors import DimensionMismatchError, InvalidInputError, NonFiniteError
from solver_service.problems.matrix import Matrix
from solver_service.problems.problem import Problem

A = sp.csr_array(np.array([[1.0, 0.0], [0.0, 2.0], [3.0, 0.0]]))


def test_vector_and_block():
    vector = Problem.build(A, [1, 2, 3])
    assert vector.b.dtype == np.float64
    assert vector.b.tolist() == [1.0, 2.0, 3.0]
    assert vector.x0 is None
    assert vector.columns is None
    block = Problem.build(Matrix.from_any(A), np.ones((3, 4), order="F"), np.zeros((2, 4)))
    assert block.columns == 4
    assert block.b.flags.c_contiguous
    assert block.x0.shape == (2, 4)


def test_one_column_stays_a_block():
    assert Problem.build(A, np.ones((3, 1)), np.ones((2, 1))).columns == 1
    assert Problem.build(A, np.ones((3, 1)).view(np.matrix)).b.shape == (3, 1)


def test_float64_arrays_are_not_copied_and_not_written_to():
    b, x0 = np.ones(3), np.ones(2)
    b.flags.writeable = x0.flags.writeable = False
    problem = Problem.build(A, b, x0)
    assert np.shares_memory(problem.b, b)
    assert np.shares_memory(problem.x0, x0)


@pytest.mark.parametrize("b", [[1.0, 2.0], np.ones((2, 3)), 1.0, np.ones((3, 0)), np.ones((3, 1, 1)), []])
def test_b_that_does_not_fit(b):
    with pytest.raises(DimensionMismatchError) as error:
        Problem.build(A, b)
    assert error.value.errors[0].field == "b"


@pytest.mark.parametrize(
    ("b", "x0"),
    [
        (np.ones(3), np.ones(3)),
        (np.ones(3), np.ones((2, 1))),
        (np.ones((3, 2)), np.ones(2)),
        (np.ones(3), 0.0),
    ],
)
def test_x0_that_does_not_fit(b, x0):
    with pytest.raises(DimensionMismatchError) as error:
        Problem.build(A, b, x0)
    assert error.value.errors[0].field == "x0"


def test_non_finite_entries_are_named():
    with pytest.raises(NonFiniteError) as error:
        Problem.build(A, [1.0, 2.0, np.nan])
    assert error.value.errors[0].field == "b[2]"
    with pytest.raises(NonFiniteError) as error:
        Problem.build(A, [[1.0, 2.0], [3.0, np.inf], [5.0, 6.0]])
    assert error.value.errors[0].field == "b[1][1]"
    with pytest.raises(NonFiniteError) as error:
        Problem.build(A, np.ones(3), [-np.inf, 0.0])
    assert error.value.errors[0].field == "x0[0]"


@pytest.mark.parametrize(
    "b",
    [None, "abc", ["1", "2", "3"], [1j, 2, 3], [None] * 3, [[1.0], [1.0, 2.0], [3.0]], sp.csr_array((3, 1))],
)
def test_b_that_is_not_real_numbers(b):
    with pytest.raises(InvalidInputError) as error:
        Problem.build(A, b)
    assert error.value.errors[0].field.startswith("b")
