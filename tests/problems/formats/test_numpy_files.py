import io
import pickle
import struct
import zipfile

import numpy as np
import pytest
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

DENSE = np.array([[0.0, 2.0, 0.0, -1.5], [0.0, 0.0, 0.0, 0.0], [3.0, 0.0, 1e-300, 4.0], [1.0, 1.0, 0.0, 0.0]])
CSR = sp.csr_array(DENSE)
PARTS = {
    "indices": CSR.indices,
    "indptr": CSR.indptr,
    "format": np.array(b"csr"),
    "shape": (4, 4),
    "data": CSR.data,
}


def npy(array, **options):
    buffer = io.BytesIO()
    np.save(buffer, array, **options)
    return buffer.getvalue()


def npz(**arrays):
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    return buffer.getvalue()


def archive(members, compression=zipfile.ZIP_STORED):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as packed:
        for name, content in members:
            packed.writestr(
                f"{name}.npy", content if isinstance(content, bytes) else npy(np.asarray(content))
            )
    return buffer.getvalue()


def refusal(kind, data, reader=read_matrix, **options):
    with pytest.raises(kind) as error:
        reader(data, **options)
    assert type(error.value) is kind
    return error.value.detail


@pytest.mark.parametrize("compressed", [True, False])
@pytest.mark.parametrize("kind", ["array", "matrix"])
@pytest.mark.parametrize("fmt", ["csr", "csc", "coo", "bsr", "dia"])
def test_what_scipy_saves(fmt, kind, compressed, tmp_path):
    path = tmp_path / "a file without a suffix"
    with path.open("wb") as stream:
        sp.save_npz(stream, getattr(sp, f"{fmt}_{kind}")(DENSE), compressed=compressed)
    for source in (path, path.read_bytes()):
        np.testing.assert_array_equal(read_matrix(source).csr.toarray(), DENSE)


def test_unsorted_duplicates_and_other_types():
    A = sp.coo_matrix((np.array([1, 2, 3], np.int16), ([1, 0, 1], [1, 0, 1])), shape=(2, 3))
    buffer = io.BytesIO()
    sp.save_npz(buffer, A)
    matrix = read_matrix(buffer.getvalue())
    assert matrix.duplicates_summed == 1
    np.testing.assert_array_equal(matrix.csr.toarray(), [[2, 0, 0], [0, 4, 0]])


def test_coordinates_in_one_array_and_text_format():
    coords = np.array([[0, 1], [2, 0]])
    found = read_matrix(npz(coords=coords, data=[1.0, 2.0], shape=(2, 3), format="coo", _is_array=True))
    np.testing.assert_array_equal(found.csr.toarray(), [[0, 0, 1], [2, 0, 0]])


def test_spare_room_is_ignored():
    parts = PARTS | {"data": np.append(CSR.data, np.nan), "indices": np.append(CSR.indices, 99)}
    np.testing.assert_array_equal(read_matrix(npz(**parts)).csr.toarray(), DENSE)


@pytest.mark.parametrize("name", ["indices", "indptr", "format", "shape", "data"])
def test_missing_arrays_are_named(name):
    parts = {key: value for key, value in PARTS.items() if key != name}
    assert f"'{name}'" in refusal(MalformedMatrixError, npz(**parts))


@pytest.mark.parametrize(
    ("change", "kind", "words"),
    [
        ({"indices": CSR.indices + 1}, IndexOutOfRangeError, "matrix.indices[1] is 4"),
        ({"indices": CSR.indices - 1}, IndexOutOfRangeError, "matrix.indices[2] is -1"),
        ({"indices": CSR.indices.astype(np.int64) + 2**32}, IndexOutOfRangeError, "matrix.indices[0]"),
        ({"indices": CSR.indices.astype(float)}, MalformedMatrixError, "matrix.indices"),
        ({"indices": CSR.indices[:-1]}, MalformedMatrixError, "do not agree"),
        ({"indptr": CSR.indptr[::-1].copy()}, MalformedMatrixError, "matrix.indptr[0]"),
        ({"indptr": np.array([0, 5, 2, 5, 7])}, MalformedMatrixError, "matrix.indptr[2]"),
        ({"indptr": CSR.indptr[:-1]}, MalformedMatrixError, "matrix.indptr"),
        ({"indptr": np.array([], int)}, MalformedMatrixError, "matrix.indptr"),
        ({"indptr": np.array(7)}, MalformedMatrixError, "matrix.indptr"),
        ({"data": CSR.data[:-1]}, MalformedMatrixError, "do not agree"),
        ({"data": CSR.data[None]}, MalformedMatrixError, "do not agree|one-dimensional"),
        ({"data": CSR.data * np.nan}, NonFiniteError, "matrix.data[0]"),
        ({"data": CSR.data * 1j}, InvalidInputError, "complex"),
        ({"data": CSR.data.astype("S8")}, InvalidInputError, "real numbers"),
        ({"shape": (4, 3)}, IndexOutOfRangeError, "matrix.indices"),
        ({"shape": (3, 4)}, MalformedMatrixError, "matrix.indptr"),
        ({"shape": (4,)}, MalformedMatrixError, "shape"),
        ({"shape": (4, 4, 4)}, MalformedMatrixError, "shape"),
        ({"shape": 16}, MalformedMatrixError, "shape"),
        ({"shape": (4.0, 4.0)}, MalformedMatrixError, "shape"),
        ({"shape": (-4, 4)}, InvalidInputError, "matrix.shape[0]"),
        ({"shape": (0, 4)}, InvalidInputError, "matrix.shape[0]"),
        ({"shape": (2**40, 4)}, ResourceLimitError, "rows"),
        ({"format": b"lil"}, MalformedMatrixError, "sparse format"),
        ({"format": b"csr\xff"}, MalformedMatrixError, "sparse format"),
        ({"format": [b"csr", b"csr"]}, MalformedMatrixError, "sparse format"),
        ({"format": 7}, MalformedMatrixError, "format"),
        ({"format": b"bsr"}, MalformedMatrixError, "tile"),
        ({"format": b"dia"}, MalformedMatrixError, "'offsets'"),
    ],
)
def test_broken_arrays(change, kind, words):
    detail = refusal(kind, npz(**(PARTS | change)))
    assert any(word in detail for word in words.split("|"))


