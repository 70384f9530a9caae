"""The readers: threads that answer questions, so that a long one holds nobody up."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from queue import SimpleQueue
from typing import Any, Final, NamedTuple, TypeVar

import apsw

from kallista.errors import KallistaError, StoreError
from kallista.store.sqlite.connection import connect, store_error
from kallista.store.sqlite.reading import Reading

READERS: Final = 2

_T = TypeVar("_T")


class _Question(NamedTuple):
    ask: Callable[[Reading], Any]
    future: asyncio.Future[Any]


class Readers:
    """A few threads, each with a connection of its own; whichever is free takes the next question.

    Args:
        path: The database file, which exists.
        busy_timeout: Seconds to wait while another program recovers the file after a crash.
        vfs: The SQLite file layer; None: the operating system's.
    """

    def __init__(self, path: Path, busy_timeout: float, vfs: str | None) -> None:
        self._path = path
        self._busy_timeout = busy_timeout
        self._vfs = vfs
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

    async def ask(self, question: Callable[[Reading], _T]) -> _T:
        """Answer a question from one snapshot.

        Raises:
            StoreError: The store cannot be read.
        """
        if self._closed:
            raise StoreError(f"{self._path} is closed; open the store first")
        future: asyncio.Future[_T] = self._loop.create_future()
        self._inbox.put(_Question(question, future))
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
        db: apsw.Connection | None = None
        reading: Reading | None = None
        try:
            while (question := self._inbox.get()) is not None:
                try:
                    if db is None or reading is None:
                        db = connect(self._path, self._busy_timeout, self._vfs)
                        reading = Reading(db)
                    answer = _in_snapshot(db, reading, question.ask)
                except KallistaError as error:
                    answer = error
                except Exception as error:
                    answer = store_error(self._path, "read", error)
                self._loop.call_soon_threadsafe(_resolve, question.future, answer)
        finally:
            if db is not None:
                with suppress(apsw.Error):
                    db.close()


def _in_snapshot(db: apsw.Connection, reading: Reading, ask: Callable[[Reading], Any]) -> Any:
    db.execute("BEGIN")
    try:
        return ask(reading)
    finally:
        if db.in_transaction:
            db.execute("ROLLBACK")


def _resolve(future: asyncio.Future[Any], answer: object) -> None:
    if future.done():
        return
    if isinstance(answer, KallistaError):
        future.set_exception(answer)
    else:
        future.set_result(answer)
