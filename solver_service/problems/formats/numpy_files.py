"""NumPy's ``.npy`` and SciPy's ``.npz``: headers are read and judged before any array is allocated."""

from __future__ import annotations

import math
import struct
import warnings
import zipfile
import zlib
from types import TracebackType
from typing import IO, Any, Self

import numpy as np
from numpy.lib import format as npy_format
from numpy.typing import NDArray

from ...errors import DimensionMismatchError, InvalidInputError, MalformedMatrixError
from .. import layouts
from ..checks import check_real, check_shape
from ..layouts import Parts
from ..limits import Limits
from .source import MAX_EXPANSION, Source, malformed

_BLOCK = 1 << 20
_MEMBERS = {
    "csr": ("indptr", "indices", "data"),
    "csc": ("indptr", "indices", "data"),
    "bsr": ("indptr", "indices", "data"),
    "dia": ("offsets", "data"),
    "coo": ("row", "col", "data"),
}
_ZIP_ERRORS = (
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    EOFError,
    NotImplementedError,
    RuntimeError,
    ValueError,
    OverflowError,
    OSError,
)


def read_npy(stream: IO[bytes], size: int, limits: Limits, field: str, kinds: str = "biuf") -> NDArray[Any]:
    """Read one array of a simple type.

    Parameters
    ----------
    stream : binary file at the beginning of the array
    size : int
        Bytes from there to the end; the array must fill them exactly.
    kinds : str
        Accepted kinds of dtype; complex ones have a message of their own.

    Raises
    ------
    MalformedMatrixError, InvalidInputError, ResourceLimitError
        Pickled objects are never loaded.
    """
    shape, fortran, dtype = _read_npy_header(stream, field)
    if dtype.hasobject:
        malformed(field, "holds pickled Python objects, which are never read")
    if dtype.kind not in kinds:
        check_real(dtype, field)
        malformed(field, f"must not be of type {dtype}")
    count = math.prod(shape)
    limits.check_entries(count, field)
    limits.check_bytes(count * dtype.itemsize, field)
    present = size - stream.tell()
    if count * dtype.itemsize != present:
        malformed(field, f"declares {count * dtype.itemsize:,} bytes of numbers but holds {present:,}")
    flat = np.empty(count, dtype)
    octets = flat.view(np.uint8) if present else np.empty(0, np.uint8)
    for start in range(0, present, _BLOCK):
        part = octets[start : start + _BLOCK]
        part[:] = np.frombuffer(_read_exactly(stream, len(part), field), np.uint8)
    if dtype.kind == "b":
        flat = flat.view(np.uint8) != 0
    return flat.reshape(shape[::-1]).T if fortran else flat.reshape(shape)


def _read_npy_header(stream: IO[bytes], field: str) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # headers written by Python 2
            version = npy_format.read_magic(stream)
            if version == (1, 0):
                shape, fortran, dtype = npy_format.read_array_header_1_0(stream)
            elif version in ((2, 0), (3, 0)):
                shape, fortran, dtype = npy_format.read_array_header_2_0(stream)
            else:
                malformed(field, f"is of .npy version {version[0]}.{version[1]}; known are 1.0, 2.0 and 3.0")
    except MalformedMatrixError:
        raise
    except Exception:  # the header is Python source: ast, tokenize and dtype raise whatever they like
        malformed(field, "has a damaged .npy header")
    if min(shape, default=0) < 0:
        malformed(field, "has a damaged .npy header")
    return shape, fortran, dtype


def _read_exactly(stream: IO[bytes], count: int, field: str) -> bytes:
    data = stream.read(count)
    while len(data) < count and (more := stream.read(count - len(data))):
        data += more
    if len(data) < count:
        malformed(field, "ends early; it seems to be truncated")
    return data


