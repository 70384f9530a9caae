"""Writes what is neither a plan nor a creation: deletions, firings, workers that come and go."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import cast

import apsw

from kallista.core.schedules import Firing
from kallista.core.types import JsonText, Micros, RunKey, ScheduleId, TaskType, WorkerKey
from kallista.errors import LeaseLost, NotFoundError, StateError
from kallista.store.sqlite.creation import insert_child
from kallista.store.sqlite.liveness import Liveness
from kallista.store.sqlite.plans import wake_run
from kallista.store.sqlite.rows import schedule_values, types_text
from kallista.store.sqlite.statements import statement
from kallista.store.sqlite.writing import Writing

_DELETABLE_RUN = statement("deletable_run")
_DOOMED_RUNS = statement("doomed_runs")
_INSERT_TOMBSTONE = statement("insert_tombstone")
_DELETE_PARTS = tuple(
    statement(name)
    for name in (
        "delete_tags", "delete_waits", "delete_entries", "delete_events", "delete_steps",
        "delete_request", "delete_run",
    )
)  # fmt: skip
_DROP_UNUSED_DEFINITION = statement("drop_unused_definition")
_ADVANCE_SCHEDULE = statement("advance_schedule")
_SCHEDULE_CONTENT = statement("schedule_content")
_DELETE_SCHEDULE = statement("delete_schedule")
_INSERT_WORKER = statement("insert_worker")
_UPDATE_WORKER = statement("update_worker")
_PUT_TYPE_SCHEMA = statement("put_type_schema")
_WORKER_KEYS = statement("worker_keys")
_OWNERS = statement("owners")
_FREE_RUNS = statement("free_runs")
_FREE_ENTRIES = statement("free_entries")
_DELETE_WORKER = statement("delete_worker")


def delete_run(db: apsw.Connection, run: RunKey, version: int, now: Micros) -> None:
    """Remove a finished run and the finished runs below it.

    Raises:
        NotFoundError: It is gone.
        LeaseLost: It has changed.
        StateError: It has not finished.
    """
    row = db.execute(_DELETABLE_RUN, (run,)).fetchone()
    if row is None:
        raise NotFoundError(f"run {run} is gone; it was deleted already")
    id, kind, newest, state, ended_at = row
    if newest != version:
        raise LeaseLost(f"run {id!r} has moved on to version {newest}; look again, then delete")
    if ended_at is None:
        raise StateError(f"{kind} {id!r} is {state}, so it cannot be deleted; cancel it first")
    for doomed, definition in db.execute(_DOOMED_RUNS, (run,)).fetchall():
        db.execute(_INSERT_TOMBSTONE, {"now": now, "key": doomed})
        for sql in _DELETE_PARTS:
            db.execute(sql, (doomed,))
        db.execute(_DROP_UNUSED_DEFINITION, (definition,))


def fire(db: apsw.Connection, firings: Sequence[Firing]) -> Sequence[bool]:
    """Write those firings whose schedule is still the one they looked at."""
    return [_fire(db, firing) for firing in firings]


def _fire(db: apsw.Connection, firing: Firing) -> bool:
    db.execute(_ADVANCE_SCHEDULE, schedule_values(firing.schedule))
    if db.changes() == 0:
        return False
    if firing.run is not None:
        insert_child(db, firing.run)
    return True


def delete_schedule(db: apsw.Connection, schedule: ScheduleId) -> bool:
    """Remove a schedule, with its definition if nobody else uses it."""
    there = db.execute(_SCHEDULE_CONTENT, (schedule,)).fetchone()
    if there is None:
        return False
    db.execute(_DELETE_SCHEDULE, (schedule,))
    db.execute(_DROP_UNUSED_DEFINITION, (there[1],))
    return True


def register_worker(
    writing: Writing,
    liveness: Liveness,
    name: str,
    types: Mapping[TaskType, JsonText],
    now: Micros,
) -> WorkerKey:
    """Make this program a worker, or change its types.

    The lock is held before the row can be seen, so nobody ever takes a new worker for a dead one.
    """
    db = writing.db
    db.executemany(_PUT_TYPE_SCHEMA, types.items())
    if liveness.own_key is not None:
        db.execute(_UPDATE_WORKER, (name, types_text(types), liveness.own_key))
        return liveness.own_key
    key = WorkerKey(cast(int, db.execute(_INSERT_WORKER, (name, types_text(types), now)).get))
    writing.on_rollback.append(liveness.end)
    liveness.show(key)
    return key


def release_dead(writing: Writing, liveness: Liveness) -> int:
    """Free the runs of every worker that is dead, and of those that have no row any more.

    Returns:
        How many runs were freed.
    """
    db = writing.db
    known = [WorkerKey(cast(int, key)) for (key,) in db.execute(_WORKER_KEYS)]
    owners = [WorkerKey(cast(int, key)) for (key,) in db.execute(_OWNERS)]
    freed = 0
    for worker in {*known, *owners}:
        if not liveness.alive(worker):
            freed += _free(db, worker)
            writing.on_commit.append(partial(liveness.forget, worker))
    return freed


def retire_worker(writing: Writing, liveness: Liveness) -> None:
    """Free what this program drives, and let it be no worker any more."""
    if liveness.own_key is not None:
        _free(writing.db, liveness.own_key)
        writing.on_commit.append(liveness.end)


def _free(db: apsw.Connection, worker: WorkerKey) -> int:
    freed = db.execute(_FREE_RUNS, (worker,)).fetchall()
    db.execute(_FREE_ENTRIES, (worker,))
    for run, priority in freed:
        wake_run(db, cast(int, run), cast(int, priority))
    db.execute(_DELETE_WORKER, (worker,))
    return len(freed)
