import hashlib
import pickle

import numpy as np
import pytest
import scipy.sparse as sp

from solver_service.errors import (
    DimensionMismatchError,
    IndexOutOfRangeError,
    InvalidInputError,
    NonFiniteError,
    ResourceLimitError,
    SolverServiceError,
)
from solver_service.problems.matrix import Matrix

DENSE = np.array([[0.0, 2.0, 0.0, -1.5], [0.0, 0.0, 0.0, 0.0], [3.0, 0.0, 1e-300, 4.0], [1.0, 1.0, 0.0, 0.0]])
FORMATS = ["csr", "csc", "coo", "bsr", "dia", "lil", "dok"]


def assert_canonical(matrix):
    csr = matrix.csr
    fresh = sp.csr_array((csr.data, csr.indices, csr.indptr), shape=csr.shape)
    fresh.check_format(full_check=True)
    assert fresh.has_canonical_format
    assert csr.dtype == np.float64
    assert csr.indices.dtype == csr.indptr.dtype == np.int32
    assert np.isfinite(csr.data).all()
    assert (csr.data != 0).all()
    for array in (csr.data, csr.indices, csr.indptr):
        assert array.flags.c_contiguous
        assert array.flags.aligned
        assert type(array) is np.ndarray


def field_of(error):
    return error.value.errors[0].field


@pytest.mark.parametrize("kind", ["array", "matrix"])
@pytest.mark.parametrize("fmt", FORMATS)
def test_every_scipy_format(fmt, kind):
    source = getattr(sp, f"{fmt}_{kind}")(DENSE)
    before = source.toarray().copy()
    matrix = Matrix.from_any(source)
    assert_canonical(matrix)
    np.testing.assert_array_equal(matrix.csr.toarray(), DENSE)
    np.testing.assert_array_equal(source.toarray(), before)
    assert matrix.shape == DENSE.shape
    assert matrix.nnz == np.count_nonzero(DENSE)


@pytest.mark.parametrize("dtype", ["?", "i1", "u2", "<i8", ">i4", "u8", "f2", "<f4", ">f8", "f8", "g"])
def test_every_real_dtype(dtype):
    dense = np.array([[1, 0], [1, 1]], dtype=dtype)
    for source in (dense, dense.tolist()):
        matrix = Matrix.from_any(source)
        assert_canonical(matrix)
        np.testing.assert_array_equal(matrix.csr.toarray(), [[1, 0], [1, 1]])
    np.testing.assert_array_equal(Matrix.from_coo((1, 1), [0], [0], dense[0, :1]).csr.toarray(), [[1]])


def test_blocks_larger_than_one_and_diagonals_off_centre():
    rng = np.random.default_rng(0)
    dense = rng.normal(size=(6, 4)) * (rng.random((6, 4)) < 0.5)
    bsr = sp.bsr_array(dense, blocksize=(3, 2))
    np.testing.assert_array_equal(Matrix.from_any(bsr).csr.toarray(), dense)
    dia = sp.dia_array((np.arange(1.0, 16.0).reshape(3, 5), [-2, 0, 3]), shape=(4, 5))
    np.testing.assert_array_equal(Matrix.from_any(dia).csr.toarray(), dia.toarray())
    outside = sp.dia_array((np.ones((2, 3)), [0, 77]), shape=(3, 3))
    np.testing.assert_array_equal(Matrix.from_any(outside).csr.toarray(), np.eye(3))


def test_unsorted_duplicates_zeros_and_negative_zeros():
    row, col = [2, 0, 0, 2, 1, 1, 0], [1, 3, 0, 1, 2, 2, 1]
    data = [1.0, 5.0, -0.0, 2.0, 4.0, -4.0, 0.0]
    matrix = Matrix.from_coo((3, 4), row, col, data)
    assert_canonical(matrix)
    assert matrix.duplicates_summed == 2
    assert matrix.nnz == 2
    expected = np.zeros((3, 4))
    expected[0, 3], expected[2, 1] = 5.0, 3.0
    np.testing.assert_array_equal(matrix.csr.toarray(), expected)


def test_canonical_csr_is_shared_not_copied():
    source = sp.csr_array(DENSE)
    matrix = Matrix.from_any(source)
    assert np.shares_memory(matrix.csr.data, source.data)
    assert np.shares_memory(matrix.csr.indices, source.indices)
    assert np.shares_memory(matrix.csr.indptr, source.indptr)
    assert Matrix.from_any(matrix) is matrix


