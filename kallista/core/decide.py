"""What happens next: ``decide`` looks at a run and a stimulus and drafts all that follows.

Pure: no clock, no luck, no I/O. Time is an argument, noise and ids are hashes, and a repeated or
outdated stimulus changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final, Protocol

from kallista.core.commands import (
    AttemptEnded,
    BorrowerDied,
    ChildSeen,
    Command,
    DependenciesSeen,
    Dispatch,
    Due,
    LinesLost,
    ParentSeen,
    Reported,
    Stimulus,
    Verb,
    Wished,
    WorkerDied,
)
from kallista.core.definitions import ChildSpec, TaskSpec
from kallista.core.events import StepState
from kallista.core.expressions import Compiled
from kallista.core.ids import child_id
from kallista.core.json_text import NULL, from_json, to_json
from kallista.core.outcomes import Asleep, Completed, Failed, Failure, HandedBack, Stopped
from kallista.core.plan import WAKE, WHOLE_RUN, Entry, Grant, alone, lane
from kallista.core.retry import delay_before, noise, retryable
from kallista.core.run import SKIPPED_BY_CONDITION, Child, Draft, Run
from kallista.core.states import FINISHED_RUN, EventKind, ProcessStatus, RunKind, TaskStatus
from kallista.core.types import Json, JsonText, Micros, RunId, TaskType, WorkerKey
from kallista.core.wiring import condition, evaluate, reads, wiring
from kallista.errors import ExpressionError, StateError

_P = ProcessStatus

# A member of an enumeration costs more to look up on its class than a constant.
_RUN_RUNNING: Final = ProcessStatus.RUNNING
_RUN_STARTED: Final = EventKind.RUN_STARTED
_RUN_COMPLETED: Final = EventKind.RUN_COMPLETED
_PROCESS: Final = RunKind.PROCESS
_SCHEDULED: Final = TaskStatus.SCHEDULED
_RUNNING: Final = TaskStatus.RUNNING
_STARTED: Final = EventKind.TASK_STARTED
_COMPLETED: Final = EventKind.TASK_COMPLETED


class Capacity(Protocol):
    """What the deciding worker could start at once."""

    @property
    def worker(self) -> WorkerKey:
        """Who would execute it; 0: nobody."""
        ...

    def take(self, lane: TaskType, priority: int) -> bool:
        """Reserve a place for one attempt, if there is one and nothing more urgent waits."""
        ...


class NoCapacity:
    """Starts nothing: whatever may run is queued."""

    worker = WorkerKey(0)

    def take(self, lane: TaskType, priority: int) -> bool:
        """Never."""
        return False


NO_CAPACITY: Final = NoCapacity()

_MAY: Final[Mapping[Verb, frozenset[ProcessStatus]]] = {
    Verb.START: frozenset({_P.PENDING}),
    Verb.PAUSE: frozenset({_P.WAITING, _P.RUNNING}),
    Verb.RESUME: frozenset({_P.PAUSED}),
    Verb.CANCEL: frozenset({_P.PENDING, _P.WAITING, _P.RUNNING, _P.PAUSED}),
    Verb.RETRY: frozenset({_P.FAILED, _P.CANCELLED}),
}
"""In which states a command does something."""

_REPEATS: Final[Mapping[Verb, frozenset[ProcessStatus]]] = {
    Verb.START: frozenset(_P) - _MAY[Verb.START],
    Verb.PAUSE: frozenset({_P.PAUSED}),
    Verb.RESUME: frozenset({_P.RUNNING, _P.WAITING}),
    Verb.CANCEL: frozenset({_P.CANCELLED}),
    Verb.RETRY: frozenset({_P.RUNNING, _P.WAITING}),
}
"""In which states a command is a repeat and changes nothing; in all others it is an error."""


def decide(
    run: Run, stimuli: Iterable[Stimulus], now: Micros, capacity: Capacity = NO_CAPACITY
) -> Draft:
    """All that follows from what was asked or reported.

    Args:
        run: The run as it is; it is not changed.
        stimuli: What happened, in order.
        now: The moment.
        capacity: What could be started at once; everything else is queued.

    Returns:
        The draft: ``absorb`` it once it is written. It has no events when nothing follows.

    Raises:
        StateError: A command does not fit the run's state.
    """
    draft = Draft(run)
    for stimulus in stimuli:
        _REACTIONS[type(stimulus)](draft, stimulus, now, capacity)
    _finish(draft, now)
    return draft


def possible(state: ProcessStatus) -> Sequence[Verb]:
    """Which commands do something in a state."""
    return [verb for verb, states in _MAY.items() if state in states]


# commands


def _command(draft: Draft, command: Command, now: Micros, capacity: Capacity) -> None:
    state, verb = draft.state, command.verb
    if state in _MAY[verb]:
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
        _look_again(draft, now)
        return
    draft.record(kind, now, attempt=driven)
    _go_on(draft, now, capacity)


def _go_on(draft: Draft, now: Micros, capacity: Capacity) -> None:
    deadline = draft.head.deadline_at
    if deadline is not None:
        draft.queue(Entry(WAKE, draft.run.priority, deadline))
    _settle(draft, range(len(draft.run.steps)), now, capacity)


def _pause(draft: Draft, command: Command, now: Micros, capacity: Capacity) -> None:
    _hold(draft, _reason(command), now)


def _hold(draft: Draft, data: JsonText | None, now: Micros, parent_attempt: int = 0) -> None:
    draft.record(EventKind.RUN_PAUSED, now, attempt=parent_attempt, data=data)
    for position in range(len(draft.run.steps)):
        step = draft.step(position)
        if step.status is TaskStatus.SCHEDULED and step.ready_at is not None:
            draft.unqueue(_entry(draft, position, step.ready_at))
        elif step.status is TaskStatus.WAITING and step.ready_at is None:
            draft.wake_up(_child_id(draft, position))


def _resume(draft: Draft, command: Command, now: Micros, capacity: Capacity) -> None:
    if draft.run.definition.dependencies and draft.head.started_at is None:
        draft.record(EventKind.RUN_WAITING, now)
        _look_again(draft, now)
        return
    draft.record(EventKind.RUN_RESUMED, now)
    for position in range(len(draft.run.steps)):
        step = draft.step(position)
        if step.status is TaskStatus.SCHEDULED and step.ready_at is not None:
            draft.queue(_entry(draft, position, step.ready_at))
        elif step.status is TaskStatus.WAITING and step.ready_at is None:
            draft.wake_up(_child_id(draft, position))
    _settle(draft, range(len(draft.run.steps)), now, capacity)


def _cancel(draft: Draft, command: Command, now: Micros, capacity: Capacity) -> None:
    _stop(draft, EventKind.RUN_CANCELLED, _reason(command), now)


def _stop(draft: Draft, kind: EventKind, data: JsonText | None, now: Micros) -> None:
    """End the run at once; what is in flight is told to stop and reports later."""
    _drop_deadline(draft)
    draft.record(kind, now, data=data)
    for position in range(len(draft.run.steps)):
        step = draft.step(position)
        match step.status:
            case TaskStatus.RUNNING:
                draft.stop(position)
            case TaskStatus.SCHEDULED:
                if step.ready_at is not None:
                    draft.unqueue(_entry(draft, position, step.ready_at))
                _end_step(draft, EventKind.TASK_CANCELLED, position, now, None)
            case TaskStatus.WAITING:
                if step.ready_at is None:
                    draft.wake_up(_child_id(draft, position))
                else:
                    draft.unqueue(_wake_entry(draft, position, step.ready_at))
                _end_step(draft, EventKind.TASK_CANCELLED, position, now, None)
            case _:
                pass
    _tell(draft)


def _retry(draft: Draft, command: Command, now: Micros, capacity: Capacity) -> None:
    _go_again(draft, draft.head.driven, now, capacity)


def _go_again(draft: Draft, driven: int, now: Micros, capacity: Capacity) -> None:
    """Let what did not complete run again; a failure that was let pass stays passed."""
    for position in range(len(draft.run.steps)):
        step = draft.step(position)
        if step.ended_at is not None and not step.passed:
            draft.record(EventKind.TASK_RESET, now, position, step.attempt)
    _begin(draft, EventKind.RUN_RETRIED, now, capacity, driven)


_COMMANDS: Final = {
    Verb.START: _start,
    Verb.PAUSE: _pause,
    Verb.RESUME: _resume,
    Verb.CANCEL: _cancel,
    Verb.RETRY: _retry,
}


# reports


def _dispatch(draft: Draft, stimulus: Dispatch, now: Micros, capacity: Capacity) -> None:
    step = draft.step(stimulus.step)
    queued = step.status is TaskStatus.SCHEDULED and step.ready_at == stimulus.ready_at
    if draft.state is _RUN_RUNNING and queued:
        # A line may be taken a moment before it is due: the attempt begins when it is.
        _launch(draft, stimulus.step, max(now, stimulus.ready_at), capacity)


def _wished(draft: Draft, wish: Wished, now: Micros, capacity: Capacity) -> None:
    step = draft.step(wish.step)
    if step.status is TaskStatus.RUNNING and step.worker == wish.worker:
        return  # granted already
    ready = step.status is TaskStatus.SCHEDULED and step.ready_at is not None
    if draft.state is not _RUN_RUNNING or not ready:
        draft.end_loan(wish.step)
    elif wish.worker == capacity.worker or _is_suspect(draft, wish.step):
        draft.end_loan(wish.step)  # it drives the run by now, and claims like any driver
        _queue_ready(draft, wish.step)
    elif _start_attempt(draft, wish.step, now, wish.worker, capacity):
        draft.grant(Grant(wish.step, wish.worker, step.attempt + 1))
    else:
        draft.end_loan(wish.step)


def _queue_ready(draft: Draft, position: int) -> None:
    ready_at = draft.step(position).ready_at
    if ready_at is not None:
        draft.queue(_entry(draft, position, ready_at))


def _reported(draft: Draft, report: Reported, now: Micros, capacity: Capacity) -> None:
    draft.end_loan(report.step)
    ended = AttemptEnded(report.step, report.attempt, report.outcome)
    _attempt_ended(draft, ended, now, capacity)


def _attempt_ended(draft: Draft, ended: AttemptEnded, now: Micros, capacity: Capacity) -> None:
    position, outcome = ended.step, ended.outcome
    step = draft.step(position)
    if step.status is not _RUNNING or step.attempt != ended.attempt:
        return
    if isinstance(outcome, Completed):
        if position in wiring(draft.run.definition).read:
            draft.keep_output(position, from_json(outcome.result))
        _end_step(draft, _COMPLETED, position, now, outcome.result)
        _settle_after(draft, position, now, capacity)
    else:
        _attempt_not_completed(draft, ended, now, capacity)


def _attempt_not_completed(
    draft: Draft, ended: AttemptEnded, now: Micros, capacity: Capacity
) -> None:
    position, step = ended.step, draft.step(ended.step)
    over = draft.state in FINISHED_RUN
    match ended.outcome:
        case Failed(failure):
            _attempt_failed(draft, position, failure, now, capacity)
        case Asleep(length) if not over:
            until = Micros(now + length)
            draft.record(EventKind.TASK_WAITING, now, position, step.attempt, to_json(until))
            draft.queue(_wake_entry(draft, position, until))
        case Stopped() | HandedBack() | Asleep() if over:
            note = ended.outcome.note if isinstance(ended.outcome, Stopped) else None
            data = None if note is None else to_json(note)
            _end_step(draft, EventKind.TASK_CANCELLED, position, now, data)
        case _:
            data = to_json("handed back")
            draft.record(EventKind.TASK_INTERRUPTED, now, position, step.attempt, data)
            _start_or_queue(draft, position, now, now, capacity)


def _attempt_failed(
    draft: Draft, position: int, failure: Failure, now: Micros, capacity: Capacity
) -> None:
    step, task = draft.step(position), _task(draft, position)
    failures = step.failures + 1
    over = draft.state in FINISHED_RUN
    again = failures < task.retry.max_attempts and retryable(task.retry, failure.kinds)
    if over or not again:
        _fail_step(draft, position, failure, now, capacity)
        return
    luck = noise(draft.run.id, draft.run.step_id(position), step.attempt)
    ready_at = Micros(now + delay_before(task.retry, failures + 1, luck))
    ends_at = _ends_at(task, step.since)
    if ends_at is not None and ready_at >= ends_at:
        _fail_step(draft, position, _too_late(task, failure), now, capacity)
        return
    data = to_json({"ready_at": ready_at, "error": _failure_data(failure)})
    draft.record(EventKind.TASK_RETRYING, now, position, step.attempt, data)
    _start_or_queue(draft, position, ready_at, now, capacity)


def _start_or_queue(
    draft: Draft, position: int, ready_at: Micros, now: Micros, capacity: Capacity
) -> None:
    """Try a step again whose moment is known and recorded."""
    if draft.state is not _RUN_RUNNING:
        return
    task, step = _task(draft, position), draft.step(position)
    free = ready_at <= now and not task.is_suspect(step.crashes)
    if free and capacity.take(_lane(task, step), _priority(draft, position)):
        _launch(draft, position, now, capacity)
    else:
        draft.queue(_entry(draft, position, ready_at))


def _worker_died(draft: Draft, died: WorkerDied, now: Micros, capacity: Capacity) -> None:
    for position in range(len(draft.run.steps)):
        step = draft.step(position)
        here = step.worker == died.worker and position not in died.lent
        if step.status is TaskStatus.RUNNING and here:
            _crashed(draft, position, now, capacity)


def _lines_lost(draft: Draft, lost: LinesLost, now: Micros, capacity: Capacity) -> None:
    _due(draft, Due(WHOLE_RUN), now, capacity)
    _queue_again(draft)


def _borrower_died(draft: Draft, died: BorrowerDied, now: Micros, capacity: Capacity) -> None:
    step = draft.step(died.step)
    draft.end_loan(died.step)
    if step.status is TaskStatus.RUNNING and step.attempt == died.attempt:
        _crashed(draft, died.step, now, capacity)


def _crashed(draft: Draft, position: int, now: Micros, capacity: Capacity) -> None:
    """The worker that executed the step has died."""
    step = draft.step(position)
    if draft.state in FINISHED_RUN:
        _end_step(draft, EventKind.TASK_CANCELLED, position, now, None)
    elif step.crashes + 1 >= _task(draft, position).max_crashes:
        _fail_step(draft, position, _poisonous(draft, step.crashes + 1), now, capacity)
    else:
        draft.record(EventKind.TASK_INTERRUPTED, now, position, step.attempt)
        _start_or_queue(draft, position, now, now, capacity)


def _queue_again(draft: Draft) -> None:
    """Queue whatever waits for a moment or a worker; a line that is there already stays."""
    head = draft.head
    if head.state in FINISHED_RUN:
        return
    if head.deadline_at is not None:
        draft.queue(Entry(WAKE, draft.run.priority, head.deadline_at))
    for position, spec in enumerate(draft.run.definition.steps):
        step = draft.step(position)
        if step.ended_at is not None:
            continue
        if step.status is TaskStatus.WAITING and step.ready_at is not None:
            draft.queue(_wake_entry(draft, position, step.ready_at))
        elif step.ready_at is not None and head.state is _P.RUNNING:
            draft.queue(_entry(draft, position, step.ready_at))
        ends_at = _ends_at(spec.work, step.since) if isinstance(spec.work, TaskSpec) else None
        if ends_at is not None:
            draft.queue(_wake_entry(draft, position, ends_at))


def _due(draft: Draft, due: Due, now: Micros, capacity: Capacity) -> None:
    """A moment has come, but for a clock that was set back since: then it is waited for again."""
    head = draft.head
    if due.step == WHOLE_RUN:
        limited = head.deadline_at is not None and head.state not in FINISHED_RUN
        if limited and _has_come(draft, WHOLE_RUN, head.deadline_at, now):
            _stop(draft, EventKind.RUN_FAILED, _run_too_late(draft), now)
        else:
            _settle(draft, range(len(draft.run.steps)), now, capacity)
        return
    step, spec = draft.step(due.step), draft.run.definition.steps[due.step]
    if step.status is TaskStatus.WAITING and _has_come(draft, due.step, step.ready_at, now):
        _end_step(draft, EventKind.TASK_COMPLETED, due.step, now, NULL)
        _settle_after(draft, due.step, now, capacity)
    elif step.status is TaskStatus.SCHEDULED and isinstance(spec.work, TaskSpec):
        ends_at = _ends_at(spec.work, step.since)
        if head.state not in FINISHED_RUN and _has_come(draft, due.step, ends_at, now):
            if step.ready_at is not None:
                draft.unqueue(_entry(draft, due.step, step.ready_at))
            _fail_step(draft, due.step, _too_late(spec.work, None), now, capacity)


def _has_come(draft: Draft, position: int, moment: Micros | None, now: Micros) -> bool:
    """Whether a moment has come; one that is still to come is queued, if it is not already."""
    if moment is not None and moment > now:
        priority = draft.run.priority if position == WHOLE_RUN else _priority(draft, position)
        draft.queue(Entry(WAKE, priority, moment, position))
    return moment is not None and moment <= now


def _child_seen(draft: Draft, child: ChildSeen, now: Micros, capacity: Capacity) -> None:
    step = draft.step(child.step)
    if step.status is not TaskStatus.WAITING or child.state not in FINISHED_RUN:
        return
    id = _child_id(draft, child.step)
    if child.state is _P.COMPLETED:
        draft.keep_output(child.step, child.output)
        _end_step(draft, EventKind.TASK_COMPLETED, child.step, now, to_json({"run": id}))
        _settle_after(draft, child.step, now, capacity)
    elif child.attempt < step.attempt:
        draft.wake_up(id)
    else:
        kind = "ChildFailed" if child.state is _P.FAILED else "ChildCancelled"
        message = f"{id!r} is {child.state}" + (f": {child.message}" if child.message else "")
        _fail_step(draft, child.step, Failure(kind, message, None, (kind,)), now, capacity)


def _parent_seen(draft: Draft, parent: ParentSeen, now: Micros, capacity: Capacity) -> None:
    state = draft.state
    if parent.state in FINISHED_RUN or not parent.waiting:
        if state in _MAY[Verb.CANCEL]:
            _stop(draft, EventKind.RUN_CANCELLED, _by_parent(parent), now)
    elif parent.state is _P.PAUSED:
        if state in _MAY[Verb.PAUSE]:
            _hold(draft, _by_parent(parent), now, parent.attempt)
    elif state is _P.PAUSED and draft.head.held:
        _resume(draft, Command(Verb.RESUME), now, capacity)
    elif state in _MAY[Verb.RETRY] and draft.head.driven < parent.attempt:
        _go_again(draft, parent.attempt, now, capacity)
    elif state in FINISHED_RUN:
        draft.wake_parent = True


def _dependencies_seen(
    draft: Draft, seen: DependenciesSeen, now: Micros, capacity: Capacity
) -> None:
    completed = all(state is _P.COMPLETED for state in seen.states.values())
    if draft.state is _P.WAITING and completed:
        draft.record(EventKind.RUN_STARTED, now)
        _go_on(draft, now, capacity)


# what follows inside the graph


def _settle(draft: Draft, positions: Iterable[int], now: Micros, capacity: Capacity) -> None:
    """Let each of these steps take its turn if its turn has come, and all that follows."""
    if draft.state is not _RUN_RUNNING:
        return
    waiting = list(positions)
    for position in waiting:  # it grows on the way
        step = draft.step(position)
        if step.status is not _SCHEDULED or step.ready_at is not None:
            continue
        if draft.blocked_by(position) == 0:
            _take_turn(draft, position, step, now, capacity)
        elif draft.dead_ends:
            _skip_if_hopeless(draft, position, now)
        else:
            continue
        if draft.step(position).ended_at is not None:
            waiting += draft.run.definition.dependents[position]


def _settle_after(draft: Draft, position: int, now: Micros, capacity: Capacity) -> None:
    later = draft.run.definition.dependents[position]
    if later:
        _settle(draft, later, now, capacity)


def _skip_if_hopeless(draft: Draft, position: int, now: Micros) -> None:
    """Skip a step before which another has ended in such a way that this one can never run."""
    specs = draft.run.definition.steps
    for before in specs[position].depends_on:
        step = draft.step(before)
        if step.ended_at is not None and not step.passed:
            reason = to_json(f"{specs[before].id!r} did not complete")
            _end_step(draft, EventKind.TASK_SKIPPED, position, now, reason)
            return


def _take_turn(
    draft: Draft, position: int, step: StepState, now: Micros, capacity: Capacity
) -> None:
    """All steps before it have passed: skip it, start its child, start it, or queue it."""
    spec = draft.run.definition.steps[position]
    work = spec.work
    try:
        wanted = spec.when is None or _holds(draft, position)
        if wanted and isinstance(work, ChildSpec):
            _start_child(draft, position, work, now)
            return
    except ExpressionError as error:
        failure = Failure("ExpressionError", str(error), None, ("ExpressionError",))
        _end_step(draft, EventKind.TASK_FAILED, position, now, to_json(_failure_data(failure)))
        return
    if isinstance(work, ChildSpec) or not wanted:
        _end_step(draft, EventKind.TASK_SKIPPED, position, now, SKIPPED_BY_CONDITION)
        return
    if work.deadline is not None:
        ends_at = Micros(now + work.deadline)
        draft.queue(_wake_entry(draft, position, ends_at))
    priority = draft.run.priority if spec.priority is None else spec.priority
    if capacity.take(_lane(work, step), priority):
        _launch(draft, position, now, capacity)
    else:
        queue_step(draft, position, now, now)


def queue_step(draft: Draft, position: int, ready_at: Micros, now: Micros) -> None:
    """Let any worker start the step from a moment on."""
    draft.record(EventKind.TASK_READY, now, position, data=to_json(ready_at))
    draft.queue(_entry(draft, position, ready_at))


def _launch(draft: Draft, position: int, now: Micros, capacity: Capacity) -> None:
    if _start_attempt(draft, position, now, capacity.worker, capacity):
        draft.launch(position)


def _start_attempt(
    draft: Draft, position: int, now: Micros, worker: WorkerKey, capacity: Capacity
) -> bool:
    """Let a worker begin the step's next attempt, unless the step is too late for it."""
    step, task = draft.step(position), _task(draft, position)
    if task.deadline is not None:
        ends_at = _ends_at(task, step.since)
        if ends_at is not None and ends_at <= now:
            _fail_step(draft, position, _too_late(task, None), now, capacity)
            return False
    draft.record(_STARTED, now, position, step.attempt + 1, JsonText(str(worker)))
    return True


