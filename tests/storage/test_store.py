import mmap
import re
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from scipy.sparse import csr_array, eye_array, random_array

from solver_service.errors import InvalidInputError, MatrixNotFoundError
from solver_service.problems.matrix import Matrix
from solver_service.storage import MatrixRecord, MatrixStore

MATRICES = {
    "square": eye_array(5).tocsr(),
    "one by one": csr_array([[3.0]]),
    "no entries": csr_array((4, 7)),
    "one empty entry": csr_array((1, 1)),
    "wide": random_array((3, 1000), density=0.3, format="csr", rng=np.random.default_rng(1)),
    "tall": random_array((100_000, 2), density=0.01, format="csr", rng=np.random.default_rng(2)),
    "very wide": csr_array(([1.0, 2.0], ([0, 1], [0, 2**40])), shape=(2, 2**40 + 1)),
}


def owner(array):
    while isinstance(array, np.ndarray):
        array = array.base
    return array.obj if isinstance(array, memoryview) else array


@pytest.mark.parametrize("A", MATRICES.values(), ids=MATRICES)
def test_a_matrix_comes_back_as_it_was_put(store, A):
    matrix = Matrix.from_any(A)
    record, created = store.put(matrix)
    opened = store.open(record.id)
    assert created
    assert record.id == matrix.id == opened.id
    assert Matrix(opened.csr).id == matrix.id  # hashed anew
    assert opened.shape == matrix.shape
    assert opened.nnz == matrix.nnz
    for name in ("indptr", "indices", "data"):
        ours, theirs = getattr(opened.csr, name), getattr(matrix.csr, name)
        assert_array_equal(ours, theirs)
        assert ours.dtype == theirs.dtype
    assert opened.csr.has_canonical_format


@pytest.mark.parametrize("name", ["tall", "very wide"])
def test_an_opened_matrix_is_mapped_not_read(store, name):
    opened = store.open(store.put(Matrix.from_any(MATRICES[name]))[0].id)
    for array in (opened.csr.indptr, opened.csr.indices, opened.csr.data):
        assert isinstance(owner(array), mmap.mmap)
        assert not array.flags.writeable
        assert type(array) is np.ndarray


def test_an_opened_matrix_can_be_multiplied(store):
    A = MATRICES["tall"]
    csr = store.open(store.put(Matrix.from_any(A))[0].id).csr
    x, y = np.arange(2.0), np.arange(100_000.0)
    assert_array_equal(csr @ x, A @ x)
    assert_array_equal(csr.T @ y, A.T @ y)


def test_the_record_tells_what_was_put(store, make_matrix):
    before = datetime.now(UTC)
    matrix = make_matrix(0)
    properties = {"frobenius_norm": 1.5, "sigma_max": None, "symmetric": False, "zero_rows": 2}
    record, _ = store.put(matrix, name="ash «Ω»", properties=properties)
    assert record == MatrixRecord(
        id=matrix.id,
        name="ash «Ω»",
        shape=(30, 20),
        nnz=120,
        bytes=31 * 4 + 120 * 4 + 120 * 8,
        created_at=record.created_at,
        properties=properties,
    )
    assert before <= record.created_at <= datetime.now(UTC)
    assert record.created_at.utcoffset() == timedelta(0)
    assert store.get(matrix.id) == record
    document = record.to_document()
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", document["created_at"])
    assert MatrixRecord.from_document(document) == record


def test_the_first_name_stays(store, make_matrix):
    first, created = store.put(make_matrix(0), name="first", properties={"symmetric": True})
    assert created
    again, created = store.put(make_matrix(0), name="second")
    assert not created
    assert again == first


def test_a_store_is_found_again(store, make_matrix, tmp_path):
    record, _ = store.put(make_matrix(0))
    again = MatrixStore(tmp_path / "data")
    assert again.get(record.id) == record
    assert again.put(make_matrix(0)) == (record, False)


def test_properties_that_are_no_json_are_refused_and_leave_nothing(store, make_matrix, files):
    with pytest.raises(ValueError, match="JSON"):
        store.put(make_matrix(0), properties={"sigma_max": float("nan")})
    assert files() == []


@pytest.mark.parametrize(
    "wrong",
    [
        "",
        "mat_",
        "mat_" + "0" * 31,
        "mat_" + "A" * 32,
        "mat_" + "0" * 32 + "\n",
        "../../etc",
        "mat_/../..",
        ".",
    ],
)
@pytest.mark.parametrize("call", ["get", "open", "take_away"])
def test_a_malformed_id_names_no_matrix(store, call, wrong, tmp_path):
    with pytest.raises(MatrixNotFoundError):
        getattr(store, call)(wrong)
    assert (tmp_path / "data" / "matrices").is_dir()