def test_callers_arrays_are_never_modified():
    indptr, indices = np.array([0, 3, 4]), np.array([2, 0, 2, 1])
    data = np.array([1.0, 0.0, 2.0, -0.0])
    copies = [array.copy() for array in (indptr, indices, data)]
    source = sp.csr_array((data, indices, indptr), shape=(2, 3))
    inner = (source.indptr, source.indices, source.data)
    for array in (indptr, indices, data, *inner):
        array.flags.writeable = False
    by_arrays, by_object = Matrix.from_csr((2, 3), indptr, indices, data), Matrix.from_any(source)
    for array, copy in zip((indptr, indices, data), copies, strict=True):
        np.testing.assert_array_equal(array, copy)
    assert by_arrays.id == by_object.id
    assert by_arrays.duplicates_summed == by_object.duplicates_summed == 1
    np.testing.assert_array_equal(by_arrays.csr.toarray(), [[0, 0, 3], [0, 0, 0]])


def test_a_lying_canonical_flag_is_not_believed():
    source = sp.csr_array((np.array([1.0, 2.0]), np.array([1, 1]), np.array([0, 2])), shape=(1, 3))
    source.has_canonical_format = True
    matrix = Matrix.from_any(source)
    assert matrix.duplicates_summed == 1
    np.testing.assert_array_equal(matrix.csr.toarray(), [[0, 3, 0]])


def test_spare_room_behind_the_last_entry_is_ignored():
    source = sp.csr_array(
        (np.array([1.0, 2.0, np.nan]), np.array([0, 1, 99]), np.array([0, 1, 2])), shape=(2, 3)
    )
    np.testing.assert_array_equal(Matrix.from_any(source).csr.toarray(), [[1, 0, 0], [0, 2, 0]])


def test_scipy_tuples_mean_what_they_mean_to_scipy():
    data, row, col = [1.0, 2.0, 3.0], [0, 2, 2], [1, 0, 3]
    coo = Matrix.from_any((data, (row, col)))
    np.testing.assert_array_equal(coo.csr.toarray(), sp.csr_array((data, (row, col))).toarray())
    parts = (data, [1, 0, 3], [0, 1, 1, 3])
    np.testing.assert_array_equal(Matrix.from_any(parts).csr.toarray(), sp.csr_array(parts).toarray())
    empty = Matrix.from_any((3, 4))
    assert (empty.shape, empty.nnz) == ((3, 4), 0)


@pytest.mark.parametrize("shape", [(1, 1), (1, 5), (5, 1)])
@pytest.mark.parametrize("fill", [0.0, 1.0])
def test_smallest_shapes(shape, fill):
    matrix = Matrix.from_any(np.full(shape, fill))
    assert_canonical(matrix)
    assert matrix.shape == shape
    assert matrix.nnz == int(fill) * np.prod(shape)


@pytest.mark.parametrize("dtype", [np.int8, np.int64, np.uint8, np.uint64])
def test_indices_of_any_integer_type(dtype):
    matrix = Matrix.from_coo((3, 3), np.array([0, 2], dtype), np.array([1, 2], dtype), [1.0, 2.0])
    np.testing.assert_array_equal(matrix.csr.toarray(), [[0, 1, 0], [0, 0, 0], [0, 0, 2]])
    compressed = Matrix.from_csr((2, 3), np.array([0, 1, 2], dtype), np.array([1, 2], dtype), [1.0, 2.0])
    np.testing.assert_array_equal(compressed.csr.toarray(), [[0, 1, 0], [0, 0, 2]])


def test_more_columns_than_int32_counts_use_int64():
    wide = Matrix.from_coo((2, 2**40), [0, 1], [2**40 - 1, 7], [1.0, 2.0])
    assert wide.csr.indices.dtype == wide.csr.indptr.dtype == np.int64
    assert wide.csr.indices.tolist() == [2**40 - 1, 7]
    edge = Matrix.from_coo((1, 2**31 - 1), [0], [2**31 - 2], [1.0])
    assert edge.csr.indices.dtype == np.int32
    past = Matrix.from_coo((1, 2**31), [0], [2**31 - 1], [1.0])
    assert past.csr.indices.dtype == np.int64


@pytest.mark.parametrize(
    ("row", "col", "field"),
    [
        ([0, 3], [0, 0], "matrix.row[1]"),
        ([0, 0], [0, 4], "matrix.col[1]"),
        ([-1, 0], [0, 0], "matrix.row[0]"),
        ([0, 0, 0], [1, 2, -(2**40)], "matrix.col[2]"),
        ([0], [2**31 + 1], "matrix.col[0]"),
        ([0], [2**32], "matrix.col[0]"),
        (np.array([2**63 + 1], np.uint64), [0], "matrix.row[0]"),
        ([2**64], [0], "matrix.row[0]"),
        ([0, -1, 2**63], [0, 0, 0], "matrix.row[2]"),
    ],
)
def test_indices_outside_the_shape(row, col, field):
    with pytest.raises(IndexOutOfRangeError) as error:
        Matrix.from_coo((3, 4), row, col, [1.0] * len(row))
    assert field_of(error) == field
    assert error.value.detail.startswith(field)


