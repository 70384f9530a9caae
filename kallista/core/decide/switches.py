"""How a switch chooses: the first case that holds says which of the later steps run."""

from __future__ import annotations

from kallista.core.decide.values import evaluated
from kallista.core.definitions import SwitchSpec
from kallista.core.json_text import to_json
from kallista.core.run import SKIPPED_BY_SWITCH, Draft
from kallista.core.states import EventKind
from kallista.core.types import Json, JsonText, Micros
from kallista.core.wiring import condition, wiring


def choose(draft: Draft, position: int, switch: SwitchSpec, now: Micros) -> None:
    """Complete a switch with its choice: under which condition, and which steps run.

    Raises:
        ExpressionError: A condition cannot be told.
    """
    definition = draft.run.definition
    conditions = wiring(definition).steps[position].cases
    when, then = None, switch.otherwise
    for case, compiled in zip(switch.cases, conditions, strict=True):
        if condition(evaluated(draft, compiled)):
            when, then = case.when, case.then
            break
    chosen: Json = {"when": when, "then": [definition.steps[branch].id for branch in then]}
    draft.keep_output(position, chosen)
    draft.record(EventKind.TASK_CHOSEN, now, position, 0, to_json(chosen))


def is_chosen(draft: Draft, position: int, switch: int) -> bool:
    """Whether a switch has chosen a step; one that has not come to a choice has chosen none."""
    chosen = draft.output(switch)
    then = chosen["then"] if isinstance(chosen, dict) else []
    return isinstance(then, list) and draft.run.definition.steps[position].id in then


def not_chosen(draft: Draft, switch: int) -> JsonText:
    """Why a step is skipped that its switch has not chosen.

    Where the switch has failed nothing is decided: a retry may choose the step.
    """
    if draft.step(switch).passed:
        return SKIPPED_BY_SWITCH
    return to_json(f"{draft.run.definition.steps[switch].id!r} did not complete")
