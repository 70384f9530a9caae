"""What becomes of attempts: they begin, end, fail, are lent, or die with their worker."""

from __future__ import annotations

from typing import Final

from kallista.core.commands import (
    AttemptEnded,
    BorrowerDied,
    Dispatch,
    Reported,
    Wished,
    WorkerDied,
)
from kallista.core.decide.asking import ask
from kallista.core.decide.capacity import Capacity
from kallista.core.decide.commands import expire, hold_for_budget
from kallista.core.decide.expiry import is_expired
from kallista.core.decide.failures import failure_data, poisonous, too_late
from kallista.core.decide.lines import (
    deadline_of,
    entry_of,
    lane_of,
    priority_of,
    task_at,
    wake_entry_of,
)
from kallista.core.decide.spending import is_used_up
from kallista.core.decide.turns import end_step, fail_step, launch, settle_after, start_attempt
from kallista.core.json_text import from_json, to_json
from kallista.core.outcomes import (
    Asks,
    Asleep,
    CalledOff,
    Completed,
    Failed,
    HandedBack,
    Snoozed,
    Stopped,
)
from kallista.core.plan import Grant
from kallista.core.retry import delay_before, noise, retryable
from kallista.core.run import Draft
from kallista.core.states import ACTIVE_RUN, EventKind, TaskStatus
from kallista.core.types import Micros
from kallista.core.wiring import wiring

# A member of an enumeration costs more to look up on its class than a constant.
_RUNNING: Final = TaskStatus.RUNNING
_COMPLETED: Final = EventKind.TASK_COMPLETED


def on_dispatch(draft: Draft, stimulus: Dispatch, now: Micros, capacity: Capacity) -> None:
    """A worker has taken the step from the queue."""
    step = draft.step(stimulus.step)
    queued = step.status is TaskStatus.SCHEDULED and step.ready_at == stimulus.ready_at
    if draft.state in ACTIVE_RUN and queued:
        # A line may be taken a moment before it is due: the attempt begins when it is.
        begins_at = max(now, stimulus.ready_at)
        if is_expired(draft, begins_at):
            expire(draft, begins_at)
        else:
            launch(draft, stimulus.step, begins_at, capacity)


def on_wished(draft: Draft, wish: Wished, now: Micros, capacity: Capacity) -> None:
    """Another worker wishes for a step of this run: it is lent, or the wish ends."""
    step = draft.step(wish.step)
    if step.status is TaskStatus.RUNNING and step.worker == wish.worker:
        return  # granted already
    ready_at = step.ready_at if step.status is TaskStatus.SCHEDULED else None
    if draft.state not in ACTIVE_RUN or ready_at is None:
        draft.end_loan(wish.step)
    elif wish.ready_at < ready_at:  # of a line that was laid twice: it is tried again later
        draft.end_loan(wish.step)
        _queue_ready(draft, wish.step)
    elif is_expired(draft, now):
        draft.end_loan(wish.step)
        expire(draft, now)
    elif wish.worker == capacity.worker or _is_suspect(draft, wish.step):
        draft.end_loan(wish.step)  # it drives the run by now, and claims like any driver
        _queue_ready(draft, wish.step)
    elif start_attempt(draft, wish.step, now, wish.worker, capacity):
        draft.grant(Grant(wish.step, wish.worker, step.attempt + 1))
    else:
        draft.end_loan(wish.step)


def _queue_ready(draft: Draft, position: int) -> None:
    ready_at = draft.step(position).ready_at
    if ready_at is not None:
        draft.queue(entry_of(draft, position, ready_at))


def on_reported(draft: Draft, report: Reported, now: Micros, capacity: Capacity) -> None:
    """The worker that had borrowed a step tells how its attempt has ended."""
    draft.end_loan(report.step)
    ended = AttemptEnded(report.step, report.attempt, report.outcome)
    on_attempt_ended(draft, ended, now, capacity)


def on_attempt_ended(draft: Draft, ended: AttemptEnded, now: Micros, capacity: Capacity) -> None:
    """An attempt that ran here has ended."""
    position, outcome = ended.step, ended.outcome
    step = draft.step(position)
    if step.status is not _RUNNING or step.attempt != ended.attempt:
        return
    if isinstance(outcome, Completed):
        if position in wiring(draft.run.definition).read:
            draft.keep_output(position, from_json(outcome.result))
        end_step(draft, _COMPLETED, position, now, outcome.result)
        settle_after(draft, position, now, capacity)
    else:
        _attempt_not_completed(draft, ended, now, capacity)


