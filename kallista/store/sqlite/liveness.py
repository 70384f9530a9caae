"""Shows that a worker lives: it holds the lock on a file named after its key until it is gone."""

from __future__ import annotations

from pathlib import Path

from kallista.core.types import WorkerKey
from kallista.store.sqlite.file_locks import FileLock


class Liveness:
    """The workers of one store, as the operating system sees them.

    Args:
        folder: Where the lock files lie.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._own: FileLock | None = None
        self.own_key: WorkerKey | None = None

    def show(self, key: WorkerKey) -> None:
        """Show from now on that this worker lives.

        Raises:
            OSError: The lock file cannot be made.
        """
        self._folder.mkdir(exist_ok=True)
        lock = FileLock(self._path(key))
        if not lock.try_acquire():
            lock.close()
            raise OSError(f"{self._path(key)} is held by another program")
        self._own, self.own_key = lock, key

    def end(self) -> None:
        """Stop showing it."""
        if self._own is not None:
            self._own.remove()
        self._own, self.own_key = None, None

    def alive(self, key: WorkerKey) -> bool:
        """Whether a worker lives.

        Asking takes a dead one's lock for a moment, in which another program that asks as well
        may see it alive; it will see better the next time.
        """
        if key == self.own_key:
            return True
        try:
            lock = FileLock(self._path(key), create=False)
        except FileNotFoundError:
            return False
        except PermissionError:
            return True
        try:
            return not lock.try_acquire()
        finally:
            lock.close()

    def forget(self, key: WorkerKey) -> None:
        """Remove what a dead worker left."""
        self._path(key).unlink(missing_ok=True)

    def _path(self, key: WorkerKey) -> Path:
        return self._folder / str(key)
