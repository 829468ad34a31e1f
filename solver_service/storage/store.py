"""The store: one directory for each matrix, named by its content."""

from __future__ import annotations

import errno
import fcntl
import heapq
import json
import logging
import os
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple, NoReturn, TypeVar

import numpy as np

from ..errors import (
    MatrixNotFoundError,
    SolverServiceError,
)
from ..problems.matrix import Matrix, csr_of_arrays
from .files import full_disk_reported, map_array, sync_directory, write_array, write_bytes
from .pages import check_limit, make_cursor, parse_cursor
from .prepared import PreparedStore
from .record import MATRIX_ID, MatrixRecord
from .staging import Staging

_CURSOR = re.compile(r"([0-9]{1,20})/(mat_[0-9a-f]{32})", re.ASCII)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_META = "meta.json"
_USES = "uses"
_DIGITS = 20
_TRIES = 20

T = TypeVar("T")

logger = logging.getLogger(__name__)


class Usage(NamedTuple):
    """Size of a stored matrix in bytes, when it was stored or last used, and how often it was used."""

    id: str
    bytes: int
    last_used: datetime
    uses: int


class MatrixStore:
    """Matrices in a folder, each stored once however often and by however many processes it is put.

    ``<root>/matrices/<id>/`` holds the canonical CSR as three ``.npy`` files and ``meta.json``. It appears
    by a rename when all of it is on the disk, and never changes, but for ``uses``, which tells how often the
    matrix was used, and by its time when. Opening maps the arrays, so that all processes share their memory.

    Parameters
    ----------
    root : path
        Data folder; made if it is not there. What dead processes left unfinished in it is removed.

    Attributes
    ----------
    prepared : PreparedStore
        What is derived from the matrices.
    """

    def __init__(self, root: str | os.PathLike[str]) -> None:
        self._matrices = Path(root) / "matrices"
        staging = Path(root) / "staging"
        if not (self._matrices.is_dir() and staging.is_dir()):
            self._matrices.mkdir(parents=True, exist_ok=True)
            staging.mkdir(exist_ok=True)
            sync_directory(Path(root))
        self._staging = Staging(staging)
        self._staging.remove_leftovers()
        self.prepared = PreparedStore(Path(root) / "prepared", self._staging)

    def put(
        self, matrix: Matrix, *, name: str | None = None, properties: Mapping[str, Any] | None = None
    ) -> tuple[MatrixRecord, bool]:
        """Store a matrix durably; if its content is there already, nothing changes.

        Returns
        -------
        record : MatrixRecord
            The stored one, with the name and properties of whoever came first.
        created : bool
            Whether it was stored now.

        Raises
        ------
        OutOfMemoryError
            No space is left on the disk; nothing stays behind.
        """
        existing = self._existing(matrix.id)
        if existing is not None:
            self.touch(matrix.id)
            return existing, False
        record = _describe(matrix, name, properties)
        meta = json.dumps(record.to_document(), allow_nan=False).encode("ascii")
        with full_disk_reported(), self._staging.directory() as directory:
            for part, array in _arrays(matrix).items():
                write_array(directory / f"{part}.npy", array)
            write_bytes(directory / _META, meta)
            write_bytes(directory / _USES, _count(0))
            created_ns = _nanoseconds(record.created_at)
            os.utime(directory, ns=(created_ns, created_ns))  # the order of list()
            sync_directory(directory)
            while not self._publish(directory, record.id):
                existing = self._existing(record.id)
                if existing is not None:
                    return existing, False
        return record, True

    def get(self, matrix_id: str) -> MatrixRecord:
        """Return the record of a stored matrix, or raise `MatrixNotFoundError`."""
        return self._read(matrix_id, _read_record)

    def open(self, matrix_id: str) -> Matrix:
        """Map a stored matrix into memory, or raise `MatrixNotFoundError`. Nothing is read or copied.

        Once opened it can be used even if it is deleted meanwhile.
        """
        return self._read(matrix_id, _map_matrix)

    def _read(self, matrix_id: str, read: Callable[[Path], T]) -> T:
        directory = self._directory(matrix_id)
        tries = _TRIES
        while True:
            try:
                return read(directory)
            except FileNotFoundError as error:
                if not directory.is_dir():
                    raise _not_found() from None
                tries -= 1  # it may have been deleted and stored anew in between
                if not tries:
                    _damaged(matrix_id, error)
            except (OSError, ValueError, KeyError, TypeError, EOFError) as error:
                _damaged(matrix_id, error)

    def list(self, limit: int = 50, cursor: str | None = None) -> tuple[list[MatrixRecord], str | None]:
        """Return one page of records, newest first, and the cursor of the next page or None.

        Pages neither repeat nor miss a record because others are stored or deleted between them.

        Raises
        ------
        InvalidInputError
            The limit is not in 1 … 500, or the cursor is not one that this method gave.
        """
        check_limit(limit)
        before = None if cursor is None else _key(parse_cursor(cursor, _CURSOR))
        page = heapq.nlargest(limit + 1, (key for key in self._keys() if before is None or key < before))
        more = len(page) > limit
        records = []
        for _, matrix_id in page[:limit]:
            try:
                records.append(self.get(matrix_id))
            except SolverServiceError:  # deleted just now; or damaged, which is logged
                continue
        return records, make_cursor("{}/{}".format(*page[limit - 1])) if more else None

    def take_away(self, matrix_id: str) -> Callable[[], None]:
        """Make that a matrix is not there any more, and return what removes its files, which takes longer.

        What was derived from it goes too.

        Raises
        ------
        MatrixNotFoundError
        """
        try:
            remove_files = self._staging.take_away(self._directory(matrix_id))
        except FileNotFoundError:
            raise _not_found() from None
        sync_directory(self._matrices)
        remove_derived = self.prepared.take_away(matrix_id)

        def remove() -> None:
            remove_files()
            remove_derived()

        return remove

    def remove_leftovers(self) -> None:
        """Remove what was derived from matrices that are not there any more, or by another version."""
        for matrix_id in self.prepared.ids():
            if not self._directory(matrix_id).is_dir():
                self.prepared.take_away(matrix_id)()
        self.prepared.remove_stale()

    def touch(self, matrix_id: str, uses: int = 0) -> None:
        """Note that a matrix is used now, and add to the number of its uses.

        A count may be lost when the process or the machine dies.
        """
        path = self._directory(matrix_id) / _USES
        with suppress(OSError), path.open("r+b", buffering=0) as file:
            os.utime(file.fileno())
            if uses:
                fcntl.flock(file, fcntl.LOCK_EX)
                count = _parse_count(file.read(_DIGITS)) + uses
                file.seek(0)
                file.write(_count(count))

    def usage_of(self, record: MatrixRecord) -> Usage:
        """How much the matrix of a record was used; nothing where that cannot be read, or it is deleted."""
        try:
            with (self._directory(record.id) / _USES).open("rb", buffering=0) as file:
                used = os.fstat(file.fileno()).st_mtime
                return Usage(
                    record.id,
                    record.bytes,
                    datetime.fromtimestamp(used, UTC),
                    _parse_count(file.read(_DIGITS)),
                )
        except OSError:
            return Usage(record.id, record.bytes, record.created_at, 0)

    def usage(self) -> Iterator[Usage]:
        """Yield how much each matrix was used."""
        for _, matrix_id in list(self._keys()):
            try:
                yield self.usage_of(self.get(matrix_id))
            except SolverServiceError:  # deleted just now; or damaged, which is logged
                continue

    def writable(self) -> bool:
        """Whether matrices can be stored now, as far as a quick look tells."""
        return self._staging.writable() and os.access(self._matrices, os.W_OK | os.X_OK)

    def _directory(self, matrix_id: str) -> Path:
        if MATRIX_ID.fullmatch(matrix_id) is None:  # so that no id can lead out of the folder
            raise _not_found()
        return self._matrices / matrix_id

    def _existing(self, matrix_id: str) -> MatrixRecord | None:
        try:
            self.open(matrix_id)
            return self.get(matrix_id)
        except MatrixNotFoundError:
            return None
        except SolverServiceError as error:
            cause = error.__cause__
            if isinstance(cause, OSError) and not isinstance(cause, FileNotFoundError):
                raise  # the matrix may be sound, and this process short of something
            logger.warning("matrix %s is stored anew in place of the damaged one", matrix_id)
            with suppress(FileNotFoundError):
                self._staging.discard(self._directory(matrix_id))
            return None

    def _publish(self, directory: Path, matrix_id: str) -> bool:
        try:
            directory.rename(self._directory(matrix_id))
        except OSError as error:
            if error.errno in (errno.EEXIST, errno.ENOTEMPTY):
                return False
            raise
        try:
            sync_directory(self._matrices)
        except OSError:
            with suppress(FileNotFoundError):
                self._staging.discard(self._directory(matrix_id))
            raise
        return True

    def _keys(self) -> Iterator[tuple[int, str]]:
        with os.scandir(self._matrices) as entries:
            for entry in entries:
                if MATRIX_ID.fullmatch(entry.name) is not None:
                    try:
                        yield entry.stat(follow_symlinks=False).st_mtime_ns, entry.name
                    except FileNotFoundError:  # deleted just now
                        continue


