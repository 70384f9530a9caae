"""Hands due entries to a worker, reading no further than it has free slots.

Entries lie sorted by holder, type, rank and moment. For every type that waits and every priority
there is one run of entries to read from its head; the heads are merged, so what is not due, of
another type or another worker's is never met, however much of it there is.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from heapq import heapify, heappop, heapreplace
from itertools import chain
from typing import Final, NamedTuple, cast

import apsw

from kallista.core.plan import WAKE, Entry
from kallista.core.types import Micros, RunKey, TaskType
from kallista.store.port import WAKES_AT_ONCE, Claim, ClaimedEntry, ClaimRequest, RunRecord
from kallista.store.sqlite.rows import DefinitionCache, full_record, key_list
from kallista.store.sqlite.statements import statement

_NOBODY: Final = 0

_TYPES_HELD = statement("types_held")
_RANKS_HELD = statement("ranks_held")
_DUE_ENTRIES = statement("due_entries")
_NEXT_DUE = statement("next_due")
_TAKE_ENTRY = statement("take_entry")
_TAKE_RUN = statement("take_run")
_MOVE_ENTRIES = statement("move_entries")
_RECORDS_BY_KEY = statement("records_by_key")


class _Line(NamedTuple):
    """A line of the queue, in the order in which lines are served."""

    rank: int
    ready_at: Micros
    run: RunKey
    step: int
    type: TaskType
    holder: int

    @property
    def entry(self) -> Entry:
        return Entry(self.type, -self.rank, self.ready_at, self.step)


class _Pile(NamedTuple):
    """The entries of one type, its own or free ones, with the ranks that occur."""

    holder: int
    type: TaskType
    ranks: list[int]


def claim(db: apsw.Connection, definitions: DefinitionCache, request: ClaimRequest) -> Claim:
    """Take due entries from the queue, and their runs if nobody drives them."""
    piles = _piles(db, request)
    wakes, wakes_left = _pick(
        db,
        request,
        [pile for pile in piles if pile.type == WAKE],
        WAKES_AT_ONCE,
        {WAKE: WAKES_AT_ONCE + 1},
    )
    tasks, tasks_left = _pick(
        db, request, [pile for pile in piles if pile.type != WAKE], request.slots, request.limits
    )
    # Taking a run moves its entries, so what waits is looked at before.
    next_due = wakes_left.ready_at if wakes_left else _next_due(db, request, piles)
    lines = [*wakes, *tasks]
    records = _take(db, definitions, request, lines)
    return Claim(
        entries=[ClaimedEntry(line.run, line.entry, records.pop(line.run, None)) for line in lines],
        next_due=next_due,
        waiting=-tasks_left.rank if tasks_left else None,
    )


def _piles(db: apsw.Connection, request: ClaimRequest) -> list[_Pile]:
    wanted = {WAKE, *request.limits}
    held = (
        (holder, TaskType(str(type)))
        for holder in (_NOBODY, request.worker)
        for (type,) in db.execute(_TYPES_HELD, (holder,)).fetchall()
    )
    return [
        _Pile(
            holder, type, [cast(int, rank) for (rank,) in db.execute(_RANKS_HELD, (holder, type))]
        )
        for holder, type in held
        if type in wanted
    ]


def _due(db: apsw.Connection, request: ClaimRequest, pile: _Pile) -> Iterator[_Line]:
    """The due entries of a pile in the order of service, read as far as they are asked for."""
    holder, type, ranks = pile
    rows = chain.from_iterable(
        db.execute(_DUE_ENTRIES, (holder, type, rank, request.now, request.within))
        for rank in ranks
    )
    return (_Line._make((*row, type, holder)) for row in rows)


def _pick(
    db: apsw.Connection,
    request: ClaimRequest,
    piles: list[_Pile],
    slots: int,
    limits: Mapping[TaskType, int],
) -> tuple[list[_Line], _Line | None]:
    """Merge the heads of the piles until the slots are full.

    Returns:
        The lines picked, and the next one that only a free slot was missing for.
    """
    room = dict(limits)
    streams = [_due(db, request, pile) for pile in piles if room[pile.type] > 0]
    heads = [
        (line, number)
        for number, stream in enumerate(streams)
        if (line := next(stream, None)) is not None
    ]
    heapify(heads)
    picked: list[_Line] = []
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


def _take(
    db: apsw.Connection, definitions: DefinitionCache, request: ClaimRequest, lines: list[_Line]
) -> dict[RunKey, RunRecord]:
    """Remove the lines and take on their runs; returns the runs that are new to the worker."""
    db.executemany(
        _TAKE_ENTRY,
        ((line.holder, line.type, line.rank, line.ready_at, line.run, line.step) for line in lines),
    )
    free = {line.run for line in lines if line.holder == _NOBODY}
    if not free:
        return {}
    db.executemany(_TAKE_RUN, ((request.worker, run) for run in free))
    db.executemany(_MOVE_ENTRIES, ((request.worker, run) for run in free))
    rows = db.execute(_RECORDS_BY_KEY, (key_list(free),)).fetchall()
    return {RunKey(cast(int, row[0])): full_record(db, definitions, row) for row in rows}


def _next_due(db: apsw.Connection, request: ClaimRequest, piles: list[_Pile]) -> Micros | None:
    moments = (
        db.execute(_NEXT_DUE, (pile.holder, pile.type, rank, request.now, request.within)).get
        for pile in piles
        for rank in pile.ranks
    )
    return min(
        (Micros(cast(int, moment)) for moment in moments if moment is not None), default=None
    )
