import io
import json

import numpy as np
import pytest
from scipy.io import mmwrite
from scipy.sparse import coo_array, save_npz

from solver_service.errors import (
    DimensionMismatchError,
    IndexOutOfRangeError,
    InvalidInputError,
    MalformedJsonError,
    MalformedMatrixError,
    MalformedMultipartError,
    MethodNotApplicableError,
    NonFiniteError,
    PayloadTooLargeError,
    ResourceLimitError,
)
from solver_service.methods.options import Options
from solver_service.problems.limits import Limits
from solver_service.wire.documents import JobStart
from solver_service.wire.systems import InputLimits, read_any, read_system, read_system_parts

LIMITS = InputLimits(Limits(max_rows=1000, max_columns=1000, max_entries=10_000), 1_000_000)
COO = {"format": "coo", "shape": [3, 2], "row": [0, 1, 2], "col": [0, 1, 1], "data": [1.0, 2.0, 3.0]}
CSR = {"format": "csr", "shape": [3, 2], "indptr": [0, 1, 2, 3], "indices": [0, 1, 1], "data": [1, 2, 3]}
DENSE = [[1.0, 0.0], [0.0, 2.0], [0.0, 3.0]]
B = [1.0, 2.0, 3.0]


def read(document):
    text = document if isinstance(document, str) else json.dumps(document)
    return read_system(text.encode(), LIMITS)


def system(**members):
    return {"matrix": COO, "b": B, **members}


def fields(error):
    return [entry.field for entry in error.errors]


@pytest.mark.parametrize("matrix", [COO, CSR])
def test_a_system_with_its_matrix(matrix):
    found = read(system(matrix=matrix, x0=[0.5, 0.5], priority=-3, deadline=2, options={"rtol": 1e-8}))
    assert found.matrix.csr.toarray().tolist() == DENSE
    assert found.b.tolist() == B
    assert found.x0.tolist() == [0.5, 0.5]
    assert (found.priority, found.deadline) == (-3, 2.0)
    assert found.options == Options(rtol=1e-8, threads=1)


def test_a_system_with_a_stored_matrix():
    assert read(system(matrix={"id": "mat_0"})).matrix == "mat_0"


def test_defaults():
    found = read(system())
    assert (found.x0, found.priority, found.deadline) == (None, 0, None)
    assert found.options == Options(threads=1)


def test_null_threads_mean_one_thread():
    assert read(system(options={"threads": None})).options.threads == 1
    assert read(system(options={"threads": 2})).options.threads == 2


def test_warm_start_is_an_option_here():
    assert not read(system()).warm_start
    assert not read(system(options={"warm_start": "none"}, x0=[0, 0])).warm_start
    found = read(system(options={"warm_start": "auto"}))
    assert found.warm_start
    assert found.options == Options(threads=1)
    parts = {"matrix_id": b"m", "b": b"[1]", "options": b'{"warm_start": "auto"}'}
    assert read_system_parts(parts, LIMITS).warm_start


@pytest.mark.parametrize("x0", [[0.5, 0.5], [0, 0], {"job": "job_1"}])
def test_there_is_one_start_only(x0):
    with pytest.raises(InvalidInputError) as caught:
        read(system(options={"warm_start": "auto"}, x0=x0))
    assert type(caught.value) is InvalidInputError
    assert fields(caught.value) == ["options.warm_start", "x0"]
    parts = {"matrix_id": b"m", "b": b"[1]", "x0": b"[1]", "options": b'{"warm_start": "auto"}'}
    with pytest.raises(InvalidInputError, match="x0"):
        read_system_parts({**parts, "x0": json.dumps(x0).encode()}, LIMITS)


def test_the_minimum_norm_is_reached_from_zero():
    with pytest.raises(MethodNotApplicableError) as caught:
        read(system(options={"warm_start": "auto", "minimum_norm": True}))
    assert fields(caught.value) == ["options.warm_start"]


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("", "line 1 column 0"),
        ("{", "line 1 column 1"),
        ('{"b": [1,\n 2,]}', "line 2 column 4"),
        ("{} {}", "line 1 column 4"),
        ('{"b": 1e}', "line 1 column 9"),
        ("[" * 100_000, "recursion limit"),
        ("\ufeff{}", "line 1 column 1"),
    ],
)
def test_broken_json_says_where(text, place):
    with pytest.raises(MalformedJsonError, match=place):
        read(text)


