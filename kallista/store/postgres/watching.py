"""The watch: a session of its own that hears of others' commits and shows that a worker lives.

It is marked (by an advisory lock) with the worker's key and ends with the program, however that
ends. Marks vanish when the server restarts; then the watch connects again, marks its new session
and writes into the worker's row on which server, and since when that has been running, it lives
now. Until then nobody can tell, and the lease decides.
"""

from __future__ import annotations

import asyncio
import logging
import selectors
import socket
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from typing import Final

import psycopg

from kallista.core.types import WorkerKey
from kallista.errors import StoreError, StoreUnavailableError
from kallista.store.postgres.addresses import Address
from kallista.store.postgres.connection import Connection, means_lost, words_of
from kallista.store.postgres.exchange import Database
from kallista.store.postgres.link import FIRST_PAUSE, LONGEST_PAUSE, Link
from kallista.store.postgres.statements import statement

_log = logging.getLogger("kallista.store")

WORKING: Final = 0x4B_41_4C_57
"""What the session of a worker is marked with, beside its key ("KALW")."""

_PATIENCE: Final = 30.0

_SESSION_MARK = statement("session_mark")
_END_MARKED_SESSION = statement("end_marked_session")
_SESSION_UNMARK = statement("session_unmark")
_MOVE_WORKER = statement("move_worker")


class Watch:
    """A thread that waits for what others commit.

    Args:
        address: Where the database is.
        patience: Seconds after which it is told that the server does not answer at all.
        own: What this program's own commits are told by.
    """

    def __init__(self, address: Address, patience: float, own: str) -> None:
        self._address = address
        self._patience = patience
        self._own = own
        self._loop = asyncio.get_running_loop()
        self._ring: Callable[[], None] | None = None
        self._changed = False
        self._wishes: deque[Callable[[Connection], None]] = deque()
        self._ear, self._mouth = socket.socketpair()
        self._mouth.setblocking(False)
        self._closed = False
        self._opened: asyncio.Future[None] = self._loop.create_future()
        self._ended: asyncio.Future[None] = self._loop.create_future()
        self._lost = False
        self._thread = threading.Thread(target=self._run, name="kallista-watch", daemon=True)
        self.worker: WorkerKey | None = None

    async def start(self) -> None:
        """Begin to listen; whatever is committed from then on is noticed.

        Raises:
            StoreError: The server cannot be reached, or gives no more sessions.
        """
        self._thread.start()
        await self._opened

    async def stop(self) -> None:
        """End the session."""
        if not self._closed:
            self._closed = True
            self._wake()
        await self._ended
        self._mouth.close()

    def listen(self, ring: Callable[[], None]) -> None:
        """Call this on the event loop soon after another program has committed."""
        self._ring = ring

    def changed(self) -> bool:
        """Whether another program has committed since the last call."""
        changed, self._changed = self._changed, False
        return changed

    # a worker

    def show(self, worker: WorkerKey) -> str:
        """Show from now on that a worker lives, and no other one.

        Called on the writer's thread, before the worker's row can be seen.

        Returns:
            The server, and since when it has been running.

        Raises:
            StoreUnavailableError: The session cannot be had.
        """
        shown: Future[str] = self._wish(lambda db: self._show(db, worker))
        try:
            return shown.result(_PATIENCE)
        except TimeoutError:
            raise StoreUnavailableError(
                f"{self._address.place} does not answer; work goes on once it does"
            ) from None

    def _show(self, db: Connection, worker: WorkerKey) -> str:
        if self.worker is not None:
            db.ask(_SESSION_UNMARK, (WORKING, self.worker))
        db.ask(_SESSION_MARK, (WORKING, worker))
        self.worker = worker
        return db.server

    def hide(self) -> None:
        """Stop showing it."""
        worker, self.worker = self.worker, None
        if worker is not None:
            self._wish(lambda db: db.tell(_SESSION_UNMARK, (WORKING, worker)))

    def _wish(self, what: Callable[[Connection], object]) -> Future[str]:
        """Let the watch's thread do something with its session."""
        done: Future[str] = Future()

        def do(db: Connection) -> None:
            try:
                answer = what(db)
            except psycopg.Error as error:
                if means_lost(error):
                    self._wishes.appendleft(do)
                    raise
                done.set_exception(error)
            else:
                done.set_result(str(answer))

        self._wishes.append(do)
        self._wake()
        return done

    def _wake(self) -> None:
        with suppress(OSError):
            self._mouth.send(b".")

    # on the thread

    def _run(self) -> None:
        # Without an event loop nobody hears anything any more.
        with suppress(RuntimeError):
            try:
                self._listen()
            finally:
                self._ear.close()
                self._loop.call_soon_threadsafe(_resolve, self._ended)

    def _listen(self) -> None:
        db: Connection | None
        try:
            db = Link(self._address, self._patience).connection()
        except StoreError as error:
            self._loop.call_soon_threadsafe(_resolve, self._opened, error)
            return
        self._loop.call_soon_threadsafe(_resolve, self._opened)
        pause = FIRST_PAUSE
        while not self._closed:
            try:
                db = db or Connection(self._address)
                self._greet(db)
                pause = FIRST_PAUSE
                self._wait(db)
            except (psycopg.Error, OSError) as error:
                self._has_lost_it(error)
            finally:
                if db is not None:
                    db.close()
                db = None
            self._pause(pause)
            pause = min(2 * pause, LONGEST_PAUSE)
        if db is not None:
            db.close()  # the store was closed while it opened

    def _greet(self, db: Connection) -> None:
        db.say(b"LISTEN kallista")
        if self.worker is not None:
            db.ask(_END_MARKED_SESSION, (WORKING, self.worker))
            db.ask(_SESSION_MARK, (WORKING, self.worker))
            db.tell(_MOVE_WORKER, (db.server, self.worker))
        if self._lost:
            self._lost = False
            _log.info("%s answers again", self._address.place)
        # What was committed while nobody listened.
        self._hear()

    def _has_lost_it(self, error: Exception) -> None:
        if not (self._lost or self._closed):
            self._lost = True
            _log.warning(
                "the connection to %s was lost (%s); it is made again",
                self._address.place,
                words_of(error),
            )

    def _wait(self, db: Connection) -> None:
        with _readable(db.db, self._ear) as readable:
            while not self._closed:
                while self._wishes:
                    self._wishes.popleft()(db)
                if any(payload != self._own for payload in db.notifications()):
                    self._hear()
                if self._wishes:
                    continue
                if any(key.fileobj is self._ear for key, _ in readable.select()):
                    self._ear.recv(4096)
        if self.worker is not None:
            # The server may take its time to end the session.
            db.ask(_SESSION_UNMARK, (WORKING, self.worker))

    def _hear(self) -> None:
        self._changed = True
        if self._ring is not None:
            self._loop.call_soon_threadsafe(self._ring)

    def _pause(self, seconds: float) -> None:
        """Before the next try to connect, unless the watch is over."""
        if not self._closed:
            with _readable(self._ear) as readable:
                readable.select(seconds)


def _readable(*sources: Database | socket.socket) -> selectors.BaseSelector:
    """What waits until there is something to read from one of them.

    Not ``select.select``, which knows only the first 1,024 files of a program.
    """
    selector = selectors.DefaultSelector()
    for source in sources:
        selector.register(source, selectors.EVENT_READ)
    return selector


def _resolve(future: asyncio.Future[None], error: StoreError | None = None) -> None:
    if future.done():
        return
    if error is None:
        future.set_result(None)
    else:
        future.set_exception(error)
