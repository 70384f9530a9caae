"""Writes many plans in one transaction, row kind by row kind.

Rows of one kind go through one prepared statement together, which is several times faster than
plan by plan. That changes the order of rows of different runs only: no two plans of one run are
ever in one batch.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any, NamedTuple

import apsw
from msgspec.structs import astuple

from kallista.core.plan import WHOLE_RUN, Entry, Grant, Plan
from kallista.core.states import RunKind
from kallista.core.types import RunKey, WorkerKey
from kallista.errors import KallistaError, LeaseLost, NotFoundError
from kallista.store.holders import NOBODY, holder
from kallista.store.port import Committed
from kallista.store.rows import Row
from kallista.store.sqlite.creation import create_children
from kallista.store.sqlite.records import key_list, text_list
from kallista.store.sqlite.statements import statement
from kallista.store.sqlite.writing import Writing

_STANDINGS = statement("standings")
_ADVANCE_RUN = statement("advance_run")
_TURN_RUN = statement("turn_run")
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
_WAKE_RUN = statement("wake_run")
_WAKE_WAITING = statement("wake_waiting")


class _Standing(NamedTuple):
    """Where a run stands before its plan."""

    version: int
    epoch: int
    owner: WorkerKey | None
    kind: str
    status: str
    parent: RunKey | None
    parent_step: int | None


class _Accepted(NamedTuple):
    """A plan whose fence holds, where its run stood, and who drives it afterwards."""

    plan: Plan
    before: _Standing
    owner: WorkerKey | None


def write_plans(writing: Writing, plans: Sequence[Plan]) -> list[Committed | KallistaError]:
    """Write those plans whose fences hold; each plan is of another run.

    Returns:
        For each plan its new version, or why it dropped out; its neighbours go on without it.
    """
    standings = _standings(writing.db, plans)
    answers: list[Committed | KallistaError] = []
    accepted: list[_Accepted] = []
    for plan in plans:
        try:
            accepted.append(_accept(writing, plan, standings.get(plan.run)))
            answers.append(Committed(plan.fence.version + 1))
        except KallistaError as error:
            answers.append(error)
    _write(writing.db, accepted)
    writing.concerns_others |= any(_concerns_others(plan) for plan, _, _ in accepted)
    create_children(writing, [child for plan, _, _ in accepted for child in plan.create])
    _tell_others(writing.db, accepted)
    return answers


def _standings(db: apsw.Connection, plans: Sequence[Plan]) -> dict[RunKey, _Standing]:
    rows: Any = db.execute(_STANDINGS, (key_list(plan.run for plan in plans),))
    return {row[0]: _Standing._make(row[1:]) for row in rows}


def _accept(writing: Writing, plan: Plan, before: _Standing | None) -> _Accepted:
    """Check the fence, and that whom the plan gives something to is there.

    Raises:
        NotFoundError: The run is gone.
        LeaseLost: The fence is stale, or somebody is gone.
    """
    if before is None:
        raise NotFoundError(f"run {plan.run} is gone; it was deleted")
    fence = plan.fence
    if fence.version != before.version or fence.epoch not in (None, before.epoch):
        raise _stale(writing.db, plan)
    for grant in plan.lend:
        _check_wish(writing.db, plan.run, grant)
    if plan.ownership is None:
        return _Accepted(plan, before, before.owner)
    writing.check_worker(plan.ownership.worker)
    return _Accepted(plan, before, plan.ownership.worker)


def _stale(db: apsw.Connection, plan: Plan) -> LeaseLost:
    row: Any = db.execute(_RUN_HOLDER, (plan.run,)).fetchone()
    id, version, epoch, owner, name = row
    holder = "nobody" if owner is None else f"worker {name or owner}"
    return LeaseLost(
        f"run {id!r} has moved on: it is at version {version} in epoch {epoch}, driven by {holder};"
        f" this plan was decided at version {plan.fence.version}"
        + ("" if plan.fence.epoch is None else f" in epoch {plan.fence.epoch}")
        + " and nothing of it was written"
    )


def _check_wish(db: apsw.Connection, run: RunKey, grant: Grant) -> None:
    if db.execute(_IS_WISHED, (run, grant.step, grant.worker)).get is None:
        raise LeaseLost(
            f"worker {grant.worker} does not wish for step {grant.step} any more; nothing of this"
            " plan was written"
        )


def _concerns_others(plan: Plan) -> bool:
    """Whether another program may have something to do because of it, or wait for it."""
    return bool(
        plan.ownership is not None
        or plan.head.ended_at is not None
        or plan.enqueue
        or plan.wake
        or plan.wake_parent
        or plan.announce
        or plan.tell_owner
        or plan.lend
        or plan.recall
        or plan.settle
    )


def _write(db: apsw.Connection, accepted: Sequence[_Accepted]) -> None:
    _write_heads(db, accepted)
    _move_entries(db, accepted)
    db.executemany(_DEQUEUE, (_line(it, entry) for it in accepted for entry in it.plan.dequeue))
    db.executemany(
        _INSERT_EVENT,
        ((plan.run, *astuple(event)) for plan, _, _ in accepted for event in plan.events),
    )
    db.executemany(
        _PUT_STEP,
        ((plan.run, at, *astuple(step)) for plan, _, _ in accepted for at, step in plan.steps),
    )
    db.executemany(_ENQUEUE, (_line(it, entry) for it in accepted for entry in it.plan.enqueue))
    db.executemany(
        _GRANT,
        ((grant.attempt, plan.run, grant.step) for plan, _, _ in accepted for grant in plan.lend),
    )
    db.executemany(_RECALL, ((plan.run, at) for plan, _, _ in accepted for at in plan.recall))
    db.executemany(_SETTLE, ((plan.run, at) for plan, _, _ in accepted for at in plan.settle))


def _write_heads(db: apsw.Connection, accepted: Sequence[_Accepted]) -> None:
    advanced: list[Row] = []
    turned: list[Row] = []
    for plan, before, owner in accepted:
        status = _status(plan, before)
        if status == before.status and plan.ownership is None:
            advanced.append((*astuple(plan.head), plan.run, before.version))
        else:
            epoch = before.epoch if plan.ownership is None else plan.ownership.epoch
            turned.append((*astuple(plan.head), status, owner, epoch, plan.run, before.version))
    db.executemany(_ADVANCE_RUN, advanced)
    db.executemany(_TURN_RUN, turned)


def _status(plan: Plan, before: _Standing) -> str:
    """The word that users see: a single task's is its step's."""
    if before.kind != RunKind.TASK:
        return plan.head.state
    return next((state.status for at, state in plan.steps if at == 0), before.status)


def _move_entries(db: apsw.Connection, accepted: Sequence[_Accepted]) -> None:
    moved: defaultdict[int, list[RunKey]] = defaultdict(list)
    for plan, _, owner in accepted:
        if plan.ownership is not None:
            moved[owner or NOBODY].append(plan.run)
    for new_holder, runs in moved.items():
        db.execute(_MOVE_ENTRIES, (new_holder, key_list(runs)))


def _line(it: _Accepted, entry: Entry) -> Row:
    held_by = holder(it.before.kind, it.owner, entry.type)
    return held_by, entry.type, entry.priority, entry.ready_at, it.plan.run, entry.step


def _tell_others(db: apsw.Connection, accepted: Sequence[_Accepted]) -> None:
    woken = [id for plan, _, _ in accepted for id in plan.wake]
    if woken:
        db.execute(_WAKE_BY_ID, (text_list(woken),))
    db.executemany(
        _WAKE_RUN,
        (
            (before.parent_step, before.parent)
            for plan, before, _ in accepted
            if plan.wake_parent and before.parent is not None
        ),
    )
    db.executemany(_WAKE_WAITING, ((plan.run,) for plan, _, _ in accepted if plan.announce))
    db.executemany(
        _WAKE_RUN,
        (
            (WHOLE_RUN, plan.run)
            for plan, _, owner in accepted
            if plan.tell_owner and owner is not None
        ),
    )
