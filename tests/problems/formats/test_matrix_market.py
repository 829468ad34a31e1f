import gzip
import io
import zlib

import numpy as np
import pytest
import scipy.io
import scipy.sparse as sp

from solver_service.errors import (
    IndexOutOfRangeError,
    InvalidInputError,
    MalformedMatrixError,
    NonFiniteError,
    ResourceLimitError,
)
from solver_service.problems.formats import read_array, read_matrix
from solver_service.problems.limits import Limits

REAL = "%%MatrixMarket matrix coordinate real general\n"
ARRAY = "%%MatrixMarket matrix array real general\n"


def dense(text, **options):
    data = text if isinstance(text, bytes) else text.encode()
    return read_matrix(data, **options).csr.toarray()


def refusal(kind, text, **options):
    data = text if isinstance(text, bytes) else text.encode()
    with pytest.raises(kind) as error:
        read_matrix(data, **options)
    assert type(error.value) is kind
    assert "\n" not in error.value.detail
    assert error.value.errors[0].field.startswith("matrix")
    return error.value.detail


@pytest.mark.parametrize("values", ["real", "integer", "unsigned-integer", "double"])
def test_general(values):
    text = f"%%MatrixMarket matrix coordinate {values} general\n3 4 3\n1 2 5\n3 4 7\n1 1 2\n"
    np.testing.assert_array_equal(dense(text), [[2, 5, 0, 0], [0, 0, 0, 0], [0, 0, 0, 7]])


def test_pattern_is_ones():
    text = "%%MatrixMarket matrix coordinate pattern general\n2 2 2\n1 2\n2 1\n"
    np.testing.assert_array_equal(dense(text), [[0, 1], [1, 0]])


@pytest.mark.parametrize(("symmetry", "sign"), [("symmetric", 1), ("skew-symmetric", -1)])
def test_symmetric_and_skew(symmetry, sign):
    text = f"%%MatrixMarket matrix coordinate real {symmetry}\n3 3 2\n2 1 5\n3 2 -1.5\n"
    np.testing.assert_array_equal(dense(text), [[0, 5 * sign, 0], [5, 0, -1.5 * sign], [0, -1.5, 0]])


def test_array_layouts():
    np.testing.assert_array_equal(dense(ARRAY + "2 3\n1\n2\n3\n4\n0\n6\n"), [[1, 3, 0], [2, 4, 6]])
    lower = "%%MatrixMarket matrix array real symmetric\n2 2\n1\n2\n3\n"
    np.testing.assert_array_equal(dense(lower), [[1, 2], [2, 3]])
    skew = "%%MatrixMarket matrix array integer skew-symmetric\n2 2\n7\n"
    np.testing.assert_array_equal(dense(skew), [[0, -7], [7, 0]])


@pytest.mark.parametrize(
    "text",
    [
        REAL + "% a comment\n%\n\n2 2 2\n\n1 1 1\n   \n2 2 2\n\n\n",
        (REAL + "% a comment\n\n2 2 2\n1 1 1\n\n2 2 2\n").replace("\n", "\r\n"),
        REAL + "2 2 2\n1 1 1\n2 2 2",
        REAL + "2\t2 \t2\n  1\t1\t 1.  \n2 2 .2e+1",
        "%%matrixmarket MATRIX Coordinate REAL General\n2 2 2\n1 1 1\n2 2 2\n",
        "\ufeff" + REAL + "2 2 2\n1 1 1\n2 2 2\n",
        REAL + "% caf\u00e9 \x00 \x07\n2 2 2\n01 1 001E0\n2 2 200e-2\n",
        REAL + "2 2 3\n1 1 1\n2 2 1.5\n2 2 .5\n",
    ],
)
def test_harmless_variations(text):
    np.testing.assert_array_equal(dense(text), [[1, 0], [0, 2]])
    np.testing.assert_array_equal(dense(gzip.compress(text.encode())), [[1, 0], [0, 2]])


@pytest.mark.parametrize(
    "number",
    [
        "1e-320",
        "5e-324",
        "0.1",
        "1" * 400 + "e-390",
        "2.2250738585072011e-308",
        "1." + "0" * 3000 + "1",
        "-1e308",
    ],
)
def test_numbers_are_rounded_correctly(number):
    assert read_matrix((REAL + f"1 1 1\n1 1 {number}\n").encode()).csr.data[0] == float(number)


def test_integers_beyond_64_bits_are_floats():
    text = "%%MatrixMarket matrix coordinate integer general\n1 1 1\n1 1 -99999999999999999999999\n"
    assert dense(text)[0, 0] == -99999999999999999999999.0


def test_duplicates_are_summed_and_counted():
    matrix = read_matrix((REAL + "2 2 3\n1 1 1\n1 1 2\n2 2 0\n").encode())
    assert (matrix.duplicates_summed, matrix.nnz) == (1, 1)


