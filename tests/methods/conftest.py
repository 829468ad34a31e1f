"""The modules of this folder are imported by their names."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture
def folder(tmp_path):
    """Where snapshots go through files."""
    from killing import Folder

    return Folder(tmp_path)
