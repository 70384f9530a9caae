"""Writes what attempts have spent, and lets nothing begin where no budget is left."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec.structs import astuple

from kallista.core.amounts import Spent
from kallista.core.plan import WHOLE_RUN
from kallista.store.postgres.statements import statement
from kallista.store.postgres.writing import Writing

_INSERT_SPENT = statement("insert_spent")
_ADD_TO_BUDGETS = statement("add_to_budgets")
_HOLD_BELOW = statement("hold_below")
_STALE_BELOW = statement("stale_below")
_WAKE_RUN = statement("wake_run")


def spend(writing: Writing, lines: Sequence[Spent]) -> bool:
    """Write lines that are new; what was decided below a budget that is used up is stale then.

    Returns:
        Whether runs were woken for that.
    """
    db = writing.db
    used_up: set[int] = set()
    for line in lines:
        if not db.ask(_INSERT_SPENT, astuple(line)):
            continue
        found = db.ask(_ADD_TO_BUDGETS, {"run": line.run, "unit": line.unit, "amount": line.amount})
        used_up |= {run for run, is_used_up in found if is_used_up}
    stale = sorted({key for top in sorted(used_up) for (key,) in db.ask(_HOLD_BELOW, (top,))})
    if stale:
        db.tell(_STALE_BELOW, (stale,))
        db.tell_all(_WAKE_RUN, ((WHOLE_RUN, key) for key in stale))
    writing.changes(concerns_others=bool(stale))
    return bool(stale)