def test_many_blocks_and_several_gzip_members():
    rng = np.random.default_rng(5)
    A = sp.random_array((3000, 2000), density=0.01, rng=rng, format="coo")
    buffer = io.BytesIO()
    scipy.io.mmwrite(buffer, A, symmetry="general")
    text = buffer.getvalue()
    assert len(text) > 3 * 2**18
    assert abs(read_matrix(text).csr - A).max() == 0
    half = len(text) // 2
    members = gzip.compress(text[:half]) + gzip.compress(text[half:])
    assert read_matrix(members).id == read_matrix(text).id
    lines = text.split(b"\n")
    lines[40_000] = b"1 1 1,5"
    assert "line 40001:" in refusal(MalformedMatrixError, b"\n".join(lines))


@pytest.mark.parametrize(
    ("body", "line"),
    [
        ("2 2 2\n1 1 x\n2 2 2\n", 3),
        ("2 2 2\n1 1\n2 2 2\n", 3),
        ("2 2 2\n1 1 1 7\n2 2 2\n", 3),
        ("2 2 2\n1 1 1 2 2 2\n", 3),
        ("% c\n\n2 2 2\n\n1 1 1\n\n% late comment\n2 2 2\n", 8),
        ("2 2 2\n1 1 1.5D+05\n2 2 2\n", 3),
        ("2 2 2\n1 1 0x1p3\n2 2 2\n", 3),
        ("2 2 2\n1 1 1\n2 2 1.5.3\n", 4),
        ("2 2 2\n1 1 1\n2 2 1-5\n", 4),
        ("2 2 2\n1 1 1\n2 2 1e\n", 4),
        ("2 2 2\n1 1 1\n2 2 --1\n", 4),
        ("2 2 2\n1 1 1\n2 2 1_000\n", 4),
        ("2 2 2\n1.0 1 1\n2 2 1\n", 3),
        ("2 2 2\n-1 1 1\n2 2 1\n", 3),
        ("2 2 2\n1 1 1\x00\n2 2 1\n", 3),
        ("2 2 2\n1 1 \u0661\n2 2 1\n", 3),
        ("2 2 1\n1 1 1\n2 2 1\n", 4),
        ("2 2 0\n1 1 1\n", 3),
        ("2 2\n1 1 1\n", 2),
        ("2 2 2 2\n1 1 1\n", 2),
        ("2 2 -1\n1 1 1\n", 2),
        ("2.5 2 1\n1 1 1\n", 2),
        ("2 2 99999999999999999999999\n1 1 1\n", 2),
        ("1 1 1\n", 2),
    ],
)
def test_broken_lines_are_named(body, line):
    if body == "1 1 1\n":
        assert "fewer" in refusal(MalformedMatrixError, REAL + body)
        return
    assert f"line {line}:" in refusal(MalformedMatrixError, REAL + body)
    assert f"line {line}:" in refusal(MalformedMatrixError, gzip.compress((REAL + body).encode()))


@pytest.mark.parametrize(
    ("values", "body"),
    [("integer", "1 1 1\n1 1 5.5\n"), ("integer", "1 1 1\n1 1 1e3\n"), ("pattern", "1 1 1\n1 1 5\n")],
)
def test_values_of_another_kind_than_declared(values, body):
    text = f"%%MatrixMarket matrix coordinate {values} general\n" + body
    assert "line 3:" in refusal(MalformedMatrixError, text)


@pytest.mark.parametrize(
    "entry", ["4 1 1", "0 1 1", "1 4 1", "1 0 1", "99999999999999999999999 1 1", "1 4294967297 1"]
)
def test_indices_outside_the_declared_shape(entry):
    detail = refusal(IndexOutOfRangeError, REAL + f"% c\n\n3 3 2\n1 1 1\n\n{entry}\n")
    assert "line 7:" in detail
    assert "1 to 3" in detail


@pytest.mark.parametrize("number", ["nan", "NaN", "-inf", "Infinity", "1e400", "-1e999999999", "9" * 400])
@pytest.mark.parametrize("start", [REAL + "3 3 2\n1 1 1\n\n2 2 ", ARRAY + "2 1\n\n5\n"])
def test_values_that_are_not_finite(number, start):
    line = start.count("\n") + 1
    assert f"line {line}:" in refusal(NonFiniteError, f"{start}{number}\n")


