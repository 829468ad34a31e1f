"""Matrices kept by content in a data folder, shared by all processes of the service; states of solves."""

from .record import MatrixRecord
from .snapshots import read_snapshot, write_snapshot
from .store import MatrixStore

__all__ = ["MatrixRecord", "MatrixStore", "read_snapshot", "write_snapshot"]