def test_block_and_diagonal_arrays_are_checked():
    bsr = {
        "format": b"bsr",
        "shape": (4, 4),
        "indptr": [0, 1, 2],
        "indices": [0, 1],
        "data": np.ones((2, 2, 2)),
    }
    np.testing.assert_array_equal(read_matrix(npz(**bsr)).csr.toarray(), np.kron(np.eye(2), np.ones((2, 2))))
    assert "matrix.indices[1]" in refusal(IndexOutOfRangeError, npz(**(bsr | {"indices": [0, 2]})))
    refusal(MalformedMatrixError, npz(**(bsr | {"data": np.ones((2, 3, 2))})))
    refusal(MalformedMatrixError, npz(**(bsr | {"data": np.ones((2, 0, 2))})))
    refusal(MalformedMatrixError, npz(**(bsr | {"data": np.ones((1, 2, 2))})))
    refusal(NonFiniteError, npz(**(bsr | {"data": np.full((2, 2, 2), np.inf)})))
    dia = {"format": b"dia", "shape": (3, 3), "offsets": [0, 1], "data": np.ones((2, 3))}
    np.testing.assert_array_equal(read_matrix(npz(**dia)).csr.toarray(), np.eye(3) + np.eye(3, k=1))
    refusal(MalformedMatrixError, npz(**(dia | {"offsets": [0, 0]})))
    refusal(MalformedMatrixError, npz(**(dia | {"offsets": [0]})))
    refusal(NonFiniteError, npz(**(dia | {"data": np.full((2, 3), np.nan)})))
    far = np.array([0, 2**63 + 5], np.uint64)
    np.testing.assert_array_equal(read_matrix(npz(**(dia | {"offsets": far}))).csr.toarray(), np.eye(3))


def test_damaged_archives():
    good = npz(**PARTS)
    for data in (good[:-30], good[: len(good) // 2], good[:10], b"PK\x05\x06" + bytes(18), b"PK\x03\x04"):
        refusal(MalformedMatrixError, data)
    changed = bytearray(good)
    changed[changed.index(CSR.data.tobytes())] ^= 1
    assert "damaged" in refusal(MalformedMatrixError, bytes(changed))


def test_encrypted_doubled_and_oddly_packed_members():
    encrypted = bytearray(npz(**PARTS))
    place = -1
    while (place := encrypted.find(b"PK\x01\x02", place + 1)) >= 0:
        encrypted[place + 8] |= 1
    assert "encrypted" in refusal(MalformedMatrixError, bytes(encrypted))
    with pytest.warns(UserWarning, match="Duplicate name"):
        doubled = archive([*PARTS.items(), ("data", CSR.data * 2)])
    assert "two members" in refusal(MalformedMatrixError, doubled)
    assert "deflate" in refusal(MalformedMatrixError, archive(PARTS.items(), zipfile.ZIP_LZMA))


def test_a_zip_bomb_is_refused_by_its_own_directory():
    zeros = archive([*PARTS.items(), ("more", bytes(50 << 20))], zipfile.ZIP_DEFLATED)
    assert len(zeros) < 100_000
    assert "bytes when decompressed" in refusal(ResourceLimitError, zeros, limits=Limits(max_bytes=10 << 20))


def test_a_declared_size_must_be_possible():
    good = bytearray(archive(PARTS.items(), zipfile.ZIP_DEFLATED))
    place = good.find(b"PK\x01\x02")
    good[place + 24 : place + 28] = struct.pack("<I", 2**31)
    assert "cannot have" in refusal(MalformedMatrixError, bytes(good))


def test_entries_are_limited_by_the_header():
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "<f8", "fortran_order": False, "shape": (10**9,)})
    members = [*(PARTS | {"data": header.getvalue()}).items()]
    assert "entries" in refusal(ResourceLimitError, archive(members), limits=Limits(max_entries=10**6))
    assert "declares" in refusal(MalformedMatrixError, archive(members), limits=Limits(max_entries=10**10))


