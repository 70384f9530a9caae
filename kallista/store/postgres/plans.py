"""Writes many plans in one transaction, row kind by row kind, two round trips in all.

The first advances the heads whose fences hold and brings back which; the second carries all other
rows of those. That changes the order of rows of different runs only: no two plans of one run are
ever in one batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from msgspec.structs import astuple

from kallista.core.events import RunHead
from kallista.core.plan import Plan
from kallista.core.types import RunKey, WorkerKey
from kallista.errors import KallistaError, LeaseLost, NotFoundError
from kallista.store.conflicts import worker_gone
from kallista.store.port import Committed
from kallista.store.postgres.creation import create_children, redefine
from kallista.store.postgres.gates import change_gates, close_gates, uncounted
from kallista.store.postgres.records import line
from kallista.store.postgres.statements import statement
from kallista.store.postgres.writing import Writing
from kallista.store.rows import NO_TASK, Row, divided, question_rows, signal_rows

_ADVANCE_RUN = statement("advance_run")
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
_DROP_FAILURE = statement("drop_failure")
_RAISE_BUDGET = statement("raise_budget")
_PUT_FAILURE = statement("put_failure")
_FORGET = statement("forget")
_PUT_SIGNAL = statement("put_signal")
_PUT_QUESTION = statement("put_question")
_CLOSE_QUESTION = statement("close_question")
_WAKE_BY_ID = statement("wake_by_id")
_WAKE_PARENT = statement("wake_parent")
_WAKE_WAITING = statement("wake_waiting")
_WAKE_OWNER = statement("wake_owner")


_KEY: Final = 1 + len(RunHead.__struct_fields__)
"""Where the run's key stands in a row of ``advance_run``."""

_UNCHANGED: Final[Row] = (None, *NO_TASK)


def write_plans(writing: Writing, plans: Sequence[Plan]) -> list[Committed | KallistaError]:
    """Write those plans whose fences hold; each plan is of another run.

    Returns:
        For each plan its new version, or why it dropped out; its neighbours go on without it.
    """
    refused = _ungranted(writing, plans) | uncounted(writing, plans)
    if writing.is_hopeful and plans and not refused:
        _write_heads(writing, [_head_row(plan) for plan in plans])
        _write(writing, plans)
        return [Committed(plan.fence.version + 1) for plan in plans]
    tried = [plan for plan in plans if plan.run not in refused]
    advanced = _advance(writing, tried)
    good = [plan for plan in tried if plan.run in advanced]
    if len(good) < len(tried):
        refused |= _refusals(writing, [plan for plan in tried if plan.run not in advanced])
    if good:
        _write(writing, good)
    return [
        refused[plan.run] if plan.run in refused else Committed(plan.fence.version + 1)
        for plan in plans
    ]


def take_and_write(writing: Writing, worker: WorkerKey, plans: Sequence[Plan]) -> None:
    """Write plans of runs that this transaction keeps, as what their new owner decides first.

    Their fences show the runs as they are once taken: nothing else can have changed them.
    """
    if plans:
        _write_heads(writing, [_taking_row(plan, worker) for plan in plans])
        _write(writing, plans)


def _ungranted(writing: Writing, plans: Sequence[Plan]) -> dict[RunKey, KallistaError]:
    """Plans that grant what nobody wishes for any more."""
    grants = [(plan.run, grant.step, grant.worker) for plan in plans for grant in sorted(plan.lend)]
    if not grants:
        return {}
    wished = set(writing.db.ask(_IS_WISHED, list(zip(*sorted(grants), strict=True))))
    return {
        run: LeaseLost(
            f"worker {worker} does not wish for step {step} any more; nothing of this plan was"
            " written"
        )
        for run, step, worker in grants
        if (run, step, worker) not in wished
    }


