"""What is asked of a run: start, pause, resume, cancel, retry."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from kallista.core.clocks import STOP_CLOCKS
from kallista.core.commands import Command, Verb
from kallista.core.decide.capacity import Capacity
from kallista.core.decide.endings import tell
from kallista.core.decide.expiry import had_expired, is_expired, why_expired
from kallista.core.decide.failures import failure_data
from kallista.core.decide.lines import (
    awaits_child,
    children_of,
    drop_deadline,
    entry_of,
    look_again,
    look_entry_of,
    queue_again,
    unqueue_moments,
    wake_entry_of,
)
from kallista.core.decide.redefinition import adopt, is_other
from kallista.core.decide.spending import (
    is_raise,
    is_used_up,
    raise_budget,
    resumed,
    why_paused,
)
from kallista.core.decide.turns import end_step, settle
from kallista.core.decide.winding import has_last_steps, is_given_up, is_ours, wind_up
from kallista.core.definitions import Phase
from kallista.core.items import items_data
from kallista.core.json_text import to_json
from kallista.core.outcomes import Failure
from kallista.core.plan import WAKE, Entry
from kallista.core.run import Draft
from kallista.core.states import UNDOING, Ending, EventKind, ProcessStatus, TaskStatus
from kallista.core.types import Json, JsonText, Micros
from kallista.errors import StateError

# A member of an enumeration costs more to look up on its class than a constant.
_P = ProcessStatus
_RUN_STARTED: Final = EventKind.RUN_STARTED


MAY: Final[Mapping[Verb, frozenset[ProcessStatus]]] = {
    Verb.START: frozenset({_P.PENDING}),
    Verb.PAUSE: frozenset({_P.WAITING, _P.RUNNING, _P.COMPENSATING}),
    Verb.RESUME: frozenset({_P.PAUSED}),
    Verb.CANCEL: frozenset({_P.PENDING, _P.WAITING, _P.RUNNING, _P.PAUSED}),
    Verb.RETRY: frozenset({_P.FAILED, _P.CANCELLED}),
}
"""In which states a command does something."""


_REPEATS: Final[Mapping[Verb, frozenset[ProcessStatus]]] = {
    Verb.START: frozenset(_P) - MAY[Verb.START],
    Verb.PAUSE: frozenset({_P.PAUSED}),
    Verb.RESUME: frozenset({_P.RUNNING, _P.WAITING, _P.COMPENSATING}),
    Verb.CANCEL: frozenset({_P.CANCELLED, _P.COMPENSATING}),
    Verb.RETRY: frozenset({_P.RUNNING, _P.WAITING, _P.COMPENSATING}),
}
"""In which states a command is a repeat and changes nothing; in all others it is an error."""


_ROLLED_BACK_LATE: Final = frozenset({_P.CANCELLED, _P.COMPENSATING})
"""In which states a run may still be asked to undo what it was to leave as it is."""

_UNDONE: Final[Mapping[Ending | None, Ending]] = {
    None: Ending.UNDONE_CANCELLED,
    Ending.CANCELLED: Ending.UNDONE_CANCELLED,
    Ending.FAILED: Ending.UNDONE_FAILED,
}
"""How a run ends that is CANCELLED, or would end like this, once it is to be undone as well."""


def possible(state: ProcessStatus) -> Sequence[Verb]:
    """Which commands do something in a state."""
    return [verb for verb, states in MAY.items() if state in states]


def on_command(draft: Draft, command: Command, now: Micros, capacity: Capacity) -> None:
    """Do what is asked, if the run's state knows it."""
    state, verb = draft.state, command.verb
    if state in MAY[verb]:
        _COMMANDS[verb](draft, command, now, capacity)
    elif verb is Verb.CANCEL and command.rollback and state in _ROLLED_BACK_LATE:
        _roll_back_late(draft, command, now)
    elif verb is Verb.PAUSE and command.stop_clocks and state is _P.PAUSED:
        stop_clocks_late(draft, _why(command), now)
    elif verb is Verb.RETRY and state is _P.COMPENSATING and draft.ending not in UNDOING:
        raise StateError(
            f"{draft.run.kind} {draft.run.id!r} is {state}: what is done at its end still goes on;"
            " retry it when that is over"
        )
    elif state not in _REPEATS[verb] or is_other(draft, command) or is_raise(draft, command):
        choice = ", ".join(possible(state)) or "delete"
        raise StateError(
            f"{draft.run.kind} {draft.run.id!r} is {state}, so {verb} does not fit;"
            f" possible now: {choice}"
        )


