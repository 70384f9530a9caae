"""What a step has to wait for although the steps right before it have ended: a retry further up.

A step may complete although one before it has failed, if its trigger rule says so. When the run is
retried, what failed runs again, and what comes after the step that has completed would begin beside
it and read results that are not there yet. So it waits, as if nothing of all that had run.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from kallista.core.definitions import Definition
from kallista.core.events import StepState
from kallista.core.run import Draft
from kallista.core.states import TaskStatus
from kallista.core.trigger_rules import TriggerRule, Verdict, verdict

_ONE: Final = frozenset({TriggerRule.ONE_COMPLETED, TriggerRule.ONE_FAILED})


def is_behind(draft: Draft, position: int) -> bool:
    """Whether something that a step comes after, directly or not, has not ended.

    What is in order once all of it is written is remembered, so that a run costs what it has steps.
    """
    run = draft.run
    if run.in_order is None:
        run.in_order = set()
    in_order, definition = run.in_order, run.definition
    seen = _all_before(definition, position, draft.step, in_order)
    if seen is None:
        return True
    for before in reversed(seen):
        written = run.steps[before].ended_at is not None
        if written and in_order.issuperset(_ended_before(definition, before, draft.step(before))):
            in_order.add(before)
    return False


def stands_behind(definition: Definition, position: int, step: Callable[[int], StepState]) -> bool:
    """The same of a run as it is stored, or whether its trigger rule waits for more.

    Args:
        definition: What it runs.
        position: The step.
        step: Where a step is, by position.
    """
    spec = definition.steps[position]
    if verdict(spec.trigger_rule, map(step, spec.depends_on)) is Verdict.WAIT:
        return True
    return _all_before(definition, position, step, frozenset()) is None


def _all_before(
    definition: Definition,
    position: int,
    step: Callable[[int], StepState],
    in_order: set[int] | frozenset[int],
) -> Sequence[int] | None:
    """What a step comes after, as far as that is not known to be in order; None: not all ended."""
    seen: dict[int, None] = {}
    waiting = list(_waited_for(definition, position))
    while waiting:
        before = waiting.pop()
        if before in seen or before in in_order:
            continue
        there = step(before)
        if there.ended_at is None:
            return None
        seen[before] = None
        waiting += _ended_before(definition, before, there)
    return list(seen)


def _waited_for(definition: Definition, position: int) -> Sequence[int]:
    """What has to end before a step may begin; others before it may be under way."""
    spec = definition.steps[position]
    is_early = spec.trigger_rule in _ONE and len(spec.depends_on) > 1
    return () if is_early or spec.trigger_rule is TriggerRule.ALWAYS else spec.depends_on


def _ended_before(definition: Definition, position: int, step: StepState) -> Sequence[int]:
    """What must have ended before a step ended; of several before it, one is enough to skip it."""
    if step.status is TaskStatus.SKIPPED and len(definition.steps[position].depends_on) > 1:
        return ()
    return _waited_for(definition, position)


def followers(draft: Draft, position: int) -> Sequence[int]:
    """What comes next after a step that has ended; what has ended already is passed through."""
    dependents = draft.run.definition.dependents
    if not draft.run.definition.has_rules:
        return dependents[position]
    found: dict[int, None] = {}
    waiting = list(dependents[position])
    for later in waiting:  # it grows on the way
        if later not in found:
            found[later] = None
            if draft.step(later).ended_at is not None:
                waiting += dependents[later]
    return [later for later in found if draft.step(later).ended_at is None]