def _advance(writing: Writing, plans: Sequence[Plan]) -> set[RunKey]:
    """Check the fences and write the heads; that comes first, so a stale plan writes nothing."""
    if not plans:
        return set()
    rows = [_head_row(plan) for plan in plans]
    ((advanced, _),) = writing.db.ask(_ADVANCE_RUN, (*_by_run(rows), 0))
    return {RunKey(key) for key in advanced or ()}


def _write_heads(writing: Writing, rows: list[Row]) -> None:
    """The same without waiting for the answer: the transaction fails unless all fences hold."""
    writing.db.tell(_ADVANCE_RUN, (*_by_run(rows), len(rows)))


def _by_run(rows: list[Row]) -> Sequence[Sequence[Any]]:
    """The columns of heads, so that all writers meet runs in one order."""
    rows.sort(key=_run_key)
    return list(zip(*rows, strict=True))


def _run_key(row: tuple[Any, ...]) -> int:
    return int(row[_KEY])


def _head_row(plan: Plan) -> Row:
    owner, epoch = (None, None) if plan.ownership is None else astuple(plan.ownership)
    return _row(plan, owner, plan.fence.version, plan.fence.epoch, epoch)


def _taking_row(plan: Plan, worker: WorkerKey) -> Row:
    """The same for a run that is taken on with the plan: its fence is one version ahead."""
    return _row(plan, worker, plan.fence.version - 1, None, plan.fence.epoch)


def _row(plan: Plan, owner: int | None, version: int, own: int | None, new: int | None) -> Row:
    step = next((astuple(state) for position, state in plan.steps if position == 0), _UNCHANGED)
    next_version = plan.fence.version + 1
    return (owner, *astuple(plan.head), plan.run, version, own, next_version, new, *step)


def _refusals(writing: Writing, plans: Sequence[Plan]) -> dict[RunKey, KallistaError]:
    there = {
        RunKey(key): rest
        for key, *rest in writing.db.ask(_RUN_HOLDER, ([plan.run for plan in plans],))
    }
    living = writing.living(
        plan.ownership.worker
        for plan in plans
        if plan.ownership is not None and plan.ownership.worker is not None
    )
    return {plan.run: _refusal(plan, there.get(plan.run), living) for plan in plans}


def _refusal(plan: Plan, there: Sequence[Any] | None, living: set[WorkerKey]) -> KallistaError:
    if there is None:
        return NotFoundError(f"run {plan.run} is gone; it was deleted")
    wanted = None if plan.ownership is None else plan.ownership.worker
    if wanted is not None and wanted not in living:
        return LeaseLost(f"{worker_gone(wanted)}; nothing of this plan was written")
    id, version, epoch, owner, name = there
    holder = "nobody" if owner is None else f"worker {name or owner}"
    return LeaseLost(
        f"run {id!r} has moved on: it is at version {version} in epoch {epoch}, driven by {holder};"
        f" this plan was decided at version {plan.fence.version}"
        + ("" if plan.fence.epoch is None else f" in epoch {plan.fence.epoch}")
        + " and nothing of it was written"
    )


def _write(writing: Writing, plans: Sequence[Plan]) -> None:
    db = writing.db
    db.tell_all(
        _MOVE_ENTRIES,
        ((plan.ownership.worker or 0, plan.run) for plan in plans if plan.ownership is not None),
    )
    gated = [(plan.run, plan.gates) for plan in plans if plan.gates is not None]
    if gated:
        change_gates(writing, gated)
    db.tell_all(_DEQUEUE, (line(plan.run, entry) for plan in plans for entry in plan.dequeue))
    db.tell_all(
        _INSERT_EVENT, ((plan.run, *astuple(event)) for plan in plans for event in plan.events)
    )
    db.tell_all(
        _PUT_STEP,
        ((plan.run, position, *astuple(step)) for plan in plans for position, step in plan.steps),
    )
    db.tell_all(_ENQUEUE, (line(plan.run, entry) for plan in plans for entry in plan.enqueue))
    if gated:
        close_gates(writing, ((run, gate) for run, changes in gated for gate in changes.closed))
    aside = [plan for plan in plans if _has_more(plan)]
    if aside:
        _write_aside(writing, aside)
    _tell_parents_and_owners(writing, plans)
    # Definitions, ids and keys come after what is waited for, as those of creations do (ADR 10),
    # and who drops definitions before who keeps them.
    for plan in aside:
        if plan.redefine is not None:
            redefine(writing, plan.run, plan.redefine)
    create_children(writing, [child for plan in aside for child in plan.create])
    _tell_children_and_waiting(writing, plans)
    writing.changes(concerns_others=any(_concerns_others(plan) for plan in plans))


