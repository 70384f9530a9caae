"""Writes what attempts have spent, and lets nothing begin where no budget is left."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec.structs import astuple

from kallista.core.amounts import Spent
from kallista.core.plan import WHOLE_RUN
from kallista.store.sqlite.statements import statement
from kallista.store.sqlite.writing import Writing

_INSERT_SPENT = statement("insert_spent")
_ADD_TO_BUDGETS = statement("add_to_budgets")
_STALE_BELOW = statement("stale_below")
_WAKE_RUN = statement("wake_run")


def spend(writing: Writing, lines: Sequence[Spent]) -> bool:
    """Write lines that are new; what was decided below a budget that is used up is stale then.

    Returns:
        Whether runs were woken for that.
    """
    db = writing.db
    used_up: set[object] = set()
    for line in lines:
        db.execute(_INSERT_SPENT, astuple(line))
        if db.changes() == 0:
            continue
        found = db.execute(
            _ADD_TO_BUDGETS, {"run": line.run, "unit": line.unit, "amount": line.amount}
        )
        used_up |= {run for run, is_used_up in found.fetchall() if is_used_up}
    for top in used_up:
        below = db.execute(_STALE_BELOW, {"run": top}).fetchall()
        db.executemany(_WAKE_RUN, ((WHOLE_RUN, run) for (run,) in below))
    writing.concerns_others |= bool(used_up)
    return bool(used_up)
