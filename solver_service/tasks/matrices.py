"""The tasks behind ``/v1/matrices``: read and store a matrix, write one out."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from pathlib import Path

from ..engine import TaskContext
from ..errors import SolverServiceError
from ..methods import sigma_max
from ..problems.formats import write_matrix
from ..problems.matrix import Matrix
from ..problems.properties import MatrixProperties, describe
from ..storage import MatrixRecord, MatrixStore, full_disk_reported
from ..wire.systems import Content, read_any, read_matrix_document
from . import state
from .replies import Reply


@dataclass(frozen=True, slots=True)
class StoreRequest:
    """A matrix as it came.

    Parameters
    ----------
    content : Content
    name : str or None
    must_be_json : bool
        Whether the client said that it is JSON; else the content decides.
    """

    content: Content
    name: str | None
    must_be_json: bool


@dataclass(frozen=True, slots=True)
class Stored:
    """What is stored now, and whether it was not there before."""

    record: MatrixRecord
    created: bool


@dataclass(frozen=True, slots=True)
class ExportRequest:
    """Which stored matrix to write, and where.

    Parameters
    ----------
    id : str
    media_type : str
        What to call the file, which is a ``.npz``.
    reply_path : Path
    """

    id: str
    media_type: str
    reply_path: Path


def store_matrix(context: TaskContext, request: StoreRequest) -> Stored:
    """Read a matrix, find its properties, and store it."""
    del context
    worker = state.current()
    read = read_matrix_document if request.must_be_json else read_any
    matrix = read(request.content, worker.config.limits)
    known = _stored_before(worker.store, matrix)
    if known is not None:
        return Stored(known, created=False)
    properties = asdict(properties_of(matrix))
    return Stored(*worker.store.put(matrix, name=request.name, properties=properties))


def export_matrix(context: TaskContext, request: ExportRequest) -> Reply:
    """Write a stored matrix as an uncompressed ``.npz``."""
    del context
    matrix = state.current().store.open(request.id)
    with full_disk_reported():
        write_matrix(matrix, request.reply_path, "npz")
        size = request.reply_path.stat().st_size
    return Reply(request.media_type, request.reply_path, size)


def properties_of(matrix: Matrix) -> MatrixProperties:
    """Find all properties, the spectral ones included."""
    properties = describe(matrix)
    norm, largest = properties.frobenius_norm, sigma_max(matrix)
    rank = (norm / largest) ** 2 if norm is not None and largest else None
    return replace(properties, sigma_max=largest, stable_rank=rank)


def _stored_before(store: MatrixStore, matrix: Matrix) -> MatrixRecord | None:
    """Look before the properties are computed, which is most of the work."""
    try:
        store.open(matrix.id)
        return store.get(matrix.id)
    except SolverServiceError:  # not there; or damaged, which `put` mends
        return None