def test_the_last_of_two_equal_keys_wins():
    assert read('{"b": [9], "matrix": {"id": "x"}, "b": [1, 2]}').b.tolist() == [1.0, 2.0]


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        ([], ["body"]),
        ({}, ["matrix", "b"]),
        (system(extra=1), ["extra"]),
        (system(matrix=None), ["matrix"]),
        (system(matrix={}), ["matrix"]),
        (system(matrix={"format": "csc"}), ["matrix.format"]),
        (system(matrix={"format": ["coo"]}), ["matrix.format"]),
        (system(matrix={**COO, "id": "mat_0"}), ["matrix.format", "matrix.shape", "matrix.row"]),
        (system(matrix={"id": 5}), ["matrix.id"]),
        (system(matrix={**COO, "shape": [3]}), ["matrix.shape"]),
        (system(matrix={**COO, "shape": [3, 0]}), ["matrix.shape[1]"]),
        (system(matrix={**COO, "shape": [-3, 2]}), ["matrix.shape[0]"]),
        (system(matrix={**COO, "shape": [3.0, 2]}), ["matrix.shape[0]"]),
        (system(matrix={**COO, "shape": ["3", True]}), ["matrix.shape[0]", "matrix.shape[1]"]),
        (system(matrix={**COO, "row": [0, 1, "2"]}), ["matrix.row[2]"]),
        (system(matrix={**COO, "data": [0, 1, False]}), ["matrix.data[2]"]),
        (system(matrix={**COO, "nnz": 3}), ["matrix.nnz"]),
        (system(b="1"), ["b"]),
        (system(b=[1, 2, None]), ["b[2]"]),
        (system(b={"base64": "", "dtype": ">f8"}), ["b.dtype"]),
        (system(b={"base64": 1}), ["b.base64", "b.dtype"]),
        (system(x0={"job": 1}), ["x0.job"]),
        (system(x0={"job": "job_1", "column": 0}), ["x0.column"]),
        (system(priority=11), ["priority"]),
        (system(priority=1.0), ["priority"]),
        (system(priority=True), ["priority"]),
        (system(priority="1"), ["priority"]),
        (system(deadline=0), ["deadline"]),
        (system(deadline=-1), ["deadline"]),
        (system(deadline="1"), ["deadline"]),
        (system(options=[]), ["options"]),
        (system(options=None), ["options"]),
        (system(options={"rtol": "1e-6"}), ["options.rtol"]),
        (system(options={"rtol": True}), ["options.rtol"]),
        (system(options={"rtol": -1, "seed": 1.5}), ["options.rtol", "options.seed"]),
        (system(options={"tol": 1e-6}), ["options.tol"]),
        (system(options={"callback": None}), ["options.callback"]),
        (system(options={"warm_start": "yes"}), ["options.warm_start"]),
        (system(options={"x0": [1]}), ["options.x0"]),
    ],
)
def test_each_wrong_field_is_named(document, expected):
    with pytest.raises(InvalidInputError) as caught:
        read(document)
    assert type(caught.value) is InvalidInputError
    assert fields(caught.value)[: len(expected)] == expected
    assert caught.value.detail.startswith(expected[0])


def test_the_message_about_a_matrix_says_what_there_is():
    with pytest.raises(InvalidInputError, match=r'with "id", or with "format": "coo" or "csr"'):
        read(system(matrix={"data": [1]}))


def test_a_start_may_be_named_by_its_job():
    assert read(system(x0={"job": "job_1"})).x0 == JobStart(job="job_1")
    parts = {"matrix_id": b"m", "b": b"[1]", "x0": b'{"job": "job_1"}'}
    assert read_system_parts(parts, LIMITS).x0 == JobStart(job="job_1")


@pytest.mark.parametrize(
    ("text", "field"),
    [
        ('{"matrix": {"id": "m"}, "b": [1, 2], "deadline": NaN}', "deadline"),
        ('{"matrix": {"id": "m"}, "b": [1, 2], "deadline": 1e400}', "deadline"),
        ('{"matrix": {"id": "m"}, "b": [1, 2], "options": {"rtol": NaN}}', "options.rtol"),
        ('{"matrix": {"id": "m"}, "b": [1, 2], "options": {"max_epochs": Infinity}}', "options.max_epochs"),
        (json.dumps(system(matrix={**COO, "data": [1.0, float("nan"), 2.0]})), "matrix.data[1]"),
        (
            json.dumps(system(matrix={**COO, "data": [1.0, 2.0, "?"]})).replace('"?"', "-1e999"),
            "matrix.data[2]",
        ),
        (json.dumps(system(matrix={**COO, "row": [0, float("inf"), 1]})), "matrix.row[1]"),
    ],
)
def test_what_is_not_finite_is_named(text, field):
    with pytest.raises(NonFiniteError) as caught:
        read(text)
    assert fields(caught.value) == [field]


@pytest.mark.parametrize(
    ("matrix", "kind", "field"),
    [
        ({**COO, "row": [0, 1, 3]}, IndexOutOfRangeError, "matrix.row[2]"),
        ({**COO, "col": [0, -1, 1]}, IndexOutOfRangeError, "matrix.col[1]"),
        ({**CSR, "indices": [0, 1, 2]}, IndexOutOfRangeError, "matrix.indices[2]"),
        ({**CSR, "indptr": [0, 2, 1, 3]}, InvalidInputError, "matrix.indptr[2]"),
        ({**CSR, "indptr": [0, 1, 3]}, DimensionMismatchError, "matrix.indptr"),
        ({**COO, "data": [1.0]}, DimensionMismatchError, "matrix"),
        ({**COO, "shape": [10**15, 10**15]}, ResourceLimitError, "matrix.shape"),
        ({**COO, "shape": [10**30, 2]}, ResourceLimitError, "matrix.shape"),
    ],
)
def test_the_gate_names_the_same_fields(matrix, kind, field):
    with pytest.raises(InvalidInputError) as caught:
        read(system(matrix=matrix))
    assert type(caught.value) is kind
    assert fields(caught.value) == [field]


