"""Opens a store: creates what is missing, migrates what is old, refuses what is not ours.

Each migration is one transaction. Programs that open one new database at the same moment wait for
each other, by an advisory lock.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import psycopg

from kallista.errors import StoreError
from kallista.store.postgres.addresses import Address
from kallista.store.postgres.connection import Connection
from kallista.store.postgres.statements import migrations, statement

OPENING: Final = 0x4B_41_4C_4F
"""What sessions are marked with that create or migrate ("KALO")."""

OLDEST_SERVER: Final = 140_000

KNOWN: Final = len(migrations())
"""The newest version of a store that this program knows."""

_SESSION_MARK = statement("session_mark")
_SESSION_UNMARK = statement("session_unmark")
_STORE_TABLES = statement("store_tables")
_COMPATIBLE_FROM = statement("compatible_from")
_SET_VERSION = statement("set_version")


def prepare(db: Connection, address: Address, scripts: Sequence[str] | None = None) -> None:
    """Make the database a store of the newest version, unless it is one.

    Args:
        db: A session with it.
        address: Where it is.
        scripts: The migrations that this program knows; None: those that ship with it.

    Raises:
        StoreError: It cannot be a store; nothing was changed.
        psycopg.Error: It cannot be written to.
    """
    scripts = migrations() if scripts is None else scripts
    _check_server(db, address)
    if _version(db, address) >= len(scripts):
        check_compatible(db, address, len(scripts))
        return
    db.ask(_SESSION_MARK, (OPENING, 0))
    try:
        version = _version(db, address)
        steps = range(version, len(scripts))
        # A new store is made at once: nobody uses a version in between.
        for together in [steps] if version == 0 else [[step] for step in steps]:
            _migrate(db, together, scripts)
    finally:
        if not db.is_lost:
            db.ask(_SESSION_UNMARK, (OPENING, 0))


def _check_server(db: Connection, address: Address) -> None:
    version = db.db.info.server_version
    if version < OLDEST_SERVER:
        raise StoreError(
            f"{address.place} is PostgreSQL {version // 10_000}; Kallista needs"
            f" {OLDEST_SERVER // 10_000} or newer"
        )
    encoding = db.db.info.parameter_status("server_encoding")
    if encoding != "UTF8":
        raise StoreError(
            f"{address.place} has the encoding {encoding}, which cannot hold every text; create a"
            " database with the encoding UTF8"
        )


def _version(db: Connection, address: Address) -> int:
    """The version of the store, 0 when there is none yet."""
    ((_, is_store, has_tables),) = db.ask(_STORE_TABLES)
    if is_store:
        try:
            return int(db.ask(_COMPATIBLE_FROM)[0][0])
        except (psycopg.errors.UndefinedColumn, IndexError):
            pass  # a table of that name, but not ours
    if has_tables:
        raise StoreError(
            f"the schema kallista in {address.place} belongs to another program; choose another"
            " database for the store"
        )
    return 0


def check_compatible(db: Connection, address: Address, newest: int = KNOWN) -> None:
    """Whether a program that knows migrations up to the newest may use the store.

    Raises:
        StoreError: It may not, or not any more.
    """
    ((version, compatible_from),) = db.ask(_COMPATIBLE_FROM)
    if compatible_from > newest:
        raise StoreError(
            f"{address.place} was written by a newer Kallista (store version {version}; this"
            f" program knows up to {newest}); upgrade Kallista, or choose another database"
        )


def _migrate(db: Connection, steps: Sequence[int], scripts: Sequence[str]) -> None:
    with db.db.transaction():
        if not db.ask(_STORE_TABLES)[0][0]:
            db.say(b"CREATE SCHEMA kallista")
        for step in steps:
            # Whole scripts cannot be prepared, and need not be.
            db.db.execute(scripts[step].encode(), prepare=False)
        db.tell(_SET_VERSION, (steps[-1] + 1,))
