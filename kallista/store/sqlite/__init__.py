"""Everything kept in one SQLite file, safe for several programs at once."""

from kallista.store.sqlite.store import SqliteStore

__all__ = ["SqliteStore"]
