"""Every store keeps the contract."""

from pathlib import Path

from kallista.store.memory import MemoryState, MemoryStore
from kallista.store.sqlite import SqliteStore
from kallista.testing.store_contract import OpenStore, StoreContract


class TestMemoryStore(StoreContract):
    def handles(self, folder: Path) -> OpenStore:
        state = MemoryState()
        return lambda: MemoryStore(state)


class TestSqliteStore(StoreContract):
    def handles(self, folder: Path) -> OpenStore:
        return lambda: SqliteStore(folder / "data" / "kallista.db")
