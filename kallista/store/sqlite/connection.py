"""Opens connections that keep what they acknowledge, and translates what SQLite complains of."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import apsw

from kallista.errors import KallistaError, StoreError, StoreUnavailableError

_PAGE_CACHE_KIB: Final = 16_384
_STATEMENTS: Final = 1000


def connect(path: Path, busy_timeout: float, vfs: str | None = None) -> apsw.Connection:
    """A connection with the settings that every connection of Kallista has.

    Args:
        path: The database file; it is created when there is none.
        busy_timeout: Seconds to wait for programs that take SQLite's locks without Kallista's.
        vfs: The SQLite file layer; None: the operating system's.
    """
    flags = apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_CREATE
    db = apsw.Connection(str(path), flags=flags, vfs=vfs, statementcachesize=_STATEMENTS)
    try:
        db.set_busy_timeout(int(busy_timeout * 1000))
        # Acknowledged is durable: every commit is synced, on macOS down to the platter.
        db.execute("PRAGMA synchronous = FULL")
        if sys.platform == "darwin":
            db.execute("PRAGMA fullfsync = ON")
            db.execute("PRAGMA checkpoint_fullfsync = ON")
        db.execute(f"PRAGMA cache_size = -{_PAGE_CACHE_KIB}")
        db.execute("PRAGMA temp_store = MEMORY")
        # Only the writer checkpoints, under the write lock and after it has acknowledged.
        db.wal_autocheckpoint(0)
    except BaseException:
        db.close()
        raise
    return db


@contextmanager
def translated(path: Path, doing: str) -> Iterator[None]:
    """Turn SQLite's and the operating system's errors into ``StoreError`` with advice.

    Args:
        path: The database file.
        doing: What was tried, for the message ("write", "read", "open").
    """
    try:
        yield
    except KallistaError:
        raise
    except (apsw.Error, OSError) as error:
        raise store_error(path, doing, error) from error


def store_error(path: Path, doing: str, error: BaseException) -> StoreError:
    """What an error of SQLite or the operating system means to a user."""
    match error:
        case apsw.FullError():
            return StoreError(
                f"cannot {doing} {path}: the disk is full; free space for {path.parent} and try"
                " again; nothing acknowledged is lost"
            )
        case apsw.BusyError() | apsw.LockedError():
            return StoreUnavailableError(
                f"cannot {doing} {path}: a program that is not Kallista keeps the file to itself"
                " (a database browser with an open transaction?); close it and try again"
            )
        case apsw.NotADBError():
            return StoreError(
                f"{path} is not a Kallista store but some other file; choose another path"
            )
        case apsw.CorruptError():
            return StoreError(
                f"{path} is damaged ({error}); restore it from a backup, or move it away together"
                f" with {path.name}-wal and {path.name}-shm to start anew"
            )
        case apsw.ReadOnlyError() | apsw.PermissionsError() | PermissionError():
            return StoreError(
                f"cannot {doing} {path}: writing is not permitted; make the file and its folder"
                " writable for this user, or choose another path"
            )
        case apsw.CantOpenError():
            return StoreError(
                f"cannot {doing} {path}: the file cannot be opened ({error}); check that its folder"
                " exists and is writable for this user"
            )
        case _:
            return StoreError(
                f"cannot {doing} {path}: {type(error).__name__}: {error}; nothing acknowledged is"
                " lost"
            )
