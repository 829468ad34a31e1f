"""`write_matrix`: ``.npz`` and Matrix Market."""

from __future__ import annotations

import gzip
from contextlib import ExitStack
from pathlib import Path
from typing import BinaryIO, Literal, TypeAlias, cast

from scipy.io import mmwrite
from scipy.sparse import save_npz

from ..matrix import Matrix

FileKind: TypeAlias = Literal["npz", "mtx", "mtx.gz"]


def write_matrix(matrix: Matrix, target: Path | BinaryIO, kind: FileKind | None = None) -> None:
    """Write a matrix so that reading gives the same bits.

    Parameters
    ----------
    matrix : Matrix
    target : Path or binary file
        A path is created or replaced.
    kind : {"npz", "mtx", "mtx.gz"}, optional
        ``npz``: uncompressed, for `scipy.sparse.load_npz`; ``mtx``: Matrix Market, coordinate real general,
        the shortest decimals that round-trip; ``mtx.gz``: the same, gzip. By default the suffix of the path
        decides, and an open file gets ``npz``.

    Raises
    ------
    ValueError
        If the path has another suffix and no `kind` is given.
    """
    if kind is None:
        kind = _kind_of(target) if isinstance(target, Path) else "npz"
    with ExitStack() as closing:
        stream = closing.enter_context(target.open("wb")) if isinstance(target, Path) else target
        if kind == "npz":
            save_npz(stream, matrix.csr, compressed=False)
            return
        if kind == "mtx.gz":
            # No name and no time in the gzip header: the same matrix gives the same bytes.
            packed = gzip.GzipFile(filename="", fileobj=stream, mode="wb", compresslevel=3, mtime=0)
            stream = cast(BinaryIO, closing.enter_context(packed))
        mmwrite(stream, matrix.csr, field="real", symmetry="general")


def _kind_of(path: Path) -> FileKind:
    kinds: tuple[FileKind, ...] = ("npz", "mtx.gz", "mtx")
    for kind in kinds:
        if path.name.endswith(f".{kind}"):
            return kind
    raise ValueError(f"cannot tell the format from the name {path.name!r}: use .npz, .mtx or .mtx.gz")
