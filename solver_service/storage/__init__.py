"""What is kept in a data folder that all processes share: matrices by content, and the files of jobs."""

from .files import full_disk_reported
from .job_files import ForeignFolderError, Incoming, JobFiles, JobFolder
from .prepared import FORMAT, LASTING, PreparedStore, StoredPart
from .record import MatrixRecord
from .snapshots import map_snapshot, read_snapshot, write_snapshot
from .store import MatrixStore, Usage

__all__ = [
    "FORMAT",
    "LASTING",
    "ForeignFolderError",
    "Incoming",
    "JobFiles",
    "JobFolder",
    "MatrixRecord",
    "MatrixStore",
    "PreparedStore",
    "StoredPart",
    "Usage",
    "full_disk_reported",
    "map_snapshot",
    "read_snapshot",
    "write_snapshot",
]
