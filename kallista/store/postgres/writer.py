"""The one writer: gathers what is to be written, writes it in groups, answers when it is durable.

While a group is on its way the next one gathers, so the price of a commit is shared by all who
wait. See docs/adr/0010-postgresql.md.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, Final, NamedTuple, TypeAlias, TypeVar, cast

import psycopg

from kallista.core.plan import NewRun, Plan
from kallista.errors import KallistaError, StoreError, StoreUncertainError
from kallista.store.answers import Answer
from kallista.store.births import Creation
from kallista.store.gathering import Gathering, LoopGone
from kallista.store.groups import ending_with_creations, write_group
from kallista.store.port import Committed
from kallista.store.postgres.addresses import Address
from kallista.store.postgres.connection import (
    Connection,
    means_again,
    means_lost,
    means_stale,
    store_error,
)
from kallista.store.postgres.creation import create_runs
from kallista.store.postgres.link import Link
from kallista.store.postgres.opening import KNOWN, check_compatible, prepare
from kallista.store.postgres.plans import write_plans
from kallista.store.postgres.records import DefinitionCache
from kallista.store.postgres.statements import statement
from kallista.store.postgres.writing import Writing
from kallista.store.pulse import Pulse, unheard
from kallista.store.rows import Row

HANDLE: Final = 0x4B_41_4C_48
"""What the writer's session is marked with, beside its key ("KALH")."""

TRIES: Final = 5
"""How often a group is written anew because others were in the way."""

_SESSION_MARK = statement("session_mark")
_END_MARKED_SESSION = statement("end_marked_session")
_INSERT_HANDLE = statement("insert_handle")
_DELETE_HANDLE = statement("delete_handle")
_DROP_DEAD_HANDLES = statement("drop_dead_handles")
_NEXT_COMMIT = statement("next_commit")
_LAST_COMMIT = statement("last_commit")
_NOTIFY = statement("notify")

_T = TypeVar("_T")

Change: TypeAlias = Callable[[Writing], Any]
"""Anything but plans and creations: it checks before it writes, and raises ``KallistaError``."""


class Request(NamedTuple):
    """Something to write, and who waits for it."""

    what: Plan | Creation | Change
    future: asyncio.Future[Any]


class _InDoubt(Exception):
    """The session was lost after COMMIT had been sent.

    Args:
        answers: What is to be answered if it took effect.
        writing: The transaction.
    """

    def __init__(self, answers: list[Answer], writing: Writing) -> None:
        super().__init__("a commit in doubt")
        self.answers = answers
        self.writing = writing


