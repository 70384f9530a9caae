"""The lines of the queue that belong to a run and its steps."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from kallista.core.decide.expiry import queue_expiry
from kallista.core.definitions import TaskSpec
from kallista.core.events import StepState
from kallista.core.ids import child_id, item_id
from kallista.core.plan import WAKE, Entry, alone, lane
from kallista.core.run import Draft
from kallista.core.states import ACTIVE_RUN, FINISHED_RUN, TaskStatus
from kallista.core.types import Micros, RunId, TaskType


def task_at(draft: Draft, position: int) -> TaskSpec:
    """What the task at a position executes."""
    work = draft.run.definition.steps[position].work
    assert isinstance(work, TaskSpec), "only tasks are dispatched, attempted and retried"
    return work


def priority_of(draft: Draft, position: int) -> int:
    """A step's own priority, or its run's."""
    own = draft.run.definition.steps[position].priority
    return draft.run.priority if own is None else own


def entry_of(draft: Draft, position: int, ready_at: Micros) -> Entry:
    """The line by which any worker may start a step."""
    of_type = lane_of(task_at(draft, position), draft.step(position))
    return Entry(of_type, priority_of(draft, position), ready_at, position)


def lane_of(task: TaskSpec, step: StepState) -> TaskType:
    """Where a task waits; one that may be poisonous waits among its like."""
    of_type = lane(task.type, task.queue)
    return alone(of_type) if step.crashes and task.is_suspect(step.crashes) else of_type


def wake_entry_of(draft: Draft, position: int, at: Micros) -> Entry:
    """The line by which a step is looked at when its moment comes."""
    return Entry(WAKE, priority_of(draft, position), at, position)


def look_entry_of(draft: Draft, position: int) -> Entry:
    """The line by which whoever claims the run looks at the child runs of a step."""
    return Entry(WAKE, priority_of(draft, position), Micros(0), position)


def look_again(draft: Draft, now: Micros) -> None:
    """Let whoever claims the run look at all that it waits for."""
    draft.queue(Entry(WAKE, draft.run.priority, now))


def drop_deadline(draft: Draft) -> None:
    """Forget the run's time limit, and when it would have expired."""
    definition, expires_at = draft.run.definition, draft.run.expires_at
    if definition.deadline is None and expires_at is None:
        return  # without a look at the head, which would have to be put together for it
    if expires_at is not None:
        draft.unqueue(Entry(WAKE, draft.run.priority, expires_at))
    deadline = draft.head.deadline_at
    if deadline is not None:
        draft.unqueue(Entry(WAKE, draft.run.priority, deadline))


def awaits_child(draft: Draft, position: int) -> bool:
    """Whether a step waits for child runs."""
    waits = draft.step(position).status is TaskStatus.WAITING
    return waits and not isinstance(draft.run.definition.steps[position].work, TaskSpec)


def child_of(draft: Draft, position: int) -> RunId:
    """The id of the child run that a step starts."""
    return RunId(child_id(draft.run.id, draft.run.definition.steps[position].id, 0))


def item_of(draft: Draft, position: int, index: int) -> RunId:
    """The id of the child run that a step starts for an item."""
    return RunId(item_id(draft.run.id, draft.run.definition.steps[position].id, index))


def children_of(draft: Draft, position: int) -> Sequence[RunId]:
    """The ids of the child runs that a WAITING step waits for."""
    items = draft.items_at(position)
    if items is None:
        return [child_of(draft, position)]
    return [item_of(draft, position, index) for index in items.open]


def deadline_of(task: TaskSpec, since: Micros | None) -> Micros | None:
    """When a task's time is over; None: never, or it has not begun to count."""
    if task.deadline is None or since is None:
        return None
    return Micros(since + task.deadline)


def queue_again(draft: Draft) -> None:
    """Queue whatever waits for a moment or a worker; a line that is there already stays."""
    head = draft.head
    if head.state in FINISHED_RUN:
        return
    queue_expiry(draft)
    if head.still_since is not None:
        return
    if head.deadline_at is not None and head.ending is None:
        draft.queue(Entry(WAKE, draft.run.priority, head.deadline_at))
    for position in range(len(draft.run.definition.steps)):
        step = draft.step(position)
        if step.ended_at is not None:
            continue
        for entry in _moments_of(draft, position, step):
            draft.queue(entry)
        scheduled = step.status is TaskStatus.SCHEDULED and head.state in ACTIVE_RUN
        if scheduled and step.ready_at is not None:
            draft.queue(entry_of(draft, position, step.ready_at))


def unqueue_moments(draft: Draft) -> None:
    """Take out of the queue whatever waits for a moment, for none comes any more.

    But a run that has not begun expires all the same: that is a moment of the world outside.
    """
    drop_deadline(draft)
    queue_expiry(draft)
    for position in range(len(draft.run.definition.steps)):
        step = draft.step(position)
        if step.ended_at is None:
            for entry in _moments_of(draft, position, step):
                draft.unqueue(entry)


def _moments_of(draft: Draft, position: int, step: StepState) -> Iterator[Entry]:
    """The lines by which an unfinished step is looked at: its sleep is over, or its deadline."""
    if step.status is TaskStatus.WAITING and step.ready_at is not None:
        yield wake_entry_of(draft, position, step.ready_at)
    work = draft.run.definition.steps[position].work
    ends_at = deadline_of(work, step.since) if isinstance(work, TaskSpec) else None
    if ends_at is not None:
        yield wake_entry_of(draft, position, ends_at)