def test_at_most_twenty_errors_and_nothing_of_the_input():
    document = system(**{f"secret{k}": "hunter2" for k in range(50)})
    with pytest.raises(InvalidInputError) as caught:
        read(document)
    assert len(caught.value.errors) == 20
    assert "hunter2" not in str(caught.value.errors) + caught.value.detail


def test_long_unknown_names_are_cut():
    with pytest.raises(InvalidInputError) as caught:
        read(system(**{"k" * 10_000: 1}))
    assert len(caught.value.detail) < 200


def test_json_over_the_limit_is_refused_before_it_is_parsed():
    with pytest.raises(PayloadTooLargeError, match="as files"):
        read(" " * 1_000_001)


def npy(array):
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def npz(array):
    file = io.BytesIO()
    save_npz(file, coo_array(np.array(array)))
    return file.getvalue()


def mtx(array):
    file = io.BytesIO()
    mmwrite(file, coo_array(np.array(array)))
    return file.getvalue()


@pytest.mark.parametrize("matrix", [npz(DENSE), mtx(DENSE), json.dumps(CSR).encode(), npy(np.array(DENSE))])
@pytest.mark.parametrize("b", [npy(np.array(B)), b" [1, 2, 3.0]", mtx([[v] for v in B])])
def test_parts_are_recognised_by_their_content(matrix, b):
    found = read_system_parts(
        {
            "matrix": matrix,
            "b": b,
            "x0": b"[1, 2]",
            "options": b'{"seed": 3}',
            "deadline": b"2",
            "priority": b" 4 ",
        },
        LIMITS,
    )
    assert found.matrix.csr.toarray().tolist() == DENSE
    assert found.b.tolist() == B
    assert found.x0.tolist() == [1.0, 2.0]
    assert found.options == Options(seed=3, threads=1)
    assert (found.deadline, found.priority) == (2.0, 4)


def test_parts_may_be_files(tmp_path):
    (tmp_path / "matrix").write_bytes(npz(DENSE))
    (tmp_path / "b").write_bytes(b"[1, 2, 3]")
    found = read_system_parts({"matrix": tmp_path / "matrix", "b": tmp_path / "b"}, LIMITS)
    assert found.matrix.csr.toarray().tolist() == DENSE
    assert found.b.tolist() == B


def test_a_part_may_name_a_stored_matrix():
    assert read_system_parts({"matrix_id": b"mat_0\r\n", "b": b"[1]"}, LIMITS).matrix == "mat_0"


@pytest.mark.parametrize(
    ("parts", "kind"),
    [
        ({"b": b"[1]"}, MalformedMultipartError),
        ({"matrix": npz(DENSE), "matrix_id": b"m", "b": b"[1]"}, MalformedMultipartError),
        ({"matrix_id": b"m"}, MalformedMultipartError),
        ({"matrix": b"", "b": b"[1]"}, MalformedMatrixError),
        ({"matrix": b"PK\x03\x04", "b": b"[1]"}, MalformedMatrixError),
        ({"matrix_id": b"m", "b": b"[1"}, MalformedJsonError),
        ({"matrix_id": b"m", "b": b"\x93NUMPY"}, MalformedMatrixError),
        ({"matrix_id": b"m", "b": b"[1]", "options": b"rtol=1"}, MalformedJsonError),
        ({"matrix_id": b"m", "b": b"[1]", "options": b""}, MalformedJsonError),
        ({"matrix_id": b"m", "b": b"[1]", "priority": b"1.5"}, InvalidInputError),
        ({"matrix_id": b"m", "b": b"[1]", "priority": b'"1"'}, InvalidInputError),
        ({"matrix_id": b"m", "b": b"[1]", "deadline": b"NaN"}, NonFiniteError),
        ({"matrix_id": b"m", "b": b"[1]", "deadline": b"soon"}, MalformedJsonError),
        ({"matrix_id": b"m", "b": b"[1]", "x0": b'{"job": 1}'}, InvalidInputError),
    ],
)
def test_wrong_parts(parts, kind):
    with pytest.raises(InvalidInputError) as caught:
        read_system_parts(parts, LIMITS)
    assert type(caught.value) is kind


@pytest.mark.parametrize("content", [json.dumps(COO).encode(), npz(DENSE), mtx(DENSE)])
def test_a_matrix_alone(content):
    assert read_any(content, LIMITS).csr.toarray().tolist() == DENSE


def test_errors_of_a_matrix_alone_name_its_fields():
    with pytest.raises(InvalidInputError) as caught:
        read_any(json.dumps({**COO, "row": [0, "1", 2]}).encode(), LIMITS)
    assert fields(caught.value) == ["matrix.row[1]"]
