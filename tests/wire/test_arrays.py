import base64

import numpy as np
import pytest
from pydantic_core import PydanticCustomError

from solver_service.wire.arrays import float_array, float_vector, index_array


def encoded(array, **members):
    return {"base64": base64.b64encode(array.tobytes()).decode(), "dtype": array.dtype.str, **members}


def failure(read, value):
    with pytest.raises(PydanticCustomError) as caught:
        read(value)
    return caught.value.type, caught.value.context["at"], caught.value.context["text"]


def test_numbers_become_float64_whether_written_as_integers_or_not():
    array = float_array([1, 2.5, -3])
    assert array.dtype == np.float64
    assert array.tolist() == [1.0, 2.5, -3.0]


def test_rows_become_a_matrix():
    assert float_array([[1, 2], [3, 4.5]]).tolist() == [[1.0, 2.0], [3.0, 4.5]]


def test_an_empty_list_is_an_empty_vector():
    assert float_array([]).shape == (0,)


@pytest.mark.parametrize("dtype", ["<f8", "<f4", "<i4", "<i8"])
def test_base64_holds_the_same_numbers_as_a_list(dtype):
    numbers = np.array([1, -2, 3], dtype)
    array = float_array(encoded(numbers))
    assert array.dtype == np.float64
    assert array.tolist() == [1.0, -2.0, 3.0]


def test_a_shape_makes_rows_in_c_order():
    array = float_array(encoded(np.arange(6.0), shape=[3, 2]))
    assert array.tolist() == [[0.0, 1.0], [2.0, 3.0], [4.0, 5.0]]


@pytest.mark.parametrize(
    ("value", "at"),
    [
        ([1, "2"], "[1]"),
        ([1, True], "[1]"),
        ([None], "[0]"),
        ([[1, 2], [3, "4"]], "[1][1]"),
        ([[1, 2], 3], "[1]"),
        ([1, [2]], "[1]"),
        ([[[1]]], "[0][0]"),
        ("1,2", ""),
        (7, ""),
        (None, ""),
    ],
)
def test_what_is_not_a_number_is_named_by_its_place(value, at):
    code, where, _ = failure(float_array, value)
    assert (code, where) == ("invalid_request", at)


def test_ragged_rows_do_not_fit():
    assert failure(float_array, [[1, 2], [3]])[:2] == ("dimension_mismatch", "[1]")


def test_an_integer_beyond_float64_is_not_finite():
    assert failure(float_array, [1, 10**400])[0] == "non_finite"


def test_a_vector_has_one_dimension():
    assert failure(float_vector, [[1.0]])[0] == "invalid_request"


@pytest.mark.parametrize(
    ("value", "at"),
    [
        ({"base64": "AAAA*", "dtype": "<f8"}, ".base64"),
        ({"base64": "AAAAAAAA8D8", "dtype": "<f8"}, ".base64"),
        ({"base64": "ä", "dtype": "<f8"}, ".base64"),
        ({"base64": "AAAAAA==", "dtype": "<f8"}, ".base64"),
        ({**encoded(np.arange(4.0)), "shape": [3]}, ".shape"),
        ({**encoded(np.arange(4.0)), "shape": [-2, -2]}, ".shape"),
        ({**encoded(np.arange(4.0)), "shape": []}, ".shape"),
        ({**encoded(np.arange(4.0)), "shape": [2**62, 4]}, ".shape"),
        ({**encoded(np.arange(8.0)), "shape": [2, 2, 2]}, ".shape"),
    ],
)
def test_base64_that_lies_is_refused(value, at):
    assert failure(float_array, value)[:2] == ("invalid_request", at)


def test_indices_are_whole_numbers():
    assert index_array([0, 5, 2]).tolist() == [0, 5, 2]
    assert index_array(encoded(np.array([3, 1], "<i4"))).tolist() == [3, 1]


@pytest.mark.parametrize(
    ("value", "code", "at"),
    [
        ([0, 1.0], "invalid_request", "[1]"),
        ([0, True], "invalid_request", "[1]"),
        ([0, float("nan")], "non_finite", "[1]"),
        ([float("inf")], "non_finite", "[0]"),
        ([0, 2**63], "index_out_of_range", "[1]"),
        ([[0]], "invalid_request", "[0]"),
        (encoded(np.array([1.0])), "invalid_request", ".dtype"),
        ({**encoded(np.array([1, 2], "<i8")), "shape": [1, 2]}, "invalid_request", ".shape"),
    ],
)
def test_other_indices_are_refused(value, code, at):
    assert failure(index_array, value)[:2] == (code, at)
