"""Hands due entries to a worker, reading no further than it has free slots.

Entries lie sorted by holder, type, rank and moment, so what is not due, of another type or another
worker's is never met, however much of it there is. Claimers never wait for each other, nor for
those who decide on a run: what is being written at this moment is passed over, and asked for again
at once.

A line that asks for a look at a run is laid where its owner looks by whoever asks, while the owner
may be changing. It may then lie in the wrong pile, and whoever finds it there lays it right.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from typing import Final, NamedTuple

from msgspec.structs import replace

from kallista.core.plan import WAKE, Plan
from kallista.core.types import Micros, RunKey, TaskType, WorkerKey
from kallista.errors import LeaseLost
from kallista.store.conflicts import worker_gone
from kallista.store.holders import EVERYBODY, NOBODY
from kallista.store.lines import Line
from kallista.store.port import (
    WAKES_AT_ONCE,
    Begin,
    Claim,
    ClaimedEntry,
    ClaimRequest,
    Committed,
    RunRecord,
)
from kallista.store.postgres import records
from kallista.store.postgres.gates import follow_within, pass_gates
from kallista.store.postgres.plans import take_and_write, write_plans
from kallista.store.postgres.records import full_records
from kallista.store.postgres.statements import statement
from kallista.store.postgres.writing import Writing
from kallista.store.rows import Row

PASSED_OVER_FOR: Final = Micros(2_000)
"""When to ask again for what somebody else was writing at that moment."""

_LIVING = statement("living")
_DUE_ENTRIES = statement("due_entries")
_NEXT_DUE = statement("next_due")
_HOLD_RUNS = statement("hold_runs")
_TAKE_RUNS = statement("take_runs")
_TAKE_ALONG = statement("take_along")
_ENQUEUE = statement("enqueue")
_WISH = statement("wish")
_WAKE_RUN = statement("wake_run")


class _Left(NamedTuple):
    """What lies in one pile after a claim."""

    type: TaskType
    rank: int
    due: Micros | None
    later: Micros | None


def claim(writing: Writing, request: ClaimRequest, begin: Begin | None) -> Claim:
    """Take due entries from the queue, and their runs if nobody drives them; begin what it says.

    Raises:
        LeaseLost: The worker has been taken for dead.
    """
    if request.within is not None:
        follow_within(writing, request.within, request.now)
    wakes, tasks, left = _taken_lines(writing, request)
    entries = _take(writing, request, [*wakes, *tasks], begin)
    passed_over = len(entries) < len(wakes) + len(tasks)
    return Claim(
        entries, _next_due(request, wakes, tasks, left, passed_over), _waiting(request, tasks, left)
    )


def _taken_lines(
    writing: Writing, request: ClaimRequest
) -> tuple[list[Line], list[Line], list[_Left]]:
    """Take lines out of the queue: those that ask for a look, tasks; and what is left."""
    db = writing.db
    worker, now, slots, limits, within, ahead, punctual, ageing = request
    holders = (EVERYBODY, NOBODY, worker)
    values = {
        "holders": holders, "now": now, "until": now + ahead, "within": within, "worker": worker,
        "punctual": (WAKE, *punctual), "ageing": ageing,
    }  # fmt: skip
    living = db.later(_LIVING, ([worker],))
    wakes = db.later(
        _DUE_ENTRIES,
        {**values, "types": (WAKE,), "rooms": (WAKES_AT_ONCE,), "slots": WAKES_AT_ONCE},
    )
    tasks = db.later(
        _DUE_ENTRIES,
        {**values, "types": limits.keys(), "rooms": limits.values(), "slots": slots},
    )
    left = db.later(_NEXT_DUE, {**values, "types": (WAKE, *limits)})
    if not living():
        raise LeaseLost(worker_gone(worker))
    return _lines(request, wakes()), _lines(request, tasks()), [_Left._make(row) for row in left()]


def _lines(request: ClaimRequest, rows: Sequence[Row]) -> list[Line]:
    # A line that lies in two piles by mistake is one line.
    lines = {row[:5]: Line(request.turn(*row[:2]), *row) for row in rows}
    return sorted(lines.values())


def _take(
    writing: Writing, request: ClaimRequest, lines: Sequence[Line], begin: Begin | None
) -> list[ClaimedEntry]:
    """Take on the runs that nobody drives, ask for what others drive, and begin what can be."""
    if not lines:
        return []
    worker = request.worker
    writing.changes(concerns_others=False)
    free = sorted({line.run for line in lines if line.owner is None})
    held = _held_runs(writing, worker, free)
    mine = {line for line in lines if line.owner == worker or line.run in held}
    lent = {
        line
        for line in lines
        if line.owner not in (None, worker) and line.type != WAKE and line.holder == EVERYBODY
    }
    had = [line for line in lines if line in mine or line in lent]
    accepted = pass_gates(writing, worker, had, request.now)
    runs = {line.run for line in accepted if line.owner is None}
    taken = {run: record for run, record in held.items() if run in runs}
    left = dict(taken)
    entries = [
        ClaimedEntry(
            line.run, line.entry, left.pop(line.run, None), line.owner not in (None, worker)
        )
        for line in accepted
    ]
    plans = begin(entries) if begin is not None and entries else ()
    _begin(writing, worker, taken, plans)
    _borrow(writing, worker, [line for line in accepted if line.owner not in (None, worker)])
    _lay_back(writing, [line for line in lines if line not in mine and line not in lent])
    return entries


def _begin(
    writing: Writing, worker: WorkerKey, taken: Collection[RunKey], plans: Sequence[Plan]
) -> None:
    """Become the owner of runs, in one go with the plans that begin them."""
    first = [plan for plan in plans if plan.run in taken and plan.ownership is None]
    begun = {plan.run for plan in first}
    rest = set(taken) - begun
    if rest:
        writing.db.tell(_TAKE_RUNS, (worker, sorted(rest)))
    if taken:
        writing.db.tell(_TAKE_ALONG, (sorted(taken), worker))
    take_and_write(writing, worker, first)
    answers = write_plans(writing, [plan for plan in plans if plan.run not in begun])
    assert all(isinstance(answer, Committed) for answer in answers), answers


def _borrow(writing: Writing, worker: WorkerKey, lines: Sequence[Line]) -> None:
    writing.db.tell_all(
        _WISH,
        ((line.run, line.step, worker, line.type, line.rank, line.ready_at) for line in lines),
    )
    writing.db.tell_all(_WAKE_RUN, ((line.step, line.run) for line in lines))
    if lines:
        writing.changes()


def _lay_back(writing: Writing, lines: Sequence[Line]) -> None:
    """Lay lines where the owners of their runs look, as far as anybody knows."""
    writing.db.tell_all(_ENQUEUE, (records.line(line.run, line.entry) for line in lines))
    if lines:
        writing.changes()


def _held_runs(
    writing: Writing, worker: WorkerKey, runs: Collection[RunKey]
) -> dict[RunKey, RunRecord]:
    """Keep runs for this transaction; returns those that could be had, as they are once taken."""
    if not runs:
        return {}
    held = writing.db.later(_HOLD_RUNS, (runs,))
    records = full_records(writing.db, writing.definitions, runs)
    return {
        key: replace(record, owner=worker, epoch=record.epoch + 1, version=record.version + 1)
        for (key,) in held()
        for record in (records[key],)
    }


def _next_due(
    request: ClaimRequest,
    wakes: Sequence[Line],
    tasks: Sequence[Line],
    left: Sequence[_Left],
    passed_over: bool,
) -> Micros | None:
    missed = [pile.due for pile in left if pile.type == WAKE and pile.due is not None]
    if missed and len(wakes) == WAKES_AT_ONCE:
        return min(missed)
    moments = [pile.later for pile in left if pile.later is not None]
    room = _room(request, tasks)
    being_taken = len(tasks) < request.slots and any(
        pile.due is not None and room.get(pile.type, 0) > 0 for pile in left
    )
    if passed_over or being_taken or missed:
        moments.append(Micros(request.now + PASSED_OVER_FOR))
    return min(moments, default=None)


def _waiting(request: ClaimRequest, tasks: Sequence[Line], left: Sequence[_Left]) -> int | None:
    if len(tasks) < request.slots:
        return None
    room = _room(request, tasks)
    return max(
        (
            request.urgency(pile.rank, pile.due)
            for pile in left
            if pile.due is not None and room.get(pile.type, 0) > 0
        ),
        default=None,
    )


def _room(request: ClaimRequest, tasks: Sequence[Line]) -> Mapping[TaskType, int]:
    """How many more of each type could be had."""
    got = Counter(line.type for line in tasks)
    return {type: limit - got[type] for type, limit in request.limits.items()}
