"""Writes new runs, named definitions and new schedules.

Runs that are created at the same time are written together, row kind by row kind, as plans are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple, cast

import apsw
from msgspec.structs import astuple

from kallista.core.plan import NewRun
from kallista.core.schedules import Schedule
from kallista.core.states import RunKind
from kallista.core.types import JsonText, Micros, RunId, RunKey
from kallista.errors import ConflictError, KallistaError, NotFoundError
from kallista.store.conflicts import id_conflict, schedule_conflict
from kallista.store.holders import holder
from kallista.store.port import Created
from kallista.store.rows import changed_steps, new_run_row, schedule_values, tags_text
from kallista.store.sqlite.records import key_list, text_list
from kallista.store.sqlite.statements import statement
from kallista.store.sqlite.writing import Writing

_RUNS_OF_IDS = statement("runs_of_ids")
_ROOTS_OF = statement("roots_of")
_LAST_RUN_KEY = statement("last_run_key")
_INSERT_RUN = statement("insert_run")
_INSERT_REQUEST = statement("insert_request")
_INSERT_TAG = statement("insert_tag")
_INSERT_WAIT = statement("insert_wait")
_INSERT_EVENT = statement("insert_event")
_ENQUEUE = statement("enqueue")
_PUT_STEP = statement("put_step")
_ANY_TOMBSTONE = statement("any_tombstone")
_DROP_TOMBSTONE = statement("drop_tombstone")
_DEFINITION_KEYS = statement("definition_keys")
_LAST_DEFINITION_KEY = statement("last_definition_key")
_INSERT_DEFINITION = statement("insert_definition")
_NAME_DEFINITION = statement("name_definition")
_DEFINITION_OF_NAME = statement("definition_of_name")
_DROP_UNUSED_DEFINITION = statement("drop_unused_definition")
_SCHEDULE_CONTENT = statement("schedule_content")
_INSERT_SCHEDULE = statement("insert_schedule")


class Creation(NamedTuple):
    """Runs that are created together or not at all.

    Args:
        runs: The runs.
        alone: There is one of them, and the answer is about it instead of a list.
    """

    runs: Sequence[NewRun]
    alone: bool = False


def create_runs(
    writing: Writing, creations: Sequence[Creation]
) -> list[Created | Sequence[Created] | KallistaError]:
    """Write new runs, those of each creation together or not at all.

    Returns:
        For each creation its runs, those that were there already included, or why it dropped out.
    """
    births = _Births(writing, [run for creation in creations for run in creation.runs])
    answers = [births.accept(creation) for creation in creations]
    _insert(writing, births.accepted)
    return answers


def create_children(writing: Writing, runs: Sequence[NewRun]) -> None:
    """Write runs that may be there already; whatever has the id is left as it is."""
    if runs:
        births = _Births(writing, runs)
        for run in runs:
            if run.id not in births.there:
                births.add(run)
        _insert(writing, births.accepted)


class _There(NamedTuple):
    """What has an id."""

    key: RunKey
    kind: str
    name: str
    content: str


class _Birth(NamedTuple):
    """A run that is about to be written."""

    key: RunKey
    root: RunKey | None
    run: NewRun


class _Births:
    """Which runs may be written, and under which keys.

    Args:
        writing: The transaction.
        runs: All that are looked at.
    """

    def __init__(self, writing: Writing, runs: Sequence[NewRun]) -> None:
        self._writing = writing
        db = writing.db
        self.there = {
            RunId(str(id)): _There._make(rest)
            for id, *rest in db.execute(_RUNS_OF_IDS, (text_list(run.id for run in runs),))
        }
        parents = {run.parent[0] for run in runs if run.parent is not None}
        rows = db.execute(_ROOTS_OF, (key_list(parents),)) if parents else ()
        self._roots = {RunKey(cast(int, key)): RunKey(cast(int, root)) for key, root in rows}
        self._last = cast(int, db.execute(_LAST_RUN_KEY).get or 0)
        self.accepted: list[_Birth] = []

    def accept(self, creation: Creation) -> Created | Sequence[Created] | KallistaError:
        """Take on all runs of a creation, or none of them."""
        before = len(self.accepted)
        try:
            created = [self._created(run) for run in creation.runs]
            return created[0] if creation.alone else created
        except KallistaError as error:
            for birth in self.accepted[before:]:
                del self.there[birth.run.id]
            del self.accepted[before:]
            return error

    def _created(self, run: NewRun) -> Created:
        there = self.there.get(run.id)
        if there is None:
            key = self.add(run)
            self._writing.check_worker(run.owner)
            return Created(key, new=True)
        if there.kind == run.kind and there.content == run.content:
            return Created(there.key, new=False)
        raise ConflictError(id_conflict(run, RunKind(there.kind), there.name))

    def add(self, run: NewRun) -> RunKey:
        """Take on one run.

        Raises:
            NotFoundError: Its parent is gone.
        """
        root = None if run.parent is None else self._roots.get(run.parent[0])
        if run.parent is not None and root is None:
            raise NotFoundError(f"the run that was to start {run.id!r} is gone; it was deleted")
        key = RunKey(self._last + len(self.accepted) + 1)
        self.accepted.append(_Birth(key, root, run))
        self.there[run.id] = _There(key, run.kind, run.name, run.content)
        return key


def _insert(writing: Writing, births: Sequence[_Birth]) -> None:
    if not births:
        return
    db = writing.db
    writing.concerns_others |= any(run.owner is None or run.enqueue for _, _, run in births)
    keys = definition_keys(db, {run.definition: run.definition_content for _, _, run in births})
    db.executemany(_INSERT_RUN, (new_run_row(run, key, root) for key, root, run in births))
    db.executemany(
        _INSERT_REQUEST,
        (
            (key, keys[run.definition], run.content, tags_text(run.tags), run.inputs)
            for key, _, run in births
        ),
    )
    if db.execute(_ANY_TOMBSTONE).get:
        db.executemany(_DROP_TOMBSTONE, ((run.id,) for _, _, run in births))
    db.executemany(_INSERT_TAG, ((tag, key) for key, _, run in births for tag in run.tags))
    db.executemany(
        _INSERT_WAIT, ((awaited, key) for key, _, run in births for awaited in run.waits_for)
    )
    db.executemany(
        _PUT_STEP, ((key, *step) for key, _, run in births for step in changed_steps(run))
    )
    db.executemany(
        _INSERT_EVENT, ((key, *astuple(event)) for key, _, run in births for event in run.events)
    )
    db.executemany(
        _ENQUEUE,
        (
            (holder(run.kind, run.owner, type), type, priority, ready_at, key, step)
            for key, _, run in births
            for type, priority, ready_at, step in map(astuple, run.enqueue)
        ),
    )


def definition_keys(db: apsw.Connection, contents: Mapping[str, JsonText]) -> Mapping[str, int]:
    """The keys of definitions, by hash; those that are new are stored.

    Args:
        db: The connection.
        contents: The definitions by hash.
    """
    rows = db.execute(_DEFINITION_KEYS, (text_list(contents),))
    keys = {str(hash): cast(int, key) for hash, key in rows}
    new = [hash for hash in contents if hash not in keys]
    if new:
        first = cast(int, db.execute(_LAST_DEFINITION_KEY).get or 0) + 1
        keys.update(zip(new, range(first, first + len(new)), strict=True))
        db.executemany(_INSERT_DEFINITION, ((keys[hash], hash, contents[hash]) for hash in new))
    return keys


def name_definition(
    db: apsw.Connection, kind: RunKind, name: str, hash: str, content: JsonText, now: Micros
) -> None:
    """Let a name mean a definition, and drop the one before if nobody else uses it."""
    before = db.execute(_DEFINITION_OF_NAME, (kind, name)).get
    key = definition_keys(db, {hash: content})[hash]
    db.execute(_NAME_DEFINITION, (kind, name, key, now))
    if before is not None:
        db.execute(_DROP_UNUSED_DEFINITION, (before,))


def create_schedule(db: apsw.Connection, schedule: Schedule) -> bool:
    """Write a new schedule, unless the same one is there.

    Raises:
        ConflictError: Another one is there.
    """
    there = db.execute(_SCHEDULE_CONTENT, (schedule.id,)).fetchone()
    if there is not None:
        if there[0] == schedule.content:
            return False
        raise ConflictError(schedule_conflict(schedule))
    keys = definition_keys(db, {schedule.definition: schedule.definition_content})
    values = schedule_values(schedule) | {"definition": keys[schedule.definition]}
    db.execute(_INSERT_SCHEDULE, values)
    return True
