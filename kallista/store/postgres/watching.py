"""The watch: a session of its own that hears of others' commits and shows that a worker lives.

It is marked (by an advisory lock) with the worker's key and ends with the program, however that
ends. Marks vanish when the server restarts; then the watch connects again, marks its new session
and writes into the worker's row on which server, and since when that has been running, it lives
now. Until then nobody can tell, and the lease decides.
"""

from __future__ import annotations

import asyncio
import select
import socket
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from typing import Final

import psycopg

from kallista.core.types import WorkerKey
from kallista.errors import StoreUnavailableError
from kallista.store.postgres.addresses import Address
from kallista.store.postgres.connection import Connection, means_lost
from kallista.store.postgres.statements import statement

WORKING: Final = 0x4B_41_4C_57
"""What the session of a worker is marked with, beside its key ("KALW")."""

_PATIENCE: Final = 30.0
_SOON: Final = 0.05
_AT_LEAST_EVERY: Final = 2.0

_SESSION_MARK = statement("session_mark")
_END_MARKED_SESSION = statement("end_marked_session")
_SESSION_UNMARK = statement("session_unmark")
_MOVE_WORKER = statement("move_worker")


class Watch:
    """A thread that waits for what others commit.

    Args:
        address: Where the database is.
        own: What this program's own commits are told by.
    """

    def __init__(self, address: Address, own: str) -> None:
        self._address = address
        self._own = own
        self._loop = asyncio.get_running_loop()
        self._ring: Callable[[], None] | None = None
        self._changed = False
        self._wishes: deque[Callable[[Connection], None]] = deque()
        self._ear, self._mouth = socket.socketpair()
        self._mouth.setblocking(False)
        self._closed = False
        self._ended: asyncio.Future[None] = self._loop.create_future()
        self._thread = threading.Thread(target=self._run, name="kallista-watch", daemon=True)
        self.worker: WorkerKey | None = None

    async def start(self) -> None:
        """Begin to listen; whatever is committed from then on is noticed."""
        self._thread.start()
        await asyncio.wrap_future(self._wish(lambda db: None))

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
                while not self._closed:
                    with suppress(psycopg.Error, OSError):
                        self._watch()
                    self._pause()
            finally:
                self._ear.close()
                self._loop.call_soon_threadsafe(_resolve, self._ended)

    def _watch(self) -> None:
        db = Connection(self._address)
        try:
            db.say(b"LISTEN kallista")
            if self.worker is not None:
                db.ask(_END_MARKED_SESSION, (WORKING, self.worker))
                db.ask(_SESSION_MARK, (WORKING, self.worker))
                db.tell(_MOVE_WORKER, (db.server, self.worker))
            # What was committed while nobody listened.
            self._hear()
            self._wait(db)
            if self.worker is not None:
                # The server may take its time to end the session.
                db.ask(_SESSION_UNMARK, (WORKING, self.worker))
        finally:
            db.close()

    def _wait(self, db: Connection) -> None:
        while not self._closed:
            while self._wishes:
                self._wishes.popleft()(db)
            if any(note.payload != self._own for note in db.db.notifies(timeout=0)):
                self._hear()
            if self._wishes:
                continue
            own = self._ear.fileno()
            ready, _, _ = select.select([db.db.fileno(), own], [], [])
            if own in ready:
                self._ear.recv(4096)

    def _hear(self) -> None:
        self._changed = True
        if self._ring is not None:
            self._loop.call_soon_threadsafe(self._ring)

    def _pause(self) -> None:
        """Before the next try to connect, unless the watch is over."""
        if not self._closed:
            select.select([self._ear], [], [], _SOON)


def _resolve(ended: asyncio.Future[None]) -> None:
    if not ended.done():
        ended.set_result(None)