def test_pickles_are_never_loaded():
    class Trap:
        def __reduce__(self):
            return (pytest.fail, ("a pickle was loaded",))

    objects = np.array([Trap(), 1.0], dtype=object)
    data = npy(objects, allow_pickle=True)
    for reader in (read_matrix, read_array):
        assert "pickle" in refusal(MalformedMatrixError, data, reader)
    assert "pickle" in refusal(MalformedMatrixError, archive([*(PARTS | {"data": data}).items()]))
    refusal(MalformedMatrixError, pickle.dumps([1.0]))


@pytest.mark.parametrize("dtype", ["?", "i1", "<u8", ">i4", "<f2", ">f8", "f8"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_dense_npy_becomes_sparse(dtype, order, tmp_path):
    dense = np.array([[0, 1, 1], [1, 0, 0]], dtype=dtype, order=order)
    matrix = read_matrix(npy(dense))
    np.testing.assert_array_equal(matrix.csr.toarray(), dense.astype(float))
    assert matrix.nnz == 3
    path = tmp_path / "matrix.mtx"
    path.write_bytes(npy(dense))
    assert read_matrix(path).id == matrix.id


def test_booleans_are_zero_or_one_whatever_their_byte():
    data = bytearray(npy(np.array([True, False])))
    data[-2] = 200
    assert read_array(bytes(data)).tolist() == [1.0, 0.0]


@pytest.mark.parametrize("shape", [(3,), (), (2, 2, 2), (0, 3), (3, 0)])
def test_an_npy_that_is_no_matrix(shape):
    refusal(InvalidInputError, npy(np.zeros(shape)))


@pytest.mark.parametrize("version", [(1, 0), (2, 0), (3, 0)])
def test_versions_of_npy(version):
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, np.array([1.0, 2.0]), version=version)
    assert read_array(buffer.getvalue()).tolist() == [1.0, 2.0]
    changed = bytearray(buffer.getvalue())
    changed[6] = 9
    assert "version 9.0" in refusal(MalformedMatrixError, bytes(changed), read_array)


@pytest.mark.parametrize(
    "header",
    [
        "{'descr': '<f8', 'fortran_order': False, 'shape': (-1,), }",
        "{'descr': '<f8', 'fortran_order': False, 'shape': (2,)",
        "{'descr': '<f8', 'fortran_order': False}",
        "{'descr': 'nonsense', 'fortran_order': False, 'shape': (2,)}",
        "{'descr': '<f8', 'fortran_order': 0, 'shape': (2,)}",
        "{'descr': '<f8', 'fortran_order': False, 'shape': (2.5,)}",
        "{'descr': [('a', '<f8')], 'fortran_order': False, 'shape': (2,)}",
        "{'descr': '<f8', 'fortran_order': False, 'shape': (99999999999999999999,)}",
        "__import__('os').abort()",
        "(" * 500,
        "'''",
        "1 +",
    ],
)
def test_damaged_npy_headers(header):
    text = header.encode() + b"\n"
    data = b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text + bytes(16)
    with pytest.raises(InvalidInputError):
        read_array(data)


def test_npy_of_another_length_than_declared():
    data = npy(np.arange(4.0))
    for other in (data[:-1], data[:-8], data + b"\x00", data[:20], data[:6]):
        refusal(MalformedMatrixError, other, read_array)


def test_arrays_keep_their_dimensions():
    assert read_array(npy(np.ones(3))).shape == (3,)
    assert read_array(npy(np.ones((3, 1)))).shape == (3, 1)
    block = read_array(npy(np.asfortranarray(np.arange(6.0).reshape(3, 2))))
    assert block.tolist() == [[0, 1], [2, 3], [4, 5]]
    assert block.flags.c_contiguous
    assert np.isnan(read_array(npy(np.array([np.nan])))).all()
    for bad in (np.ones((2, 2, 2)), np.array(1.0)):
        refusal(InvalidInputError, npy(bad), read_array)
    assert "complex" in refusal(InvalidInputError, npy(np.ones(2, complex)), read_array)
    refusal(InvalidInputError, npy(np.array(["a"])), read_array)
    refusal(ResourceLimitError, npy(np.ones(11)), read_array, limits=Limits(max_entries=10))


def test_arrays_from_npz():
    assert read_array(npz(b=np.arange(3.0))).tolist() == [0.0, 1.0, 2.0]
    buffer = io.BytesIO()
    sp.save_npz(buffer, sp.csc_array([[0.0], [5.0], [0.0]]))
    assert read_array(buffer.getvalue()).tolist() == [0.0, 5.0, 0.0]
    refusal(MalformedMatrixError, npz(b=np.ones(2), c=np.ones(2)), read_array)
