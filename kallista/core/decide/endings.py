"""How a run ends, and who is told."""

from __future__ import annotations

from typing import Final

from kallista.core.decide.capacity import Capacity
from kallista.core.decide.lines import drop_deadline
from kallista.core.decide.winding import do_last_steps, has_last_steps, wind_up
from kallista.core.definitions import OnFailure
from kallista.core.run import Draft
from kallista.core.states import ACTIVE_RUN, FINISHED_RUN, Ending, EventKind, RunKind, TaskStatus
from kallista.core.types import Micros

# A member of an enumeration costs more to look up on its class than a constant.
_RUN_FAILED: Final = EventKind.RUN_FAILED
_RUN_COMPLETED: Final = EventKind.RUN_COMPLETED
_PROCESS: Final = RunKind.PROCESS


_ENDINGS: Final = {
    _RUN_COMPLETED: Ending.COMPLETED,
    EventKind.RUN_CANCELLED: Ending.CANCELLED,
}
"""How a run is to end that has not failed."""


def finish(draft: Draft, now: Micros, capacity: Capacity) -> None:
    """End a run in which nothing is left to do, or do what is to be done at its end."""
    if draft.unfinished:
        return
    if draft.state not in ACTIVE_RUN:
        # What was in flight when the run ended is over: who counts what is under way may go on.
        draft.wake_parent |= draft.run.head.in_flight > 0 and draft.state in FINISHED_RUN
        return
    definition = draft.run.definition
    if len(definition.steps) > definition.main_count or draft.ending is not None:
        last = _last_steps(draft, now, capacity)
        if last is None:
            return
        kind = last
    else:
        kind = _kind(draft)
    drop_deadline(draft)
    draft.record(kind, now)
    tell(draft)


def _kind(draft: Draft) -> EventKind:
    """How a run ends whose main phase is over, for all that is to be done at its end.

    A failure counts more than what was called off.
    """
    if not draft.dead_ends:
        return _RUN_COMPLETED
    main = map(draft.step, range(draft.run.definition.main_count))
    ends = {step.status for step in main if not step.passed}
    if TaskStatus.FAILED in ends:
        return _RUN_FAILED
    return EventKind.RUN_CANCELLED if TaskStatus.CANCELLED in ends else _RUN_COMPLETED


def _last_steps(draft: Draft, now: Micros, capacity: Capacity) -> EventKind | None:
    """How a run ends whose main phase is over; None while it is being wound up."""
    if draft.ending is None:
        kind = _kind(draft)
        ending = on_failure(draft) if kind is _RUN_FAILED else _ENDINGS[kind]
        if not has_last_steps(draft, ending):
            return kind
        wind_up(draft, ending, {}, now)
    return do_last_steps(draft, now, capacity)


def on_failure(draft: Draft) -> Ending:
    """How a run ends that has failed."""
    undo = draft.run.definition.on_failure is OnFailure.ROLLBACK
    return Ending.UNDONE_FAILED if undo else Ending.FAILED


def tell(draft: Draft) -> None:
    """Let those know that wait for the run's end."""
    draft.wake_parent = True
    draft.announce = draft.run.definition.kind is _PROCESS
