"""One session with the server: carries out statements, many without waiting between them."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any, Final

import psycopg

from kallista.errors import StoreError, StoreUnavailableError
from kallista.store.postgres.addresses import Address
from kallista.store.postgres.exchange import Answer, Database, Exchange
from kallista.store.postgres.statements import Statement, Text, Values, statement
from kallista.store.rows import Row

# A session that is lost is told of by our own errors; psycopg would tell the terminal as well.
logging.getLogger("psycopg").addHandler(logging.NullHandler())

_SETTINGS = statement("settings")
_SERVER = statement("server")


class Connection:
    """A session.

    Inside ``pipeline`` statements go out without waiting for the answers to those before.

    Args:
        address: Where the database is.

    Raises:
        psycopg.Error: It cannot be had.
    """

    def __init__(self, address: Address) -> None:
        self.db: Database = psycopg.connect(address.conninfo, autocommit=True)
        self._exchange = Exchange(self.db)
        self._is_together = False
        try:
            with self.pipeline():
                self.tell(_SETTINGS)
                server = self.later(_SERVER)
                self.server = str(server()[0][0])
        except BaseException:
            self.close()
            raise

    def ask(self, what: Statement, values: Values = ()) -> list[Row]:
        """Carry out a statement and wait for its rows."""
        return self.later(what, values)()

    def later(self, what: Statement, values: Values = ()) -> Callable[[], list[Row]]:
        """Send a statement; its rows come when they are called for."""
        return partial(self._exchange.rows, self._send(what.query, what.texts(values)))

    def tell(self, what: Statement, values: Values = ()) -> None:
        """Carry out a statement whose rows don't matter."""
        self._send(what.query, what.texts(values))

    def tell_all(self, what: Statement, rows: Iterable[Sequence[Any]]) -> None:
        """Carry out a statement of arrays for these rows; without any there is nothing to do."""
        columns = list(zip(*rows, strict=True))
        if columns:
            self.tell(what, columns)

    def say(self, sql: bytes) -> None:
        """Begin or end a transaction, say."""
        self._send(sql)

    def _send(self, query: bytes, values: Sequence[Text] = ()) -> Answer:
        if self._is_together:
            return self._exchange.send(query, values)
        with self.pipeline():
            return self._exchange.send(query, values)

    @contextmanager
    def pipeline(self) -> Iterator[None]:
        """Statements in here go out together; at the end all of them have been carried out."""
        self._exchange.begin()
        self._is_together = True
        try:
            yield
            self._exchange.end()
        except BaseException:
            self._exchange.abandon()
            raise
        finally:
            self._is_together = False

    def notifications(self) -> list[str]:
        """What has been told since the last call to those who listen, without waiting."""
        return self._exchange.notifications()

    @property
    def is_lost(self) -> bool:
        """Whether the session has ended."""
        return bool(self.db.closed)

    def close(self) -> None:
        """End the session."""
        self._exchange.close()
        with suppress(psycopg.Error):
            self.db.close()


_LOST: Final = frozenset(
    {
        "25006",  # read-only: it was the primary once
        "25P03",  # idle in a transaction for too long
        "57P01",  # shut down
        "57P02",  # crashed
        "57P03",  # starting
        "57P05",  # idle for too long
    }
)
_TRY_AGAIN: Final = frozenset({"40001", "40P01", "55P03"})
_NOT_YET: Final = frozenset({"53300", "57P03"})
_FOR_GOOD: Final = (
    "authentication failed",
    "no password supplied",
    "does not exist",
    "not permitted to log in",
    "permission denied",
    "no pg_hba.conf",
    "connection is bad: invalid",
    "SSL was required",
    "no encryption",
)

SESSIONS: Final = 4
"""How many connections a program has: one writes, two read, one listens."""

_REMEDIES: Final = (
    ("resolve host", "check the host in the URL"),
    ("Connection refused", "check that the server is running there, and the port in the URL"),
    (
        "too many",
        f"raise CONNECTION LIMIT or max_connections (a program takes {SESSIONS}), or end others",
    ),
    ("remaining connection slots", "raise max_connections, or end other programs"),
    (
        "read-only",
        "no host in the URL can be written to: name the primary, or promote the standby",
    ),
)


