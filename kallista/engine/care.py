"""Care of the store: how much is in it, whether it is sound, and what it knows of one run."""

from __future__ import annotations

import json
import os
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

from kallista.core.durations import parse_duration, to_datetime
from kallista.core.ids import may_exist
from kallista.core.plan import WAKE
from kallista.core.retention import places
from kallista.core.snapshots import Snapshot
from kallista.core.states import FINISHED_RUN, FINISHED_STEP, RunKind
from kallista.core.types import Json, Micros, RunId, RunKey
from kallista.engine.active import DefinitionCache
from kallista.engine.facts import Facts
from kallista.engine.heartbeats import Hearing
from kallista.engine.nowhere import nothing
from kallista.engine.promises import HISTORY_PAGE, Promises
from kallista.engine.retention import Purger
from kallista.engine.snapshots import SnapshotBuilder
from kallista.store.port import BrokenLink, Store

EXPORT_FORMAT: Final = 1
RUNS_AT_ONCE: Final = 200
TOLD_AT_MOST: Final = 1_000
"""How many broken links are listed; there may be more."""

_OVER: Final = frozenset(str(status) for status in (*FINISHED_RUN, *FINISHED_STEP))


class OldestRun(Snapshot, frozen=True):
    """The unfinished run that has been there for longest.

    Args:
        id: Its id.
        kind: What it is a run of.
        status: Where it is.
        created_at: Since when it has been there.
    """

    id: RunId
    kind: RunKind
    status: str
    created_at: datetime


class StoreStats(Snapshot, frozen=True):
    """How much is in the store.

    Args:
        size_bytes: What it takes on the disk.
        free_bytes: How much of that is empty, and taken first by what is written next; None: it
            cannot be told.
        runs: How many runs there are, by kind and status (``workflow COMPLETED``).
        rows: How many there are of everything: ``runs``, ``steps``, ``events`` and so on.
        queued: How many lines of the queue wait for a worker, by task type (with the queue, where
            that is not the default one: ``render@gpu``).
        oldest_unfinished: The unfinished run that has been there for longest, if there is one.
    """

    size_bytes: int
    free_bytes: int | None
    runs: Mapping[str, int]
    rows: Mapping[str, int]
    queued: Mapping[str, int]
    oldest_unfinished: OldestRun | None


