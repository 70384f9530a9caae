"""The readers: threads that answer questions, so that a long one holds nobody up.

What many ask about one run each, at the same moment, is asked about all of them at once.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import Any, Final, NamedTuple, TypeVar, cast

from kallista.errors import KallistaError, StoreError, StoreUnavailableError
from kallista.store.answers import resolve, resolve_all
from kallista.store.postgres.addresses import Address
from kallista.store.postgres.connection import Connection, means_lost, store_error
from kallista.store.postgres.link import Link
from kallista.store.postgres.reading import Reading
from kallista.store.postgres.records import DefinitionCache

READERS: Final = 2
AT_ONCE: Final = 500
"""About how many things one question asks at most."""

_T = TypeVar("_T")
_K = TypeVar("_K")


class _Question(NamedTuple):
    ask: Callable[[Reading], Any]
    snapshot: bool
    future: asyncio.Future[Any]


class _Part(NamedTuple):
    """What a question that is asked of many things has to say about one of them."""

    ask: Callable[[Reading, Sequence[Any]], Mapping[Any, Any]]
    about: Any
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
        self._inbox: SimpleQueue[_Question | _Part | None] = SimpleQueue()
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
        future = self._future()
        self._inbox.put(_Question(question, snapshot, future))
        return cast(_T, await future)

    async def ask_jointly(
        self, question: Callable[[Reading, Sequence[_K]], Mapping[_K, _T]], about: _K
    ) -> _T | None:
        """Answer what is asked about one thing, along with those that others ask about.

        Args:
            question: Asks it about many, in several statements that see the same.
            about: What it is asked about.

        Raises:
            StoreError: The store cannot be read.
        """
        future = self._future()
        self._inbox.put(_Part(question, about, future))
        return cast(_T | None, await future)

    def _future(self) -> asyncio.Future[Any]:
        if self._closed:
            raise StoreError(f"{self._address.place} is closed; open the store first")
        return self._loop.create_future()

    async def stop(self) -> None:
        """Answer what was asked, and close."""
        if not self._closed:
            self._closed = True
            self._inbox.put(None)
        await asyncio.gather(*self._ended)

    def _run(self, link: Link, opened: asyncio.Future[Any], ended: asyncio.Future[Any]) -> None:
        # Without an event loop nobody waits for an answer any more.
        with suppress(RuntimeError):
            self._answer_all(link, opened)
            self._loop.call_soon_threadsafe(resolve, ended, None)

    def _answer_all(self, link: Link, opened: asyncio.Future[Any]) -> None:
        definitions = DefinitionCache()
        try:
            try:
                link.connection()
            except KallistaError as error:
                self._loop.call_soon_threadsafe(resolve, opened, error)
            else:
                self._loop.call_soon_threadsafe(resolve, opened, None)
            for question in self._questions():
                if isinstance(question, _Question):
                    self._say([(question.future, self._answer(link, definitions, question))])
                else:
                    self._say(self._joint_answers(link, definitions, question))
        finally:
            link.drop()

    def _questions(self) -> Iterator[_Question | list[_Part]]:
        """What is asked, one after the other, and together what is the same question."""
        while (item := self._inbox.get()) is not None or not self._inbox.empty():
            if item is None:
                # What was handed back after the end was announced is answered all the same.
                self._inbox.put(None)
                continue
            parts: list[_Part] = []
            while isinstance(item, _Part) and _goes_with(item, parts):
                parts.append(item)
                try:
                    item = self._inbox.get_nowait()
                except Empty:
                    break
            else:
                if parts:
                    # The other readers may have it, or this one once it has answered these.
                    self._inbox.put(item)
            yield parts or cast(_Question, item)
        self._inbox.put(None)

    def _answer(self, link: Link, definitions: DefinitionCache, question: _Question) -> Any:
        try:
            return _answer(link, definitions, question)
        except KallistaError as error:
            return error
        except Exception as error:
            return store_error(self._address.place, "read", error)

    def _joint_answers(
        self, link: Link, definitions: DefinitionCache, parts: Sequence[_Part]
    ) -> list[tuple[asyncio.Future[Any], Any]]:
        ask, about = parts[0].ask, list({part.about: None for part in parts})
        whole = _Question(lambda reading: ask(reading, about), True, parts[0].future)
        answer = self._answer(link, definitions, whole)
        if isinstance(answer, StoreUnavailableError) or (
            isinstance(answer, KallistaError) and len(about) == 1
        ):
            return [(part.future, answer) for part in parts]
        if isinstance(answer, KallistaError):
            # One of them cannot even be asked about; alone, it fails alone.
            return [
                pair for part in parts for pair in self._joint_answers(link, definitions, [part])
            ]
        return [(part.future, answer.get(part.about)) for part in parts]

    def _say(self, answers: list[tuple[asyncio.Future[Any], Any]]) -> None:
        self._loop.call_soon_threadsafe(resolve_all, answers)


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


def _goes_with(part: _Part, parts: Sequence[_Part]) -> bool:
    return not parts or (part.ask == parts[0].ask and len(parts) < AT_ONCE)
