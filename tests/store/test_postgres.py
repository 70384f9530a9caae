"""The store in PostgreSQL keeps the contract."""

from __future__ import annotations

from pathlib import Path

from servers import new_database

from kallista.store.postgres import PostgresStore
from kallista.testing.store_contract import OpenStore, StoreContract


class TestPostgresStore(StoreContract):
    def handles(self, folder: Path) -> OpenStore:
        url = new_database()
        return lambda: PostgresStore(url)