def _start_child(draft: Draft, position: int, child: ChildSpec, now: Micros) -> None:
    attempt = draft.step(position).attempt + 1
    inputs = _values(draft, position, child)
    id = _child_id(draft, position)
    draft.record(EventKind.TASK_WAITING, now, position, attempt, to_json(id))
    draft.bear(Child(position, id, child.definition, inputs))
    if attempt > 1:
        draft.wake_up(id)


def _fail_step(
    draft: Draft, position: int, failure: Failure, now: Micros, capacity: Capacity
) -> None:
    _end_step(draft, EventKind.TASK_FAILED, position, now, to_json(_failure_data(failure)))
    _settle_after(draft, position, now, capacity)


def _end_step(
    draft: Draft, kind: EventKind, position: int, now: Micros, data: JsonText | None
) -> None:
    step, work = draft.step(position), draft.run.definition.steps[position].work
    if isinstance(work, TaskSpec) and work.deadline is not None and step.since is not None:
        draft.unqueue(_wake_entry(draft, position, Micros(step.since + work.deadline)))
    draft.record(kind, now, position, step.attempt, data)


def _finish(draft: Draft, now: Micros) -> None:
    """End a run in which nothing is left to do."""
    if draft.unfinished or draft.state is not _RUN_RUNNING:
        return
    _drop_deadline(draft)
    failed = draft.dead_ends > 0 and any(
        not draft.step(position).passed and draft.step(position).status is not TaskStatus.SKIPPED
        for position in range(len(draft.run.steps))
    )
    draft.record(EventKind.RUN_FAILED if failed else _RUN_COMPLETED, now)
    _tell(draft)


