"""Counts attempts over all workers: what lines have to pass, and who comes next."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from operator import attrgetter
from typing import Any, Final, cast

import apsw

from kallista.core.json_text import to_json
from kallista.core.limits import Gate, Limit
from kallista.core.plan import GateChanges
from kallista.core.types import Micros, RunKey, WorkerKey
from kallista.errors import LeaseLost
from kallista.store.admission import Admission, Passing, admit
from kallista.store.conflicts import not_counted
from kallista.store.lines import Line
from kallista.store.rows import Row
from kallista.store.sqlite.records import text_list
from kallista.store.sqlite.statements import statement
from kallista.store.sqlite.writing import Writing

TAKEN: Final = attrgetter("holder", "type", "rank", "ready_at", "run", "step")
"""The values of ``take_entry``, from a line."""

_PASSINGS = statement("passings")
_HELD_COUNTS = statement("held_counts")
_NEXT_OF_RATES = statement("next_of_rates")
_PUT_RATE = statement("put_rate")
_HOLD_GATES = statement("hold_gates")
_HOLD_LINE = statement("hold_line")
_LAY_LINE = statement("lay_line")
_TAKE_ENTRY = statement("take_entry")
_INSERT_GATE = statement("insert_gate")
_OPEN_GATES = statement("open_gates")
_DROP_HELD_LINE = statement("drop_held_line")
_DROP_LAID_LINE = statement("drop_laid_line")
_DROP_WISH = statement("drop_wish")
_HOLDS_GATES = statement("holds_gates")
_LET_GO = statement("let_go")
_NEXT_PILE = statement("next_pile")
_HEAD_OF_PILE = statement("head_of_pile")
_FOLLOW = statement("follow")
_HELD_OF_TREE = statement("held_of_tree")
_GATED_STEPS = statement("gated_steps")


def pass_gates(
    writing: Writing, worker: WorkerKey, lines: Sequence[Line], now: Micros
) -> list[Line]:
    """Let lines that a claim has picked take what they need; they are out of the queue then.

    Returns:
        Those that found room; the others are held back.
    """
    db = writing.db
    gated = [line for line in lines if line.gated]
    passings = _passings(writing, gated)
    names = text_list({limit.name for it in passings.values() for limit in it.limits})
    held: Any = db.execute(_HELD_COUNTS, (names,)).fetchall()
    rates: Any = db.execute(_NEXT_OF_RATES, (names,)).fetchall()
    admission = admit(lines, passings, dict(held), dict(rates), now)
    db.executemany(_TAKE_ENTRY, map(TAKEN, gated))
    _write(writing, worker, admission, passings, now)
    return admission.admitted


def _passings(writing: Writing, lines: Sequence[Line]) -> Mapping[tuple[RunKey, int], Passing]:
    places = to_json([list(line.place) for line in lines])
    found: dict[tuple[RunKey, int], Passing] = {}
    rows: Any = writing.db.execute(_PASSINGS, (places,))
    for run, step, ready_at, *limit in rows:
        before = found.get((run, step), Passing(ready_at, ()))
        found[run, step] = before._replace(limits=(*before.limits, Limit(*limit)))
    return found


def _write(
    writing: Writing,
    worker: WorkerKey,
    admission: Admission,
    passings: Mapping[tuple[RunKey, int], Passing],
    now: Micros,
) -> None:
    db = writing.db
    db.executemany(_PUT_RATE, admission.rates.items())
    db.executemany(
        _HOLD_GATES, ((worker, *line.place) for line in admission.admitted if line.gated)
    )
    for line, limit, again_at in admission.refused:
        if again_at is not None:
            db.execute(_LAY_LINE, (line.holder, line.type, line.rank, again_at, *line.place))
            continue
        first = passings[line.place].ready_at
        pile = f"{line.type}:{limit.pile}"
        row = (limit.name, pile, line.turn, line.rank, first, *line.place, line.type)
        db.execute(_HOLD_LINE, row)
    follow(writing, admission.followed, now)


def open_gates(writing: Writing, run: RunKey, steps: Iterable[int]) -> Counter[str]:
    """Count steps no more, and drop all that waits to be taken up of them.

    Returns:
        Under which names others come next, and how many.
    """
    db = writing.db
    names: Counter[str] = Counter()
    for step in steps:
        place = (run, step)
        was_held = db.execute(_DROP_HELD_LINE, place).get is not None
        rows: Any = db.execute(_OPEN_GATES, place).fetchall()
        db.execute(_DROP_LAID_LINE, place)
        db.execute(_DROP_WISH, place)
        if not was_held:
            names.update(name for name, spacing, worker in rows if not spacing or worker is None)
    return names


def close_gates(writing: Writing, gates: Iterable[tuple[RunKey, Gate]]) -> None:
    """Write what new lines have to pass."""
    writing.db.executemany(
        _INSERT_GATE,
        (
            (run, gate.step, gate.ready_at, limit.name, limit.number, limit.spacing)
            for run, gate in gates
            for limit in gate.limits
        ),
    )


def check_begun(writing: Writing, run: RunKey, changes: GateChanges) -> None:
    """Refuse a plan that begins an attempt for which nothing was taken.

    Raises:
        LeaseLost: It is not counted for its worker, or not any more.
    """
    for step, worker in changes.begun:
        if not writing.db.execute(_HOLDS_GATES, (worker, run, step)).get:
            raise LeaseLost(not_counted(step, worker))


def let_go(writing: Writing, worker: WorkerKey, now: Micros) -> None:
    """Count nothing for a worker any more that has died."""
    rows: Any = writing.db.execute(_LET_GO, (worker,)).fetchall()
    follow(writing, Counter(name for name, spacing in rows if not spacing), now)


def follow(writing: Writing, names: Counter[str], at: Micros) -> None:
    """Of each pile that waits under these names, let so many lines into the queue."""
    db = writing.db
    for name, count in sorted(names.items()):
        pile: Any = ""
        while (pile := db.execute(_NEXT_PILE, (name, pile)).get) is not None:
            for head in db.execute(_HEAD_OF_PILE, (name, pile, count)).fetchall():
                _lay_back(db, (name, *head), at)
            writing.concerns_others = True


def follow_within(writing: Writing, within: RunKey, at: Micros) -> None:
    """Let what there is room for of a tree be met by a claim of who works on nothing else.

    Another tree's line may be next, and nobody there who would take it.
    """
    rows: Any = writing.db.execute(_HELD_OF_TREE, (within,)).fetchall()
    for row in rows:
        _lay_back(writing.db, row, at)


def _lay_back(db: apsw.Connection, row: Row, at: Micros) -> None:
    """Let a line that was held back into the queue."""
    name, run, step, type, rank, ready_at = row
    db.execute(_DROP_HELD_LINE, (run, step))
    values = {
        "type": type, "rank": rank, "ready_at": ready_at, "at": at, "name": name, "step": step,
        "run": run,
    }  # fmt: skip
    db.execute(_FOLLOW, values)


def delete_gates(writing: Writing, run: RunKey) -> Counter[str]:
    """Forget a run that is deleted; returns under which names others come next."""
    steps = {cast(int, step) for (step,) in writing.db.execute(_GATED_STEPS, (run,))}
    return open_gates(writing, run, sorted(steps))
