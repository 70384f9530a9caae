"""Writes new runs, named definitions and new schedules."""

from __future__ import annotations

from typing import cast

import apsw

from kallista.core.plan import NewRun
from kallista.core.schedules import Schedule
from kallista.core.states import RunKind
from kallista.core.types import JsonText, Micros, RunKey
from kallista.errors import ConflictError, NotFoundError
from kallista.store.conflicts import id_conflict, schedule_conflict
from kallista.store.port import Created
from kallista.store.sqlite.rows import (
    changed_steps,
    new_run_row,
    schedule_values,
    tags_text,
)
from kallista.store.sqlite.statements import statement

_RUN_OF_ID = statement("run_of_id")
_ROOT_OF = statement("root_of")
_INSERT_RUN = statement("insert_run")
_INSERT_REQUEST = statement("insert_request")
_INSERT_TAG = statement("insert_tag")
_INSERT_WAIT = statement("insert_wait")
_INSERT_EVENT = statement("insert_event")
_PUT_STEP = statement("put_step")
_ENQUEUE = statement("enqueue")
_DROP_TOMBSTONE = statement("drop_tombstone")
_DEFINITION_KEY = statement("definition_key")
_INSERT_DEFINITION = statement("insert_definition")
_NAME_DEFINITION = statement("name_definition")
_DEFINITION_OF_NAME = statement("definition_of_name")
_DROP_UNUSED_DEFINITION = statement("drop_unused_definition")
_SCHEDULE_CONTENT = statement("schedule_content")
_INSERT_SCHEDULE = statement("insert_schedule")


def create_run(db: apsw.Connection, run: NewRun) -> Created:
    """Write a new run, unless the same one is there.

    Raises:
        ConflictError: Another one is there.
        NotFoundError: Its parent is gone.
    """
    there = db.execute(_RUN_OF_ID, (run.id,)).fetchone()
    if there is None:
        return Created(_insert(db, run), new=True)
    key, kind, name, content = there
    if kind == run.kind and content == run.content:
        return Created(RunKey(cast(int, key)), new=False)
    raise ConflictError(id_conflict(run, RunKind(kind), str(name)))


def insert_child(db: apsw.Connection, run: NewRun) -> None:
    """Write a run that may be there already; whatever has the id is left as it is."""
    if db.execute(_RUN_OF_ID, (run.id,)).fetchone() is None:
        _insert(db, run)


def _insert(db: apsw.Connection, run: NewRun) -> RunKey:
    root = _root(db, run)
    definition = definition_key(db, run.definition, run.definition_content)
    key = cast(int, db.execute(_INSERT_RUN, new_run_row(run, root)).get)
    db.execute(_INSERT_REQUEST, (key, definition, run.content, tags_text(run.tags), run.inputs))
    db.execute(_DROP_TOMBSTONE, (run.id,))
    db.executemany(_INSERT_TAG, ((tag, key) for tag in run.tags))
    db.executemany(_INSERT_WAIT, ((awaited, key) for awaited in run.waits_for))
    db.executemany(_PUT_STEP, ((key, *step) for step in changed_steps(run)))
    db.executemany(_INSERT_EVENT, ((key, *event) for event in run.events))
    db.executemany(_ENQUEUE, ((key, *entry) for entry in run.enqueue))
    return RunKey(key)


def _root(db: apsw.Connection, run: NewRun) -> int | None:
    if run.parent is None:
        return None
    root = db.execute(_ROOT_OF, (run.parent[0],)).get
    if root is None:
        raise NotFoundError(f"the run that was to start {run.id!r} is gone; it was deleted")
    return cast(int, root)


def definition_key(db: apsw.Connection, hash: str, content: JsonText) -> int:
    """The key of a definition, which is stored when it is new."""
    key = db.execute(_DEFINITION_KEY, (hash,)).get
    if key is None:
        key = db.execute(_INSERT_DEFINITION, (hash, content)).get
    return cast(int, key)


def name_definition(
    db: apsw.Connection, kind: RunKind, name: str, hash: str, content: JsonText, now: Micros
) -> None:
    """Let a name mean a definition, and drop the one before if nobody else uses it."""
    before = db.execute(_DEFINITION_OF_NAME, (kind, name)).get
    db.execute(_NAME_DEFINITION, (kind, name, definition_key(db, hash, content), now))
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
    definition = definition_key(db, schedule.definition, schedule.definition_content)
    db.execute(_INSERT_SCHEDULE, schedule_values(schedule) | {"definition": definition})
    return True
