"""Writes what is neither a plan nor a creation: deletions, firings, workers that come and go."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from operator import itemgetter

from kallista.core.plan import WHOLE_RUN
from kallista.core.schedules import Firing
from kallista.core.types import JsonText, Micros, RunKey, ScheduleId, TaskType, WorkerKey
from kallista.errors import LeaseLost, NotFoundError, StateError
from kallista.store.conflicts import loan_gone
from kallista.store.port import Heard
from kallista.store.postgres.creation import create_children, drop_definitions
from kallista.store.postgres.gates import delete_gates, let_go
from kallista.store.postgres.statements import statement
from kallista.store.postgres.watching import WORKING, Watch
from kallista.store.postgres.writing import Writing
from kallista.store.rows import heard_row, schedule_values, types_text

_DELETABLE_RUN = statement("deletable_run")
_DOOMED_RUNS = statement("doomed_runs")
_HOLD_DOOMED = statement("hold_doomed")
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
_ADVANCE_SCHEDULE = statement("advance_schedule")
_SCHEDULE_CONTENT = statement("schedule_content")
_DELETE_SCHEDULE = statement("delete_schedule")
_NEXT_WORKER_KEY = statement("next_worker_key")
_INSERT_WORKER = statement("insert_worker")
_UPDATE_WORKER = statement("update_worker")
_PUT_TYPE_SCHEMA = statement("put_type_schema")
_BEAT = statement("beat")
_WORKERS = statement("workers")
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
    there = db.ask(_DELETABLE_RUN, (run,))
    if not there:
        raise NotFoundError(f"run {run} is gone; it was deleted already")
    id, kind, newest, state, ended_at = there[0]
    if newest != version:
        raise LeaseLost(f"run {id!r} has moved on to version {newest}; look again, then delete")
    if ended_at is None:
        raise StateError(f"{kind} {id!r} is {state}, so it cannot be deleted; cancel it first")
    _remove(writing, _held_doomed(writing, run), now)


def purge(writing: Writing, runs: Sequence[RunKey], ended_before: Micros, now: Micros) -> int:
    """Remove those of the runs that may go, with all below them; returns how many those are."""
    doomed = _held_purgeable(writing, runs, ended_before)
    if doomed:
        _remove(writing, doomed, now)
    return len(doomed)


def _held_purgeable(
    writing: Writing, runs: Sequence[RunKey], ended_before: Micros
) -> dict[RunKey, int]:
    """What may go, kept for this transaction; somebody may be retrying a part of it."""
    found = _purgeable(writing, runs, ended_before)
    while found:
        writing.db.ask(_HOLD_DOOMED, (sorted(found), None))
        again = _purgeable(writing, runs, ended_before)
        if again.keys() <= found.keys():
            return again
        found = again
    return {}


def _purgeable(writing: Writing, runs: Sequence[RunKey], ended_before: Micros) -> dict[RunKey, int]:
    rows = writing.db.ask(_PURGEABLE_RUNS, {"keys": runs, "ended_before": ended_before})
    return {RunKey(key): int(definition) for key, definition in rows}


def _remove(writing: Writing, doomed: Mapping[RunKey, int], now: Micros) -> None:
    """Remove runs, each given with its definition, and leave tombstones."""
    keys = sorted(doomed)
    delete_gates(writing, keys, now)
    writing.db.tell(_INSERT_TOMBSTONE, (now, keys))
    for what in _DELETE_PARTS:
        writing.db.tell(what, (keys,))
    drop_definitions(writing, list(doomed.values()))
    writing.changes()


def _held_doomed(writing: Writing, run: RunKey) -> dict[RunKey, int]:
    """What goes with a run, kept for this transaction; somebody may be retrying a part of it."""
    while True:
        doomed = {RunKey(key): int(used) for key, used in writing.db.ask(_DOOMED_RUNS, (run,))}
        held = writing.db.ask(_HOLD_DOOMED, (sorted(doomed), run))
        if len(held) == len(doomed):
            return doomed


def fire(writing: Writing, firings: Sequence[Firing]) -> Sequence[bool]:
    """Write those firings whose schedule is still the one they looked at."""
    rows = [
        writing.db.later(_ADVANCE_SCHEDULE, schedule_values(firing.schedule)) for firing in firings
    ]
    fired = [bool(advanced()) for advanced in rows]
    create_children(
        writing,
        [
            firing.run
            for firing, is_fired in zip(firings, fired, strict=True)
            if is_fired and firing.run is not None
        ],
    )
    if any(fired):
        writing.changes()
    return fired


def delete_schedule(writing: Writing, schedule: ScheduleId) -> bool:
    """Remove a schedule, with its definition if nobody else uses it."""
    there = writing.db.ask(_SCHEDULE_CONTENT, (schedule,))
    if not there:
        return False
    writing.db.tell(_DELETE_SCHEDULE, (schedule,))
    drop_definitions(writing, [there[0][1]])
    writing.changes()
    return True


def report(
    writing: Writing, run: RunKey, step: int, worker: WorkerKey, attempt: int, text: JsonText
) -> None:
    """Leave how a borrowed attempt has ended, and wake whoever drives the run.

    Raises:
        LeaseLost: The loan is gone, another worker's, lost, or about another attempt.
    """
    there = writing.db.ask(_LOAN, (run, step))
    if not there or there[0][:3] != (worker, attempt, False):
        raise LeaseLost(loan_gone(step, attempt))
    if there[0][3] is None:
        writing.db.tell(_REPORT, (text, run, step))
        writing.db.tell_all(_WAKE_RUN, [(step, run)])
        writing.changes()


def hear(writing: Writing, heard: Sequence[Heard]) -> None:
    """Write what running attempts say of themselves."""
    writing.db.tell_all(_HEAR, sorted(map(heard_row, heard), key=itemgetter(0, 1)))
    writing.changes(concerns_others=False)


def register_worker(
    writing: Writing, watch: Watch, name: str, types: Mapping[TaskType, JsonText], now: Micros
) -> WorkerKey:
    """Make this program a worker, or change its types.

    Its session is marked before the row can be seen, so nobody ever takes a new worker for a dead
    one.
    """
    db = writing.db
    writing.changes()
    db.tell_all(_PUT_TYPE_SCHEMA, sorted(types.items()))
    own = watch.worker
    if own is not None and db.ask(_UPDATE_WORKER, (name, types_text(types), own)):
        return own
    key = WorkerKey(db.ask(_NEXT_WORKER_KEY)[0][0])
    server = watch.show(key)
    db.tell(_INSERT_WORKER, (key, name, types_text(types), now, server))
    return key


def beat(writing: Writing, watch: Watch) -> bool:
    """Renew this worker's lease; false when it has been taken for dead."""
    if watch.worker is None or not writing.db.ask(_BEAT, (watch.worker,)):
        return False
    writing.changes(concerns_others=False)
    return True