@pytest.mark.parametrize("fmt", ["csr", "csc", "bsr", "coo"])
def test_sparse_objects_with_bad_indices(fmt):
    source = getattr(sp, f"{fmt}_array")(DENSE)
    if fmt == "coo":
        source.coords = (source.coords[0], source.coords[1] + 3)
    else:
        source.indices[0] = 99
    with pytest.raises(IndexOutOfRangeError) as error:
        Matrix.from_any(source)
    assert field_of(error).startswith("A.")


@pytest.mark.parametrize(
    ("indptr", "indices", "data", "kind", "field"),
    [
        ([0, 2, 1, 2], [0, 1], [1.0, 2.0], InvalidInputError, "matrix.indptr[2]"),
        ([1, 1, 1, 2], [0, 1], [1.0, 2.0], InvalidInputError, "matrix.indptr[0]"),
        ([0, 1, 2], [0, 1], [1.0, 2.0], DimensionMismatchError, "matrix.indptr"),
        ([], [], [], DimensionMismatchError, "matrix.indptr"),
        ([0, 1, 1, 3], [0, 1], [1.0, 2.0], DimensionMismatchError, "matrix"),
        ([0, 1, 1, 2], [0, 1], [1.0, 2.0, 3.0], DimensionMismatchError, "matrix"),
        ([0, 1, 1, 2], [0, 1, 1], [1.0, 2.0], DimensionMismatchError, "matrix"),
        ([0, 1, 1, 2], [0, 4], [1.0, 2.0], IndexOutOfRangeError, "matrix.indices[1]"),
        ([0.0, 1.0, 1.0, 2.0], [0, 1], [1.0, 2.0], InvalidInputError, "matrix.indptr"),
        ([0, 1, 1, 2], [0.0, 1.0], [1.0, 2.0], InvalidInputError, "matrix.indices"),
        ([0, 1, 1, 2], [False, True], [1.0, 2.0], InvalidInputError, "matrix.indices"),
        ([0, 1, 1, 2], [[0, 1]], [1.0, 2.0], InvalidInputError, "matrix.indices"),
        ([0, 1, 1, 2], ["0", "1"], [1.0, 2.0], InvalidInputError, "matrix.indices"),
        ([0, 1, 1, 2], [0, None], [1.0, 2.0], InvalidInputError, "matrix.indices"),
        ([0, 1, 1, 2], [0, 1], [1.0, float("nan")], NonFiniteError, "matrix.data[1]"),
        ([0, 1, 1, 2], [0, 1], [float("-inf"), 1.0], NonFiniteError, "matrix.data[0]"),
        ([0, 1, 1, 2], [0, 1], [10**400, 1], NonFiniteError, "matrix.data"),
        ([0, 1, 1, 2], [0, 1], ["1.0", "2.0"], InvalidInputError, "matrix.data"),
        ([0, 1, 1, 2], [0, 1], [1.0, None], InvalidInputError, "matrix.data[1]"),
        ([0, 1, 1, 2], [0, 1], [1.0, 2 + 0j], InvalidInputError, "matrix.data"),
        ([0, 1, 1, 2], [0, 1], [[1.0, 2.0]], InvalidInputError, "matrix.data"),
        ([0, 1, 1, 2], [0, 1], [[1.0], 2.0], InvalidInputError, "matrix.data"),
    ],
)
def test_broken_compressed_rows(indptr, indices, data, kind, field):
    with pytest.raises(kind) as error:
        Matrix.from_csr((3, 4), indptr, indices, data)
    assert type(error.value) is kind
    assert field_of(error) == field


def test_offsets_that_wrap_around_are_falling():
    with pytest.raises(InvalidInputError, match="below"):
        Matrix.from_csr((2, 2), np.array([0, 200, 2], np.uint8), [0, 1], [1.0, 1.0])


@pytest.mark.parametrize(
    ("shape", "kind"),
    [
        ((0, 3), InvalidInputError),
        ((3, -1), InvalidInputError),
        ((3,), InvalidInputError),
        ((3, 3, 3), InvalidInputError),
        ((3.0, 3), InvalidInputError),
        ((True, 3), InvalidInputError),
        ("33", InvalidInputError),
        (None, InvalidInputError),
        ((3, 2**63), ResourceLimitError),
        ((2**200, 3), ResourceLimitError),
    ],
)
def test_bad_shapes(shape, kind):
    with pytest.raises(kind) as error:
        Matrix.from_coo(shape, [0], [0], [1.0])
    assert type(error.value) is kind
    assert field_of(error).startswith("matrix.shape")