def _tell(draft: Draft) -> None:
    """Let those know that wait for the run's end."""
    draft.wake_parent = True
    draft.announce = draft.run.definition.kind is _PROCESS


# small things


def _task(draft: Draft, position: int) -> TaskSpec:
    work = draft.run.definition.steps[position].work
    assert isinstance(work, TaskSpec), "only tasks are dispatched, attempted and retried"
    return work


def _priority(draft: Draft, position: int) -> int:
    own = draft.run.definition.steps[position].priority
    return draft.run.priority if own is None else own


def _entry(draft: Draft, position: int, ready_at: Micros) -> Entry:
    of_type = _lane(_task(draft, position), draft.step(position))
    return Entry(of_type, _priority(draft, position), ready_at, position)


def _lane(task: TaskSpec, step: StepState) -> TaskType:
    of_type = lane(task.type, task.queue)
    return alone(of_type) if step.crashes and task.is_suspect(step.crashes) else of_type


def _is_suspect(draft: Draft, position: int) -> bool:
    return _task(draft, position).is_suspect(draft.step(position).crashes)


def _wake_entry(draft: Draft, position: int, at: Micros) -> Entry:
    return Entry(WAKE, _priority(draft, position), at, position)


def _look_again(draft: Draft, now: Micros) -> None:
    draft.queue(Entry(WAKE, draft.run.priority, now))