@pytest.mark.parametrize(
    "text",
    [
        REAL + "3 3 3\n1 1 1\n2 2 2\n",
        REAL + "3 3 3\n1 1 1\n2 2 2",
        REAL + "3 3 5000000\n1 1 1\n",
        ARRAY + "3 1\n1\n2\n",
        ARRAY + "3 1\n1\n2 ",
        ARRAY + "3 1\n1\n2\n3\n4\n",
        ARRAY + "3 1\n1 2 3\n",
        REAL,
        REAL + "% only a comment\n",
        "%%MatrixMarket\n1 1 1\n1 1 1\n",
        "%%MatrixMarket matrix coordinate real\n1 1 1\n1 1 1\n",
        "%%MatrixMarket matrix coordinate quaternion general\n1 1 1\n1 1 1\n",
        "%%MatrixMarket matrix sparse real general\n1 1 1\n1 1 1\n",
        "%%MatrixMarket matrix coordinate real triangular\n1 1 1\n1 1 1\n",
        "%%MatrixMarket vector coordinate real general\n1 1\n1 1\n",
        "%%MatrixMarket matrix coordinate real symmetric\n2 3 1\n2 1 1\n",
        "%%MatrixMarket matrix coordinate real skew-symmetric\n2 2 1\n1 1 1\n",
        "%%MatrixMarket matrix coordinate pattern skew-symmetric\n2 2 1\n2 1\n",
        "%%MatrixMarket matrix array pattern general\n1 1\n",
        REAL + "1 1 1\n1 1 " + "1" * (3 << 20) + "\n",
        REAL + "%" + "x" * (3 << 20) + "\n1 1 1\n1 1 1\n",
        REAL + "%x\n" * (3 << 20) + "1 1 1\n1 1 1\n",
    ],
    ids=lambda text: text[:60],
)
def test_broken_files(text):
    refusal(MalformedMatrixError, text)


@pytest.mark.parametrize(
    "header", ["coordinate complex general", "coordinate complex hermitian", "array complex general"]
)
def test_complex_is_refused_as_such(header):
    assert "complex" in refusal(InvalidInputError, f"%%MatrixMarket matrix {header}\n1 1 1\n1 1 1 0\n")


@pytest.mark.parametrize("sizes", ["0 3 0", "3 0 0"])
def test_a_matrix_has_rows_and_columns(sizes):
    refusal(InvalidInputError, REAL + sizes + "\n")


@pytest.mark.parametrize("sizes", ["11 1 1", "1 11 1", "9 9 51"])
def test_limits_come_before_allocation(sizes):
    limits = Limits(max_rows=10, max_columns=10, max_entries=50)
    refusal(ResourceLimitError, REAL + sizes + "\n1 1 1\n", limits=limits)


def test_limits_count_both_halves_and_dense_entries():
    limits = Limits(max_entries=50)
    text = "%%MatrixMarket matrix coordinate real symmetric\n9 9 26\n"
    refusal(ResourceLimitError, text, limits=limits)
    refusal(ResourceLimitError, ARRAY + "10 6\n", limits=limits)
    refusal(ResourceLimitError, REAL + "3 3 4000000000000000000\n1 1 1\n")
    refusal(ResourceLimitError, REAL + "4000000000000000000 1 1\n1 1 1\n")
    assert "can hold" in refusal(MalformedMatrixError, REAL + "3 3 100000000\n1 1 1\n")


def bomb(head, filler, count):
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    parts = [packer.compress(head)]
    block = filler * ((1 << 20) // len(filler))
    parts.extend(packer.compress(block) for _ in range(count))
    return b"".join([*parts, packer.flush()])


def test_a_gzip_bomb_is_refused_at_the_limit():
    packed = bomb(REAL.encode() + b"1 1 1\n1 1 1\n", b"\n", 40)
    assert len(packed) < 100_000
    refusal(ResourceLimitError, packed, limits=Limits(max_bytes=2**24))


def test_a_gzip_bomb_within_the_limit_is_refused_by_what_its_header_declares():
    packed = bomb(REAL.encode() + b"1 1 1\n1 1 1\n", b" \n", 80)
    assert "far longer" in refusal(MalformedMatrixError, packed)


def test_damaged_gzip():
    packed = gzip.compress((REAL + "2 2 2\n1 1 1\n2 2 2\n").encode())
    assert "truncated" in refusal(MalformedMatrixError, packed[:-9])
    assert "truncated" in refusal(MalformedMatrixError, packed[:4])
    refusal(MalformedMatrixError, packed[:-8] + bytes(8))
    refusal(MalformedMatrixError, packed + b"tail")
    refusal(MalformedMatrixError, packed[:20] + bytes(10) + packed[30:])
    assert "something else" in refusal(MalformedMatrixError, gzip.compress(b"hello"))
    assert "something else" in refusal(MalformedMatrixError, gzip.compress(packed))


def test_vectors():
    column = read_array((ARRAY + "3 1\n1\n2\n3\n").encode())
    assert column.tolist() == [1.0, 2.0, 3.0]
    block = read_array((ARRAY + "2 2\n1\n2\n3\n4\n").encode())
    assert block.tolist() == [[1.0, 3.0], [2.0, 4.0]]
    assert block.flags.c_contiguous
    sparse = read_array((REAL + "3 1 2\n3 1 5\n3 1 1\n").encode())
    assert sparse.tolist() == [0.0, 0.0, 6.0]
    assert read_array((REAL + "2 2 1\n2 1 5\n").encode()).tolist() == [[0.0, 0.0], [5.0, 0.0]]
    with pytest.raises(ResourceLimitError):
        read_array((REAL + "50000000 50000000 1\n2 1 5\n").encode())
    with pytest.raises(NonFiniteError, match=r"^b, line 4:"):
        read_array((ARRAY + "3 1\n1\nnan\n3\n").encode())
