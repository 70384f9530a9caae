"""What a round is given: a place, a folder, and luck."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from random import Random
from time import sleep
from typing import Final, Protocol

import psycopg
from puppets import PATIENCE, Stage

from kallista.errors import StoreUnavailableError
from kallista.store.sqlite.file_locks import FileLock, holder_name
from kallista.testing.postgres import PostgresServer, find_programs

_NUMBERS: Final = count(1)
_WAITS_FOR_CLIENT: Final = """
    SELECT count(*) FROM pg_stat_activity
    WHERE datname = current_database() AND wait_event = 'ClientRead' AND state = ANY (%s)
        AND state_change < now() - %s * interval '1 second'
"""


class Place(Protocol):
    """A kind of store, of which every round gets a new one."""

    name: str

    def url(self, folder: Path) -> str | None:
        """A new, empty store for programs of this folder; None: a file in it."""
        ...

    def can_be_written(self, url: str, within: float, *, patient: bool) -> bool:
        """Whether no frozen program keeps others from writing.

        Args:
            url: The store.
            within: Seconds after which whoever still holds it is taken for frozen.
            patient: Whether one is good enough that the server itself will send away.
        """
        ...

    def keep(self, folder: Path) -> None:
        """Leave the store of the last round in its folder."""
        ...


class Sqlite:
    """A file in the round's own folder."""

    name = "sqlite"

    def url(self, folder: Path) -> str | None:
        """The default."""
        return None

    def can_be_written(self, url: str, within: float, *, patient: bool) -> bool:
        """By the lock under which all programs write."""
        file = Path(url.removeprefix("sqlite:///"))
        with closing(FileLock(file.with_name(f"{file.name}.write-lock"))) as lock:
            try:
                lock.acquire(holder_name("the test"), within, "see whether it is free")
            except StoreUnavailableError:
                return False
            lock.release()
        return True

    def keep(self, folder: Path) -> None:
        """It is there already."""


class Postgres:
    """A database of a server that is there already.

    Args:
        server: The server.
    """

    name = "postgres"

    def __init__(self, server: PostgresServer) -> None:
        self.server = server
        self._database = ""

    def url(self, folder: Path) -> str | None:
        """A database; the one of the round before goes."""
        if self._database:
            self.server.drop_database(self._database)
        self._database = f"round{next(_NUMBERS)}"
        return self.server.create_database(self._database)

    def can_be_written(self, url: str, within: float, *, patient: bool) -> bool:
        """By what the server says of its sessions, once the living have moved on."""
        sleep(within)
        bad = ["active"] if patient else ["active", "idle in transaction"]
        with psycopg.connect(url, autocommit=True) as db:
            row = db.execute(_WAITS_FOR_CLIENT, (bad, within)).fetchone()
        return row == (0,)

    def keep(self, folder: Path) -> None:
        """Write it down as SQL, if there is a program for that."""
        dump = find_programs()["pg_dump"]
        if Path(dump).exists():
            url = self.server.url(self._database)
            subprocess.run([dump, "-f", str(folder / "store.sql"), url], check=False)


@dataclass(frozen=True)
class Round:
    """One round of a scenario.

    Args:
        place: What its store is.
        folder: Where its programs work; it is empty.
        chance: What everything in it is drawn from.
        size: How many workflows there are; other work goes with it.
        jitter: How many seconds at most a fault may come later than what it waits for; 0: at once.
        patience: For how many seconds a program may be silent before the round fails.
    """

    place: Place
    folder: Path
    chance: Random
    size: int = 4
    jitter: float = 0
    patience: float = PATIENCE

    def stage(self, settings: Mapping[str, str] | None = None) -> Stage:
        """Where its programs work, with these settings."""
        return Stage(self.folder, self.place.url(self.folder), settings, self.patience)