@pytest.mark.parametrize("call", ["get", "open", "take_away"])
def test_an_unknown_id_names_no_matrix(store, call):
    with pytest.raises(MatrixNotFoundError):
        getattr(store, call)("mat_" + "0" * 32)


def test_a_deleted_matrix_is_gone_but_stays_usable_where_it_is_open(store, make_matrix, files):
    matrix = make_matrix(0)
    record, _ = store.put(matrix)
    opened = store.open(record.id)
    store.take_away(record.id)()
    assert files() == []
    assert store.list() == ([], None)
    for call in (store.get, store.open, store.take_away):
        with pytest.raises(MatrixNotFoundError):
            call(record.id)
    assert_array_equal(opened.csr.toarray(), matrix.csr.toarray())
    assert store.put(matrix)[1]


def test_a_matrix_is_gone_before_its_files_are(store, make_matrix, files):
    record, _ = store.put(make_matrix(1))
    remove_files = store.take_away(record.id)
    with pytest.raises(MatrixNotFoundError):
        store.get(record.id)
    with pytest.raises(MatrixNotFoundError):
        store.take_away(record.id)
    assert len(files()) == 5
    assert store.put(make_matrix(1))[1]
    remove_files()
    assert len(files()) == 5
    assert store.open(record.id).id == record.id


def test_the_list_is_newest_first_and_pages_fit_together(store, make_matrix):
    records = [store.put(make_matrix(seed))[0] for seed in range(7)]
    newest_first = records[::-1]
    assert store.list() == (newest_first, None)
    assert store.list(limit=7) == (newest_first, None)
    seen, cursor = [], None
    while True:
        page, cursor = store.list(limit=3, cursor=cursor)
        seen += page
        if cursor is None:
            break
        assert len(page) == 3
    assert seen == newest_first


def test_pages_survive_changes_between_them(store, make_matrix):
    records = [store.put(make_matrix(seed))[0] for seed in range(6)]
    page, cursor = store.list(limit=2)
    assert page == [records[5], records[4]]
    store.take_away(records[4].id)()  # the one that the cursor points to
    store.take_away(records[3].id)()
    store.put(make_matrix(99))
    page, cursor = store.list(limit=2, cursor=cursor)
    assert page == [records[2], records[1]]
    page, cursor = store.list(limit=2, cursor=cursor)
    assert page == [records[0]]
    assert cursor is None


def test_matrices_of_the_same_instant_are_all_listed(store, make_matrix, monkeypatch):
    instant = datetime(2026, 1, 2, 3, 4, 5, 678, tzinfo=UTC)

    class Clock(datetime):
        @classmethod
        def now(cls, tz=None):  # noqa: ARG003
            return instant

    monkeypatch.setattr("solver_service.storage.store.datetime", Clock)
    ids = {store.put(make_matrix(seed))[0].id for seed in range(5)}
    first, cursor = store.list(limit=3)
    second, end = store.list(limit=3, cursor=cursor)
    assert {record.id for record in first + second} == ids
    assert len(first + second) == 5
    assert end is None


def test_foreign_files_in_the_folder_are_not_listed(store, make_matrix, tmp_path):
    record, _ = store.put(make_matrix(0))
    (tmp_path / "data" / "matrices" / "lost+found").mkdir()
    (tmp_path / "data" / "matrices" / ".DS_Store").touch()
    assert store.list() == ([record], None)


@pytest.mark.parametrize(
    "cursor",
    ["", "x", "x" * 5, "é", "....", "MTIz", "MTIzL21hdF8=", "AAAA" * 1000],
)
def test_a_wrong_cursor_is_an_input_error(store, cursor):
    with pytest.raises(InvalidInputError) as caught:
        store.list(cursor=cursor)
    assert [error.field for error in caught.value.errors] == ["cursor"]


def test_a_cursor_with_junk_in_it_is_refused(store, make_matrix):
    for seed in range(2):
        store.put(make_matrix(seed))
    _, cursor = store.list(limit=1)
    for wrong in (cursor + "=", cursor + "!", cursor[:-1], " " + cursor):
        with pytest.raises(InvalidInputError):
            store.list(cursor=wrong)
    assert len(store.list(cursor=cursor)[0]) == 1


@pytest.mark.parametrize("limit", [0, -1, 501])
def test_a_wrong_limit_is_an_input_error(store, limit):
    with pytest.raises(InvalidInputError) as caught:
        store.list(limit=limit)
    assert [error.field for error in caught.value.errors] == ["limit"]


def test_a_count_that_cannot_be_read_is_no_reason_to_tell_nothing(store, make_matrix, tmp_path):
    record, _ = store.put(make_matrix(0))
    (uses,) = tmp_path.rglob("uses")
    uses.unlink()
    uses.mkdir()
    assert store.usage_of(record).uses == 0
    assert [usage.id for usage in store.usage()] == [record.id]
    store.touch(record.id, 1)
