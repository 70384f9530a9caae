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
from kallista.store.postgres.rows import DefinitionCache

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
        self._patience = patience
        self._loop = asyncio.get_running_loop()
        self._inbox: SimpleQueue[_Question | None] = SimpleQueue()
        self._closed = False
        self._ended = [self._start(number) for number in range(READERS)]

    def _start(self, number: int) -> asyncio.Future[Any]:
        ended: asyncio.Future[Any] = self._loop.create_future()
        thread = threading.Thread(
            target=self._run, args=(ended,), name=f"kallista-reader-{number + 1}", daemon=True
        )
        thread.start()
        return ended

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

    def _run(self, ended: asyncio.Future[Any]) -> None:
        # Without an event loop nobody waits for an answer any more.
        with suppress(RuntimeError):
            self._answer_all()
            self._loop.call_soon_threadsafe(_resolve, ended, None)

    def _answer_all(self) -> None:
        link = Link(self._address, self._patience)
        definitions = DefinitionCache()
        try:
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
