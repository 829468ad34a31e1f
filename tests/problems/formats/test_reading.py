import pytest

from solver_service.errors import MalformedMatrixError
from solver_service.problems.formats import read_array, read_matrix


@pytest.mark.parametrize("reader", [read_matrix, read_array])
@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\n",
        b"1 2 3\n",
        b"{}",
        b"\x89HDF\r\n\x1a\n",
        b"\x00" * 100,
        b"%MatrixMarket matrix",
        b"\xff" * 9,
    ],
)
def test_unknown_content_is_told_what_is_recognised(reader, data, tmp_path):
    path = tmp_path / "secret-name.mtx.gz"
    path.write_bytes(data)
    for source in (data, path):
        with pytest.raises(MalformedMatrixError) as error:
            reader(source, field="part")
        for word in ("part", "Matrix Market", "gzip", ".npz", ".npy"):
            assert word in error.value.detail
        assert "secret" not in error.value.detail


def test_content_decides_not_the_name(tmp_path):
    path = tmp_path / "matrix.npz"
    path.write_text("%%MatrixMarket matrix coordinate real general\n1 1 1\n1 1 5\n")
    assert read_matrix(path).csr.toarray().tolist() == [[5.0]]


def test_a_missing_file_is_an_os_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        read_matrix(tmp_path / "nothing.mtx")
