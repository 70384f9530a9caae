"""What is done to the file as a whole, beside all other work: looked through, and backed up."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from threading import Event
from typing import Final, TypeVar

import apsw

from kallista.errors import StoreError
from kallista.store.backups import keep, new_backup
from kallista.store.sqlite.connection import connect, translated
from kallista.store.sqlite.opening import APPLICATION_ID

_TOLD_AT_MOST: Final = 100
_STEPS_BETWEEN_LOOKS: Final = 10_000
"""So often, counted in steps of SQLite's machine, it is looked whether to stop: every few ms."""

_T = TypeVar("_T")


class Care:
    """Does long work on connections of its own, on threads; who is cancelled stops it.

    Args:
        path: The database file, which exists.
        busy_timeout: Seconds to wait while another program recovers the file after a crash.
        vfs: The SQLite file layer; None: the operating system's.
    """

    def __init__(self, path: Path, busy_timeout: float, vfs: str | None) -> None:
        self._path = path
        self._busy_timeout = busy_timeout
        self._vfs = vfs

    async def damage(self, *, quick: bool) -> Sequence[str]:
        """What SQLite finds wrong with the file, a sentence each; it reads all of it.

        Args:
            quick: Leave out whether indexes and tables agree.

        Raises:
            StoreError: It cannot even be read.
        """
        return await self._done("check", lambda db, stopped: unsound(db, quick))

    async def back_up(self, target: Path) -> None:
        """Write what the file holds at this moment to another file, and look that through.

        Others go on writing meanwhile. The copy has no free pages, and no log beside it.

        Args:
            target: The new file.

        Raises:
            UsageError: It is there already.
            StoreError: It cannot be written, or is not sound once it is.
        """
        await self._done("back up", lambda db, stopped: _back_up(db, target, stopped))

    async def _done(self, doing: str, work: Callable[[apsw.Connection, Event], _T]) -> _T:
        with (
            translated(self._path, doing),
            closing(connect(self._path, self._busy_timeout, self._vfs)) as db,
        ):
            stopped = _stoppable(db, Event())
            working = asyncio.ensure_future(asyncio.to_thread(work, db, stopped))
            try:
                return await asyncio.shield(working)
            except asyncio.CancelledError:
                stopped.set()
                await asyncio.wait([working])
                if not working.cancelled():
                    working.exception()  # nobody else is to hear of it
                raise


def unsound(db: apsw.Connection, quick: bool = False) -> Sequence[str]:
    """What SQLite finds wrong, a sentence each.

    Args:
        db: A connection to the file.
        quick: Leave out whether indexes and tables agree.
    """
    check = "quick_check" if quick else "integrity_check"
    try:
        found = [str(told) for (told,) in db.execute(f"PRAGMA {check}({_TOLD_AT_MOST})")]
    except apsw.CorruptError as error:
        return [f"the file is damaged: {error}"]
    return [] if found == ["ok"] else [line for told in found for line in told.splitlines()]


def _stoppable(db: apsw.Connection, stopped: Event) -> Event:
    """Let a connection give up soon after it is to stop, be it that it has not yet begun."""
    db.set_progress_handler(stopped.is_set, _STEPS_BETWEEN_LOOKS)
    return stopped


def _back_up(db: apsw.Connection, target: Path, stopped: Event) -> None:
    with new_backup(target) as part:
        _copy(db, part, stopped)
        if not stopped.is_set():
            keep(part, target)


def _copy(db: apsw.Connection, part: Path, stopped: Event) -> None:
    """Copy one snapshot of the file.

    Not by SQLite's backup API: in steps it starts anew whenever another program has written, and
    never comes to its end beside a busy worker.
    """
    db.execute("VACUUM INTO ?", (str(part),))
    with closing(apsw.Connection(str(part), flags=apsw.SQLITE_OPEN_READONLY)) as copy:
        _stoppable(copy, stopped)
        problems = unsound(copy)
        if copy.pragma("application_id") != APPLICATION_ID:
            problems = [*problems, "it is not marked as a store"]
    if problems:
        raise StoreError(
            f"the backup is not sound ({problems[0]}), so it was thrown away; look whether the"
            " store is: kallista store check"
        )
