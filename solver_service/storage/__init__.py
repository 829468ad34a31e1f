"""What is kept in a data folder that all processes share: matrices by content, and the files of jobs."""

from .files import full_disk_reported
from .job_files import ForeignFolderError, Incoming, JobFiles, JobFolder
from .record import MatrixRecord
from .snapshots import read_snapshot, write_snapshot
from .store import MatrixStore

__all__ = [
    "ForeignFolderError",
    "Incoming",
    "JobFiles",
    "JobFolder",
    "MatrixRecord",
    "MatrixStore",
    "full_disk_reported",
    "read_snapshot",
    "write_snapshot",
]
