"""Counts attempts over all workers: what lines have to pass, and who comes next.

Whoever counts does so alone, from the first look to the commit. What is not subject to limits
never comes here, and waits for nobody.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Final

from kallista.core.limits import Gate, Limit
from kallista.core.plan import GateChanges, Plan
from kallista.core.types import Micros, RunKey, WorkerKey
from kallista.errors import KallistaError, LeaseLost
from kallista.store.admission import Admission, Passing, admit
from kallista.store.conflicts import not_counted
from kallista.store.lines import Line
from kallista.store.postgres.statements import statement
from kallista.store.postgres.writing import Writing

COUNTING: Final = 0x4B_41_4C_4C
"""What those mark their transaction with that count ("KALL")."""

_COUNT_ALONE = statement("count_alone")
_PASSINGS = statement("passings")
_HELD_COUNTS = statement("held_counts")
_NEXT_OF_RATES = statement("next_of_rates")
_PUT_RATE = statement("put_rate")
_HOLD_GATES = statement("hold_gates")
_HOLD_LINE = statement("hold_line")
_LAY_LINE = statement("lay_line")
_INSERT_GATE = statement("insert_gate")
_OPEN_GATES = statement("open_gates")
_HOLDS_GATES = statement("holds_gates")
_LET_GO = statement("let_go")
_FOLLOW = statement("follow")
_HELD_OF_TREE = statement("held_of_tree")
_GATED_STEPS = statement("gated_steps")


def pass_gates(
    writing: Writing, worker: WorkerKey, lines: Sequence[Line], now: Micros
) -> list[Line]:
    """Let lines that a claim has taken out of the queue take what they need.

    Returns:
        Those that found room; the others are held back.
    """
    db = writing.db
    gated = [line for line in lines if line.gated]
    if not gated:
        return list(lines)
    db.tell(_COUNT_ALONE, (COUNTING,))
    passings = _passings(writing, gated)
    names = sorted({limit.name for it in passings.values() for limit in it.limits})
    counts = db.later(_HELD_COUNTS, (names,))
    rates = db.later(_NEXT_OF_RATES, (names,))
    # What has been opened since the line was read has nothing to pass, and nothing to begin.
    met = [line for line in lines if not line.gated or line.place in passings]
    admission = admit(met, passings, dict(counts()), dict(rates()), now)
    _write(writing, worker, admission, passings, now)
    return admission.admitted


def _passings(writing: Writing, lines: Sequence[Line]) -> Mapping[tuple[RunKey, int], Passing]:
    found: dict[tuple[RunKey, int], Passing] = {}
    places = [line.place for line in lines]
    columns = list(zip(*places, strict=True))
    for run, step, ready_at, *limit in writing.db.ask(_PASSINGS, columns):
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
    writing.changes(concerns_others=False)
    db.tell_all(_PUT_RATE, sorted(admission.rates.items()))
    db.tell_all(_HOLD_GATES, ((worker, *line.place) for line in admission.admitted if line.gated))
    db.tell_all(
        _HOLD_LINE,
        (
            (
                limit.name, f"{line.type}:{limit.pile}", line.turn, line.rank,
                passings[line.place].ready_at, *line.place, line.type,
            )
            for line, limit, again_at in admission.refused
            if again_at is None
        ),
    )  # fmt: skip
    db.tell_all(
        _LAY_LINE,
        (
            (line.holder, line.type, line.rank, again_at, *line.place)
            for line, _, again_at in admission.refused
            if again_at is not None
        ),
    )
    follow(writing, admission.followed, now)


def change_gates(writing: Writing, changes: Sequence[tuple[RunKey, GateChanges]]) -> None:
    """Count no more what plans have ended or given up."""
    opened = sorted((run, step) for run, it in changes for step in it.opened)
    if opened:
        names = open_gates(writing, opened)
        follow(writing, names, max(it.at for _, it in changes))


def close_gates(writing: Writing, gates: Iterable[tuple[RunKey, Gate]]) -> None:
    """Write what new lines have to pass."""
    writing.db.tell_all(
        _INSERT_GATE,
        (
            (run, gate.step, gate.ready_at, limit.name, limit.number, limit.spacing)
            for run, gate in gates
            for limit in gate.limits
        ),
    )


def open_gates(writing: Writing, places: Collection[tuple[RunKey, int]]) -> Counter[str]:
    """Count steps no more, and drop all that waits to be taken up of them.

    Returns:
        Under which names others come next, and how many.
    """
    writing.db.tell(_COUNT_ALONE, (COUNTING,))
    rows = writing.db.ask(_OPEN_GATES, list(zip(*places, strict=True)))
    return Counter({str(name): int(count) for name, count in rows})


def uncounted(writing: Writing, plans: Iterable[Plan]) -> dict[RunKey, KallistaError]:
    """Plans that begin attempts for which nothing was taken, or not any more."""
    begun = sorted(
        (worker, plan.run, step)
        for plan in plans
        if plan.gates is not None
        for step, worker in plan.gates.begun
    )
    if not begun:
        return {}
    counted = set(writing.db.ask(_HOLDS_GATES, list(zip(*begun, strict=True))))
    return {
        run: LeaseLost(not_counted(step, worker))
        for worker, run, step in begun
        if (run, step) not in counted
    }


def let_go(writing: Writing, worker: WorkerKey, now: Micros) -> None:
    """Count nothing for a worker any more that has died."""
    rows = writing.db.ask(_LET_GO, (worker,))
    names = Counter(str(name) for (name,) in rows if name is not None)
    if names:
        writing.db.tell(_COUNT_ALONE, (COUNTING,))
        follow(writing, names, now)


def follow(writing: Writing, names: Counter[str], at: Micros) -> None:
    """Of each pile that waits under these names, let so many lines into the queue."""
    if names:
        writing.db.tell(_FOLLOW, (names.keys(), names.values(), at))
        writing.changes()


def follow_within(writing: Writing, within: RunKey, at: Micros) -> None:
    """Let what there is room for of a tree be met by a claim of who works on nothing else."""
    writing.db.tell(_COUNT_ALONE, (COUNTING,))
    if writing.db.ask(_HELD_OF_TREE, (within, at)):
        writing.changes(concerns_others=False)


def delete_gates(writing: Writing, runs: Sequence[RunKey], now: Micros) -> None:
    """Forget runs that are deleted."""
    places = sorted((RunKey(run), int(step)) for run, step in writing.db.ask(_GATED_STEPS, (runs,)))
    if places:
        follow(writing, open_gates(writing, places), now)