@pytest.mark.parametrize(
    "source",
    [
        None,
        "matrix",
        b"matrix",
        object(),
        3.0,
        [],
        [[]],
        [1.0, 2.0],
        np.zeros((2, 2, 2)),
        np.zeros((0, 3)),
        [[1.0, 2.0], [3.0]],
        [["1", "2"]],
        [[None]],
        [[1.0, object()]],
        {"row": [1]},
        np.array([["2020-01-01"]], dtype="datetime64[D]"),
        np.ma.masked_array([[1.0, 2.0]], mask=[[True, False]]),
        np.array([[1 + 0j]]),
        sp.csr_array(np.array([[1 + 0j]])),
        sp.lil_array((2, 2), dtype=complex),
        sp.coo_array(np.array([1.0, 0.0])),
        sp.csr_array((0, 3)),
        (1, 2, 3, 4),
        (),
        ([1.0], 5),
        ([1.0], ([0], [0], [0])),
        ([1.0], [0.5], [0, 1]),
        ([1.0], ([], [])),
    ],
    ids=str,
)
def test_what_is_not_a_real_matrix(source):
    with pytest.raises(InvalidInputError) as error:
        Matrix.from_any(source)
    assert field_of(error).startswith("A")


def test_complex_is_named():
    with pytest.raises(InvalidInputError, match="complex"):
        Matrix.from_any(sp.csc_array(np.eye(2, dtype=np.complex64)))


@pytest.mark.parametrize("fmt", ["csr", "csc", "coo", "bsr", "dia", "lil", "dok"])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_non_finite_entries_of_every_format(fmt, bad):
    dense = DENSE.copy()
    dense[2, 3] = bad
    with pytest.raises(NonFiniteError):
        Matrix.from_any(getattr(sp, f"{fmt}_array")(dense))
    with pytest.raises(NonFiniteError) as error:
        Matrix.from_any(dense)
    assert field_of(error) == "A[2][3]"


def test_opposite_infinities_and_huge_finite_numbers_are_told_apart():
    with pytest.raises(NonFiniteError):
        Matrix.from_any([[np.inf, -np.inf]])
    assert Matrix.from_any([[1e308, 1e308], [-1e308, 1e308]]).nnz == 4


def test_duplicates_whose_sum_overflows():
    with pytest.raises(NonFiniteError, match="row 1, column 2"):
        Matrix.from_coo((2, 3), [1, 0, 1], [2, 0, 2], [1.7e308, 1.0, 1.7e308])
    with pytest.raises(NonFiniteError, match="row 1, column 2"):
        Matrix.from_csr((2, 3), [0, 1, 3], [0, 2, 2], [1.0, 1.7e308, 1.7e308])


def test_id_is_the_hash_of_the_canonical_csr():
    matrix = Matrix.from_any(DENSE)
    csr = sp.csr_array(DENSE)
    expected = hashlib.sha256(
        b"4 4 7\n"
        + csr.indptr.astype("<i8").tobytes()
        + csr.indices.astype("<i8").tobytes()
        + csr.data.tobytes()
    ).hexdigest()
    assert matrix.id == f"mat_{expected[:32]}"
    rows, columns = np.nonzero(DENSE)
    flip = slice(None, None, -1)
    again = Matrix.from_coo((4, 4), rows[flip], columns[flip], DENSE[rows, columns][flip])
    assert again.id == matrix.id
    assert Matrix.from_coo((4, 5), rows, columns, DENSE[rows, columns]).id != matrix.id


def test_trusted_wraps_read_only_memory_maps(tmp_path):
    matrix = Matrix.from_any(DENSE)
    parts = []
    for name in ("data", "indices", "indptr"):
        np.save(tmp_path / f"{name}.npy", getattr(matrix.csr, name))
        parts.append(np.load(tmp_path / f"{name}.npy", mmap_mode="r"))
    opened = Matrix.trusted(sp.csr_array(tuple(parts), shape=matrix.shape), 3)
    assert np.shares_memory(opened.csr.data, parts[0])
    assert opened.id == matrix.id
    assert opened.duplicates_summed == 3


def test_pickles():
    matrix = Matrix.from_any(DENSE)
    again = pickle.loads(pickle.dumps(matrix))
    assert again.id == matrix.id
    assert repr(again) == "Matrix(4 × 4, 7 entries)"


def test_errors_are_of_the_one_tree():
    with pytest.raises(SolverServiceError) as error:
        Matrix.from_coo((3, 5), [0], [12], [1.0], field="matrix")
    assert error.value.detail == "matrix.col[0] is 12, but there are 5 columns (0 to 4)"
