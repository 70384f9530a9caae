"""Writes new runs, named definitions and new schedules.

Runs that are created at the same time are written together, row kind by row kind, as plans are.
When another program creates a run of the same id at the same moment the transaction fails and is
tried again, and then finds it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from msgspec.structs import astuple

from kallista.core.plan import NewRun, Redefinition
from kallista.core.schedules import Schedule
from kallista.core.states import RunKind
from kallista.core.types import JsonText, Micros, RunId, RunKey, WorkerKey
from kallista.errors import ConflictError, KallistaError, LeaseLost
from kallista.store.births import Birth, Births, Creation, First, There
from kallista.store.circles import Waits
from kallista.store.conflicts import schedule_conflict, worker_gone
from kallista.store.holders import holder
from kallista.store.port import Created
from kallista.store.postgres.gates import close_gates
from kallista.store.postgres.statements import statement
from kallista.store.postgres.writing import Writing
from kallista.store.rows import (
    LASTING,
    changed_steps,
    divided,
    forked_from_text,
    new_run_row,
    new_task_step,
    schedule_values,
    tags_text,
)

_RUNS_OF_IDS = statement("runs_of_ids")
_ROOTS_OF = statement("roots_of")
_NEXT_RUN_KEYS = statement("next_run_keys")
_INSERT_RUN = statement("insert_run")
_INSERT_REQUEST = statement("insert_request")
_ANY_RUN = statement("any_run")
_WAITING_FOR = statement("waiting_for")
_INSERT_TAG = statement("insert_tag")
_INSERT_WAIT = statement("insert_wait")
_INSERT_EVENT = statement("insert_event")
_INSERT_ENTRY = statement("insert_entry")
_PUT_STEP = statement("put_step")
_PUT_FAILURE = statement("put_failure")
_DROP_TOMBSTONE = statement("drop_tombstone")
_DEFINITION_KEYS = statement("definition_keys")
_INSERT_DEFINITION = statement("insert_definition")
_NAME_DEFINITION = statement("name_definition")
_DEFINITION_OF_NAME = statement("definition_of_name")
_HOLD_DEFINITIONS = statement("hold_definitions")
_INSERT_BUDGET = statement("insert_budget")
_FIRST_OF_KEYS = statement("first_of_keys")
_DROP_SAME = statement("drop_same")
_PUT_SAME = statement("put_same")
_DROP_OLD_SAME = statement("drop_old_same")
_DROP_UNUSED_DEFINITION = statement("drop_unused_definition")
_DEFINITION_OF_RUN = statement("definition_of_run")
_REDEFINE_REQUEST = statement("redefine_request")
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
    parents = sorted({run.parent[0] for run in runs if run.parent is not None})
    owners = {run.owner for run in runs if run.owner is not None}
    found = db.later(_RUNS_OF_IDS, ([run.id for run in runs],))
    roots = db.later(_ROOTS_OF, (parents,)) if parents else list
    drawn = db.later(_NEXT_RUN_KEYS, (len(runs),))
    same = [(run.same.scope, run.same.key) for run in runs if run.same is not None]
    first = db.later(_FIRST_OF_KEYS, list(zip(*sorted(set(same)), strict=True))) if same else list
    waits = _waits(writing, [run for run in runs if run.waits_for])
    living = writing.living(owners)
    keys = [RunKey(key) for (key,) in drawn()]

    def check_worker(owner: WorkerKey) -> None:
        if owner not in living:
            raise LeaseLost(worker_gone(owner))

    return Births(
        {RunId(id): There(*rest) for id, *rest in found()},
        {RunKey(key): RunKey(root) for key, root in roots()},
        keys.__getitem__,
        check_worker,
        {(scope, key): First(*rest) for scope, key, *rest in first()},
        waits(),
    )


def _waits(writing: Writing, runs: Sequence[NewRun]) -> Callable[[], Waits | None]:
    """Who waits for those of the new runs that wait themselves; mostly there are none of these."""
    if not runs:
        return lambda: None
    writing.hold_waits()
    db = writing.db
    awaited = list(dict.fromkeys(id for run in runs for id in run.waits_for))
    may_close = db.ask(_ANY_RUN, (awaited,))[0][0]
    found = db.later(_WAITING_FOR, ([run.id for run in runs],)) if may_close else list
    return lambda: Waits(found())


def _insert(writing: Writing, births: Sequence[Birth]) -> None:
    if not births:
        return
    db = writing.db
    keep_definitions(writing, {run.definition: run.definition_content for _, _, run in births})
    rows = [(new_run_row(run, key, root), run) for key, root, run in births]
    db.tell_all(_INSERT_RUN, [(*row[:LASTING], run.kind, *new_task_step(run)) for row, run in rows])
    db.tell_all(
        _INSERT_REQUEST,
        [
            (
                row[0],
                row[LASTING],
                *row[LASTING + 2 :],
                run.definition,
                run.content,
                tags_text(run.tags),
                run.inputs,
                None if run.forked_from is None else forked_from_text(run.forked_from),
            )
            for row, run in rows
        ],
    )
    db.tell(_DROP_TOMBSTONE, ([run.id for _, _, run in births],))
    db.tell_all(_INSERT_TAG, ((tag, key) for key, _, run in births for tag in run.tags))
    db.tell_all(
        _INSERT_WAIT, ((awaited, key) for key, _, run in births for awaited in run.waits_for)
    )
    db.tell_all(
        _PUT_STEP,
        ((key, *step) for key, _, run in births for step in changed_steps(run)),
    )
    db.tell_all(
        _INSERT_EVENT, ((key, *astuple(event)) for key, _, run in births for event in run.events)
    )
    db.tell_all(
        _INSERT_ENTRY,
        (
            (holder(run.kind, run.owner, type), type, priority, ready_at, key, step)
            for key, _, run in births
            for type, priority, ready_at, step in map(astuple, dict.fromkeys(run.enqueue))
        ),
    )
    aside = [
        (key, run)
        for key, _, run in births
        if run.failures or run.gates or run.budget or run.same is not None
    ]
    if aside:
        _insert_aside(writing, aside)
    writing.changes()


def _insert_aside(writing: Writing, runs: Sequence[tuple[RunKey, NewRun]]) -> None:
    """Insert what few runs have: a budget, a key for later requests, a failed step, limits."""
    db = writing.db
    db.tell_all(
        _INSERT_BUDGET,
        ((key, unit, limit) for key, run in runs for unit, limit in run.budget),
    )
    for key, run in runs:
        if run.same is not None:
            db.tell(_DROP_SAME, (run.same.scope, run.same.key, run.created_at))
            db.tell(_PUT_SAME, (run.same.scope, run.same.key, key, run.same.until))
            db.tell(_DROP_OLD_SAME, (run.created_at,))
    db.tell_all(_PUT_FAILURE, [row for key, run in runs for row in divided(key, run.failures)[1]])
    close_gates(writing, ((key, gate) for key, run in runs for gate in run.gates))


def keep_definitions(writing: Writing, contents: Mapping[str, JsonText]) -> None:
    """Store those of some definitions that are new.

    Args:
        writing: The transaction.
        contents: The definitions by hash.
    """
    writing.db.tell_all(_INSERT_DEFINITION, contents.items())


def drop_definitions(writing: Writing, keys: Sequence[int]) -> None:
    """Drop those of some definitions that nobody uses any more."""
    writing.db.tell(_HOLD_DEFINITIONS)
    writing.db.tell(_DROP_UNUSED_DEFINITION, (sorted(set(keys)),))


def _definition_key(writing: Writing, hash: str, content: JsonText) -> int:
    keep_definitions(writing, {hash: content})
    return int(writing.db.ask(_DEFINITION_KEYS, ([hash],))[0][1])


def name_definition(
    writing: Writing, kind: RunKind, name: str, hash: str, content: JsonText, now: Micros
) -> None:
    """Let a name mean a definition, and drop the one before if nobody else uses it."""
    before = writing.db.ask(_DEFINITION_OF_NAME, (kind, name))
    key = _definition_key(writing, hash, content)
    writing.db.tell(_NAME_DEFINITION, (kind, name, key, now))
    if before and before[0][0] != key:
        drop_definitions(writing, [before[0][0]])
    writing.changes()


def redefine(writing: Writing, run: RunKey, what: Redefinition) -> None:
    """Let a run have another definition, and drop the one before if nobody else uses it."""
    writing.db.tell(_HOLD_DEFINITIONS)  # before any is kept: two that keep some would both wait
    before = writing.db.ask(_DEFINITION_OF_RUN, (run,))
    key = _definition_key(writing, what.definition, what.content)
    writing.db.tell(_REDEFINE_REQUEST, (key, what.steps, run))
    drop_definitions(writing, [before[0][0]])


def create_schedule(writing: Writing, schedule: Schedule) -> bool:
    """Write a new schedule, unless the same one is there.

    Raises:
        ConflictError: Another one is there.
    """
    there = writing.db.ask(_SCHEDULE_CONTENT, (schedule.id,))
    if there:
        if there[0][0] == schedule.content:
            return False
        raise ConflictError(schedule_conflict(schedule))
    key = _definition_key(writing, schedule.definition, schedule.definition_content)
    writing.db.tell(_INSERT_SCHEDULE, schedule_values(schedule) | {"definition": key})
    writing.changes()
    return True
