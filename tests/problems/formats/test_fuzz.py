"""Whatever the bytes, a reader returns a checked matrix or raises one of our errors."""

import gzip
import io
import zipfile

import numpy as np
import scipy.sparse as sp
from hypothesis import example, given, settings
from hypothesis import strategies as st

from solver_service.errors import SolverServiceError
from solver_service.problems.formats import read_array, read_matrix
from solver_service.problems.limits import Limits

LIMITS = Limits(max_rows=10_000, max_columns=10_000, max_entries=100_000, max_bytes=1_000_000)


def _seeds():
    rng = np.random.default_rng(0)
    A = sp.random_array((7, 5), density=0.3, rng=rng, format="csr")
    texts = [
        b"%%MatrixMarket matrix coordinate real general\n% c\n3 4 3\n1 2 5.5\n\n3 4 -7e-3\n1 1 2\n",
        b"%%MatrixMarket matrix coordinate integer symmetric\n3 3 2\n2 1 5\n3 3 7\n",
        b"%%MatrixMarket matrix coordinate pattern general\r\n2 2 2\r\n1 2\r\n2 1\r\n",
        b"%%MatrixMarket matrix coordinate real skew-symmetric\n3 3 1\n3 1 1e5\n",
        b"%%MatrixMarket matrix array real general\n3 2\n1\n2\n.5\n4\n0\n6\n",
        b"%%MatrixMarket matrix array integer symmetric\n2 2\n1\n2\n3\n",
    ]
    yield from texts
    yield gzip.compress(texts[0], mtime=0)
    for fmt in ("csr", "csc", "coo", "bsr", "dia"):
        for compressed in (False, True):
            buffer = io.BytesIO()
            sp.save_npz(buffer, A.asformat(fmt), compressed=compressed)
            yield buffer.getvalue()
    for array in (
        A.toarray(),
        A.toarray().T,
        np.arange(6),
        np.ones((2, 2), bool),
        np.ones(3, "c16"),
        np.array("a"),
    ):
        buffer = io.BytesIO()
        np.save(buffer, array)
        yield buffer.getvalue()


SEEDS = list(_seeds())
PIECES = [
    *(b"0 1 2 9 -1 -0 + - . e E 1e5 nan inf 1e400 4294967297 99999999999999999999 %".split(b" ")),
    *(
        b"general symmetric skew-symmetric hermitian real integer pattern complex array coordinate".split(
            b" "
        )
    ),
    *[b" ", b"\n", b"\r", b"\r\n", b"\t", b"\x00", b"\xff", b"\x0c", b"\x1a", b"\n\n", b"  \n"],
    *[
        b"PK\x03\x04",
        b"PK\x01\x02",
        b"PK\x05\x06",
        b"\x93NUMPY\x01\x00",
        b"\x1f\x8b\x08",
        b"\x01\x00\x00\x00",
    ],
    *[
        b"'<f8'",
        b"'|O'",
        b"'>i4'",
        b"True",
        b"(2,)",
        b"(-1, 3)",
        b"{",
        b"}",
        b"(",
        b")",
        b"[",
        b"\\x",
        b'"""',
    ],
]

edit = st.tuples(
    st.sampled_from(["insert", "delete", "replace", "flip", "cut", "repeat"]),
    st.floats(0, 1),
    st.one_of(st.sampled_from(PIECES), st.binary(min_size=1, max_size=8)),
    st.integers(1, 30),
)


def mutate(data, edits):
    content = bytearray(data)
    for action, where, piece, length in edits:
        at = int(where * len(content))
        if action == "insert":
            content[at:at] = piece
        elif action == "delete":
            del content[at : at + length]
        elif action == "replace":
            content[at : at + len(piece)] = piece
        elif action == "flip" and at < len(content):
            content[at] ^= 1 << (length % 8)
        elif action == "cut":
            del content[at:]
        elif action == "repeat":
            content[at:at] = content[max(0, at - length) : at]
    return bytes(content)


def check_readers(data):
    try:
        csr = read_matrix(data, LIMITS).csr
    except SolverServiceError as error:
        problem = error
    else:
        problem = None
        again = sp.csr_array((csr.data, csr.indices, csr.indptr), shape=csr.shape)
        again.check_format(full_check=True)
        assert again.has_canonical_format
        assert np.isfinite(csr.data).all()
    assert problem is None or (problem.detail and problem.errors)
    try:
        array = read_array(data, LIMITS)
    except SolverServiceError:
        return
    assert array.dtype == np.float64
    assert array.ndim in (1, 2)


def test_the_seeds_themselves():
    for data in SEEDS:
        check_readers(data)


@settings(max_examples=1500, deadline=None, derandomize=True)
@given(st.sampled_from(SEEDS), st.lists(edit, min_size=1, max_size=5))
@example(b"%%MatrixMarket matrix coordinate real general\n3 3 2\n1 1 1\x00\n3 3 2\n", [])
@example(b"%%MatrixMarket matrix array real general\n3 1\n1\n2\n3\x10", [])
@example(b"%%MatrixMarket matrix coordinate real general\n3 3 2\n   1 1 1\n 3 3 2   ", [])
def test_mutated_files(data, edits):
    check_readers(mutate(data, edits))


@settings(max_examples=500, deadline=None, derandomize=True)
@given(st.sampled_from([data for data in SEEDS if data.startswith(b"PK")]), st.integers(0, 9), st.lists(edit))
def test_archives_with_mutated_members(data, index, edits):
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        members = [(name, archive.read(name)) for name in archive.namelist()]
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for number, (name, content) in enumerate(members):
            archive.writestr(name, mutate(content, edits) if number == index % len(members) else content)
    check_readers(buffer.getvalue())


@settings(max_examples=200, deadline=None, derandomize=True)
@given(st.binary(max_size=300))
def test_arbitrary_bytes(data):
    check_readers(data)
