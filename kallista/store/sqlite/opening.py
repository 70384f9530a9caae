"""Opens a store: creates what is missing, migrates what is old, refuses what is not ours.

All of it happens under a lock file of its own, since SQLite alone lets programs that open one new
file at the same moment run into each other.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Final

import apsw

from kallista.errors import StoreError
from kallista.store.sqlite.connection import connect, translated
from kallista.store.sqlite.file_locks import FileLock, holder_name
from kallista.store.sqlite.filesystems import network_type
from kallista.store.sqlite.statements import migrations, statement

APPLICATION_ID: Final = 0x4B_41_4C_4C
"""Marks a SQLite file as Kallista's ("KALL"; SQLite's header keeps it at offset 68)."""

_COMPATIBLE_FROM = statement("compatible_from")
_SCHEMA_OBJECTS = statement("schema_objects")


def beside(path: Path, suffix: str) -> Path:
    """The path of a file that belongs to a store and lies beside it."""
    return path.with_name(path.name + suffix)


def prepare(
    path: Path,
    program: str,
    timeout: float,
    vfs: str | None = None,
    scripts: Sequence[str] | None = None,
) -> None:
    """Make the file a store of the newest version, unless it is one.

    Args:
        path: The database file; its folder is created too.
        program: Who opens it, for those who wait.
        timeout: Seconds to wait for others that open or write it.
        vfs: The SQLite file layer; None: the operating system's.
        scripts: The migrations that this program knows; None: those that ship with it.

    Raises:
        StoreError: It cannot be a store; the file was not changed.
        StoreUnavailableError: Others kept it to themselves for too long.
    """
    scripts = migrations() if scripts is None else scripts
    with translated(path, "open"):
        kind = network_type(Path(os.path.abspath(path)))
        if kind is not None:
            raise StoreError(
                f"{path} lies on a network file system ({kind}), where locks between programs"
                " cannot be trusted; choose a path on a local disk"
            )
        path.parent.mkdir(parents=True, exist_ok=True)
        with closing(FileLock(beside(path, ".open-lock"))) as lock:
            lock.acquire(holder_name(program), timeout, f"open {path.name}")
            with closing(connect(path, timeout, vfs)) as db:
                _prepare(db, path, program, timeout, scripts)


def _prepare(
    db: apsw.Connection, path: Path, program: str, timeout: float, scripts: Sequence[str]
) -> None:
    version = _version(db, path)
    if db.readonly("main"):
        raise apsw.ReadOnlyError("the file is read-only")
    newest = len(scripts)
    if version > newest:
        _check_compatible(db, path, version, newest)
        return
    if db.pragma("journal_mode") != "wal" and db.pragma("journal_mode", "wal") != "wal":
        raise StoreError(f"{path} cannot keep a write-ahead log; choose a path on a local disk")
    if version < newest:
        with closing(FileLock(beside(path, ".write-lock"))) as lock:
            lock.acquire(holder_name(program), timeout, f"migrate {path.name}")
            for number in range(version, newest):
                _migrate(db, number + 1, scripts[number])


def _version(db: apsw.Connection, path: Path) -> int:
    """The schema version of the file, 0 when it is empty or was left half-made."""
    mark = db.pragma("application_id")
    version = db.pragma("user_version")
    assert isinstance(version, int)
    if mark == APPLICATION_ID:
        return version
    if mark == 0 and version == 0 and not db.execute(_SCHEMA_OBJECTS).get:
        return 0
    raise StoreError(
        f"{path} is a SQLite database of another program; choose another path for the store"
    )


def _check_compatible(db: apsw.Connection, path: Path, version: int, newest: int) -> None:
    compatible_from = db.execute(_COMPATIBLE_FROM).get
    assert isinstance(compatible_from, int)
    if compatible_from > newest:
        raise StoreError(
            f"{path} was written by a newer Kallista (store version {version}; this program knows"
            f" up to {newest}); upgrade Kallista, or choose another path"
        )


def _migrate(db: apsw.Connection, number: int, script: str) -> None:
    db.execute("BEGIN IMMEDIATE")
    try:
        db.execute(script)
        db.pragma("application_id", APPLICATION_ID)
        db.pragma("user_version", number)
        db.execute("COMMIT")
    except BaseException:
        if db.in_transaction:
            db.execute("ROLLBACK")
        raise
