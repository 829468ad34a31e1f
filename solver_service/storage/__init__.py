"""Matrices kept by content in a data folder, shared by all processes of the service."""

from .record import MatrixRecord
from .store import MatrixStore

__all__ = ["MatrixRecord", "MatrixStore"]
