"""Where directories are prepared before they get their name, and end after they lost it.

A directory under preparation is locked by the process that owns it, so what a dead process left behind
is recognised by its lock being free, also when several containers share the folder.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path


class Staging:
    """A folder of temporary directories on the same file system as their destination."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @contextmanager
    def directory(self) -> Iterator[Path]:
        """Make a directory; it is removed at the end unless it was renamed."""
        while True:
            path = Path(tempfile.mkdtemp(prefix="new-", dir=self._folder))
            descriptor = lock_directory(path, wait=True)
            if descriptor is not None:
                break  # else a process that cleans up took it for a left-over before it was locked
        try:
            path.chmod(0o755)
            yield path
        finally:
            shutil.rmtree(path, ignore_errors=True)
            os.close(descriptor)

    def discard(self, path: Path) -> None:
        """Remove a directory at once as far as its name goes; `FileNotFoundError` if it is not there."""
        self.take_away(path)()

    def take_away(self, path: Path) -> Callable[[], None]:
        """Take its name from a directory, and return what removes the rest; `FileNotFoundError` as above."""
        doomed = self._folder / f"old-{uuid.uuid4().hex}"
        path.rename(doomed)
        return partial(_remove, doomed)

    def remove_leftovers(self) -> None:
        """Remove what processes left behind that are no more."""
        for path in self._folder.iterdir():
            descriptor = lock_directory(path, wait=False)
            if descriptor is None:
                with suppress(OSError):  # a file, which some damage has put in the place of a directory
                    path.unlink()
            else:
                shutil.rmtree(path, ignore_errors=True)
                os.close(descriptor)

    def writable(self) -> bool:
        """Try to write a little."""
        try:
            with tempfile.TemporaryFile(dir=self._folder, buffering=0) as file:
                file.write(bytes(4096))
        except OSError:
            return False
        return True


def _remove(path: Path) -> None:
    """Remove a directory, or what some damage has put in its place."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def lock_directory(path: Path, *, wait: bool) -> int | None:
    """Lock a directory; return the open descriptor, or None if it is gone or, without `wait`, locked."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except OSError:
        return None
    try:
        _flock(descriptor, wait=wait)
        if os.path.samestat(os.fstat(descriptor), path.stat()):
            return descriptor
    except OSError:
        pass
    os.close(descriptor)
    return None


def _flock(descriptor: int, *, wait: bool) -> None:
    if not wait:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return
    # Where directories cannot be locked (some network file systems), nobody can clean up either.
    with suppress(OSError):
        fcntl.flock(descriptor, fcntl.LOCK_EX)