class Archive:
    """An ``.npz`` file: a context manager that reads its arrays one by one."""

    def __init__(self, source: Source, limits: Limits, field: str) -> None:
        self._limits = limits
        self._field = field
        self._stream = source.open()
        try:
            self._zip = zipfile.ZipFile(self._stream)
            members = self._zip.infolist()
        except _ZIP_ERRORS:
            self._stream.close()
            malformed(field, "is a damaged zip archive")
        except BaseException:
            self._stream.close()
            raise
        self._members = {member.filename.removesuffix(".npy"): member for member in members}
        self._doubled = len(self._members) < len(members)

    def __enter__(self) -> Self:
        limits, field = self._limits, self._field
        try:
            if self._doubled:
                malformed(field, "is a zip archive with two members of one name")
            limits.check_bytes(sum(member.file_size for member in self._members.values()), field)
            for member in self._members.values():
                if member.flag_bits & 1:
                    malformed(field, "is an encrypted zip archive")
                if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                    malformed(field, "is compressed by another method than deflate")
                if member.file_size > MAX_EXPANSION * member.compress_size + _BLOCK:
                    malformed(field, "is a zip archive that declares a size it cannot have")
        except BaseException:
            self._close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close()

    def _close(self) -> None:
        self._zip.close()
        self._stream.close()

    @property
    def names(self) -> list[str]:
        """The arrays in it."""
        return list(self._members)

    def read(self, name: str, kinds: str = "biuf") -> NDArray[Any]:
        """Read one array; errors call it ``field.name``."""
        if name not in self._members:
            malformed(
                self._field, f"lacks the array '{name}' that a matrix saved by scipy.sparse.save_npz has"
            )
        member = self._members[name]
        try:
            with self._zip.open(member) as stream:
                array = read_npy(stream, member.file_size, self._limits, f"{self._field}.{name}", kinds)
                if stream.read(1):
                    malformed(self._field, "is a damaged zip archive")
                return array
        except InvalidInputError:
            raise
        except _ZIP_ERRORS:
            malformed(f"{self._field}.{name}", "cannot be unpacked: the zip archive is damaged")


def read_sparse_npz(archive: Archive, limits: Limits, field: str) -> Parts:
    """Read what ``scipy.sparse.save_npz`` writes, in any of its formats: csr, csc, coo, bsr, dia.

    Raises
    ------
    MalformedMatrixError
        Damaged archive, missing arrays, arrays that do not fit each other.
    IndexOutOfRangeError, NonFiniteError
        With the entry, such as ``matrix.indices[7]``.
    ResourceLimitError
        Before anything is allocated.
    """
    name = archive.read("format", "SU")
    layout = name.item() if name.size == 1 else ""
    layout = layout.decode("latin-1") if isinstance(layout, bytes) else layout
    if layout not in _MEMBERS:
        malformed(field, f"is of another sparse format than {', '.join(_MEMBERS)}")
    sizes = archive.read("shape", "iu")
    if sizes.shape != (2,):
        malformed(field, "has a shape of another number of dimensions than two")
    shape = check_shape(sizes.tolist(), field)
    limits.check_shape(*shape, field)
    if layout == "coo" and "coords" in archive.names:
        coordinates = archive.read("coords")
        if coordinates.ndim != 2 or len(coordinates) != 2:
            malformed(field, "has coordinates of another number of dimensions than two")
        arrays = [*coordinates, archive.read("data")]
    else:
        arrays = [archive.read(member) for member in _MEMBERS[layout]]
    return _checked(layout, shape, arrays, field)


def _checked(layout: str, shape: tuple[int, int], arrays: list[NDArray[Any]], field: str) -> Parts:
    try:
        if layout == "dia":
            offsets, data = arrays
            return layouts.diagonals_to_csr(shape, offsets, data, field)
        if layout == "coo":
            row, col, data = arrays
            return layouts.coo_to_csr(shape, row, col, data, field)
        pointers = arrays[0]
        indices, data = layouts.trim(*arrays)
        if layout == "bsr":
            return layouts.blocks_to_csr(shape, pointers, indices, data, field)
        by = "row" if layout == "csr" else "column"
        return layouts.compressed_to_csr(shape, pointers, indices, data, field, by=by)
    except InvalidInputError as error:
        if type(error) in (InvalidInputError, DimensionMismatchError):
            raise MalformedMatrixError(error.detail, errors=error.errors) from None
        raise
