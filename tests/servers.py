"""One PostgreSQL server for all tests of a program, and a new database for each of them."""

from __future__ import annotations

import atexit
from contextlib import closing
from functools import cache
from itertools import count

from kallista.store.postgres.addresses import read_url
from kallista.store.postgres.connection import Connection
from kallista.store.postgres.opening import prepare
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
    """A database that is a store already, to be copied.

    No key was ever drawn there: PostgreSQL forgets at a crash what a copied sequence has drawn from
    the stock that the original had logged.
    """
    address = read_url(server().create_database("migrated"))
    with closing(Connection(address)) as db:
        prepare(db, address)
    return "migrated"


def new_database() -> str:
    """The URL of a new store that nothing is in yet."""
    return server().create_database(f"test_{next(_numbers)}", template=_migrated())


def empty_database() -> str:
    """The URL of a database that is no store yet."""
    return server().create_database(f"test_{next(_numbers)}")