def _start(draft: Draft, command: Command, now: Micros, capacity: Capacity) -> None:
    if is_expired(draft, now):
        expire(draft, now)
    else:
        _begin(draft, _RUN_STARTED, now, capacity, command.driven)


def expire(draft: Draft, now: Micros) -> None:
    """It is too late for the run to be of use: end it before anything of it begins."""
    stop(draft, Ending.CANCELLED, why_expired(draft), now)


def _begin(
    draft: Draft,
    kind: EventKind,
    now: Micros,
    capacity: Capacity,
    driven: int = 0,
    reason: JsonText | None = None,
) -> None:
    """Start or go on, unless other processes have to complete first."""
    if draft.run.definition.dependencies and draft.head.started_at is None:
        draft.record(EventKind.RUN_WAITING, now, attempt=driven)
        look_again(draft, now)
        return
    draft.record(kind, now, attempt=driven, data=reason)
    go_on(draft, now, capacity)


def go_on(draft: Draft, now: Micros, capacity: Capacity) -> None:
    """Begin whatever may begin, and mind the time limit."""
    deadline = draft.head.deadline_at
    if deadline is not None:
        draft.queue(Entry(WAKE, draft.run.priority, deadline))
    if is_used_up(draft):
        hold_for_budget(draft, now)
        return
    settle(draft, range(draft.run.definition.main_count), now, capacity)


def _pause(draft: Draft, command: Command, now: Micros, capacity: Capacity) -> None:
    hold(draft, _why(command), now, stop_clocks=command.stop_clocks)


def hold(
    draft: Draft,
    why: Mapping[str, Json],
    now: Micros,
    parent_attempt: int = 0,
    *,
    stop_clocks: bool = False,
) -> None:
    """Pause the run: nothing starts any more, and child runs are told.

    Args:
        draft: The run.
        why: The reason, as it stands in history.
        now: The moment.
        parent_attempt: Paused with its parent: which attempt of the parent's step drives it.
        stop_clocks: Its moments and time limits are later by as long as it is paused.
    """
    told = {**why, STOP_CLOCKS: True} if stop_clocks else why
    data = to_json(dict(told)) if told else None
    draft.record(EventKind.RUN_PAUSED, now, attempt=parent_attempt, data=data)
    if stop_clocks:
        unqueue_moments(draft)
    for position in range(len(draft.run.steps)):
        step = draft.step(position)
        if step.status is TaskStatus.SCHEDULED and step.ready_at is not None:
            draft.unqueue(entry_of(draft, position, step.ready_at))
        elif awaits_child(draft, position):
            _wake_children(draft, position)


def stop_clocks_late(draft: Draft, why: Mapping[str, Json], now: Micros) -> None:
    """Stop the clocks of a run that is paused already, from now on; a repeat changes nothing."""
    if draft.still_since is None:
        head = draft.head
        hold(draft, why, now, head.driven if head.held else 0, stop_clocks=True)


def hold_for_budget(draft: Draft, now: Micros) -> None:
    """Pause the run because nothing is left of a budget; with that of a run above it goes on."""
    budget = draft.run.budget
    is_own = budget is not None and bool(budget.used_up)
    hold(draft, why_paused(draft), now, 0 if is_own else draft.head.driven)


