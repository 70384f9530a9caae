"""Statements that go out together: what an error, a large answer or a bad value does to them."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Iterator
from contextlib import closing

import psycopg
import pytest
from servers import new_database

from kallista.core.types import RunId
from kallista.errors import StoreError, StoreUnavailableError
from kallista.store.postgres import PostgresStore
from kallista.store.postgres.addresses import read_url
from kallista.store.postgres.connection import Connection
from kallista.store.postgres.link import Link
from kallista.store.postgres.reader import READERS
from kallista.store.postgres.reading import Reading
from kallista.store.postgres.statements import Statement
from kallista.testing.store_contract import made, new_run, opened

NOTIFY = Statement("", "", b"SELECT pg_notify('kallista', $1::text)", ("key",), (str,))
MANY = Statement("", "", b"SELECT repeat($1::text, 1000)", ("text",), (str,))
COUNT = Statement("", "", b"SELECT count(*) FROM numbers", (), ())
DIVIDE = Statement("", "", b"SELECT 1 / $1::integer", ("by",), (str,))


@pytest.fixture
def anyio_backend() -> str:
    """Stores live on asyncio."""
    return "asyncio"


@pytest.fixture
def db() -> Iterator[Connection]:
    """A session."""
    with closing(Connection(read_url(new_database()))) as db:
        yield db


def test_what_follows_an_error_is_not_carried_out(db: Connection) -> None:
    """The first error is told, and the session and its statements can be used again."""
    db.say(b"CREATE TEMPORARY TABLE numbers (number integer)")
    with pytest.raises(psycopg.errors.DivisionByZero):
        divide_and_insert(db)
    db.say(b"ROLLBACK")
    with db.pipeline():
        db.say(b"INSERT INTO numbers VALUES (1)")
        rows = db.later(DIVIDE, (1,))
        count = db.later(COUNT)
    assert rows() == [(1,)]
    assert count() == [(1,)]


def divide_and_insert(db: Connection) -> None:
    """A transaction that fails in its first statement."""
    with db.pipeline():
        db.say(b"BEGIN")
        db.tell(DIVIDE, (0,))
        db.say(b"INSERT INTO numbers VALUES (1)")
        db.say(b"COMMIT")


def test_large_words_go_both_ways_at_once(db: Connection) -> None:
    """Neither side waits for the other to listen, however much both have to say."""
    with db.pipeline():
        answers = [db.later(MANY, ("x" * 20_000,)) for _ in range(5)]
    assert [len(rows()[0][0]) for rows in answers] == [20_000_000] * 5


def test_no_text_is_cut_off(db: Connection) -> None:
    """What PostgreSQL cannot store is refused instead of being cut off at a zero byte."""
    with pytest.raises(psycopg.DataError, match="NUL"):
        db.ask(MANY, ("a\0b",))
    assert len(db.ask(MANY, ("a",))[0][0]) == 1000


def test_what_is_notified_along_with_an_answer_is_heard(db: Connection) -> None:
    """Notifications that arrive while something else is read are not lost."""
    db.say(b"LISTEN kallista")
    db.ask(NOTIFY, ("7",))
    assert db.notifications() == ["7"]
    assert db.notifications() == []


@pytest.mark.anyio
async def test_what_cannot_be_asked_fails_alone() -> None:
    """Runs that are asked for at the same moment are read together, and a bad id harms no other."""
    url = new_database()
    async with opened(lambda: PostgresStore(url)) as store:
        for number in range(3):
            await made(store, new_run(f"run-{number}"))
        ids = ["run-0", "run-1", "a\0b", "unknown", "run-2"]
        found = await asyncio.gather(*(store.load(RunId(id)) for id in ids), return_exceptions=True)
    assert isinstance(found[2], StoreError)
    others = [record for record in found if not isinstance(record, BaseException)]
    assert [record and record.id for record in others] == ["run-0", "run-1", None, "run-2"]


@pytest.mark.anyio
async def test_what_was_asked_before_the_end_is_answered() -> None:
    """Nobody waits for ever for an answer because the store was closed at that moment."""
    url = new_database()
    busy, let_go = threading.Semaphore(0), threading.Event()

    def hold(reading: Reading) -> None:
        busy.release()
        let_go.wait()

    async with opened(lambda: PostgresStore(url)) as store:
        asked: list[Awaitable[object]] = [
            asyncio.ensure_future(store._reading.ask(hold)) for _ in range(READERS)
        ]
        for _ in range(READERS):
            await asyncio.to_thread(busy.acquire)
        asked += [asyncio.ensure_future(store.load(RunId("unknown"))) for _ in range(2)]
        asked.append(asyncio.ensure_future(store.count_runs()))
        leaving = asyncio.ensure_future(store.close())
        await asyncio.sleep(0)  # the questions are handed over, and then the end marks
        let_go.set()
        await leaving
        answers = await asyncio.wait_for(asyncio.gather(*asked), 10)
    assert answers == [None] * 4 + [{}]


@pytest.mark.anyio
async def test_who_asks_together_is_told_together_that_the_server_is_away(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The server is waited for once, not once for each of them."""
    url, tries = new_database(), 0

    def connect(link: Link) -> Connection:
        nonlocal tries
        tries += 1
        raise StoreUnavailableError("it does not answer")

    async with opened(lambda: PostgresStore(url)) as store:
        with monkeypatch.context() as patch:
            patch.setattr(Link, "connection", connect)
            ids = [RunId(f"run-{number}") for number in range(100)]
            found = await asyncio.gather(*map(store.load, ids), return_exceptions=True)
    assert all(isinstance(answer, StoreUnavailableError) for answer in found)
    assert tries <= 10
