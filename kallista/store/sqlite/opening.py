"""Opens a store: creates what is missing, migrates what is old, refuses what is not ours.

All of it happens under a lock file of its own, since SQLite alone lets programs that open one new
file at the same moment run into each other.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Final, cast

import apsw

from kallista.core.types import WorkerKey
from kallista.errors import StoreError
from kallista.store.sqlite.connection import connect, translated
from kallista.store.sqlite.file_locks import FileLock, holder_name
from kallista.store.sqlite.filesystems import network_type
from kallista.store.sqlite.liveness import Liveness
from kallista.store.sqlite.statements import migrations, statement

APPLICATION_ID: Final = 0x4B_41_4C_4C
"""Marks a SQLite file as Kallista's ("KALL"; SQLite's header keeps it at offset 68)."""

_COMPATIBLE_FROM = statement("compatible_from")
_WORKER_NAMES = statement("worker_names")
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
        file = beside(path, ".open-lock")
        untouched = not file.exists()
        with closing(FileLock(file)) as lock:
            lock.acquire(holder_name(program), timeout, f"open {path.name}")
            try:
                with closing(connect(path, timeout, vfs)) as db:
                    _prepare(db, path, program, timeout, scripts)
            except (_ForeignFile, apsw.NotADBError, apsw.CantOpenError):
                # Nobody opens it as a store, so nothing of ours has to lie beside it.
                if untouched:
                    lock.remove()
                raise


class _ForeignFile(StoreError):
    """The file belongs to another program."""


def _prepare(
    db: apsw.Connection, path: Path, program: str, timeout: float, scripts: Sequence[str]
) -> None:
    version = _version(db, path)
    if db.readonly("main"):
        raise apsw.ReadOnlyError("the file is read-only")
    newest = len(scripts)
    if version > newest:
        check_compatible(db, path, newest)
        return
    if db.pragma("journal_mode") != "wal" and db.pragma("journal_mode", "wal") != "wal":
        raise StoreError(f"{path} cannot keep a write-ahead log; choose a path on a local disk")
    if version < newest:
        with closing(FileLock(beside(path, ".write-lock"))) as lock:
            lock.acquire(holder_name(program), timeout, f"migrate {path.name}")
            steps = range(version, newest)
            # A new store is made at once: nobody uses a version in between.
            for together in [steps] if version == 0 else [[step] for step in steps]:
                _migrate(db, path, together, scripts)


def _version(db: apsw.Connection, path: Path) -> int:
    """The schema version of the file, 0 when it is empty or was left half-made."""
    mark = db.pragma("application_id")
    version = db.pragma("user_version")
    assert isinstance(version, int)
    if mark == APPLICATION_ID:
        return version
    if mark == 0 and version == 0 and not db.execute(_SCHEMA_OBJECTS).get:
        return 0
    raise _ForeignFile(
        f"{path} is a SQLite database of another program; choose another path for the store"
    )


def check_compatible(db: apsw.Connection, path: Path, known: int | None = None) -> None:
    """Refuse a store that a newer program has changed so much that this one would do harm.

    Args:
        db: A connection to it.
        path: The file, for the message.
        known: The newest version that this program knows; None: that of its own migrations.

    Raises:
        StoreError: This program must not use it any more.
    """
    known = len(migrations()) if known is None else known
    version = _version(db, path)
    if version > known and _compatible_from(db) > known:
        raise StoreError(
            f"{path} was written by a newer Kallista (store version {version}, for programs that"
            f" know version {_compatible_from(db)}; this program knows up to {known}); upgrade"
            " Kallista, or choose another path"
        )


def _compatible_from(db: apsw.Connection) -> int:
    compatible_from = db.execute(_COMPATIBLE_FROM).get
    assert isinstance(compatible_from, int)
    return compatible_from


def _migrate(db: apsw.Connection, path: Path, steps: Sequence[int], scripts: Sequence[str]) -> None:
    """Make some steps in one transaction: they are done, or the store is as it was."""
    db.execute("BEGIN IMMEDIATE")
    try:
        for step in steps:
            db.execute(scripts[step])
            number = step + 1
            if _compatible_from(db) == number and number > 1:
                _check_unused(db, path, number)
            db.pragma("application_id", APPLICATION_ID)
            db.pragma("user_version", number)
        db.execute("COMMIT")
    except BaseException:
        if db.in_transaction:
            db.execute("ROLLBACK")
        raise


def _check_unused(db: apsw.Connection, path: Path, number: int) -> None:
    """Refuse to change a store under the feet of a worker that could not go on with it."""
    liveness = Liveness(beside(path, ".workers"))
    for key, name in db.execute(_WORKER_NAMES):
        if liveness.alive(WorkerKey(cast(int, key))):
            raise StoreError(
                f"{path} is in use by an older Kallista (worker {name}), which cannot go on once"
                f" the store is migrated to version {number}; end that program, then try again"
            )