def _arrays(matrix: Matrix) -> dict[str, np.ndarray[Any, Any]]:
    csr = matrix.csr
    return {"indptr": csr.indptr, "indices": csr.indices, "data": csr.data}


def _describe(matrix: Matrix, name: str | None, properties: Mapping[str, Any] | None) -> MatrixRecord:
    return MatrixRecord(
        id=matrix.id,
        name=name,
        shape=matrix.shape,
        nnz=matrix.nnz,
        bytes=sum(array.nbytes for array in _arrays(matrix).values()),
        created_at=datetime.now(UTC),
        properties=dict(properties or {}),
    )


def _read_record(directory: Path) -> MatrixRecord:
    record = MatrixRecord.from_document(json.loads((directory / _META).read_bytes()))
    if record.id != directory.name:
        raise ValueError(f"{_META} is that of {record.id}")
    return record


def _map_matrix(directory: Path) -> Matrix:
    record = _read_record(directory)
    indptr = map_array(directory / "indptr.npy", record.shape[0] + 1, np.int32, np.int64)
    indices = map_array(directory / "indices.npy", record.nnz, indptr.dtype)
    data = map_array(directory / "data.npy", record.nnz, np.float64)
    if indptr[0] != 0 or indptr[-1] != record.nnz:
        raise ValueError("the offsets do not fit the entries")
    matrix = Matrix(csr_of_arrays(record.shape, indptr, indices, data))
    vars(matrix)["id"] = record.id  # the cached property: spares hashing the content again
    return matrix


def _count(uses: int) -> bytes:
    return b"%0*d" % (_DIGITS, uses)  # always as long, so that it is overwritten at once


def _parse_count(content: bytes) -> int:
    return int(content) if content.isdigit() else 0


def _nanoseconds(moment: datetime) -> int:
    return (moment - _EPOCH) // _MICROSECOND * 1000


def _key(place: re.Match[str]) -> tuple[int, str]:
    return int(place[1]), place[2]


def _not_found() -> MatrixNotFoundError:
    return MatrixNotFoundError("no matrix is stored under this id")


def _damaged(matrix_id: str, cause: Exception) -> NoReturn:
    logger.error("stored matrix %s cannot be read: %s: %s", matrix_id, type(cause).__name__, cause)
    raise SolverServiceError("the stored matrix cannot be read") from cause
