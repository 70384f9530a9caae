"""Writes what is neither a plan nor a creation: deletions, firings, workers that come and go."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from functools import partial
from typing import cast

import apsw

from kallista.core.plan import WHOLE_RUN
from kallista.core.schedules import Firing, Schedule
from kallista.core.types import JsonText, Micros, RunKey, ScheduleId, TaskType, WorkerKey
from kallista.errors import LeaseLost, NotFoundError, StateError
from kallista.store.conflicts import loan_gone
from kallista.store.port import Heard
from kallista.store.rows import Row, heard_row, schedule_values, types_text
from kallista.store.sqlite.creation import create_children
from kallista.store.sqlite.gates import delete_gates, follow, let_go
from kallista.store.sqlite.liveness import Liveness
from kallista.store.sqlite.records import key_list
from kallista.store.sqlite.statements import statement
from kallista.store.sqlite.writing import Writing

_DELETABLE_RUN = statement("deletable_run")
_DOOMED_RUNS = statement("doomed_runs")
_PURGEABLE_RUNS = statement("purgeable_runs")
_INSERT_TOMBSTONE = statement("insert_tombstone")
_DELETE_PARTS = tuple(
    statement(name)
    for name in (
        "delete_tags", "delete_waits", "delete_entries", "delete_loans", "delete_failures",
        "delete_same", "delete_spending", "delete_budgets", "delete_heartbeats", "delete_signals",
        "delete_questions", "delete_events", "delete_steps", "delete_request", "delete_run",
    )
)  # fmt: skip
_DROP_UNUSED_DEFINITION = statement("drop_unused_definition")
_ADVANCE_SCHEDULE = statement("advance_schedule")
_SCHEDULE_CONTENT = statement("schedule_content")
_DELETE_SCHEDULE = statement("delete_schedule")
_INSERT_WORKER = statement("insert_worker")
_UPDATE_WORKER = statement("update_worker")
_PUT_TYPE_SCHEMA = statement("put_type_schema")
_BEAT = statement("beat")
_OWNERS = statement("owners")
_FREE_RUNS = statement("free_runs")
_FREE_ENTRIES = statement("free_entries")
_DELETE_WORKER = statement("delete_worker")
_LOAN = statement("loan")
_REPORT = statement("report")
_HEAR = statement("hear")
_LOSE_LOANS = statement("lose_loans")
_REQUEUE_WISHES = statement("requeue_wishes")
_DROP_WISHES = statement("drop_wishes")
_WAKE_RUN = statement("wake_run")


def delete_run(writing: Writing, run: RunKey, version: int, now: Micros) -> None:
    """Remove a finished run and the finished runs below it.

    Raises:
        NotFoundError: It is gone.
        LeaseLost: It has changed.
        StateError: It has not finished.
    """
    db = writing.db
    row = db.execute(_DELETABLE_RUN, (run,)).fetchone()
    if row is None:
        raise NotFoundError(f"run {run} is gone; it was deleted already")
    id, kind, newest, state, ended_at = row
    if newest != version:
        raise LeaseLost(f"run {id!r} has moved on to version {newest}; look again, then delete")
    if ended_at is None:
        raise StateError(f"{kind} {id!r} is {state}, so it cannot be deleted; cancel it first")
    _remove(writing, db.execute(_DOOMED_RUNS, (run,)).fetchall(), now)


def purge(writing: Writing, runs: Sequence[RunKey], ended_before: Micros, now: Micros) -> int:
    """Remove those of the runs that may go, with all below them; returns how many those are."""
    doomed = writing.db.execute(_PURGEABLE_RUNS, (key_list(runs), ended_before)).fetchall()
    _remove(writing, doomed, now)
    return len(doomed)


def _remove(writing: Writing, doomed: Sequence[Row], now: Micros) -> None:
    """Remove runs, each given with its definition, and leave tombstones."""
    db = writing.db
    for run, _ in doomed:
        follow(writing, delete_gates(writing, run), now)
        db.execute(_INSERT_TOMBSTONE, {"now": now, "key": run})
        for sql in _DELETE_PARTS:
            db.execute(sql, (run,))
    db.executemany(_DROP_UNUSED_DEFINITION, {(definition,) for _, definition in doomed})


def fire(writing: Writing, firings: Sequence[Firing]) -> Sequence[bool]:
    """Write those firings whose schedule is still the one they looked at."""
    written = [_advance(writing.db, firing.schedule) for firing in firings]
    good = [firing.run for firing, done in zip(firings, written, strict=True) if done]
    create_children(writing, [run for run in good if run is not None])
    return written


def _advance(db: apsw.Connection, schedule: Schedule) -> bool:
    db.execute(_ADVANCE_SCHEDULE, schedule_values(schedule))
    return db.changes() > 0


def delete_schedule(db: apsw.Connection, schedule: ScheduleId) -> bool:
    """Remove a schedule, with its definition if nobody else uses it."""
    there = db.execute(_SCHEDULE_CONTENT, (schedule,)).fetchone()
    if there is None:
        return False
    db.execute(_DELETE_SCHEDULE, (schedule,))
    db.execute(_DROP_UNUSED_DEFINITION, (there[1],))
    return True


def report(
    db: apsw.Connection, run: RunKey, step: int, worker: WorkerKey, attempt: int, text: JsonText
) -> None:
    """Leave how a borrowed attempt has ended, and wake whoever drives the run.

    Raises:
        LeaseLost: The loan is gone, another worker's, lost, or about another attempt.
    """
    there = db.execute(_LOAN, (run, step)).fetchone()
    if there is None or there[:3] != (worker, attempt, 0):
        raise LeaseLost(loan_gone(step, attempt))
    if there[3] is None:
        db.execute(_REPORT, (text, run, step))
        db.execute(_WAKE_RUN, (step, run))


def hear(db: apsw.Connection, heard: Sequence[Heard]) -> None:
    """Write what running attempts say of themselves."""
    db.executemany(_HEAR, map(heard_row, heard))


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
    if liveness.own_key in writing.workers:
        db.execute(_UPDATE_WORKER, (name, types_text(types), liveness.own_key))
        return liveness.own_key
    liveness.end()
    key = WorkerKey(cast(int, db.execute(_INSERT_WORKER, (name, types_text(types), now)).get))
    writing.on_rollback.append(liveness.end)
    writing.workers_changed()
    liveness.show(key)
    return key


def beat(db: apsw.Connection, liveness: Liveness) -> bool:
    """Renew this worker's lease; false when it has been taken for dead."""
    return db.execute(_BEAT, (liveness.own_key,)).get is not None


