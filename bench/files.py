"""How much files of a store take."""

from __future__ import annotations

import os


def sqlite_bytes(path: str) -> int:
    """The size of a closed SQLite database, its log folded in."""
    import sqlite3

    connection = sqlite3.connect(path, timeout=5)
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    return sum(os.path.getsize(path + end) for end in ("", "-wal") if os.path.exists(path + end))
