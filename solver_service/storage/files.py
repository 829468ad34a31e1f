"""Files that survive a crash, and arrays in them that are opened without being read."""

from __future__ import annotations

import errno
import io
import mmap
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from numpy.typing import NDArray

from ..errors import DiskFullError

_LONGEST_HEAD = 256


def write_array(path: Path, array: NDArray[Any]) -> None:
    """Write an array, contiguous in C order, in NumPy's format, down to the disk."""
    head = io.BytesIO()
    np.lib.format.write_array_header_1_0(head, np.lib.format.header_data_from_array_1_0(array))
    # Not ndarray.tofile: its error for a full disk does not say so.
    write_bytes(path, head.getbuffer(), array.reshape(-1).view(np.uint8).data)


def write_bytes(path: Path, *parts: bytes | memoryview) -> None:
    """Write a new file, down to the disk."""
    with path.open("xb", buffering=0) as file:
        for part in parts:
            rest = memoryview(part)
            while rest:
                rest = rest[file.write(rest) :]
        os.fsync(file.fileno())


def sync_directory(path: Path) -> None:
    """Make the names in a directory survive a crash."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def map_array(path: Path, length: int, *dtypes: npt.DTypeLike) -> NDArray[Any]:
    """Map a one-dimensional array into memory, read-only; raise ValueError unless it is as expected.

    Parameters
    ----------
    path : Path
        A file written by `write_array`.
    length : int
        How many elements it must hold.
    *dtypes : dtype
        The types it may have.
    """
    # As np.load(path, mmap_mode="r"), but quicker, and without a subclass that slows down every operation.
    with path.open("rb", buffering=0) as file:
        memory = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    head = io.BytesIO(memory[:_LONGEST_HEAD])
    np.lib.format.read_magic(head)
    shape, _, dtype = np.lib.format.read_array_header_1_0(head)
    if shape != (length,) or dtype not in dtypes:
        raise ValueError(f"{path.name} holds {dtype}{shape} instead of {length} of {dtypes}")
    return np.frombuffer(memory, dtype, length, head.tell())


@contextmanager
def full_disk_reported() -> Iterator[None]:
    """Raise `DiskFullError` where the disk is full."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise DiskFullError("there is no space left on the disk", retry_after=60) from error
        raise
