"""Hands due entries to a worker, reading no further than it has free slots.

Entries lie sorted by holder, type, rank and moment. For every type that waits and every priority
there is one run of entries to read from its head; the heads are merged, so what is not due, of
another type or another worker's is never met, however much of it there is.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from heapq import heapify, heappop, heapreplace
from itertools import chain, starmap
from typing import Any, Final, NamedTuple, cast

import apsw

from kallista.core.plan import WAKE
from kallista.core.types import Micros, RunKey, TaskType, WorkerKey
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
from kallista.store.sqlite.gates import TAKEN, follow_within, pass_gates
from kallista.store.sqlite.plans import write_first_plans
from kallista.store.sqlite.records import full_records, key_list
from kallista.store.sqlite.statements import statement
from kallista.store.sqlite.writing import Writing

_BEFORE_ALL_RANKS: Final = -(1 << 63)

ROUNDS: Final = 100
"""How often one claim picks anew for lines that found no room."""

_NEXT_TYPE = statement("next_type")
_NEXT_RANK = statement("next_rank")
_DUE_ENTRIES = statement("due_entries")
_NEXT_DUE = statement("next_due")
_DUE_SHARED = statement("due_shared")
_NEXT_SHARED = statement("next_shared")
_TAKE_ENTRY = statement("take_entry")
_TAKE_RUNS = statement("take_runs")
_MOVE_ENTRIES = statement("move_entries")
_WISH = statement("wish")
_WAKE_RUN = statement("wake_run")


class _Pile(NamedTuple):
    """The entries of one type with one holder, and the ranks that occur among them."""

    holder: int
    type: TaskType
    ranks: list[int]


def claim(writing: Writing, request: ClaimRequest, begin: Begin | None) -> Claim:
    """Take due entries from the queue, and their runs if nobody drives them; begin what it says.

    Raises:
        LeaseLost: The worker has been taken for dead.
    """
    writing.check_worker(request.worker)
    db = writing.db
    if request.within is not None:
        follow_within(writing, request.within, request.now)
    piles = _piles(db, request)
    wakes, wakes_left = _pick(
        db,
        request,
        [pile for pile in piles if pile.type == WAKE],
        WAKES_AT_ONCE,
        {WAKE: WAKES_AT_ONCE + 1},
    )
    tasks, tasks_left, all_met = _pick_tasks(writing, request, piles)
    # Taking a run moves its entries, so what waits is looked at before.
    missed = wakes_left.ready_at if wakes_left else None if all_met else request.now
    next_due = _next_due(db, request, piles) if missed is None else missed
    entries = _take(writing, request.worker, [*wakes, *tasks])
    if begin is not None and entries:
        records = [it.record for it in entries if it.record is not None]
        answers = write_first_plans(writing, begin(entries), records)
        assert all(isinstance(answer, Committed) for answer in answers), answers
    return Claim(
        entries=entries,
        next_due=next_due,
        waiting=request.urgency(tasks_left.rank, tasks_left.ready_at) if tasks_left else None,
    )


def _piles(db: apsw.Connection, request: ClaimRequest) -> list[_Pile]:
    return [
        _Pile(holder, type, ranks)
        for holder in (EVERYBODY, NOBODY, request.worker)
        for type in (WAKE, *_types(db, holder))
        if (type == WAKE or type in request.limits) and (ranks := list(_ranks(db, holder, type)))
    ]


def _types(db: apsw.Connection, holder: int) -> Iterator[TaskType]:
    type: Any = WAKE
    while (type := db.execute(_NEXT_TYPE, (holder, type)).get) is not None:
        yield TaskType(type)


def _ranks(db: apsw.Connection, holder: int, type: TaskType) -> Iterator[int]:
    rank: Any = _BEFORE_ALL_RANKS
    while (rank := db.execute(_NEXT_RANK, (holder, type, rank)).get) is not None:
        yield rank


def _due(db: apsw.Connection, request: ClaimRequest, pile: _Pile) -> Iterator[Iterator[Line]]:
    """The due entries of a pile, each in the order of service, read as far as they are asked for.

    Where priorities age, those of each rank have to be merged; else one rank comes after the other.
    """
    ranks = (_due_of_rank(db, request, pile, rank) for rank in pile.ranks)
    return iter([chain.from_iterable(ranks)]) if request.ageing is None else ranks


def _due_of_rank(
    db: apsw.Connection, request: ClaimRequest, pile: _Pile, rank: int
) -> Iterator[Line]:
    holder, type, _ = pile
    until = request.until(type, shared=holder == EVERYBODY)
    turn, within = (request.shift(rank), request.standing(rank)), request.within
    rows: Any
    if holder == EVERYBODY:
        rows = db.execute(_DUE_SHARED, (*turn, type, rank, until, within, request.worker))
    else:
        owner = None if holder == NOBODY else request.worker
        rows = db.execute(_DUE_ENTRIES, (*turn, owner, holder, type, rank, until, within))
    return starmap(Line, rows)


def _pick(
    db: apsw.Connection,
    request: ClaimRequest,
    piles: list[_Pile],
    slots: int,
    limits: Mapping[TaskType, int],
) -> tuple[list[Line], Line | None]:
    """Merge the heads of the piles until the slots are full.

    Returns:
        The lines picked, and the next one that only a free slot was missing for.
    """
    room = dict(limits)
    streams = [
        stream for pile in piles if room[pile.type] > 0 for stream in _due(db, request, pile)
    ]
    heads = [
        (line, number)
        for number, stream in enumerate(streams)
        if (line := next(stream, None)) is not None
    ]
    heapify(heads)
    picked: list[Line] = []
    while heads:
        line, number = heads[0]
        if room[line.type] == 0:
            heappop(heads)
            continue
        if len(picked) >= slots:
            return picked, line
        picked.append(line)
        room[line.type] -= 1
        following = next(streams[number], None)
        if following is None:
            heappop(heads)
        else:
            heapreplace(heads, (following, number))
    return picked, None


def _pick_tasks(
    writing: Writing, request: ClaimRequest, piles: list[_Pile]
) -> tuple[list[Line], Line | None, bool]:
    """Pick tasks until the slots are full; those that find no room under a limit are held back.

    Returns:
        The lines picked, the next one that only a free slot was missing for, and whether all were
        met that there are slots for: after some rounds it is left to the next claim.
    """
    of_tasks = [pile for pile in piles if pile.type != WAKE]
    room = dict(request.limits)
    tasks: list[Line] = []
    for _ in range(ROUNDS):
        picked, left = _pick(writing.db, request, of_tasks, request.slots - len(tasks), room)
        if not [line for line in picked if line.gated]:  # any() would cost a call for each line
            return tasks + picked, left, True
        passed = pass_gates(writing, request.worker, picked, request.now)
        # What has passed is gone from the queue, and must not be picked again with the rest.
        for line in passed:
            room[line.type] -= 1
            if not line.gated:
                writing.db.execute(_TAKE_ENTRY, TAKEN(line))
        tasks += passed
        if len(passed) == len(picked):
            return tasks, left, True
        if request.within is not None:  # there is still room for others
            follow_within(writing, request.within, request.now)
            of_tasks = [pile for pile in _piles(writing.db, request) if pile.type != WAKE]
    return tasks, None, False


def _take(writing: Writing, worker: WorkerKey, lines: list[Line]) -> list[ClaimedEntry]:
    """Remove the lines, take on the runs that nobody drives, and ask for what others drive."""
    db = writing.db
    db.executemany(_TAKE_ENTRY, map(TAKEN, lines))
    taken = _take_runs(writing, worker, {line.run for line in lines if line.owner is None})
    borrowed = [line for line in lines if line.owner not in (None, worker)]
    writing.concerns_others |= bool(borrowed)
    db.executemany(
        _WISH,
        ((line.run, line.step, worker, line.type, line.rank, line.ready_at) for line in borrowed),
    )
    db.executemany(_WAKE_RUN, ((line.step, line.run) for line in borrowed))
    return [
        ClaimedEntry(
            line.run, line.entry, taken.pop(line.run, None), line.owner not in (None, worker)
        )
        for line in lines
    ]


def _take_runs(
    writing: Writing, worker: WorkerKey, runs: Collection[RunKey]
) -> dict[RunKey, RunRecord]:
    """Become the owner of runs; returns them as they are from now on."""
    if not runs:
        return {}
    keys = key_list(runs)
    writing.db.execute(_TAKE_RUNS, (worker, keys))
    writing.db.execute(_MOVE_ENTRIES, (worker, keys))
    return full_records(writing.db, writing.definitions, keys)


def _next_due(db: apsw.Connection, request: ClaimRequest, piles: list[_Pile]) -> Micros | None:
    moments = (_next_of(db, request, pile, rank) for pile in piles for rank in pile.ranks)
    return min((moment for moment in moments if moment is not None), default=None)


def _next_of(db: apsw.Connection, request: ClaimRequest, pile: _Pile, rank: int) -> Micros | None:
    holder, type, _ = pile
    until = request.until(type, shared=holder == EVERYBODY)
    if holder == EVERYBODY:
        moment = db.execute(_NEXT_SHARED, (type, rank, until, request.within, request.worker)).get
    else:
        moment = db.execute(_NEXT_DUE, (holder, type, rank, until, request.within)).get
    return None if moment is None else Micros(cast(int, moment))