def _drop_deadline(draft: Draft) -> None:
    if draft.run.definition.deadline is None:
        return  # without a look at the head, which would have to be put together for it
    deadline = draft.head.deadline_at
    if deadline is not None:
        draft.unqueue(Entry(WAKE, draft.run.priority, deadline))


def _child_id(draft: Draft, position: int) -> RunId:
    return RunId(child_id(draft.run.id, draft.run.definition.steps[position].id, 0))


def _holds(draft: Draft, position: int) -> bool:
    when = wiring(draft.run.definition).steps[position].when
    return when is None or condition(_evaluate(draft, when))


def _values(draft: Draft, position: int, child: ChildSpec) -> Mapping[str, Json]:
    """The inputs of a child run, references resolved."""
    compiled = wiring(draft.run.definition).steps[position].values
    if compiled is None:
        return child.inputs
    value = _evaluate(draft, compiled)
    assert isinstance(value, dict), "a mapping stays one when its references are resolved"
    return value


def _evaluate(draft: Draft, compiled: Compiled) -> Json:
    definition = draft.run.definition
    steps = {
        before: (draft.step(before).status, draft.output(before))
        for before in reads(compiled, definition)
    }
    return evaluate(compiled, definition, draft.run.inputs, steps)


def _ends_at(task: TaskSpec, since: Micros | None) -> Micros | None:
    if task.deadline is None or since is None:
        return None
    return Micros(since + task.deadline)