def release_dead(
    writing: Writing,
    watch: Watch,
    now: Micros,
    silent: Sequence[tuple[WorkerKey, int]],
    spared: Collection[WorkerKey],
) -> int:
    """Free what workers had that are dead, that have no row any more, or were silent too long.

    Returns:
        How many runs were freed or woken.
    """
    workers = writing.db.later(_WORKERS, (WORKING,))
    owners = writing.db.later(_OWNERS)
    alive = {WorkerKey(row[0]): row[5] or row[0] == watch.worker for row in workers()}
    dead: dict[WorkerKey, int | None] = {
        worker: None for worker, is_alive in alive.items() if not is_alive and worker not in spared
    }
    dead.update({worker: None for (worker,) in owners() if worker not in alive})
    dead |= {worker: seen for worker, seen in silent if alive.get(worker)}
    return sum(_free(writing, worker, dead[worker], now) for worker in sorted(dead))


def retire_worker(writing: Writing, watch: Watch, now: Micros) -> None:
    """Free what this program drives and has borrowed, and let it be no worker any more."""
    if watch.worker is not None:
        _free(writing, watch.worker, None, now)
        writing.after.append(watch.hide)


def _free(writing: Writing, worker: WorkerKey, beat: int | None, now: Micros) -> int:
    """Take from a worker what it drives and has borrowed; one that beats again keeps it all.

    Its row goes first: who is taking on something for it at this moment is waited for, and who
    comes later finds that it is gone.
    """
    db = writing.db
    if not db.ask(_DELETE_WORKER, (worker, beat)) and beat is not None:
        return 0
    lost = db.later(_LOSE_LOANS, (worker,))
    db.tell(_REQUEUE_WISHES, (worker,))
    wishes = db.later(_DROP_WISHES, (worker,))
    freed = db.later(_FREE_RUNS, (worker,))
    db.tell(_FREE_ENTRIES, (worker,))
    let_go(writing, worker, now)
    looks = [*lost(), *((run, WHOLE_RUN) for (run,) in freed())]
    db.tell_all(_WAKE_RUN, ((step, run) for run, step in sorted(looks)))
    writing.changes()
    return len(looks) + len(wishes())