def _has_more(plan: Plan) -> bool:
    """Whether it has any of what few plans have."""
    return bool(
        plan.create
        or plan.failures
        or plan.forget
        or plan.budget
        or plan.inbox
        or plan.lend
        or plan.recall
        or plan.settle
        or plan.redefine
    )


def _write_aside(writing: Writing, plans: Sequence[Plan]) -> None:
    """Write what few plans have, but for children and other definitions."""
    db = writing.db
    db.tell_all(
        _GRANT,
        ((grant.attempt, plan.run, grant.step) for plan in plans for grant in plan.lend),
    )
    db.tell_all(_RECALL, ((plan.run, step) for plan in plans for step in plan.recall))
    db.tell_all(_SETTLE, ((plan.run, step) for plan in plans for step in plan.settle))
    _note_failures(writing, plans)
    db.tell_all(
        _RAISE_BUDGET,
        ((plan.run, unit, limit) for plan in plans for unit, limit in plan.budget),
    )
    db.tell_all(_FORGET, ((plan.run, step) for plan in plans for step in plan.forget))
    _change_inboxes(writing, plans)


def _note_failures(writing: Writing, plans: Sequence[Plan]) -> None:
    for plan in plans:
        if plan.failures:
            mended, failed = divided(plan.run, plan.failures)
            writing.db.tell_all(_DROP_FAILURE, mended)
            writing.db.tell_all(_PUT_FAILURE, failed)


def _change_inboxes(writing: Writing, plans: Sequence[Plan]) -> None:
    changes = [(plan.run, plan.inbox) for plan in plans if plan.inbox is not None]
    db = writing.db
    db.tell_all(_PUT_SIGNAL, (row for run, inbox in changes for row in signal_rows(run, inbox)))
    db.tell_all(_CLOSE_QUESTION, ((run, step) for run, inbox in changes for step in inbox.closed))
    db.tell_all(_PUT_QUESTION, (row for run, inbox in changes for row in question_rows(run, inbox)))


def _tell_parents_and_owners(writing: Writing, plans: Sequence[Plan]) -> None:
    for told, what in (
        ((plan.run for plan in plans if plan.wake_parent), _WAKE_PARENT),
        ((plan.run for plan in plans if plan.tell_owner), _WAKE_OWNER),
    ):
        keys = sorted(told)
        if keys:
            writing.db.tell(what, (keys,))


def _tell_children_and_waiting(writing: Writing, plans: Sequence[Plan]) -> None:
    """Wake those that may have been created with these plans only."""
    ids = sorted({id for plan in plans for id in plan.wake})
    if ids:
        writing.db.tell(_WAKE_BY_ID, (ids,))
    announced = sorted(plan.run for plan in plans if plan.announce)
    if announced:
        writing.keep_waits()
        writing.db.tell(_WAKE_WAITING, (announced,))


def _concerns_others(plan: Plan) -> bool:
    """Whether somebody else may wait for what the plan writes.

    A step that its own worker goes on with is nobody else's business; what ends, waits in the queue
    or passes to another worker may be.
    """
    return bool(
        plan.ownership is not None
        or plan.fence.epoch is None
        or plan.head.ended_at is not None
        or plan.enqueue
        or plan.create
        or plan.wake
        or plan.wake_parent
        or plan.announce
        or plan.tell_owner
        or plan.lend
        or plan.recall
        or plan.settle
        or plan.inbox
    )