def _attempt_not_completed(
    draft: Draft, ended: AttemptEnded, now: Micros, capacity: Capacity
) -> None:
    position, step = ended.step, draft.step(ended.step)
    over = draft.is_over(position)
    match ended.outcome:
        case Failed():
            attempt_failed(draft, position, ended.outcome, now, capacity)
        case Snoozed(length) if not over:
            _snooze(draft, position, Micros(draft.clock(now) + length), now, capacity)
        case CalledOff(reason):
            call_off(draft, position, reason, now, capacity)
        case Asleep(length) if not over:
            until = Micros(draft.clock(now) + length)
            draft.record(EventKind.TASK_WAITING, now, position, step.attempt, to_json(until))
            if draft.still_since is None:
                draft.queue(wake_entry_of(draft, position, until))
        case Asks(question) if not over:
            ask(draft, position, question, now, capacity)
        case Stopped() | HandedBack() | Asleep() | Asks() | Snoozed() if over:
            note = ended.outcome.note if isinstance(ended.outcome, Stopped) else None
            data = None if note is None else to_json(note)
            end_step(draft, EventKind.TASK_CANCELLED, position, now, data)
        case _:
            data = to_json("handed back")
            draft.record(EventKind.TASK_INTERRUPTED, now, position, step.attempt, data)
            _start_or_queue(draft, position, now, now, capacity)


def _snooze(draft: Draft, position: int, ready_at: Micros, now: Micros, capacity: Capacity) -> None:
    """Try a step again later that has not failed, unless its time is over by then."""
    step, task = draft.step(position), task_at(draft, position)
    ends_at = deadline_of(task, step.since)
    if ends_at is not None and ready_at >= ends_at:
        fail_step(draft, position, too_late(task, None), now, capacity)
        return
    draft.record(EventKind.TASK_SNOOZED, now, position, step.attempt, to_json(ready_at))
    _start_or_queue(draft, position, ready_at, now, capacity)


def call_off(draft: Draft, position: int, reason: str, now: Micros, capacity: Capacity) -> None:
    """End a step about which there is nothing to do any more."""
    end_step(draft, EventKind.TASK_CANCELLED, position, now, to_json({"reason": reason}))
    settle_after(draft, position, now, capacity)


def attempt_failed(
    draft: Draft, position: int, failed: Failed, now: Micros, capacity: Capacity
) -> None:
    """An attempt has failed: the step is tried again, or has failed."""
    step, task, failure = draft.step(position), task_at(draft, position), failed.failure
    failures = step.failures + 1
    over = draft.is_over(position)
    again = failures < task.retry.max_attempts and retryable(task.retry, failure.kinds)
    if over or failed.for_good or not again:
        fail_step(draft, position, failure, now, capacity)
        return
    luck = noise(draft.run.id, draft.run.step_id(position), step.attempt)
    delay = delay_before(task.retry, failures + 1, luck, failed.retry_after)
    ready_at = Micros(draft.clock(now) + delay)
    ends_at = deadline_of(task, step.since)
    if ends_at is not None and ready_at >= ends_at:
        fail_step(draft, position, too_late(task, failure), now, capacity)
        return
    data = to_json({"ready_at": ready_at, "error": failure_data(failure)})
    draft.record(EventKind.TASK_RETRYING, now, position, step.attempt, data)
    _start_or_queue(draft, position, ready_at, now, capacity)


def _start_or_queue(
    draft: Draft, position: int, ready_at: Micros, now: Micros, capacity: Capacity
) -> None:
    """Try a step again whose moment is known and recorded."""
    if draft.state not in ACTIVE_RUN:
        return
    if draft.ending is None and is_used_up(draft):
        hold_for_budget(draft, now)
        return
    task, step = task_at(draft, position), draft.step(position)
    free = ready_at <= now and not task.limits and not task.is_suspect(step.crashes)
    if free and capacity.take(lane_of(task, step), priority_of(draft, position)):
        launch(draft, position, now, capacity)
    else:
        draft.queue(entry_of(draft, position, ready_at))


def on_worker_died(draft: Draft, died: WorkerDied, now: Micros, capacity: Capacity) -> None:
    """Whoever executed steps of this run is dead: they are tried again, or set aside."""
    for position in range(len(draft.run.steps)):
        step = draft.step(position)
        here = step.worker == died.worker and position not in died.lent
        if step.status is TaskStatus.RUNNING and here:
            _crashed(draft, position, now, capacity)


def on_borrower_died(draft: Draft, died: BorrowerDied, now: Micros, capacity: Capacity) -> None:
    """The worker that had borrowed a step is dead."""
    step = draft.step(died.step)
    draft.end_loan(died.step)
    if step.status is TaskStatus.RUNNING and step.attempt == died.attempt:
        _crashed(draft, died.step, now, capacity)


def _crashed(draft: Draft, position: int, now: Micros, capacity: Capacity) -> None:
    """The worker that executed the step has died."""
    step = draft.step(position)
    if draft.is_over(position):
        end_step(draft, EventKind.TASK_CANCELLED, position, now, None)
    elif step.crashes + 1 >= task_at(draft, position).max_crashes:
        fail_step(draft, position, poisonous(draft, step.crashes + 1), now, capacity)
    else:
        draft.record(EventKind.TASK_INTERRUPTED, now, position, step.attempt)
        _start_or_queue(draft, position, now, now, capacity)


def _is_suspect(draft: Draft, position: int) -> bool:
    return task_at(draft, position).is_suspect(draft.step(position).crashes)