def resume(draft: Draft, command: Command, now: Micros, capacity: Capacity) -> None:
    """Go on where the run was paused.

    Raises:
        StateError: Its budget is used up.
    """
    if not is_given_up(draft):
        raise_budget(draft, command)
    if draft.run.definition.dependencies and draft.head.started_at is None:
        draft.record(EventKind.RUN_WAITING, now)
        look_again(draft, now)
        return
    stood_still = draft.still_since is not None
    if is_given_up(draft):
        draft.record(EventKind.RUN_COMPENSATING, now)
    else:
        draft.record(EventKind.RUN_RESUMED, now, data=resumed(command))
    _take_up(draft, stood_still=stood_still)
    settle(draft, range(draft.run.definition.main_count), now, capacity)


def _take_up(draft: Draft, *, stood_still: bool) -> None:
    """Queue again what a pause has taken out of the queue, and tell child runs."""
    if stood_still:
        queue_again(draft)
    for position in range(len(draft.run.steps)):
        step = draft.step(position)
        if step.status is TaskStatus.SCHEDULED and step.ready_at is not None:
            draft.queue(entry_of(draft, position, step.ready_at))
        elif awaits_child(draft, position):
            _wake_children(draft, position)
            if draft.items_at(position) is not None:
                draft.queue(look_entry_of(draft, position))  # others may begin


def _wake_children(draft: Draft, position: int) -> None:
    for child in children_of(draft, position):
        draft.wake_up(child)


def _cancel(draft: Draft, command: Command, now: Micros, capacity: Capacity) -> None:
    if is_given_up(draft):  # and paused meanwhile: what is left to undo or to end is not dropped
        resume(draft, command, now, capacity)
        if command.rollback:
            _roll_back_late(draft, command, now)
        return
    ending = Ending.UNDONE_CANCELLED if command.rollback else Ending.CANCELLED
    stop(draft, ending, _why(command), now)


def _roll_back_late(draft: Draft, command: Command, now: Micros) -> None:
    """Undo what a run had done that was to end without; what is tried already is a repeat.

    Why it has failed, if it has, stays what is told of its end.
    """
    definition, ending = draft.run.definition, _UNDONE.get(draft.ending)
    if ending is None:
        return
    why = {} if ending is Ending.UNDONE_FAILED else _why(command)
    for position in range(definition.main_count, len(definition.steps)):
        undoes = definition.steps[position].undoes
        if undoes is None or draft.step(position).ended_at is not None:
            continue
        step = draft.step(undoes)
        if is_ours(step) or step.status is TaskStatus.RUNNING:
            wind_up(draft, ending, why, now)
            return


def stop(draft: Draft, ending: Ending, why: Mapping[str, Json], now: Micros) -> None:
    """Let nothing begin any more but what is to be done at the end; without that the run is over.

    What is in flight is told to stop and reports later. Child runs are told as well; where there is
    something to do at the end, it is done after theirs.
    """
    if draft.head.started_at is not None and has_last_steps(draft, ending):
        was_paused, stood_still = draft.state is _P.PAUSED, draft.still_since is not None
        wind_up(draft, ending, why, now)
        _stop_steps(draft, now, awaits_children=True)
        if was_paused:
            _take_up(draft, stood_still=stood_still)  # the end may have begun before the pause
        return
    drop_deadline(draft)
    failed = ending in (Ending.FAILED, Ending.UNDONE_FAILED)
    kind = EventKind.RUN_FAILED if failed else EventKind.RUN_CANCELLED
    draft.record(kind, now, data=to_json(dict(why)) if why else None)
    _stop_steps(draft, now, awaits_children=False)
    tell(draft)


def _stop_steps(draft: Draft, now: Micros, *, awaits_children: bool) -> None:
    for position in range(draft.run.definition.main_count):
        step = draft.step(position)
        match step.status:
            case TaskStatus.RUNNING if draft.withdraw(position):
                end_step(draft, EventKind.TASK_CANCELLED, position, now, None)
            case TaskStatus.RUNNING:
                draft.stop(position)
            case TaskStatus.SCHEDULED:
                if step.ready_at is not None:
                    draft.unqueue(entry_of(draft, position, step.ready_at))
                end_step(draft, EventKind.TASK_CANCELLED, position, now, None)
            case TaskStatus.WAITING:
                if awaits_child(draft, position):
                    _wake_children(draft, position)
                    if awaits_children:
                        continue
                elif step.ready_at is not None:
                    draft.unqueue(wake_entry_of(draft, position, step.ready_at))
                end_step(draft, EventKind.TASK_CANCELLED, position, now, None)
            case _:
                pass


