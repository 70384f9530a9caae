"""A budget that is used up: nothing begins any more until it is raised."""

from __future__ import annotations

from collections.abc import Mapping

from kallista.core.amounts import Share, exact
from kallista.core.commands import Command
from kallista.core.json_text import to_json
from kallista.core.run import Draft
from kallista.core.types import Json, JsonText
from kallista.errors import StateError


def is_used_up(draft: Draft) -> bool:
    """Whether a budget that holds for the run is used up, as far as is known."""
    budget = draft.run.budget
    return budget is not None and not budget.raised(dict(draft.budget)).allow


def why_paused(draft: Draft) -> Mapping[str, Json]:
    """What is spent of what, as it stands in history."""
    budget = draft.run.budget
    assert budget is not None, "a budget is used up"
    shares: Mapping[str, Share] = budget.used_up
    whose = "its budget"
    if not shares and budget.above is not None:
        id, unit, share = budget.above
        shares, whose = {unit: share}, f"the budget of {id!r}"
    told = ", ".join(share.told(unit) for unit, share in shares.items())
    data: dict[str, Json] = {
        unit: {"spent": str(exact(share.spent)), "limit": str(exact(share.limit))}
        for unit, share in shares.items()
    }
    return {"reason": f"{whose} is used up: {told}", "budget": data}


def is_raise(draft: Draft, command: Command) -> bool:
    """Whether a command brings limits that are others than the run's."""
    budget = draft.run.budget
    has = {} if budget is None else {unit: share.limit for unit, share in budget.own.items()}
    return any(has.get(unit) != limit for unit, limit in command.budget.items())


def raise_budget(draft: Draft, command: Command) -> None:
    """Let a run that is to go on have a higher budget, if it is given one.

    Raises:
        StateError: What it has then is used up as well; the message says what to do.
    """
    budget, given = draft.run.budget, command.budget
    what = f"{draft.run.kind} {draft.run.id!r}"
    own = {} if budget is None else dict(budget.own)
    for unit, limit in given.items():
        if unit not in own:
            has = f"it has {', '.join(own)}" if own else "it has none at all"
            raise StateError(f"{what} has no budget for {unit!r} that could be raised; {has}")
        own[unit] = Share(own[unit].spent, limit)
    told = ", ".join(share.told(unit) for unit, share in own.items() if share.is_used_up)
    if told:
        unit = next(unit for unit, share in own.items() if share.is_used_up)
        raise StateError(
            f"{what} has used up its budget: {told}; resume it with a higher one:"
            f" budget={{{unit!r}: …}}, or --budget {unit}=…"
        )
    if budget is not None and budget.above is not None:
        raise StateError(
            f"{what} has no budget left, for that of {budget.above[0]!r} is used up; resume that"
            " with a higher one"
        )
    draft.budget = tuple(given.items())


def resumed(command: Command) -> JsonText | None:
    """Why a run goes on, and by which budgets."""
    data: dict[str, Json] = {} if command.reason is None else {"reason": command.reason}
    if command.budget:
        data["budget"] = {unit: str(exact(limit)) for unit, limit in command.budget.items()}
    return to_json(data) if data else None