def _too_late(task: TaskSpec, last: Failure | None) -> Failure:
    after = f"; its last failure was {last.type}: {last.message}" if last else ""
    message = f"its deadline of {(task.deadline or 0) / 1e6:g} s is over{after}"
    return Failure(
        "DeadlineExceeded", message, last.traceback if last else None, ("DeadlineExceeded",)
    )


def _poisonous(draft: Draft, crashes: int) -> Failure:
    times = "once" if crashes == 1 else f"{crashes} times"
    message = (
        f"its worker died {times} while it ran, so it was set aside (max_crashes is {crashes});"
        f" find out why it ends the program that runs it, then retry the {draft.run.kind}"
    )
    return Failure("WorkerCrashed", message, None, ("WorkerCrashed",))


def _run_too_late(draft: Draft) -> JsonText:
    limit = (draft.run.definition.deadline or 0) / 1e6
    message = f"the {draft.run.kind}'s deadline of {limit:g} s is over"
    return to_json(_failure_data(Failure("DeadlineExceeded", message, None, ())))


def _failure_data(failure: Failure) -> dict[str, Json]:
    return {
        "type": failure.type,
        "message": failure.message,
        "traceback": failure.traceback,
    }


def _reason(command: Command) -> JsonText | None:
    return None if command.reason is None else to_json({"reason": command.reason})


def _by_parent(parent: ParentSeen) -> JsonText:
    return to_json({"reason": f"{parent.cause!r} is {parent.state}"})


_REACTIONS: Final[Mapping[type[Stimulus], Callable[..., None]]] = {
    AttemptEnded: _attempt_ended,
    BorrowerDied: _borrower_died,
    ChildSeen: _child_seen,
    Command: _command,
    DependenciesSeen: _dependencies_seen,
    Dispatch: _dispatch,
    Due: _due,
    LinesLost: _lines_lost,
    ParentSeen: _parent_seen,
    Reported: _reported,
    Wished: _wished,
    WorkerDied: _worker_died,
}
"""What each kind of stimulus brings about: (draft, stimulus, now, capacity)."""