def _retry(draft: Draft, command: Command, now: Micros, capacity: Capacity) -> None:
    if had_expired(draft, now):
        raise StateError(
            f"{draft.run.kind} {draft.run.id!r} has {why_expired(draft)['reason']}, so it is of no"
            " use any more; create another one"
        )
    if is_other(draft, command):
        adopt(draft, command, now)
    if was_undone(draft):
        _undo_again(draft, now)
    else:
        go_again(draft, draft.head.driven, now, capacity, _reason(command))


def was_undone(draft: Draft) -> bool:
    """Whether what completed has been undone, or was to be."""
    definition = draft.run.definition
    return any(
        definition.steps[position].phase is Phase.UNDO and draft.step(position).attempt
        for position in range(definition.main_count, len(definition.steps))
    )


def _undo_again(draft: Draft, now: Micros) -> None:
    """Try once more to undo what could not be undone.

    Raises:
        StateError: All was undone, so there is nothing to go on from.
    """
    definition, state = draft.run.definition, draft.state
    last = range(definition.main_count, len(definition.steps))
    left = [position for position in last if _is_left(draft, position)]
    if not left:
        raise StateError(
            f"{draft.run.kind} {draft.run.id!r} is {state}, and what it had done is undone, so"
            " there is nothing to go on from; create another run"
        )
    for position in left:
        draft.record(EventKind.TASK_RESET, now, position, draft.step(position).attempt)
    failed = state is _P.FAILED
    wind_up(draft, Ending.UNDONE_FAILED if failed else Ending.UNDONE_CANCELLED, {}, now)


def _is_left(draft: Draft, position: int) -> bool:
    """Whether a last step has ended without having passed."""
    step = draft.step(position)
    return step.ended_at is not None and not step.passed


def refuse_to_go_again(draft: Draft, driven: int, now: Micros) -> bool:
    """A child whose work is undone, or that had expired, fails once more with its parent's retry.

    Returns:
        False when nothing stands in the way of its going on.
    """
    if had_expired(draft, now):
        failure = Failure("Expired", str(why_expired(draft)["reason"]), None, ())
    elif was_undone(draft):
        message = "what it had done is undone, so there is nothing to go on from"
        failure = Failure("Undone", message, None, ())
    else:
        return False
    draft.record(EventKind.RUN_RETRIED, now, attempt=driven)
    draft.record(EventKind.RUN_FAILED, now, data=to_json(failure_data(failure)))
    tell(draft)
    return True


def go_again(
    draft: Draft,
    driven: int,
    now: Micros,
    capacity: Capacity,
    reason: JsonText | None = None,
) -> None:
    """Let what did not complete run again; a failure that was let pass stays passed.

    What comes after it waits for it, though what lies between has completed. What runs whatever the
    end belongs to that end, and runs again at the next one.
    """
    main_count = draft.run.definition.main_count
    draft.run.in_order, draft.run.lists = None, {}  # what they were found out from may change
    for position in range(len(draft.run.steps)):
        step = draft.step(position)
        if step.ended_at is not None and (not step.passed or position >= main_count):
            items = draft.items_at(position)
            data = None if items is None else to_json(items_data(items))
            draft.record(EventKind.TASK_RESET, now, position, step.attempt, data)
    _begin(draft, EventKind.RUN_RETRIED, now, capacity, driven, reason)


_COMMANDS: Final = {
    Verb.START: _start,
    Verb.PAUSE: _pause,
    Verb.RESUME: resume,
    Verb.CANCEL: _cancel,
    Verb.RETRY: _retry,
}


def _reason(command: Command) -> JsonText | None:
    return None if command.reason is None else to_json(_why(command))


def _why(command: Command) -> dict[str, Json]:
    return {} if command.reason is None else {"reason": command.reason}