class Writer:
    """A thread with the only session that writes.

    Args:
        address: Where the database is.
        patience: Seconds to try to reach the server again before those who wait are told.
    """

    def __init__(self, address: Address, patience: float) -> None:
        self._address = address
        self._loop = asyncio.get_running_loop()
        self._gathering: Gathering[Request] = Gathering(self._loop)
        self._closed = False
        self._link = Link(address, patience, self._greet)
        self._definitions = DefinitionCache()
        self._commits = 0
        self.key: int | None = None

    # on the event loop

    async def start(self) -> None:
        """Open the store and begin to write.

        Raises:
            StoreError: It cannot be opened.
        """
        opened: asyncio.Future[None] = self._loop.create_future()
        thread = threading.Thread(
            target=self._run, args=(opened,), name="kallista-writer", daemon=True
        )
        thread.start()
        await opened

    def hurry(self) -> None:
        """Wait for the server only shortly from now on."""
        self._link.hurry()

    def submit_plan(self, plan: Plan) -> asyncio.Future[Committed]:
        """Write a plan with the next group."""
        return self._enqueue(plan)

    def submit_creation(self, creation: Creation) -> asyncio.Future[Any]:
        """Write new runs with the next group."""
        return self._enqueue(creation)

    def submit(self, change: Callable[[Writing], _T]) -> asyncio.Future[_T]:
        """Write something else with the next group."""
        return self._enqueue(change)

    def _enqueue(self, what: Plan | Creation | Change) -> asyncio.Future[Any]:
        future: asyncio.Future[Any] = self._loop.create_future()
        if self._closed:
            future.set_exception(StoreError(f"{self._address.place} is closed; open it first"))
        else:
            self._gathering.add(Request(what, future))
        return future

    def keep_lease(self, pulse: Pulse, beat: Callable[[Writing], bool]) -> None:
        """Renew the lease without being asked whenever the event loop is late with it.

        Args:
            pulse: When that is.
            beat: Renews it.
        """
        self._gathering.keep_lease(pulse, lambda: Request(beat, unheard(self._loop)))

    def asked_to_renew(self) -> None:
        """The event loop is not late."""
        self._gathering.asked_to_renew()

    async def stop(self) -> None:
        """Write what was submitted, and close."""
        if not self._closed:
            self._closed = True
            await self._gathering.stop()

    # on the thread

    def _run(self, opened: asyncio.Future[None]) -> None:
        with suppress(LoopGone):
            try:
                self._link.connection()
            except Exception as error:
                self._closed = True
                self._gathering.answer([(opened, self._as_kallista("open", error))])
                return
            self._gathering.answer([(opened, None)])
            for group, stop in self._gathering.groups():
                for part in ending_with_creations(group):
                    self._write(part)
                if stop is not None:
                    self._close()
                    self._gathering.answer([(stop.future, None)])
                    return

    def _greet(self, db: Connection) -> None:
        """Make a new session this program's: no two of them are ever open at once.

        Whatever the session before has sent is over once this one has the mark.
        """
        if self.key is None:
            prepare(db, self._address)
            db.tell(_DROP_DEAD_HANDLES, (HANDLE,))
            self.key = int(db.ask(_INSERT_HANDLE)[0][0])
        else:
            check_compatible(db, self._address)
        db.ask(_END_MARKED_SESSION, (HANDLE, self.key))
        db.ask(_SESSION_MARK, (HANDLE, self.key))

    def _write(self, group: Sequence[Request]) -> None:
        try:
            answers = self._until_written(group)
        except KallistaError as error:
            self._fail(group, error)
        except Exception as error:
            # Something in the group cannot be written at all; alone, it fails alone.
            if len(group) == 1 or isinstance(error, psycopg.errors.DiskFull):
                self._fail(group, self._as_kallista("write to", error))
            else:
                for request in group:
                    self._write([request])
        else:
            pairs = zip(group, answers, strict=True)
            self._gathering.answer([(request.future, answer) for request, answer in pairs])

    def _until_written(self, group: Sequence[Request]) -> list[Answer]:
        """Write a group, in as many sessions as it takes."""
        tries_left = TRIES
        is_hopeful = True
        while True:
            try:
                return self._transact(self._link.connection(), group, is_hopeful)
            except _InDoubt as doubt:
                answers = self._settled(doubt)
                if answers is not None:
                    return answers
            except psycopg.errors.DivisionByZero:
                # The store was migrated beyond this program: a new session is told so.
                self._link.drop()
            except Exception as error:
                self._roll_back()
                if is_hopeful and means_stale(error):
                    is_hopeful = False
                elif means_again(error) and tries_left:
                    tries_left -= 1
                elif not means_lost(error):
                    raise

    def _transact(self, db: Connection, group: Sequence[Request], is_hopeful: bool) -> list[Answer]:
        writing = Writing(db, self._definitions, is_hopeful)
        answers: list[Answer] | None = None
        try:
            with db.pipeline():
                db.say(b"BEGIN")
                filled = _execute(writing, group)
                if writing.changed:
                    self._sign(writing)
                answers = filled
                db.say(b"COMMIT")
        except psycopg.Error as error:
            if answers is not None and writing.changed and means_lost(error):
                raise _InDoubt(answers, writing) from error
            raise
        return self._done(writing, answers)

    def _done(self, writing: Writing, answers: list[Answer]) -> list[Answer]:
        self._commits += writing.changed
        for action in writing.after:
            action()
        return answers

    def _sign(self, writing: Writing) -> None:
        """Number the group, and tell other programs of it."""
        writing.db.tell(_NEXT_COMMIT, (self.key, self._commits + 1, KNOWN))
        if writing.concerns_others:
            writing.db.tell(_NOTIFY, (self.key,))

    def _settled(self, doubt: _InDoubt) -> list[Answer] | None:
        """Learn what became of a commit whose answer was lost.

        Returns:
            The answers when it was written, None when it was not, and never will be.

        Raises:
            StoreUncertainError: It cannot be known.
        """
        try:
            rows = self._last_commit()
        except (KallistaError, psycopg.Error) as second:
            self._commits += 1  # its number may be taken, and is not to vouch for the next group
            raise StoreUncertainError(
                f"the connection to {self._address.place} was lost during a commit, and it"
                f" could not be learned whether it took effect ({second}); start the server again,"
                " look, then decide"
            ) from doubt
        if not rows or rows[0][0] <= self._commits:
            return None
        return self._done(doubt.writing, doubt.answers)

    def _last_commit(self) -> list[Row]:
        while True:
            self._link.drop()
            try:
                return self._link.connection().ask(_LAST_COMMIT, (self.key,))
            except psycopg.Error as error:
                if not means_lost(error):
                    raise

    def _roll_back(self) -> None:
        if not self._link.is_down:
            try:
                self._link.connection().db.rollback()
            except (psycopg.Error, KallistaError):
                self._link.drop()

    def _close(self) -> None:
        if not self._link.is_down:
            with suppress(psycopg.Error, KallistaError):
                self._link.connection().tell(_DELETE_HANDLE, (self.key,))
        self._link.drop()

    def _as_kallista(self, doing: str, error: Exception) -> KallistaError:
        if isinstance(error, KallistaError):
            return error
        return store_error(self._address.place, doing, error)

    def _fail(self, group: Sequence[Request], error: KallistaError) -> None:
        self._gathering.answer([(request.future, error) for request in group])


def _execute(writing: Writing, group: Sequence[Request]) -> list[Answer]:
    _keep_order(writing, group)
    return write_group(
        group,
        partial(create_runs, writing),
        partial(write_plans, writing),
        partial(_do, writing),
    )


def _keep_order(writing: Writing, group: Sequence[Request]) -> None:
    """Take first what keeps those who begin to wait from those who end, as far as it is known.

    Taken later, two groups that do both would wait for each other.
    """
    announces = False
    for request in group:
        what = request.what
        if isinstance(what, Plan):
            born: Sequence[NewRun] = what.create
            announces = announces or what.announce
        elif isinstance(what, Creation):
            born = what.runs
        else:
            continue
        if any(run.waits_for for run in born):
            writing.hold_waits()
            return
    if announces:
        writing.keep_waits()


def _do(writing: Writing, request: Request) -> Answer:
    try:
        return cast(Change, request.what)(writing)
    except KallistaError as error:
        return error
