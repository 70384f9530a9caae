"""Writes many plans in one transaction, row kind by row kind.

Rows of one kind go through one prepared statement together, which is several times faster than
plan by plan. That changes the order of rows of different runs only: no two plans of one run are
ever in one batch.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import apsw

from kallista.core.plan import Entry, Plan
from kallista.core.states import RunKind
from kallista.errors import KallistaError, LeaseLost, NotFoundError
from kallista.store.conflicts import worker_gone
from kallista.store.port import Committed
from kallista.store.sqlite.creation import create_children
from kallista.store.sqlite.statements import statement
from kallista.store.sqlite.writing import Writing

_ADVANCE_RUN = statement("advance_run")
_SET_STATUS = statement("set_status")
_SET_OWNER = statement("set_owner")
_MOVE_ENTRIES = statement("move_entries")
_RUN_HOLDER = statement("run_holder")
_INSERT_EVENT = statement("insert_event")
_PUT_STEP = statement("put_step")
_ENQUEUE = statement("enqueue")
_DEQUEUE = statement("dequeue")
_IS_WISHED = statement("is_wished")
_GRANT = statement("grant")
_RECALL = statement("recall")
_SETTLE = statement("settle")
_WAKE_BY_ID = statement("wake_by_id")
_WAKE_PARENT = statement("wake_parent")
_WAKE_WAITING = statement("wake_waiting")
_WAKE_OWNER = statement("wake_owner")


def write_plans(writing: Writing, plans: Sequence[Plan]) -> list[Committed | KallistaError]:
    """Write those plans whose fences hold; each plan is of another run.

    Returns:
        For each plan its new version, or why it dropped out; its neighbours go on without it.
    """
    db = writing.db
    answers = [_advance(writing, plan) for plan in plans]
    good = [
        plan for plan, answer in zip(plans, answers, strict=True) if isinstance(answer, Committed)
    ]
    _hand_over(db, good)
    _many(db, _DEQUEUE, (_line(plan, entry) for plan in good for entry in plan.dequeue))
    _many(db, _INSERT_EVENT, ((plan.run, *event) for plan in good for event in plan.events))
    _many(
        db,
        _PUT_STEP,
        ((plan.run, position, *step) for plan in good for position, step in plan.steps),
    )
    _many(db, _ENQUEUE, (_line(plan, entry) for plan in good for entry in plan.enqueue))
    _lend(db, good)
    create_children(writing, [child for plan in good for child in plan.create])
    _tell_others(db, good)
    return answers


def _many(db: apsw.Connection, sql: str, rows: Iterable[tuple[object, ...]]) -> None:
    db.executemany(sql, rows)


def _line(plan: Plan, entry: Entry) -> tuple[object, ...]:
    type, priority, ready_at, step = entry
    return type, plan.run, priority, ready_at, step


def _advance(writing: Writing, plan: Plan) -> Committed | KallistaError:
    """Check the fence and write the head; that comes first, so a stale plan writes nothing."""
    db = writing.db
    version, epoch = plan.fence
    gone = _gone(writing, plan) if plan.lend or plan.ownership is not None else None
    if gone is not None:
        return _refusal(db, plan, gone)
    row = db.execute(_ADVANCE_RUN, (*plan.head, plan.run, version, epoch)).fetchone()
    if row is None:
        return _refusal(db, plan)
    kind, before = row
    status = _status(plan, before) if kind == RunKind.TASK else plan.head.state
    if status != before:
        db.execute(_SET_STATUS, (status, plan.run))
    return Committed(version + 1)


def _gone(writing: Writing, plan: Plan) -> str | None:
    """Who is gone whom the plan gives something to."""
    for step, worker, _ in plan.lend:
        if writing.db.execute(_IS_WISHED, (plan.run, step, worker)).get is None:
            return f"worker {worker} does not wish for step {step} any more"
    owner = None if plan.ownership is None else plan.ownership.worker
    return None if owner is None or owner in writing.workers else worker_gone(owner)


def _status(plan: Plan, before: str) -> str:
    """The word for a single task: its step's."""
    return next((state.status for position, state in plan.steps if position == 0), before)


def _refusal(db: apsw.Connection, plan: Plan, why: str | None = None) -> KallistaError:
    row = db.execute(_RUN_HOLDER, (plan.run,)).fetchone()
    if row is None:
        return NotFoundError(f"run {plan.run} is gone; it was deleted")
    if why is not None:
        return LeaseLost(f"{why}; nothing of this plan was written")
    id, version, epoch, owner, name = row
    holder = "nobody" if owner is None else f"worker {name or owner}"
    return LeaseLost(
        f"run {id!r} has moved on: it is at version {version} in epoch {epoch}, driven by {holder};"
        f" this plan was decided at version {plan.fence.version}"
        + ("" if plan.fence.epoch is None else f" in epoch {plan.fence.epoch}")
        + " and nothing of it was written"
    )


def _hand_over(db: apsw.Connection, plans: Sequence[Plan]) -> None:
    for plan in plans:
        if plan.ownership is not None:
            worker, epoch = plan.ownership
            db.execute(_SET_OWNER, (worker, epoch, plan.run))
            db.execute(_MOVE_ENTRIES, (worker or 0, plan.run))


def _lend(db: apsw.Connection, plans: Sequence[Plan]) -> None:
    for plan in plans:
        db.executemany(_GRANT, ((attempt, plan.run, step) for step, _, attempt in plan.lend))
        db.executemany(_RECALL, ((plan.run, step) for step in plan.recall))
        db.executemany(_SETTLE, ((plan.run, step) for step in plan.settle))


def _tell_others(db: apsw.Connection, plans: Sequence[Plan]) -> None:
    for plan in plans:
        for id in plan.wake:
            db.execute(_WAKE_BY_ID, (id,))
        if plan.wake_parent:
            db.execute(_WAKE_PARENT, (plan.run,))
        if plan.announce:
            db.execute(_WAKE_WAITING, (plan.run,))
        if plan.tell_owner:
            db.execute(_WAKE_OWNER, (plan.run,))
