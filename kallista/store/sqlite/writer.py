"""The one writer: gathers what is to be written, writes it in groups, answers when it is durable.

While a group is being synced the next one gathers, so the price of a sync is shared by all who
wait. See docs/adr/0002-group-commit.md.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeAlias, TypeVar, cast

import apsw

from kallista.core.plan import Plan
from kallista.errors import KallistaError, StoreError, StoreUncertainError
from kallista.store.answers import Answer
from kallista.store.births import Creation
from kallista.store.gathering import Gathering, LoopGone
from kallista.store.groups import write_group
from kallista.store.port import Committed
from kallista.store.pulse import Pulse, unheard
from kallista.store.sqlite.bells import Bell, Ringer
from kallista.store.sqlite.connection import connect, store_error
from kallista.store.sqlite.creation import create_runs
from kallista.store.sqlite.file_locks import FileLock, holder_name
from kallista.store.sqlite.opening import beside, check_compatible, prepare
from kallista.store.sqlite.plans import write_plans
from kallista.store.sqlite.records import DefinitionCache
from kallista.store.sqlite.statements import statement
from kallista.store.sqlite.writing import Writing

CHECKPOINT_PAGES: Final = 1_500
TRUNCATE_PAGES: Final = 16_000
TRUNCATE_PATIENCE: Final = 0.1

_NEXT_COMMIT = statement("next_commit")
_LAST_COMMIT = statement("last_commit")


_T = TypeVar("_T")

Change: TypeAlias = Callable[[Writing], Any]
"""Anything else: it checks before it writes, and raises ``KallistaError`` if it may not."""


class Request(NamedTuple):
    """Something to write, and who waits for it.

    Args:
        what: What is to be written.
        future: Who waits for the answer.
        quiet: Other programs need not look at it at once, unless it says so itself.
    """

    what: Plan | Creation | Change
    future: asyncio.Future[Any]
    quiet: bool = True


class Writer:
    """A thread with the only connection that writes.

    Args:
        path: The database file.
        program: Who this is, for programs that wait for us.
        busy_timeout: Seconds to wait for other programs.
        vfs: The SQLite file layer; None: the operating system's.
    """

    def __init__(self, path: Path, program: str, busy_timeout: float, vfs: str | None) -> None:
        self._path = path
        self._program = program
        self._holder = holder_name(program)
        self._purpose = f"write to {path.name}"
        self._busy_timeout = busy_timeout
        self._vfs = vfs
        self._loop = asyncio.get_running_loop()
        self._gathering: Gathering[Request] = Gathering(self._loop)
        self._closed = False
        self._guard = threading.Lock()
        self._db: apsw.Connection | None = None
        self._definitions: DefinitionCache | None = None
        self._lock: FileLock | None = None
        self._bells = beside(path, ".bells")
        self._bell: Bell | None = None
        self._ring: Callable[[], None] = lambda: None
        self._ringer = Ringer(self._bells)
        self._concerns_others = False
        self._pages = 0
        self._checkpoint_at = CHECKPOINT_PAGES
        self._newest = 0
        self._seen = 0
        self._left: int | None = None
        self._commits = 0

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

    def submit_plan(self, plan: Plan) -> asyncio.Future[Committed]:
        """Write a plan with the next group."""
        return self._enqueue(plan)

    def submit_creation(self, creation: Creation) -> asyncio.Future[Any]:
        """Create runs with the next group; the answer is a ``Created`` for each, or for the one."""
        return self._enqueue(creation)

    def submit(self, change: Callable[[Writing], _T], *, quiet: bool = False) -> asyncio.Future[_T]:
        """Write something else with the next group.

        Args:
            change: What is to be done.
            quiet: Other programs need not look at it at once, unless it says so itself.
        """
        return self._enqueue(change, quiet)

    def _enqueue(self, what: Plan | Creation | Change, quiet: bool = True) -> asyncio.Future[Any]:
        future: asyncio.Future[Any] = self._loop.create_future()
        if self._closed:
            future.set_exception(StoreError(f"{self._path} is closed; open the store first"))
        else:
            self._gathering.add(Request(what, future, quiet))
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
            if self._bell is not None:
                await self._bell.take_down()
            await self._gathering.stop()

    def changed(self) -> bool:
        """Whether another program has committed since the last call.

        The writer's own connection is asked, for only there own commits don't count. While it is
        busy, what it saw when it began its transaction is the answer.
        """
        if self._guard.acquire(blocking=False):
            try:
                self._note_version()
            finally:
                self._guard.release()
        changed = self._newest != self._seen
        self._seen = self._newest
        return changed

    def listen(self, ring: Callable[[], None]) -> None:
        """Call this soon after another program has committed; where that cannot be, never."""
        self._ring = ring
        if self._bell is None:
            with suppress(OSError):
                self._bell = Bell(self._bells, lambda: self._ring())

    # on the thread

    def _run(self, opened: asyncio.Future[None]) -> None:
        with suppress(LoopGone):
            try:
                prepare(self._path, self._program, self._busy_timeout, self._vfs)
                self._lock = FileLock(beside(self._path, ".write-lock"))
                self._connection()
                self._note_version()
                self._seen = self._newest
            except Exception as error:
                self._closed = True
                self._gathering.answer([(opened, _as_kallista(self._path, "open", error))])
                return
            self._gathering.answer([(opened, None)])
            for group, stop in self._gathering.groups():
                if group:
                    self._serve(group)
                if stop is not None:
                    self._gathering.answer([(stop.future, self._closing())])
                    return

    def _serve(self, group: Sequence[Request]) -> None:
        """Write a group under the lock that all programs share, and answer it."""
        assert self._lock is not None
        try:
            self._lock.acquire(self._holder, self._busy_timeout, self._purpose)
        except (KallistaError, OSError) as error:
            self._fail(group, _as_kallista(self._path, "write", error))
            return
        try:
            with self._guard:
                self._write(group)
                self._checkpoint()
        except LoopGone:
            raise
        except Exception as error:
            self._fail(group, _as_kallista(self._path, "write", error))
        finally:
            self._lock.release()
        if self._concerns_others:
            self._concerns_others = False
            self._ringer.ring(None if self._bell is None else self._bell.port)

    def _write(self, group: Sequence[Request]) -> None:
        try:
            answers = self._transact(group)
        except KallistaError as error:
            self._fail(group, error)
        except (apsw.FullError, apsw.IOError, apsw.BusyError, apsw.CorruptError) as error:
            self._fail(group, store_error(self._path, "write", error))
        except Exception as error:
            # Something in the group cannot be written at all; alone, it fails alone.
            if len(group) == 1:
                self._fail(group, _as_kallista(self._path, "write", error))
            else:
                for request in group:
                    self._write([request])
        else:
            pairs = zip(group, answers, strict=True)
            self._gathering.answer([(request.future, answer) for request, answer in pairs])

    def _transact(self, group: Sequence[Request]) -> list[Answer]:
        writing = self._begin()
        try:
            answers = self._fill(writing, group)
        except BaseException:
            _all_of(writing.on_rollback)
            raise
        _all_of(writing.on_commit)
        self._concerns_others |= writing.concerns_others
        return answers

    def _begin(self) -> Writing:
        db = self._connection()
        db.execute("BEGIN IMMEDIATE")
        try:
            if db.data_version() != self._left:
                self._look_what_others_left(db)
        except BaseException:
            self._roll_back(db)
            raise
        assert self._definitions is not None
        return Writing(db, self._definitions)

    def _fill(self, writing: Writing, group: Sequence[Request]) -> list[Answer]:
        db = writing.db
        try:
            before = db.total_changes()
            answers = _execute(writing, group)
            if db.total_changes() == before:
                # Nothing to sync, and nothing that other programs would have to look at.
                self._roll_back(db)
                writing.concerns_others = False
                return answers
            db.execute(_NEXT_COMMIT)
        except BaseException:
            self._roll_back(db)
            raise
        try:
            db.execute("COMMIT")
        except apsw.FullError:
            # The log was not even written to its end, so nothing can come back after a crash.
            self._roll_back(db)
            raise
        except apsw.Error as error:
            self._settle(self._commits + 1, error)
        else:
            self._commits += 1
            self._left = db.data_version()
        return answers

    def _look_what_others_left(self, db: apsw.Connection) -> None:
        """Others have written since this connection did, or it is a new one."""
        self._note_version()
        check_compatible(db, self._path)
        self._commits = cast(int, db.execute(_LAST_COMMIT).get)
        self._left = db.data_version()

    def _note_version(self) -> None:
        with suppress(apsw.Error):
            if self._db is not None:
                self._newest = cast(int, self._db.pragma("data_version"))

    def _roll_back(self, db: apsw.Connection) -> None:
        try:
            if db.in_transaction:
                db.execute("ROLLBACK")
        except apsw.Error:
            self._disconnect()

    def _settle(self, number: int, error: apsw.Error) -> None:
        """Learn what became of a commit that failed; nobody else has written since.

        Returns:
            When the group is written, and durable.

        Raises:
            StoreError: It is not written, and never will be.
            StoreUncertainError: It cannot be known.
        """
        self._disconnect()
        try:
            db = self._connection()
            written = cast(int, db.execute(_LAST_COMMIT).get) >= number
            if written:
                # The sync that failed may have dropped it from the log for ever, and whatever
                # follows it there would be lost with it. So it goes into the database file, and
                # the log starts anew.
                db.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
            # What the log held before, or a part of what is not written, would come back after a
            # crash: one more commit overwrites it.
            db.execute("BEGIN IMMEDIATE")
            db.execute(_NEXT_COMMIT)
            db.execute("COMMIT")
        except Exception as second:
            self._disconnect()
            raise StoreUncertainError(
                f"a commit to {self._path} failed ({error}), and it could not be learned whether it"
                f" took effect ({second}); check the disk, then look before you try again"
            ) from error
        if not written:
            raise store_error(self._path, "write", error) from error

    def _connection(self) -> apsw.Connection:
        if self._db is None:
            db = connect(self._path, self._busy_timeout, self._vfs)
            db.set_wal_hook(self._note_pages)
            self._db = db
            self._definitions = DefinitionCache(db)
        return self._db

    def _disconnect(self) -> None:
        db, self._db = self._db, None
        self._left = None
        if db is not None:
            with suppress(apsw.Error):
                db.close(True)

    def _note_pages(self, db: apsw.Connection, name: str, pages: int) -> int:
        if pages < self._pages:
            self._checkpoint_at = CHECKPOINT_PAGES
        self._pages = pages
        return apsw.SQLITE_OK

    def _checkpoint(self) -> None:
        """Write the log back each time it has grown; those who wait have been answered already.

        Once written back it starts anew by itself, unless somebody always reads. Then it grows,
        until a checkpoint keeps readers out of the log for a moment.
        """
        db = self._db
        if db is None or self._pages < self._checkpoint_at:
            return
        self._checkpoint_at = self._pages + CHECKPOINT_PAGES
        # Failing here loses nothing: the log stays, and is written back later.
        with suppress(apsw.Error):
            if self._pages < TRUNCATE_PAGES:
                db.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_PASSIVE)
            else:
                db.set_busy_timeout(int(TRUNCATE_PATIENCE * 1000))
                db.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
        db.set_busy_timeout(int(self._busy_timeout * 1000))

    def _closing(self) -> KallistaError | None:
        try:
            self._close()
        except Exception as error:
            return _as_kallista(self._path, "close", error)
        return None

    def _close(self) -> None:
        assert self._lock is not None
        with suppress(KallistaError, OSError, apsw.Error):
            self._lock.acquire(self._holder, self._busy_timeout, f"close {self._path.name}")
            with self._guard:
                if self._db is not None:
                    self._db.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_PASSIVE)
        with self._guard:
            self._disconnect()
        self._lock.close()
        self._ringer.close()

    def _fail(self, group: Sequence[Request], error: KallistaError) -> None:
        self._gathering.answer([(request.future, error) for request in group])


def _execute(writing: Writing, group: Sequence[Request]) -> list[Answer]:
    return write_group(
        group,
        partial(create_runs, writing),
        partial(write_plans, writing),
        partial(_do, writing),
    )


def _do(writing: Writing, request: Request) -> Answer:
    writing.concerns_others |= not request.quiet
    try:
        return cast(Change, request.what)(writing)
    except KallistaError as error:
        return error


def _all_of(actions: Sequence[Callable[[], None]]) -> None:
    for action in actions:
        # A lock file that cannot be deleted now only looks untidy.
        with suppress(OSError):
            action()


def _as_kallista(path: Path, doing: str, error: Exception) -> KallistaError:
    return error if isinstance(error, KallistaError) else store_error(path, doing, error)
