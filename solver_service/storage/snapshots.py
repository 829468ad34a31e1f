"""Snapshots of running solves as files: the structure as JSON, the arrays raw behind it.

Layout: eight bytes of name, the length of the head as ``<Q``, its CRC-32 as ``<I``, the head, then each array
on the next multiple of 64. The head holds the structure, in which ``{"": k}`` stands for array k, and dtype,
shape, place and checksum of each array. It is JSON in Python's dialect: floats come back bit for bit,
Infinity and NaN too, and integers of any size.

The checksum of an array is the CRC-32 of the sums, modulo 2⁶⁴, of each 512 words, and of the bytes that are
left. It comes as fast as memory does; the CRC-32 of all bytes takes eight times as long. It sees all changes
of one word, and others unless they cancel within 4 KB.
"""

from __future__ import annotations

import json
import mmap
import os
import stat
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..methods.snapshot import Snapshot
from .files import write_bytes

_NAME = b"SSsnap2\n"
_START = struct.Struct("<8sQI")
_ALIGNED = 64
_SMALL = 1 << 16
_SUMMED = 512


def write_snapshot(path: Path, snapshot: Snapshot) -> None:
    """Write a new file, down to the disk. Arrays that occur twice are written once."""
    found: dict[int, tuple[int, NDArray[Any]]] = {}
    value = _plain(snapshot, found)
    arrays = [array for _, array in found.values()]
    bodies = [np.ascontiguousarray(array).reshape(-1).view(np.uint8) for array in arrays]
    entries = []
    place = 0
    for array, body in zip(arrays, bodies, strict=True):
        place += -place % _ALIGNED
        entries.append([array.dtype.str, array.shape, place, _checksum(body)])
        place += body.nbytes
    head = json.dumps({"arrays": entries, "value": value}, separators=(",", ":")).encode()
    start = _START.pack(_NAME, len(head), zlib.crc32(head))
    parts: list[bytes | memoryview] = [start + head]
    length = len(parts[0])
    for body in bodies:
        gap = bytes(-length % _ALIGNED)
        parts += [gap, body.data]
        length += len(gap) + body.nbytes
    write_bytes(path, *parts)


def read_snapshot(path: Path) -> Snapshot:
    """Read a file whole; its arrays are read-only.

    Raises
    ------
    ValueError
        It is no file of `write_snapshot`, or damaged, or cut short.
    """
    return _checked(path, memoryview(path.read_bytes()))


def map_snapshot(path: Path) -> Snapshot:
    """Map a file; its arrays are read-only. Small files are read.

    Raises
    ------
    ValueError
        As for `read_snapshot`.
    """
    # Of what some damage has put in its place, nothing must make us wait, or read for ever.
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW)
    with os.fdopen(descriptor, "rb", buffering=0) as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise ValueError(f"{path.name} is no file")
        if os.fstat(file.fileno()).st_size < _SMALL:  # each mapping holds a descriptor
            return read_snapshot(path)
        content = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
    return _checked(path, content)


def _checked(path: Path, content: memoryview) -> Snapshot:
    try:
        return _parse(content)
    except (ValueError, TypeError, KeyError, IndexError, struct.error, RecursionError) as error:
        raise ValueError(f"{path.name} is no snapshot, or damaged: {error}") from None


def _parse(content: memoryview) -> Snapshot:
    name, length, checksum = _START.unpack_from(content)
    head = content[_START.size : _START.size + length]
    if name != _NAME or len(head) != length or zlib.crc32(head) != checksum:
        raise ValueError("its head does not fit")
    document = json.loads(bytes(head))
    base = _START.size + length
    base += -base % _ALIGNED
    arrays, end = [], _START.size + length
    for dtype, shape, place, expected in document["arrays"]:
        kind = np.dtype(dtype)
        begin = base + place
        end = begin + kind.itemsize * int(np.prod(shape, dtype=np.int64))
        if len(content) < end or _checksum(np.frombuffer(content[begin:end], np.uint8)) != expected:
            raise ValueError("an array does not fit")
        arrays.append(np.ndarray(shape, kind, content, begin))
    if len(content) != end:
        raise ValueError("its length does not fit")
    value = _put_back(document["value"], arrays)
    if not isinstance(value, dict):
        raise TypeError("it holds something else")
    return value


def _checksum(body: NDArray[np.uint8]) -> int:
    summed = body.size - body.size % (8 * _SUMMED)
    sums = np.add.reduce(body[:summed].view("<u8").reshape(-1, _SUMMED), axis=1)
    return zlib.crc32(body[summed:].data, zlib.crc32(sums.data))


def _plain(value: Any, found: dict[int, tuple[int, NDArray[Any]]]) -> Any:
    if isinstance(value, np.ndarray):
        if value.dtype.hasobject:
            raise TypeError("arrays of objects are not stored")
        return {"": found.setdefault(id(value), (len(found), value))[0]}
    if isinstance(value, dict):
        if "" in value:
            raise ValueError("the empty key stands for arrays")
        return {key: _plain(item, found) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item, found) for item in value]
    return value


def _put_back(value: Any, arrays: list[NDArray[Any]]) -> Any:
    if isinstance(value, dict):
        if "" in value:
            return arrays[value[""]]
        return {key: _put_back(item, arrays) for key, item in value.items()}
    return [_put_back(item, arrays) for item in value] if isinstance(value, list) else value
