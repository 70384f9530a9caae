"""A SQLite file layer that fails on command, so that tests need no broken disk."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import apsw

Fault = Callable[[], None]


class FaultyFiles(apsw.VFS):
    """The operating system's file layer, with faults in front of it.

    Args:
        name: Under which connections ask for it.
    """

    def __init__(self, name: str) -> None:
        self.name = name
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
    """A file whose log is written and synced only if no fault stands in the way."""

    def __init__(self, files: FaultyFiles, name: Any, flags: list[int]) -> None:
        self._files = files
        self._is_log = bool(flags[0] & apsw.SQLITE_OPEN_WAL)
        super().__init__("", name, flags)

    def xWrite(self, data: bytes, offset: int) -> None:  # noqa: N802
        fault = self._files.on_write if self._is_log else self._files.on_main_write
        if fault is not None:
            fault()
        super().xWrite(data, offset)

    def xSync(self, flags: int) -> None:  # noqa: N802
        if self._is_log and self._files.on_sync is not None:
            self._files.on_sync()
        super().xSync(flags)


def disk_full() -> None:
    """What a write does on a disk without space."""
    raise apsw.FullError("no space left")


def broken() -> None:
    """What anything does on a disk that has gone."""
    error = apsw.IOError("the disk has gone")
    error.extendedresult = apsw.SQLITE_IOERR_FSYNC
    raise error
