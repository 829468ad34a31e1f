import gzip
import io

import numpy as np
import pytest
import scipy.io
import scipy.sparse as sp

from solver_service.problems.formats import read_matrix, write_matrix
from solver_service.problems.matrix import Matrix


@pytest.fixture
def matrix():
    rng = np.random.default_rng(11)
    bits = rng.integers(0, 2**63, size=5000, dtype=np.uint64) | (
        rng.integers(0, 2, 5000).astype(np.uint64) << 63
    )
    data = bits.view(np.float64)
    data = data[np.isfinite(data)]
    count = len(data)
    return Matrix.from_coo((900, 700), rng.integers(0, 900, count), rng.integers(0, 700, count), data / 2)


@pytest.mark.parametrize("name", ["a.npz", "b.mtx", "c.mtx.gz"])
def test_the_same_bits_come_back(matrix, name, tmp_path):
    path = tmp_path / name
    write_matrix(matrix, path)
    assert [found.name for found in tmp_path.iterdir()] == [name]
    assert read_matrix(path).id == matrix.id


def test_others_can_read_it(matrix, tmp_path):
    write_matrix(matrix, tmp_path / "a.npz")
    write_matrix(matrix, tmp_path / "a.mtx.gz")
    loaded = sp.load_npz(tmp_path / "a.npz")
    assert loaded.format == "csr"
    for found in (loaded, sp.csr_array(scipy.io.mmread(tmp_path / "a.mtx.gz"))):
        np.testing.assert_array_equal(found.toarray(), matrix.csr.toarray())
    text = gzip.decompress((tmp_path / "a.mtx.gz").read_bytes())
    assert text.splitlines()[0] == b"%%MatrixMarket matrix coordinate real general"


@pytest.mark.parametrize("kind", ["npz", "mtx", "mtx.gz", None])
def test_open_files(matrix, kind):
    files = [io.BytesIO(), io.BytesIO()]
    for file in files:
        write_matrix(matrix, file, kind)
        assert not file.closed
    assert files[0].getvalue() == files[1].getvalue()
    assert read_matrix(files[0].getvalue()).id == matrix.id


def test_no_entries(tmp_path):
    empty = Matrix.from_any((3, 2))
    for name in ("a.npz", "a.mtx"):
        write_matrix(empty, tmp_path / name)
        assert read_matrix(tmp_path / name).id == empty.id


def test_unknown_suffix(matrix, tmp_path):
    with pytest.raises(ValueError, match="format"):
        write_matrix(matrix, tmp_path / "a.csv")
    assert list(tmp_path.iterdir()) == []