def release_dead(
    writing: Writing,
    liveness: Liveness,
    now: Micros,
    silent: Sequence[tuple[WorkerKey, int]],
    spared: Collection[WorkerKey],
) -> int:
    """Free what workers had that are dead, that have no row any more, or were silent too long.

    Returns:
        How many runs were freed or woken.
    """
    workers = writing.workers
    owners = [WorkerKey(cast(int, key)) for (key,) in writing.db.execute(_OWNERS)]
    dead = {
        worker for worker in {*workers, *owners}.difference(spared) if not liveness.alive(worker)
    }
    dead |= {worker for worker, seen in silent if workers.get(worker) == seen}
    writing.on_commit.extend(partial(liveness.forget, worker) for worker in dead)
    return sum(_free(writing, worker, now) for worker in sorted(dead))


def retire_worker(writing: Writing, liveness: Liveness, now: Micros) -> None:
    """Free what this program drives and has borrowed, and let it be no worker any more."""
    if liveness.own_key is not None:
        _free(writing, liveness.own_key, now)
        writing.on_commit.append(liveness.end)


def _free(writing: Writing, worker: WorkerKey, now: Micros) -> int:
    db = writing.db
    freed = db.execute(_FREE_RUNS, (worker,)).fetchall()
    db.execute(_FREE_ENTRIES, (worker,))
    let_go(writing, worker, now)
    db.executemany(_WAKE_RUN, ((WHOLE_RUN, run) for (run,) in freed))
    db.execute(_REQUEUE_WISHES, (worker,))
    wishes = db.execute(_DROP_WISHES, (worker,)).fetchall()
    lost = db.execute(_LOSE_LOANS, (worker,)).fetchall()
    db.executemany(_WAKE_RUN, ((step, run) for run, step in lost))
    db.execute(_DELETE_WORKER, (worker,))
    writing.workers_changed()
    return len(freed) + len(wishes) + len(lost)
