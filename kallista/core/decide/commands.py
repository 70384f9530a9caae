"""What is asked of a run: start, pause, resume, cancel, retry."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from kallista.core.commands import Command, Verb
from kallista.core.decide.capacity import Capacity
from kallista.core.decide.endings import tell
from kallista.core.decide.lines import child_of, drop_deadline, entry_of, look_again, wake_entry_of
from kallista.core.decide.turns import end_step, settle
from kallista.core.json_text import to_json
from kallista.core.plan import WAKE, Entry
from kallista.core.run import Draft
from kallista.core.states import EventKind, ProcessStatus, TaskStatus
from kallista.core.types import JsonText, Micros
from kallista.errors import StateError

# A member of an enumeration costs more to look up on its class than a constant.
_P = ProcessStatus
_RUN_STARTED: Final = EventKind.RUN_STARTED


MAY: Final[Mapping[Verb, frozenset[ProcessStatus]]] = {
    Verb.START: frozenset({_P.PENDING}),
    Verb.PAUSE: frozenset({_P.WAITING, _P.RUNNING}),
    Verb.RESUME: frozenset({_P.PAUSED}),
    Verb.CANCEL: frozenset({_P.PENDING, _P.WAITING, _P.RUNNING, _P.PAUSED}),
    Verb.RETRY: frozenset({_P.FAILED, _P.CANCELLED}),
}
"""In which states a command does something."""


_REPEATS: Final[Mapping[Verb, frozenset[ProcessStatus]]] = {
    Verb.START: frozenset(_P) - MAY[Verb.START],
    Verb.PAUSE: frozenset({_P.PAUSED}),
    Verb.RESUME: frozenset({_P.RUNNING, _P.WAITING}),
    Verb.CANCEL: frozenset({_P.CANCELLED}),
    Verb.RETRY: frozenset({_P.RUNNING, _P.WAITING}),
}
"""In which states a command is a repeat and changes nothing; in all others it is an error."""


def possible(state: ProcessStatus) -> Sequence[Verb]:
    """Which commands do something in a state."""
    return [verb for verb, states in MAY.items() if state in states]


def on_command(draft: Draft, command: Command, now: Micros, capacity: Capacity) -> None:
    """Do what is asked, if the run's state knows it."""
    state, verb = draft.state, command.verb
    if state in MAY[verb]:
        _COMMANDS[verb](draft, command, now, capacity)
    elif state not in _REPEATS[verb]:
        choice = ", ".join(possible(state)) or "delete"
        raise StateError(
            f"{draft.run.kind} {draft.run.id!r} is {state}, so {verb} does not fit;"
            f" possible now: {choice}"
        )


def _start(draft: Draft, command: Command, now: Micros, capacity: Capacity) -> None:
    _begin(draft, _RUN_STARTED, now, capacity)


def _begin(draft: Draft, kind: EventKind, now: Micros, capacity: Capacity, driven: int = 0) -> None:
    """Start or go on, unless other processes have to complete first."""
    if draft.run.definition.dependencies and draft.head.started_at is None:
        draft.record(EventKind.RUN_WAITING, now)
        look_again(draft, now)
        return
    draft.record(kind, now, attempt=driven)
    go_on(draft, now, capacity)


def go_on(draft: Draft, now: Micros, capacity: Capacity) -> None:
    """Begin whatever may begin, and mind the time limit."""
    deadline = draft.head.deadline_at
    if deadline is not None:
        draft.queue(Entry(WAKE, draft.run.priority, deadline))
    settle(draft, range(len(draft.run.steps)), now, capacity)


def _pause(draft: Draft, command: Command, now: Micros, capacity: Capacity) -> None:
    hold(draft, _reason(command), now)


def hold(draft: Draft, data: JsonText | None, now: Micros, parent_attempt: int = 0) -> None:
    """Pause the run: nothing starts any more, and child runs are told."""
    draft.record(EventKind.RUN_PAUSED, now, attempt=parent_attempt, data=data)
    for position in range(len(draft.run.steps)):
        step = draft.step(position)
        if step.status is TaskStatus.SCHEDULED and step.ready_at is not None:
            draft.unqueue(entry_of(draft, position, step.ready_at))
        elif step.status is TaskStatus.WAITING and step.ready_at is None:
            draft.wake_up(child_of(draft, position))


def resume(draft: Draft, command: Command, now: Micros, capacity: Capacity) -> None:
    """Go on where the run was paused."""
    if draft.run.definition.dependencies and draft.head.started_at is None:
        draft.record(EventKind.RUN_WAITING, now)
        look_again(draft, now)
        return
    draft.record(EventKind.RUN_RESUMED, now)
    for position in range(len(draft.run.steps)):
        step = draft.step(position)
        if step.status is TaskStatus.SCHEDULED and step.ready_at is not None:
            draft.queue(entry_of(draft, position, step.ready_at))
        elif step.status is TaskStatus.WAITING and step.ready_at is None:
            draft.wake_up(child_of(draft, position))
    settle(draft, range(len(draft.run.steps)), now, capacity)


def _cancel(draft: Draft, command: Command, now: Micros, capacity: Capacity) -> None:
    stop(draft, EventKind.RUN_CANCELLED, _reason(command), now)


def stop(draft: Draft, kind: EventKind, data: JsonText | None, now: Micros) -> None:
    """End the run at once; what is in flight is told to stop and reports later."""
    drop_deadline(draft)
    draft.record(kind, now, data=data)
    for position in range(len(draft.run.steps)):
        step = draft.step(position)
        match step.status:
            case TaskStatus.RUNNING:
                draft.stop(position)
            case TaskStatus.SCHEDULED:
                if step.ready_at is not None:
                    draft.unqueue(entry_of(draft, position, step.ready_at))
                end_step(draft, EventKind.TASK_CANCELLED, position, now, None)
            case TaskStatus.WAITING:
                if step.ready_at is None:
                    draft.wake_up(child_of(draft, position))
                else:
                    draft.unqueue(wake_entry_of(draft, position, step.ready_at))
                end_step(draft, EventKind.TASK_CANCELLED, position, now, None)
            case _:
                pass
    tell(draft)


def _retry(draft: Draft, command: Command, now: Micros, capacity: Capacity) -> None:
    go_again(draft, draft.head.driven, now, capacity)


def go_again(draft: Draft, driven: int, now: Micros, capacity: Capacity) -> None:
    """Let what did not complete run again; a failure that was let pass stays passed."""
    for position in range(len(draft.run.steps)):
        step = draft.step(position)
        if step.ended_at is not None and not step.passed:
            draft.record(EventKind.TASK_RESET, now, position, step.attempt)
    _begin(draft, EventKind.RUN_RETRIED, now, capacity, driven)


_COMMANDS: Final = {
    Verb.START: _start,
    Verb.PAUSE: _pause,
    Verb.RESUME: resume,
    Verb.CANCEL: _cancel,
    Verb.RETRY: _retry,
}


def _reason(command: Command) -> JsonText | None:
    return None if command.reason is None else to_json({"reason": command.reason})