def means_lost(error: BaseException) -> bool:
    """Whether the session, not the statement, is what failed."""
    if not isinstance(error, psycopg.Error):
        return False
    state = error.sqlstate
    if state is None:
        return isinstance(error, psycopg.OperationalError | psycopg.InterfaceError)
    return state in _LOST or state.startswith("08")


def means_again(error: BaseException) -> bool:
    """Whether others were in the way at that moment only."""
    return isinstance(error, psycopg.Error) and (
        error.sqlstate in _TRY_AGAIN or isinstance(error, psycopg.errors.UniqueViolation)
    )


def means_stale(error: BaseException) -> bool:
    """Whether it may be that a plan is stale that was taken not to be."""
    return isinstance(error, psycopg.errors.InvalidTextRepresentation)


def may_come_up(error: psycopg.Error) -> bool:
    """Whether it makes sense to try to connect again."""
    words = str(error)
    if isinstance(error, psycopg.ProgrammingError) or any(sign in words for sign in _FOR_GOOD):
        return False
    return means_lost(error) or error.sqlstate in _NOT_YET


def store_error(place: str, doing: str, error: BaseException) -> StoreError:
    """What an error of PostgreSQL means to a user.

    Args:
        place: The database, without its password.
        doing: What was tried, for the message ("write to", "read", "open").
        error: What PostgreSQL or libpq said.
    """
    words = words_of(error)
    if "authentication failed" in words or "no password supplied" in words:
        return StoreError(
            f"cannot {doing} {place}: the server refuses the user or the password; check the URL"
        )
    if "no pg_hba.conf" in words:
        return StoreError(
            f"cannot {doing} {place}: the server does not let this user in from here ({words});"
            " its pg_hba.conf has to be changed"
        )
    if 'role "' in words and ("does not exist" in words or "not permitted to log in" in words):
        return StoreError(
            f"cannot {doing} {place}: {words}; name another user in the URL, or let this one in:"
            " CREATE ROLE name LOGIN"
        )
    if "SSL was required" in words or "no encryption" in words or "connection is bad" in words:
        return StoreError(f"cannot {doing} {place}: {words}; mend the URL")
    match error:
        case psycopg.errors.InvalidCatalogName():
            return StoreError(f"cannot {doing} {place}: {words}; create it: createdb NAME")
        case psycopg.errors.InsufficientPrivilege():
            return _not_allowed(place, doing, words)
        case psycopg.errors.InvalidSqlStatementName() | psycopg.errors.DuplicatePreparedStatement():
            return StoreError(
                f"cannot {doing} {place}: {words}; that is what a pooler leads to that hands one"
                " session to several programs (PgBouncer with pool_mode = transaction): name the"
                " server itself in the URL"
            )
        case psycopg.errors.DiskFull():
            return StoreError(
                f"cannot {doing} {place}: the server's disk is full; free space there and try"
                " again; nothing acknowledged is lost"
            )
        case psycopg.OperationalError():
            if "permission denied" in words:
                return _not_allowed(place, doing, words)
            if 'database "' in words and "does not exist" in words:
                return StoreError(f"cannot {doing} {place}: {words}; create it: createdb NAME")
            return StoreUnavailableError(
                f"cannot {doing} {place}: {words}; {remedy(error)}; work goes on once it answers,"
                " and nothing acknowledged is lost"
            )
        case _:
            return StoreError(
                f"cannot {doing} {place}: {type(error).__name__}: {words}; nothing acknowledged is"
                " lost"
            )


def _not_allowed(place: str, doing: str, words: str) -> StoreError:
    return StoreError(
        f"cannot {doing} {place}: {words}; who makes the schema kallista needs CREATE on the"
        " database, and CONNECT; others need USAGE on that schema and ALL on its tables and"
        " sequences (GRANT)"
    )


def words_of(error: BaseException) -> str:
    """What an error says, on one line."""
    return " ".join(str(error).split())


def remedy(error: BaseException) -> str:
    """What lets the server be reached again."""
    words = str(error)
    return next(
        (advice for sign, advice in _REMEDIES if sign in words), "start the server, or wait for it"
    )
