"""Writes new runs, named definitions and new schedules.

Runs that are created at the same time are written together, row kind by row kind, as plans are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, cast

import apsw
from msgspec.structs import astuple

from kallista.core.json_text import to_json
from kallista.core.plan import Entry, NewRun, Redefinition, SameKey
from kallista.core.schedules import Schedule
from kallista.core.states import RunKind
from kallista.core.types import JsonText, Micros, RunId, RunKey, WorkerKey
from kallista.errors import ConflictError, KallistaError
from kallista.store.births import Birth, Births, Creation, First, There
from kallista.store.circles import Waits
from kallista.store.conflicts import schedule_conflict
from kallista.store.holders import holder
from kallista.store.port import Created, Waiting
from kallista.store.rows import (
    Row,
    changed_steps,
    divided,
    forked_from_text,
    new_run_row,
    new_task_step,
    schedule_values,
    tags_text,
)
from kallista.store.sqlite.gates import close_gates
from kallista.store.sqlite.records import key_list, text_list
from kallista.store.sqlite.statements import Insertion, statement
from kallista.store.sqlite.writing import Writing

INSERT_EVENT: Final = Insertion("insert_event")
PUT_STEP: Final = Insertion("put_step")
ENQUEUE: Final = Insertion("enqueue")
PUT_FAILURE: Final = statement("put_failure")

_RUNS_OF_IDS = statement("runs_of_ids")
_ROOTS_OF = statement("roots_of")
_LAST_RUN_KEY = statement("last_run_key")
_INSERT_RUN = Insertion("insert_run")
_INSERT_REQUEST = Insertion("insert_request")
_INSERT_TAG = Insertion("insert_tag")
_INSERT_WAIT = Insertion("insert_wait")
_ANY_RUN = statement("any_run")
_WAITING_FOR = statement("waiting_for")
_ANY_TOMBSTONE = statement("any_tombstone")
_DROP_TOMBSTONE = statement("drop_tombstone")
_DEFINITION_KEYS = statement("definition_keys")
_LAST_DEFINITION_KEY = statement("last_definition_key")
_INSERT_DEFINITION = statement("insert_definition")
_NAME_DEFINITION = statement("name_definition")
_DEFINITION_OF_NAME = statement("definition_of_name")
_INSERT_BUDGET = statement("insert_budget")
_FIRST_OF_KEYS = statement("first_of_keys")
_PUT_SAME = statement("put_same")
_DROP_OLD_SAME = statement("drop_old_same")
_DROP_UNUSED_DEFINITION = statement("drop_unused_definition")
_DEFINITION_OF_RUN = statement("definition_of_run")
_REDEFINE_REQUEST = statement("redefine_request")
_RESIZE_RUN = statement("resize_run")
_SCHEDULE_CONTENT = statement("schedule_content")
_INSERT_SCHEDULE = statement("insert_schedule")


def create_runs(
    writing: Writing, creations: Sequence[Creation]
) -> list[Created | Sequence[Created] | KallistaError]:
    """Write new runs, those of each creation together or not at all.

    Returns:
        For each creation its runs, those that were there already included, or why it dropped out.
    """
    births = _births(writing, [run for creation in creations for run in creation.runs])
    answers = [births.accept(creation) for creation in creations]
    _insert(writing, births.accepted)
    return answers


def create_children(writing: Writing, runs: Sequence[NewRun]) -> None:
    """Write runs that may be there already; whatever has the id is left as it is."""
    if runs:
        births = _births(writing, runs)
        births.add_missing(runs)
        _insert(writing, births.accepted)


def _births(writing: Writing, runs: Sequence[NewRun]) -> Births:
    db = writing.db
    found = db.execute(_RUNS_OF_IDS, (text_list(run.id for run in runs),))
    there = {RunId(str(id)): There(*rest) for id, *rest in found}
    parents = {run.parent[0] for run in runs if run.parent is not None}
    rows = db.execute(_ROOTS_OF, (key_list(parents),)) if parents else ()
    roots = {RunKey(cast(int, key)): RunKey(cast(int, root)) for key, root in rows}
    last = cast(int, db.execute(_LAST_RUN_KEY).get or 0)
    same = [run.same for run in runs if run.same is not None]
    return Births(
        there,
        roots,
        lambda number: RunKey(last + 1 + number),
        writing.check_worker,
        _first(db, same) if same else None,
        _waits(db, [run for run in runs if run.waits_for]),
    )


def _first(db: apsw.Connection, same: Sequence[SameKey]) -> dict[tuple[str, str], First]:
    """The runs that keys stand for."""
    keys = to_json([[each.scope, each.key] for each in same])
    rows: Any = db.execute(_FIRST_OF_KEYS, (keys,))
    return {(scope, key): First(*rest) for scope, key, *rest in rows}


def _waits(db: apsw.Connection, runs: Sequence[NewRun]) -> Waits | None:
    """Who waits for those of the new runs that wait themselves; mostly there are none of these."""
    if not runs:
        return None
    awaited = text_list(dict.fromkeys(id for run in runs for id in run.waits_for))
    may_close = db.execute(_ANY_RUN, (awaited,)).get
    return Waits(waiting_for(db, [run.id for run in runs]) if may_close else ())


def waiting_for(db: apsw.Connection, runs: Sequence[RunId]) -> Sequence[Waiting]:
    """Who waits for some runs, by itself or through others."""
    rows = db.execute(_WAITING_FOR, (text_list(runs),))
    return [Waiting(RunId(str(awaited)), RunId(str(run))) for awaited, run in rows]


def _insert(writing: Writing, births: Sequence[Birth]) -> None:
    if not births:
        return
    db = writing.db
    keys = definition_keys(db, {run.definition: run.definition_content for _, _, run in births})
    runs: list[Any] = []
    requests: list[Any] = []
    steps: list[Any] = []
    events: list[Any] = []
    entries: list[Any] = []
    tags: list[Any] = []
    waits: list[Any] = []
    aside: list[tuple[RunKey, NewRun]] = []
    for key, root, run in births:
        runs += (*new_run_row(run, key, root), *new_task_step(run))
        requests += (
            key, keys[run.definition], run.content, tags_text(run.tags), run.inputs,
            None if run.forked_from is None else forked_from_text(run.forked_from),
        )  # fmt: skip
        for changed in changed_steps(run):
            steps += (key, *changed)
        for event in run.events:
            events += (key, *astuple(event))
        for entry in run.enqueue:
            entries += entry_row(key, run.kind, run.owner, entry)
        for tag in run.tags:
            tags += (tag, key)
        for awaited in run.waits_for:
            waits += (awaited, key)
        if run.failures or run.gates or run.budget or run.same is not None:
            aside.append((key, run))
        writing.concerns_others |= run.owner is None
    writing.concerns_others |= bool(entries)
    _INSERT_RUN.write(db, runs)
    _INSERT_REQUEST.write(db, requests)
    if db.execute(_ANY_TOMBSTONE).get:
        db.executemany(_DROP_TOMBSTONE, ((run.id,) for _, _, run in births))
    PUT_STEP.write(db, steps)
    INSERT_EVENT.write(db, events)
    ENQUEUE.write(db, entries)
    _INSERT_TAG.write(db, tags)
    _INSERT_WAIT.write(db, waits)
    if aside:
        _insert_aside(writing, aside)


def _insert_aside(writing: Writing, runs: Sequence[tuple[RunKey, NewRun]]) -> None:
    """Insert what few runs have: limits, a budget, a key for later requests, a failed step."""
    db = writing.db
    close_gates(writing, ((key, gate) for key, run in runs for gate in run.gates))
    for key, run in runs:
        if run.failures:
            db.executemany(PUT_FAILURE, divided(key, run.failures)[1])
        if run.budget:
            db.executemany(_INSERT_BUDGET, ((key, unit, limit) for unit, limit in run.budget))
        if run.same is not None:
            db.execute(_PUT_SAME, (run.same.scope, run.same.key, key, run.same.until))
            db.execute(_DROP_OLD_SAME, (run.created_at,))


def entry_row(run: RunKey, kind: str, owner: WorkerKey | None, entry: Entry) -> Row:
    """The values of ``enqueue`` and ``dequeue``."""
    type = entry.type
    return holder(kind, owner, type), type, entry.priority, entry.ready_at, run, entry.step


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


def redefine(db: apsw.Connection, run: RunKey, what: Redefinition) -> None:
    """Let a run have another definition, and drop the one before if nobody else uses it."""
    before = db.execute(_DEFINITION_OF_RUN, (run,)).get
    key = definition_keys(db, {what.definition: what.content})[what.definition]
    db.execute(_REDEFINE_REQUEST, (key, run))
    db.execute(_RESIZE_RUN, (what.steps, run))
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
