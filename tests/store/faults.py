"""A SQLite file layer that fails on command, so that tests need no broken disk."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import apsw

Fault = Callable[[], None]


class Disk:
    """What of one file survives a power cut.

    What was written since the last sync does not; what a sync has failed for never will, even if
    the next one succeeds: the operating system has dropped it.
    """

    def __init__(self) -> None:
        self.content = bytearray()
        self._unsynced: list[tuple[int, bytes]] = []

    def write(self, offset: int, data: bytes) -> None:
        """Something was written."""
        self._unsynced.append((offset, bytes(data)))

    def truncate(self, size: int) -> None:
        """The file was cut."""
        del self.content[size:]

    def synced(self) -> None:
        """All of it is on the disk now."""
        for offset, data in self._unsynced:
            missing = offset + len(data) - len(self.content)
            self.content.extend(bytes(max(missing, 0)))
            self.content[offset : offset + len(data)] = data
        self._unsynced.clear()

    def failed(self) -> None:
        """What has not been synced is dropped."""
        self._unsynced.clear()


class FaultyFiles(apsw.VFS):
    """The operating system's file layer, with faults in front of it.

    Args:
        name: Under which connections ask for it.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.log = Disk()
        self.main = Disk()
        self.on_write: Fault | None = None
        self.on_sync: Fault | None = None
        self.on_main_write: Fault | None = None
        self.on_open: Fault | None = None
        super().__init__(name, "")

    def xOpen(self, name: Any, flags: list[int]) -> FaultyFile:  # noqa: N802
        if self.on_open is not None:
            self.on_open()
        return FaultyFile(self, name, flags)


class FaultyFile(apsw.VFSFile):
    """A file that is written and synced only if no fault stands in the way."""

    def __init__(self, files: FaultyFiles, name: Any, flags: list[int]) -> None:
        self._files = files
        self._is_log = bool(flags[0] & apsw.SQLITE_OPEN_WAL)
        self._disk = files.log if self._is_log else files.main
        super().__init__("", name, flags)

    def xWrite(self, data: bytes, offset: int) -> None:  # noqa: N802
        fault = self._files.on_write if self._is_log else self._files.on_main_write
        if fault is not None:
            fault()
        super().xWrite(data, offset)
        self._disk.write(offset, data)

    def xTruncate(self, size: int) -> None:  # noqa: N802
        super().xTruncate(size)
        self._disk.truncate(size)

    def xSync(self, flags: int) -> None:  # noqa: N802
        if self._is_log and self._files.on_sync is not None:
            self._disk.failed()
            self._files.on_sync()
        super().xSync(flags)
        self._disk.synced()


def disk_full() -> None:
    """What a write does on a disk without space."""
    raise apsw.FullError("no space left")


def broken() -> None:
    """What anything does on a disk that has gone."""
    error = apsw.IOError("the disk has gone")
    # Part of apsw's interface for file layers, but not of its type stubs.
    vars(error)["extendedresult"] = apsw.SQLITE_IOERR_FSYNC
    raise error