class StoreCheck(Snapshot, frozen=True):
    """What came of looking the store through.

    Args:
        runs: How many runs were looked at.
        problems: All that is wrong, a sentence each; empty when all is well.
    """

    runs: int
    problems: tuple[str, ...]

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong."""
        return not self.problems


class StoreBackup(Snapshot, frozen=True):
    """A backup that is complete, and on the disk.

    Args:
        file: Where it is.
        size_bytes: How large it is.
    """

    file: str
    size_bytes: int


class StoreCare:
    """Looks after an open store, while workers go on with theirs.

    Args:
        store: The store.
        now: What time it is.
    """

    def __init__(self, store: Store, now: Callable[[], Micros]) -> None:
        self._store = store
        self._now = now
        definitions = DefinitionCache()
        self._promises = Promises(store, definitions)
        self._snapshots = SnapshotBuilder(
            store, definitions, Facts(store, definitions), Hearing(store, lambda run: {}), now
        )

    async def stats(self) -> StoreStats:
        """How much is in the store; to count it, all of it is read.

        Raises:
            StoreError: The store cannot be read.
        """
        figures = await self._store.figures()
        counts = await self._store.count_runs()
        queued = await self._store.queued_types()
        return StoreStats(
            size_bytes=figures.size_bytes,
            free_bytes=figures.free_bytes,
            runs={f"{kind} {status}": count for (kind, status), count in sorted(counts.items())},
            rows=dict(figures.rows),
            queued={str(type): count for type, count in sorted(queued.items()) if type != WAKE},
            oldest_unfinished=await self._oldest(
                [(kind, status) for kind, status in counts if status not in _OVER]
            ),
        )

    async def _oldest(self, places: Sequence[tuple[RunKind, str]]) -> OldestRun | None:
        """The oldest run of all that are of these kinds and statuses."""
        found = [
            run.key
            for kind, status in places
            for run in await self._store.oldest_runs(kind, status, RunKey(0), 1)
        ]
        record = await self._store.load(min(found)) if found else None
        if record is None:
            return None
        (summary,) = await self._snapshots.summaries([record])
        return OldestRun(summary.id, summary.kind, summary.status, summary.created_at)

    async def check(self, *, quick: bool = False) -> StoreCheck:
        """Look the store through: its file, what points where, and what is promised of each run.

        Each history has to lead to the state that is stored, and each unfinished run has to have
        something that will go on with it. It reads everything, and changes nothing.

        Args:
            quick: Leave out what takes longest: finished runs, and whether indexes and tables
                agree.

        Returns:
            All that is wrong. Damaged files are best restored from a backup; whatever else is
            wrong is a mistake in Kallista, or somebody has written into the store by hand.

        Raises:
            StoreError: The store cannot be read at all.
        """
        problems = list(await self._store.damage(quick=quick))
        problems += map(_told, await self._store.broken_links(TOLD_AT_MOST))
        runs = 0
        async for run in self._runs(unfinished=quick):
            runs += 1
            problems += await self._promises.broken(run)
        return StoreCheck(runs, tuple(problems))

    async def _runs(self, *, unfinished: bool) -> AsyncIterator[RunKey]:
        """The keys of all runs, oldest first within each status, or of the unfinished ones."""
        for kind, status in await self._store.count_runs():
            if unfinished and status in _OVER:
                continue
            after = RunKey(0)
            while page := await self._store.oldest_runs(kind, status, after, RUNS_AT_ONCE):
                for run in page:
                    yield run.key
                after = page[-1].key

    async def backup(self, target: str | os.PathLike[str]) -> StoreBackup:
        """Write what is stored at this moment to a file, while workers go on.

        A SQLite store becomes another SQLite file, looked through before it gets its name; to use
        it, open it, or put it in the place of the old one when no program has that open. A store
        in PostgreSQL is written by ``pg_dump``, for ``pg_restore``.

        Args:
            target: The new file.

        Returns:
            The file and its size.

        Raises:
            UsageError: The file is there already.
            StoreError: It cannot be written; the message says what to do.
        """
        file = _absolute(target)
        await self._store.back_up(file)
        return StoreBackup(str(file), _size(file))

    async def purge(
        self,
        older_than: float | str | timedelta,
        *,
        kind: str | None = None,
        status: str | Sequence[str] | None = None,
        dry_run: bool = False,
    ) -> int:
        """Remove runs that are over, with the runs they have started, a few at a time.

        What others could still wait for stays: a process is needed until each one that depends on
        it is COMPLETED. Children go with their parents and not before. Tombstones stay; the room
        is used by what is written next.

        Args:
            older_than: How long ago they have to have ended: seconds, ``"30d"``, ISO 8601.
            kind: Only runs of this kind: ``workflow``, ``process`` or ``task``.
            status: Only runs that ended in this status, or in one of these.
            dry_run: Remove nothing, only say how many runs would go now. It may be more that go:
                what one that goes has waited for goes after it.

        Returns:
            How many runs are gone, those they had started included.

        Raises:
            UsageError: There is no such kind, or no such status in which one is over.
        """
        before = Micros(self._now() - parse_duration(older_than))
        purger = Purger(self._store, self._now, dry_run=dry_run)
        return sum([await purger.remove(*place, before) for place in _places(kind, status)])

    async def export(self, id: str) -> dict[str, Json]:
        """All that is known of a run, as JSON data that a program can read without Kallista.

        Args:
            id: The run's id, of whatever kind.

        Returns:
            ``format``, ``exported_at``, ``run`` (as its snapshot's ``to_dict``: inputs, state,
            steps, results, errors), ``definition``, and ``history``, all events in order. Secrets
            are in it as they are in the store.

        Raises:
            NotFoundError: No run has this id.
        """
        record = await self._store.load(RunId(id)) if may_exist(id) else None
        if record is None:
            raise await nothing(self._store, "run", id)
        history: list[Json] = []
        while page := await self._store.history(record.key, len(history), HISTORY_PAGE):
            history += [self._snapshots.event(record, event).to_dict() for event in page]
        definition: Any = json.loads(record.definition_content)
        return {
            "format": EXPORT_FORMAT,
            "exported_at": to_datetime(self._now()).isoformat(),
            "run": (await self._snapshots.run(record)).to_dict(),
            "definition": definition,
            "history": history,
        }


def _places(kind: str | None, status: str | Sequence[str] | None) -> Sequence[tuple[RunKind, str]]:
    """The kinds and statuses that somebody speaks of."""
    kinds = list(RunKind) if kind is None else [kind]
    known = [place for each in kinds for place in places(each)]
    if status is None:
        return known
    wanted = [status] if isinstance(status, str) else status
    for name in set(wanted).difference(name for _, name in known):
        list(places(f"{kinds[0]}.{name}"))  # which says what is wrong
    return [place for place in known if place[1] in wanted]


_LINKS: Final[Mapping[str, str]] = {
    "request": "run {about!r} ({run}) has lost what was asked for: its request or its definition",
    "owner": "run {about!r} ({run}) is driven by a worker that does not exist",
    "step": "a step ({step}) belongs to a run ({run}) that has none there",
    "event": "a history belongs to a run ({run}) that does not exist",
    "line": "a line of the queue ({about!r}, step {step}) is of a run ({run}) that has none there",
    "loan": "a loan ({about!r}, step {step}) points to a run ({run}) that has none there",
    "wait": "a run ({run}) that does not exist waits for {about!r}",
    "signal": "a signal ({about!r}) for a run ({run}) is missing in its history",
    "question": "what a step ({step}) of a run ({run}) asks is missing in its history",
    "tag": "the tag {about!r} points to a run ({run}) that does not exist",
    "failure": "a failure ({about!r}, step {step}) is of a run ({run}) that has none there",
    "same": "the key {about!r} of requests that are the same stands for a run ({run}) that is gone",
    "name": "the name {about!r} means a definition that does not exist",
    "schedule": "the schedule {about!r} starts a definition that does not exist",
}


def _told(link: BrokenLink) -> str:
    return _LINKS[link.what].format(run=link.run, step=link.step, about=link.about)


def _absolute(path: str | os.PathLike[str]) -> Path:
    return Path(os.path.abspath(path))


def _size(file: Path) -> int:
    return file.stat().st_size
