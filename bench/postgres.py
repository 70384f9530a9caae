"""The PostgreSQL server of a run, with its default settings, and the databases on it."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from bench.environments import LeftOut


class Postgres:
    """A server of its own for one run of the benchmarks.

    Args:
        scratch: Where its data goes; root, as whom PostgreSQL does not run, puts it into the
            machine's folder of temporary files that stay, which is on a disk too.

    Raises:
        LeftOut: There is no PostgreSQL here, or nothing to talk to it with.
    """

    def __init__(self, scratch: Path) -> None:
        try:
            from kallista.testing.postgres import PostgresServer, ServerError
        except ImportError:
            raise LeftOut('it needs psycopg: pip install "kallista[postgres]"') from None
        root = hasattr(os, "geteuid") and os.geteuid() == 0
        before, tempfile.tempdir = tempfile.tempdir, "/var/tmp" if root else str(scratch)
        try:
            self._server = PostgresServer()
            self._server.start()
        except ServerError as error:
            print(error, flush=True)
            raise LeftOut("PostgreSQL is not here, or does not start") from None
        finally:
            tempfile.tempdir = before
        self.version = f"PostgreSQL {_ask(self._server.url('postgres'), 'SHOW server_version')}"

    def create(self, database: str) -> str:
        """Make an empty database; its URL."""
        return self._server.create_database(database)

    def drop(self, database: str) -> None:
        """Throw a database away, whoever is still connected."""
        self._server.drop_database(database)

    def stop(self) -> None:
        self._server.close()


def database_bytes(url: str) -> int:
    """How much a database takes on disk, without the server's log of changes."""
    _ask(url, "CHECKPOINT")
    return int(_ask(url, "SELECT pg_database_size(current_database())"))


def _ask(url: str, question: str) -> str:
    import psycopg

    with psycopg.connect(url, autocommit=True) as connection:
        asked = connection.execute(question)
        row = None if asked.description is None else asked.fetchone()
    return "" if row is None else str(row[0]).split()[0]
