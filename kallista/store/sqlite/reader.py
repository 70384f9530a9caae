"""The readers: threads that answer questions, so that a long one holds nobody up.

What the event loop asks in one turn is handed over and answered together: to cross between the
threads costs more than most answers.
"""

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
from kallista.store.answers import resolve, resolve_all
from kallista.store.sqlite.connection import connect, store_error
from kallista.store.sqlite.reading import Reading

READERS: Final = 2
TOGETHER: Final = 64
"""How many questions one thread takes at once, so that the other has something to do too."""

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
        self._gathered: list[_Question] = []
        self._inbox: SimpleQueue[list[_Question] | None] = SimpleQueue()
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
        """Answer a question from one snapshot, which neighbours may share.

        Raises:
            StoreError: The store cannot be read.
        """
        if self._closed:
            raise StoreError(f"{self._path} is closed; open the store first")
        future: asyncio.Future[_T] = self._loop.create_future()
        if not self._gathered:
            self._loop.call_soon(self._hand_over)
        self._gathered.append(_Question(question, future))
        return await future

    def _hand_over(self) -> None:
        gathered, self._gathered = self._gathered, []
        for start in range(0, len(gathered), TOGETHER):
            self._inbox.put(gathered[start : start + TOGETHER])

    async def stop(self) -> None:
        """Answer what was asked, and close."""
        if not self._closed:
            self._closed = True
            self._hand_over()
            for _ in self._ended:
                self._inbox.put(None)
        await asyncio.gather(*self._ended)

    def _run(self, ended: asyncio.Future[Any]) -> None:
        # Without an event loop nobody waits for an answer any more.
        with suppress(RuntimeError):
            self._answer_all()
            self._loop.call_soon_threadsafe(resolve, ended, None)

    def _answer_all(self) -> None:
        db: apsw.Connection | None = None
        reading: Reading | None = None
        try:
            while (questions := self._inbox.get()) is not None:
                answers: list[tuple[asyncio.Future[Any], object]] = []
                for question in questions:
                    try:
                        if db is None or reading is None:
                            db = connect(self._path, self._busy_timeout, self._vfs)
                            reading = Reading(db)
                        if not db.in_transaction:
                            db.execute("BEGIN")
                        answer = question.ask(reading)
                    except KallistaError as error:
                        answer = error
                    except Exception as error:
                        answer = store_error(self._path, "read", error)
                    answers.append((question.future, answer))
                if db is not None and db.in_transaction:
                    db.execute("ROLLBACK")
                self._loop.call_soon_threadsafe(resolve_all, answers)
        finally:
            if db is not None:
                with suppress(apsw.Error):
                    db.close()
