"""How a run is wound up: what completed is undone, and then comes what runs whatever the end.

One step after the other: those that undo in the reverse order of what they undo, each other's
failures notwithstanding, and then those of ``finally`` as they are listed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from kallista.core.decide.capacity import Capacity
from kallista.core.decide.lines import awaits_child, drop_deadline
from kallista.core.decide.turns import take_turn
from kallista.core.definitions import Phase
from kallista.core.events import StepState
from kallista.core.json_text import to_json
from kallista.core.run import Draft
from kallista.core.states import UNDOING, Ending, EventKind, TaskStatus
from kallista.core.types import Json, Micros

_KINDS: Final[Mapping[Ending, EventKind]] = {
    Ending.COMPLETED: EventKind.RUN_COMPLETED,
    Ending.FAILED: EventKind.RUN_FAILED,
    Ending.CANCELLED: EventKind.RUN_CANCELLED,
    Ending.UNDONE_FAILED: EventKind.RUN_FAILED,
    Ending.UNDONE_CANCELLED: EventKind.RUN_CANCELLED,
}
"""What happens to the run when all is done."""


def has_last_steps(draft: Draft, ending: Ending) -> bool:
    """Whether there is something to do before a run may end like this."""
    steps, main = draft.run.definition.steps, draft.run.definition.main_count
    if any(step.phase is Phase.FINALLY or ending in UNDOING for step in steps[main:]):
        return True
    return ending in UNDOING and any(awaits_child(draft, at) for at in range(main))


def is_given_up(draft: Draft) -> bool:
    """Whether the run is being wound up, and will not be COMPLETED."""
    return draft.ending is not None and draft.ending is not Ending.COMPLETED


def wind_up(draft: Draft, ending: Ending, why: Mapping[str, Json], now: Micros) -> None:
    """From now on nothing of the main phase begins; what is to be done at the end does.

    Args:
        draft: A run that has last steps.
        ending: How it will end.
        why: The reason, or the failure, as it stands in history.
        now: The moment.
    """
    drop_deadline(draft)
    completes = ending is Ending.COMPLETED
    kind = EventKind.RUN_ENDING if completes else EventKind.RUN_COMPENSATING
    draft.record(kind, now, data=to_json({"ending": ending.value, **why}))
    draft.run.last_steps = None


def do_last_steps(draft: Draft, now: Micros, capacity: Capacity) -> EventKind | None:
    """Let the next of the last steps take its turn, once the main phase is over.

    Returns:
        How the run ends; None while something is left to do.
    """
    ending = draft.ending
    assert ending is not None, "the run is being wound up"
    if draft.unfinished:
        return None
    for position in _left(draft, ending):
        step = draft.step(position)
        if step.status is TaskStatus.SCHEDULED and step.ready_at is None:
            take_turn(draft, position, step, now, capacity)
        if draft.step(position).ended_at is None:
            return None
    definition = draft.run.definition
    has_failed = ending is Ending.COMPLETED and any(
        draft.step(position).status is TaskStatus.FAILED and not draft.step(position).passed
        for position in range(definition.main_count, len(definition.steps))
    )
    return EventKind.RUN_FAILED if has_failed else _KINDS[ending]


def _left(draft: Draft, ending: Ending) -> Iterator[int]:
    """The last steps that have not ended, in order.

    The order is kept once all that it depends on is written, and so is the count of those that
    have certainly ended: what has changed in this draft may never be written.
    """
    run, first = draft.run, 0
    steps = run.last_steps
    if steps is None:
        steps = _ordered(draft, ending)
        if run.head.ending is ending and not run.unfinished:
            run.last_steps, run.wound_up = steps, 0
    if run.last_steps is not None:
        while run.wound_up < len(steps) and _has_ended(draft, steps[run.wound_up]):
            run.wound_up += 1
        first = run.wound_up
    for index in range(first, len(steps)):
        if draft.step(steps[index]).ended_at is None:
            yield steps[index]


def _has_ended(draft: Draft, position: int) -> bool:
    """Whether a step has ended and stays so, whether this draft is written or not."""
    written = draft.run.steps[position].ended_at is not None
    return written and draft.step(position).ended_at is not None


def _ordered(draft: Draft, ending: Ending) -> list[int]:
    specs = draft.run.definition.steps
    last = range(draft.run.definition.main_count, len(specs))
    finals = [position for position in last if specs[position].phase is Phase.FINALLY]
    if ending not in UNDOING:
        return finals
    under_way = [position for position in finals if _is_under_way(draft, position)]
    undoing: list[tuple[int, int]] = []
    for position in last:
        undoes = specs[position].undoes
        if undoes is not None and is_ours(draft.step(undoes)):
            undoing.append((draft.step(undoes).outcome or 0, position))
    return [*under_way, *(position for _, position in sorted(undoing, reverse=True)), *finals]


def is_ours(step: StepState) -> bool:
    """Whether a step has completed in this run; what a fork has kept is its source's to undo."""
    return step.status is TaskStatus.COMPLETED and not step.is_kept


def _is_under_way(draft: Draft, position: int) -> bool:
    """Whether a step has begun already: the run was to be COMPLETED, and was cancelled since."""
    step = draft.step(position)
    return step.ended_at is None and (step.attempt > 0 or step.ready_at is not None)
