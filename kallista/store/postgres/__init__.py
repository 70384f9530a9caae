"""A store in a PostgreSQL database: many workers on many machines, one transaction a group."""

from kallista.store.postgres.store import PostgresStore

__all__ = ["PostgresStore"]
