"""The store in PostgreSQL keeps the contract."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from servers import new_database

from kallista.core.types import RunId
from kallista.store.port import Store
from kallista.store.postgres import PostgresStore
from kallista.testing.store_contract import OpenStore, StoreContract, finished, made, new_run


class TestPostgresStore(StoreContract):
    def handles(self, folder: Path) -> OpenStore:
        url = new_database()
        return lambda: PostgresStore(url)

    @pytest.mark.anyio
    async def test_a_handle_notices_what_others_write(self, store: Store, other: Store) -> None:
        """Others' commits are changes, each told once, soon after; a handle's own are not."""
        rung = asyncio.Event()
        store.listen(rung.set)
        store.changed()
        assert not store.changed()
        record = await made(store, new_run("mine"))
        await store.commit(finished(record))
        await store.load(RunId("mine"))
        assert not store.changed()
        await other.create(new_run("theirs"))
        await asyncio.wait_for(rung.wait(), 30)
        assert store.changed()
        assert not store.changed()
