"""What a moment brings: sleeps ripen, time limits end, and lost lines are laid anew."""

from __future__ import annotations

from kallista.core.commands import Due, LinesLost
from kallista.core.decide.answers import time_is_over
from kallista.core.decide.capacity import Capacity
from kallista.core.decide.commands import expire, stop
from kallista.core.decide.endings import on_failure
from kallista.core.decide.expiry import is_expired, queue_expiry
from kallista.core.decide.failures import run_too_late, too_late
from kallista.core.decide.lines import deadline_of, entry_of, priority_of, queue_again
from kallista.core.decide.turns import end_step, fail_step, settle, settle_after
from kallista.core.definitions import TaskSpec
from kallista.core.json_text import NULL
from kallista.core.plan import WAKE, WHOLE_RUN, Entry
from kallista.core.run import Draft
from kallista.core.states import FINISHED_RUN, EventKind, ProcessStatus, TaskStatus
from kallista.core.types import Micros

_P = ProcessStatus


def on_lines_lost(draft: Draft, lost: LinesLost, now: Micros, capacity: Capacity) -> None:
    """Lines of the queue may be missing: look at everything, and lay them anew."""
    on_due(draft, Due(WHOLE_RUN), now, capacity)
    queue_again(draft)


def on_due(draft: Draft, due: Due, now: Micros, capacity: Capacity) -> None:
    """A moment has come, but for a clock that was set back since: then it is waited for again.

    Where clocks stand still none comes; all are queued anew when the run goes on.
    """
    head = draft.head
    if due.step == WHOLE_RUN and is_expired(draft, now):
        expire(draft, now)
        return
    if due.step == WHOLE_RUN:
        queue_expiry(draft)
    if head.still_since is not None:
        return
    if due.step == WHOLE_RUN:
        free = head.ending is not None or head.state in FINISHED_RUN
        limit = None if free else head.deadline_at
        if limit is not None and _has_come(draft, WHOLE_RUN, limit, now):
            stop(draft, on_failure(draft), run_too_late(draft), now)
        else:
            settle(draft, range(draft.run.definition.main_count), now, capacity)
        return
    step, spec = draft.step(due.step), draft.run.definition.steps[due.step]
    if step.status is TaskStatus.WAITING and _has_come(draft, due.step, step.ready_at, now):
        asked = draft.inbox.question(due.step) if draft.run.definition.asks else None
        if asked is not None:
            time_is_over(draft, due.step, asked, now, capacity)
            return
        end_step(draft, EventKind.TASK_COMPLETED, due.step, now, NULL)
        settle_after(draft, due.step, now, capacity)
    elif step.status is TaskStatus.SCHEDULED and isinstance(spec.work, TaskSpec):
        ends_at = deadline_of(spec.work, step.since)
        if head.state not in FINISHED_RUN and _has_come(draft, due.step, ends_at, now):
            if step.ready_at is not None:
                draft.unqueue(entry_of(draft, due.step, step.ready_at))
            fail_step(draft, due.step, too_late(spec.work, None), now, capacity)


def _has_come(draft: Draft, position: int, moment: Micros | None, now: Micros) -> bool:
    """Whether a moment has come; one that is still to come is queued, if it is not already."""
    if moment is not None and moment > now:
        priority = draft.run.priority if position == WHOLE_RUN else priority_of(draft, position)
        draft.queue(Entry(WAKE, priority, moment, position))
    return moment is not None and moment <= now
