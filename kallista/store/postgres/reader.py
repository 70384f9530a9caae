"""The readers: threads that answer questions, so that a long one holds nobody up."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from queue import SimpleQueue
from typing import Any, Final, NamedTuple, TypeVar

from kallista.errors import KallistaError, StoreError
from kallista.store.postgres.addresses import Address
from kallista.store.postgres.connection import Connection, means_lost, store_error
from kallista.store.postgres.link import Link
from kallista.store.postgres.reading import Reading
from kallista.store.postgres.records import DefinitionCache

READERS: Final = 2

_T = TypeVar("_T")


class _Question(NamedTuple):
    ask: Callable[[Reading], Any]
    snapshot: bool
    future: asyncio.Future[Any]


class Readers:
    """A few threads, each with a session of its own; whichever is free takes the next question.

    Args:
        address: Where the database is.
        patience: Seconds to try to reach the server again before those who ask are told.
    """

    def __init__(self, address: Address, patience: float) -> None:
        self._address = address
        self._loop = asyncio.get_running_loop()
        self._inbox: SimpleQueue[_Question | None] = SimpleQueue()
        self._closed = False
        self._links = [Link(address, patience) for _ in range(READERS)]
        self._ended: list[asyncio.Future[Any]] = []

    async def start(self) -> None:
        """Begin to answer.

        Raises:
            StoreError: The server cannot be reached, or gives no more sessions.
        """
        opened = [self._start(number, link) for number, link in enumerate(self._links, 1)]
        await asyncio.gather(*opened)

    def _start(self, number: int, link: Link) -> asyncio.Future[Any]:
        opened, ended = self._loop.create_future(), self._loop.create_future()
        self._ended.append(ended)
        thread = threading.Thread(
            target=self._run,
            args=(link, opened, ended),
            name=f"kallista-reader-{number}",
            daemon=True,
        )
        thread.start()
        return opened

    def hurry(self) -> None:
        """Wait for the server only shortly from now on."""
        for link in self._links:
            link.hurry()

    async def ask(self, question: Callable[[Reading], _T], *, snapshot: bool = False) -> _T:
        """Answer a question.

        Args:
            question: Asks it.
            snapshot: Whether it takes several statements, which have to see the same.

        Raises:
            StoreError: The store cannot be read.
        """
        if self._closed:
            raise StoreError(f"{self._address.place} is closed; open the store first")
        future: asyncio.Future[_T] = self._loop.create_future()
        self._inbox.put(_Question(question, snapshot, future))
        return await future

    async def stop(self) -> None:
        """Answer what was asked, and close."""
        if not self._closed:
            self._closed = True
            for _ in self._ended:
                self._inbox.put(None)
        await asyncio.gather(*self._ended)

    def _run(self, link: Link, opened: asyncio.Future[Any], ended: asyncio.Future[Any]) -> None:
        # Without an event loop nobody waits for an answer any more.
        with suppress(RuntimeError):
            self._answer_all(link, opened)
            self._loop.call_soon_threadsafe(_resolve, ended, None)

    def _answer_all(self, link: Link, opened: asyncio.Future[Any]) -> None:
        definitions = DefinitionCache()
        try:
            try:
                link.connection()
            except KallistaError as error:
                self._loop.call_soon_threadsafe(_resolve, opened, error)
            else:
                self._loop.call_soon_threadsafe(_resolve, opened, None)
            while (question := self._inbox.get()) is not None:
                try:
                    answer = _answer(link, definitions, question)
                except KallistaError as error:
                    answer = error
                except Exception as error:
                    answer = store_error(self._address.place, "read", error)
                self._loop.call_soon_threadsafe(_resolve, question.future, answer)
        finally:
            link.drop()


def _answer(link: Link, definitions: DefinitionCache, question: _Question) -> Any:
    while True:
        try:
            db = link.connection()
            reading = Reading(db, definitions)
            return (
                _in_snapshot(db, reading, question.ask)
                if question.snapshot
                else question.ask(reading)
            )
        except Exception as error:
            link.drop()
            if not means_lost(error):
                raise


def _in_snapshot(db: Connection, reading: Reading, ask: Callable[[Reading], Any]) -> Any:
    with db.pipeline():
        db.say(b"BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
        answer = ask(reading)
        db.say(b"COMMIT")
    return answer


def _resolve(future: asyncio.Future[Any], answer: object) -> None:
    if future.done():
        return
    if isinstance(answer, KallistaError):
        future.set_exception(answer)
    else:
        future.set_result(answer)
