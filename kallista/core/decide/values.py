"""What expressions are worth in a draft."""

from __future__ import annotations

from kallista.core.expressions import Compiled
from kallista.core.plan import WHOLE_RUN
from kallista.core.run import Draft
from kallista.core.types import Json
from kallista.core.wiring import reads, scope_of


def scope(draft: Draft, compiled: Compiled | None) -> dict[str, Json]:
    """What an expression may read, as things are in a draft; nothing where there is none."""
    if compiled is None:
        return {}
    definition = draft.run.definition
    steps = {
        before: (draft.step(before).status, draft.output(before))
        for before in reads(compiled, definition)
    }
    others = draft.output(WHOLE_RUN)
    return scope_of(definition, draft.run.inputs, steps, draft.ending, others)


def evaluated(draft: Draft, compiled: Compiled) -> Json:
    """The value of an expression, as things are in a draft.

    Raises:
        ExpressionError: It reads what is not there, or fails on what it is given.
    """
    return compiled.evaluate(scope(draft, compiled))
