"""What was derived from stored matrices: kept beside them, mapped by all who use them, bounded in size."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple

from ..errors import OutOfMemoryError
from ..methods import TUNING
from ..methods.snapshot import Snapshot
from .files import full_disk_reported, sync_directory
from .record import MATRIX_ID
from .snapshots import map_snapshot, write_snapshot
from .staging import Staging

FORMAT: Final = f"2-{TUNING}"
"""Version of the files, then that of what is derived."""

LASTING: Final = "tuning-"
"""Parts whose names begin so stay until the matrix goes: who has begun with one has to find it again."""

_NAME = re.compile(r"[a-z][a-z0-9_.-]{0,99}", re.ASCII)
_CONTENT = "content"
_TRIES = 5

logger = logging.getLogger(__name__)


class StoredPart(NamedTuple):
    """A part by name, and its size in bytes."""

    name: str
    bytes: int


class PreparedStore:
    """Parts of prepared matrices, each stored once however often and by however many processes it is saved.

    ``<root>/prepared/<matrix id>/<format>/<part>/`` holds a snapshot as one file. It appears by a rename when
    all of it is on the disk, and never changes. All of it can be derived anew: what is damaged is removed,
    and what cannot be stored or read is none of the caller's business.

    Parameters
    ----------
    folder : Path
    staging : Staging
    """

    def __init__(self, folder: Path, staging: Staging) -> None:
        self._folder = folder
        self._staging = staging
        self._failed = False

    def load(self, matrix_id: str, name: str) -> Snapshot | None:
        """Map a part, or return None if it is not there. It can be used even if it is removed meanwhile."""
        part = self._part(matrix_id, name)
        try:
            return map_snapshot(part / _CONTENT)
        except (ValueError, IsADirectoryError, NotADirectoryError) as error:
            self._damaged(part, error)
        except FileNotFoundError as error:
            if part.exists():
                self._damaged(part, error)
        except OSError as error:  # it may be sound, and this process short of something
            logger.warning("prepared part %s of %s cannot be read now: %s", name, matrix_id, error)
        return None

    def save(self, matrix_id: str, name: str, snapshot: Snapshot) -> bool:
        """Store a part unless it is there; return whether it was stored now.

        Without space, or the right to write, it is not: that is logged once, until it works again.
        """
        part = self._part(matrix_id, name)
        if part.exists():
            return False
        try:
            with full_disk_reported(), self._staging.directory() as directory:
                write_snapshot(directory / _CONTENT, snapshot)
                sync_directory(directory)
                stored = _publish(directory, part)
        except (OSError, OutOfMemoryError) as error:
            if not self._failed:
                logger.warning("what is derived from matrices cannot be stored: %s", error)
            self._failed = True
            return False
        self._failed = False
        return stored

    def discard(self, matrix_id: str, name: str) -> None:
        """Remove a part that turned out to be damaged."""
        self._damaged(self._part(matrix_id, name), None)

    def remove(self, matrix_id: str, name: str) -> None:
        """Remove a part in whose place there is another now."""
        self._discard(self._part(matrix_id, name))

    def touch(self, matrix_id: str) -> None:
        """Note that what is derived from a matrix is used now."""
        with suppress(OSError):
            os.utime(self._matrix(matrix_id))

    def parts(self, matrix_id: str) -> list[StoredPart]:
        """What is stored of a matrix, by name."""
        return sorted(
            StoredPart(part.name, size) for part, size in self._stored(self._matrix(matrix_id) / FORMAT)
        )

    def names(self, matrix_id: str) -> list[str]:
        """Names of what is stored of a matrix, in no order."""
        return [part.name for part in _entries(self._matrix(matrix_id) / FORMAT)]

    def take_away(self, matrix_id: str) -> Callable[[], None]:
        """Make that nothing of a matrix is there any more, and return what removes the files."""
        with suppress(FileNotFoundError):
            return self._staging.take_away(self._matrix(matrix_id))
        return lambda: None

    def trim(self, max_bytes: int) -> None:
        """Remove what is derived from the matrices that were not used for longest, until the rest fits."""
        found = []
        for matrix_id in self.ids():
            directory = self._matrix(matrix_id)
            with suppress(OSError):
                sizes = [size for version in _entries(directory) for _, size in self._stored(version)]
                found.append((directory.stat().st_mtime_ns, matrix_id, sum(sizes)))
        total = sum(size for *_, size in found)
        for _, matrix_id, _ in sorted(found):
            if total <= max_bytes:
                return
            total -= self._evict(matrix_id)

    def ids(self) -> list[str]:
        """Ids of matrices of which something is stored."""
        return [path.name for path in _entries(self._folder) if MATRIX_ID.fullmatch(path.name) is not None]

    def remove_stale(self) -> None:
        """Remove what is of another version."""
        for matrix_id in self.ids():
            for version in _entries(self._matrix(matrix_id)):
                if version.name != FORMAT:
                    self._discard(version)

    def _evict(self, matrix_id: str) -> int:
        freed = 0
        directory = self._matrix(matrix_id)
        for version in _entries(directory):
            for part, size in self._stored(version):
                if not part.name.startswith(LASTING) and self._discard(part):
                    freed += size
            with suppress(OSError):
                version.rmdir()
        with suppress(OSError):
            directory.rmdir()
        return freed

    def _damaged(self, part: Path, cause: Exception | None) -> None:
        logger.warning("a damaged part is removed, to be derived anew: %s: %s", part.name, cause)
        self._discard(part)

    def _discard(self, path: Path) -> bool:
        with suppress(OSError):
            self._staging.discard(path)
            return True
        return False

    def _matrix(self, matrix_id: str) -> Path:
        if MATRIX_ID.fullmatch(matrix_id) is None:  # so that no id can lead out of the folder
            raise ValueError("not the id of a matrix")
        return self._folder / matrix_id

    def _part(self, matrix_id: str, name: str) -> Path:
        if _NAME.fullmatch(name) is None:
            raise ValueError(f"{name!r} is no name for a part")
        return self._matrix(matrix_id) / FORMAT / name

    @staticmethod
    def _stored(version: Path) -> Iterator[tuple[Path, int]]:
        for part in _entries(version):
            with suppress(OSError):  # removed just now, or damaged
                yield part, (part / _CONTENT).stat().st_size


def _publish(directory: Path, part: Path) -> bool:
    """Give a part its name, unless it is taken."""
    for _ in range(_TRIES):
        part.parent.mkdir(parents=True, exist_ok=True)
        try:
            directory.rename(part)
        except FileNotFoundError:  # the matrix was evicted just now
            continue
        except OSError:
            if part.exists():
                return False
            raise
        with suppress(FileNotFoundError):
            sync_directory(part.parent)
        return True
    return False


def _entries(directory: Path) -> list[Path]:
    try:
        return list(directory.iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return []
