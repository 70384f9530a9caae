"""Writes many plans in one transaction, row kind by row kind.

Rows of one kind go through one prepared statement together, which is several times faster than
plan by plan. That changes the order of rows of different runs only: no two plans of one run are
ever in one batch.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, TypeAlias

import apsw
from msgspec.structs import astuple

from kallista.core.plan import WHOLE_RUN, GateChanges, Grant, NewRun, Plan, Redefinition
from kallista.core.states import RunKind
from kallista.core.types import RunId, RunKey, WorkerKey
from kallista.errors import KallistaError, LeaseLost, NotFoundError
from kallista.store.holders import NOBODY
from kallista.store.port import Committed, RunRecord
from kallista.store.rows import Row, divided, question_rows, signal_rows
from kallista.store.sqlite.creation import (
    ENQUEUE,
    INSERT_EVENT,
    PUT_FAILURE,
    PUT_STEP,
    create_children,
    entry_row,
    redefine,
)
from kallista.store.sqlite.gates import check_begun, close_gates, follow, open_gates
from kallista.store.sqlite.records import key_list, text_list
from kallista.store.sqlite.statements import statement
from kallista.store.sqlite.writing import Writing

_STANDINGS = statement("standings")
_ADVANCE_RUN = statement("advance_run")
_RESTATE_RUN = statement("restate_run")
_TURN_RUN = statement("turn_run")
_RESTATE_TASK = statement("restate_task")
_TURN_TASK = statement("turn_task")
_MOVE_ENTRIES = statement("move_entries")
_RUN_HOLDER = statement("run_holder")
_DEQUEUE = statement("dequeue")
_IS_WISHED = statement("is_wished")
_GRANT = statement("grant")
_RECALL = statement("recall")
_SETTLE = statement("settle")
_DROP_FAILURE = statement("drop_failure")
_RAISE_BUDGET = statement("raise_budget")
_FORGET = statement("forget")
_PUT_SIGNAL = statement("put_signal")
_PUT_QUESTION = statement("put_question")
_CLOSE_QUESTION = statement("close_question")
_WAKE_BY_ID = statement("wake_by_id")
_WAKE_RUN = statement("wake_run")
_WAKE_WAITING = statement("wake_waiting")


_Standing: TypeAlias = tuple[
    RunKey, int, int, WorkerKey | None, str, str, RunKey | None, int | None
]
"""Where a run stands before its plan: key, version, epoch, owner, kind, status, parent and step."""


def write_plans(writing: Writing, plans: Sequence[Plan]) -> list[Committed | KallistaError]:
    """Write those plans whose fences hold; each plan is of another run.

    Returns:
        For each plan its new version, or why it dropped out; its neighbours go on without it.
    """
    db = writing.db
    advanced = {plan.run for plan in plans if _goes_on(plan) and _advance(db, plan)}
    standings = _standings(db, [plan.run for plan in plans if plan.run not in advanced])
    return _write_plans(writing, plans, advanced, standings)


def write_first_plans(
    writing: Writing, plans: Sequence[Plan], records: Iterable[RunRecord]
) -> list[Committed | KallistaError]:
    """The same for runs that were read in this transaction, after the last change of them."""
    standings = {record.key: _standing(record) for record in records}
    return _write_plans(writing, plans, (), standings)


def _write_plans(
    writing: Writing,
    plans: Sequence[Plan],
    advanced: Collection[RunKey],
    standings: Mapping[RunKey, _Standing],
) -> list[Committed | KallistaError]:
    answers: list[Committed | KallistaError] = []
    rows = _Rows()
    for plan in plans:
        try:
            if plan.run in advanced:
                rows.add_events(plan)
                rows.add_steps(plan)
            else:
                rows.add(plan, _check(writing, plan, standings.get(plan.run)))
            answers.append(Committed(plan.fence.version + 1))
        except KallistaError as error:
            answers.append(error)
    rows.write(writing)
    return answers


def _goes_on(plan: Plan) -> bool:
    """Whether it concerns nothing but its run, which goes on: most plans are like that."""
    aside = plan.dequeue or plan.create or plan.failures or plan.budget or plan.gates
    return not (aside or plan.redefine or _concerns_others(plan))


def _advance(db: apsw.Connection, plan: Plan) -> bool:
    """Check the fence and write the head in one go.

    Returns:
        False when nothing was written: the fence is stale, or more than the head has to change.
    """
    fence = plan.fence
    db.execute(_ADVANCE_RUN, (*astuple(plan.head), plan.run, fence.version, fence.epoch))
    return db.changes() == 1


def _standing(record: RunRecord) -> _Standing:
    parent, parent_step = record.parent or (None, None)
    return (
        record.key, record.version, record.epoch, record.owner, record.kind, record.status,
        parent, parent_step,
    )  # fmt: skip


def _standings(db: apsw.Connection, runs: Sequence[RunKey]) -> dict[RunKey, _Standing]:
    rows: Any = db.execute(_STANDINGS, (key_list(runs),)) if runs else ()
    return {row[0]: row for row in rows}


def _check(writing: Writing, plan: Plan, before: _Standing | None) -> _Standing:
    """Check the fence, and that whom the plan gives something to is there.

    Raises:
        NotFoundError: The run is gone.
        LeaseLost: The fence is stale, or somebody is gone.
    """
    if before is None:
        raise NotFoundError(f"run {plan.run} is gone; it was deleted")
    _, version, epoch, *_ = before
    fence = plan.fence
    if fence.version != version or (fence.epoch != epoch and fence.epoch is not None):
        raise _stale(writing.db, plan)
    for grant in plan.lend:
        _check_wish(writing.db, plan.run, grant)
    if plan.gates is not None:
        check_begun(writing, plan.run, plan.gates)
    if plan.ownership is not None:
        writing.check_worker(plan.ownership.worker)
    return before


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


class _Rows:
    """What plans whose fences hold write, row kind by row kind."""

    def __init__(self) -> None:
        self._advanced: list[Row] = []
        self._restated: list[Row] = []
        self._turned: list[Row] = []
        self._restated_tasks: list[Row] = []
        self._turned_tasks: list[Row] = []
        self._moved: dict[int, list[RunKey]] = {}
        self._dequeued: list[Row] = []
        self._events: list[Any] = []
        self._steps: list[Any] = []
        self._enqueued: list[Any] = []
        self._granted: list[Row] = []
        self._recalled: list[Row] = []
        self._settled: list[Row] = []
        self._mended: list[Row] = []
        self._failed: list[Row] = []
        self._raised: list[Row] = []
        self._forgotten: list[Row] = []
        self._signals: list[Row] = []
        self._asked: list[Row] = []
        self._closed: list[Row] = []
        self._children: list[NewRun] = []
        self._woken_ids: list[RunId] = []
        self._woken: list[Row] = []
        self._announced: list[Row] = []
        self._redefined: list[tuple[RunKey, Redefinition]] = []
        self._gates: list[tuple[RunKey, GateChanges]] = []
        self._concern_others = False

    def add(self, plan: Plan, before: _Standing) -> None:
        """Take on a plan."""
        run, head, ownership = plan.run, plan.head, plan.ownership
        _, version, _, owner, kind, seen, parent, parent_step = before
        if ownership is not None:
            owner = ownership.worker
            self._moved.setdefault(owner or NOBODY, []).append(run)
        turn = () if ownership is None else (owner, ownership.epoch)
        if kind == RunKind.TASK:
            self._add_task(plan, seen, turn)
        else:
            if turn:
                self._turned.append((*astuple(head), head.state, *turn, run, version))
            elif head.state == seen:
                self._advanced.append((*astuple(head), run, version, None))
            else:
                self._restated.append((*astuple(head), head.state, run, version))
            self.add_steps(plan)
        self.add_events(plan)
        for entry in plan.dequeue:
            self._dequeued.append(entry_row(run, kind, owner, entry))
        for entry in plan.enqueue:
            self._enqueued += entry_row(run, kind, owner, entry)
        if plan.lend or plan.recall or plan.settle:
            self._granted += ((grant.attempt, run, grant.step) for grant in plan.lend)
            self._recalled += ((run, at) for at in plan.recall)
            self._settled += ((run, at) for at in plan.settle)
        if plan.budget:
            self._raised += ((limit, run, unit) for unit, limit in plan.budget)
        if plan.failures:
            mended, failed = divided(run, plan.failures)
            self._mended += mended
            self._failed += failed
        if plan.inbox is not None:
            self._signals += signal_rows(run, plan.inbox)
            self._asked += question_rows(run, plan.inbox)
            self._closed += ((run, at) for at in plan.inbox.closed)
        if plan.create or plan.wake:
            self._children += plan.create
            self._woken_ids += plan.wake
        if plan.wake_parent and parent is not None:
            self._woken.append((parent_step, parent))
        if plan.tell_owner and owner is not None:
            self._woken.append((WHOLE_RUN, run))
        if plan.announce:
            self._announced.append((run,))
        if plan.redefine is not None:
            self._redefined.append((run, plan.redefine))
        if plan.gates is not None:
            self._gates.append((run, plan.gates))
        self._concern_others = self._concern_others or _concerns_others(plan)

    def _add_task(self, plan: Plan, seen: str, turn: Row) -> None:
        """Take on a single task, whose step stands in its run's row and gives it its status."""
        head, place = astuple(plan.head), (plan.run, plan.fence.version)
        if plan.forget:
            self._forgotten += ((plan.run, at) for at in plan.forget)
        if plan.steps:
            ((_, step),) = plan.steps
            rows = self._turned_tasks if turn else self._restated_tasks
            rows.append((*head, *astuple(step), *turn, *place))
        else:
            rows = self._turned if turn else self._restated
            rows.append((*head, seen, *turn, *place))

    def add_events(self, plan: Plan) -> None:
        """Take on what has happened in a run by a plan."""
        run = plan.run
        for event in plan.events:
            self._events += (run, *astuple(event))

    def add_steps(self, plan: Plan) -> None:
        """Take on what a plan has changed of a run's steps."""
        run = plan.run
        for at, step in plan.steps:
            self._steps += (run, at, *astuple(step))
        if plan.forget:
            self._forgotten += ((run, at) for at in plan.forget)

    def write(self, writing: Writing) -> None:
        """Write all of it."""
        db = writing.db
        writing.concerns_others |= self._concern_others
        _each(db, _ADVANCE_RUN, self._advanced)
        _each(db, _RESTATE_RUN, self._restated)
        _each(db, _TURN_RUN, self._turned)
        _each(db, _RESTATE_TASK, self._restated_tasks)
        _each(db, _TURN_TASK, self._turned_tasks)
        for new_holder, runs in self._moved.items():
            db.execute(_MOVE_ENTRIES, (new_holder, key_list(runs)))
        _each(db, _DEQUEUE, self._dequeued)
        followed = [
            (open_gates(writing, run, changes.opened), changes.at) for run, changes in self._gates
        ]
        INSERT_EVENT.write(db, self._events)
        PUT_STEP.write(db, self._steps)
        ENQUEUE.write(db, self._enqueued)
        close_gates(writing, ((run, gate) for run, it in self._gates for gate in it.closed))
        for names, at in followed:
            follow(writing, names, at)
        _each(db, _GRANT, self._granted)
        _each(db, _RECALL, self._recalled)
        _each(db, _SETTLE, self._settled)
        _each(db, _DROP_FAILURE, self._mended)
        _each(db, PUT_FAILURE, self._failed)
        _each(db, _RAISE_BUDGET, self._raised)
        _each(db, _FORGET, self._forgotten)
        _each(db, _PUT_SIGNAL, self._signals)
        _each(db, _CLOSE_QUESTION, self._closed)
        _each(db, _PUT_QUESTION, self._asked)
        create_children(writing, self._children)
        if self._woken_ids:
            db.execute(_WAKE_BY_ID, (text_list(self._woken_ids),))
        _each(db, _WAKE_RUN, self._woken)
        _each(db, _WAKE_WAITING, self._announced)
        for run, redefinition in self._redefined:
            redefine(db, run, redefinition)


def _each(db: apsw.Connection, sql: str, rows: Sequence[Row]) -> None:
    if rows:
        db.executemany(sql, rows)


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
        or plan.inbox
    )
