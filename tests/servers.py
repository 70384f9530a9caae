"""One PostgreSQL server for all tests of a program, and a new database for each of them."""

from __future__ import annotations

import asyncio
import atexit
from functools import cache
from itertools import count

from kallista.store.postgres import PostgresStore
from kallista.testing.postgres import PostgresServer

_numbers = count(1)


@cache
def server() -> PostgresServer:
    """The server, started when it is first needed; commits are not synced, which is quicker."""
    server = PostgresServer(durable=False, settings={"max_connections": "300"})
    server.start()
    atexit.register(server.close)
    return server


@cache
def _migrated() -> str:
    """A database that is a store already, to be copied."""
    url = server().create_database("migrated")

    async def migrate() -> None:
        store = PostgresStore(url)
        await store.open()
        await store.close()

    # Tests may ask for a database while their own event loop runs.
    import threading

    thread = threading.Thread(target=lambda: asyncio.run(migrate()))
    thread.start()
    thread.join()
    return "migrated"


def new_database() -> str:
    """The URL of a new store that nothing is in yet."""
    return server().create_database(f"test_{next(_numbers)}", template=_migrated())


def empty_database() -> str:
    """The URL of a database that is no store yet."""
    return server().create_database(f"test_{next(_numbers)}")
