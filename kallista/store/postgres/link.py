"""Keeps a session to be had: connects again when it was lost, for as long as somebody waits."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

import psycopg

from kallista.errors import StoreUnavailableError
from kallista.store.postgres.addresses import Address
from kallista.store.postgres.connection import (
    Connection,
    may_come_up,
    remedy,
    store_error,
    words_of,
)

OPENING_PATIENCE: Final = 5.0
"""Seconds after which whoever opens a store is told that the server does not answer."""

FIRST_PAUSE: Final = 0.02
LONGEST_PAUSE: Final = 1.0


class Link:
    """A session, or the way to the next one.

    Args:
        address: Where the database is.
        patience: Seconds from the first failure on after which those who wait are told; before
            there was any session, ``OPENING_PATIENCE`` at most.
        greet: What is done first in each new session.
    """

    def __init__(
        self,
        address: Address,
        patience: float,
        greet: Callable[[Connection], None] = lambda db: None,
    ) -> None:
        self._address = address
        self._patience = min(patience, OPENING_PATIENCE)
        self._later_patience = patience
        self._greet = greet
        self._db: Connection | None = None
        self._down_since: float | None = None

    def connection(self) -> Connection:
        """The session, a new one if the last one was lost.

        Raises:
            StoreUnavailableError: The server has not answered for longer than patience lasts.
            StoreError: It refuses, and will go on refusing.
        """
        if self._db is None or self._db.is_lost:
            self.drop()
            self._db = self._connect()
        return self._db

    def hurry(self) -> None:
        """Have no more patience from now on than when a store is opened; on any thread."""
        self._later_patience = self._patience = min(self._later_patience, OPENING_PATIENCE)

    @property
    def is_down(self) -> bool:
        """Whether there is no session at this moment."""
        return self._db is None or self._db.is_lost

    def drop(self) -> None:
        """End the session; the next one is another."""
        db, self._db = self._db, None
        if db is not None:
            db.close()

    def _connect(self) -> Connection:
        pause = FIRST_PAUSE
        while True:
            try:
                db = self._greeted()
            except psycopg.Error as error:
                if not may_come_up(error):
                    raise store_error(self._address.place, "reach", error) from error
                self._check_patience(error)
            else:
                self._down_since = None
                self._patience = self._later_patience
                return db
            time.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE)

    def _greeted(self) -> Connection:
        db = Connection(self._address)
        try:
            self._greet(db)
        except BaseException:
            db.close()
            raise
        return db

    def _check_patience(self, error: psycopg.Error) -> None:
        now = time.monotonic()
        if self._down_since is None:
            self._down_since = now
        down_for = now - self._down_since
        if down_for >= self._patience:
            raise StoreUnavailableError(
                f"{self._address.place} has not answered for {down_for:.0f} s"
                f" ({words_of(error)}); {remedy(error)}: work goes on once it answers, and nothing"
                " acknowledged is lost"
            ) from error
