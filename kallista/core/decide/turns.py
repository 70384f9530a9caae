"""What follows inside the graph: whose turn it is, and how a step begins and ends."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from kallista.core.decide.capacity import Capacity
from kallista.core.decide.failures import failure_data, too_late
from kallista.core.decide.items import begin_items
from kallista.core.decide.limiting import limits_at
from kallista.core.decide.lines import (
    child_of,
    deadline_of,
    entry_of,
    lane_of,
    task_at,
    wake_entry_of,
)
from kallista.core.decide.order import followers, is_behind
from kallista.core.decide.switches import choose, is_chosen, not_chosen
from kallista.core.decide.values import evaluated
from kallista.core.definitions import ChildSpec, MapSpec, SwitchSpec, TaskSpec
from kallista.core.events import StepState
from kallista.core.items import with_items
from kallista.core.json_text import to_json
from kallista.core.outcomes import Failure
from kallista.core.run import (
    LETS_PASS,
    SKIPPED_BY_CONDITION,
    SKIPPED_BY_RULE,
    Child,
    Draft,
)
from kallista.core.states import EventKind, ProcessStatus, TaskStatus
from kallista.core.trigger_rules import TriggerRule, Verdict, verdict
from kallista.core.types import Json, JsonText, Micros, WorkerKey
from kallista.core.wiring import condition, wiring
from kallista.errors import ExpressionError

# A member of an enumeration costs more to look up on its class than a constant.
_RUN_RUNNING: Final = ProcessStatus.RUNNING
_SCHEDULED: Final = TaskStatus.SCHEDULED
_STARTED: Final = EventKind.TASK_STARTED
_ALL_COMPLETED: Final = TriggerRule.ALL_COMPLETED
_ABOUT_FAILURES: Final = frozenset({TriggerRule.ONE_FAILED, TriggerRule.NONE_FAILED})


def settle(draft: Draft, positions: Iterable[int], now: Micros, capacity: Capacity) -> None:
    """Let each of these steps take its turn if its turn has come, and all that follows."""
    if draft.state is not _RUN_RUNNING:
        return
    waiting = list(positions)
    specs, has_rules = draft.run.definition.steps, draft.run.definition.has_rules
    for position in waiting:  # it grows on the way
        step = draft.step(position)
        if step.status is not _SCHEDULED or step.ready_at is not None:
            continue
        if specs[position].trigger_rule is not _ALL_COMPLETED:
            _follow_rule(draft, position, step, now, capacity)
        elif draft.blocked_by(position) == 0:
            if has_rules and is_behind(draft, position):
                continue
            take_turn(draft, position, step, now, capacity)
        elif draft.dead_ends:
            _skip_if_hopeless(draft, position, now)
        else:
            continue
        if draft.step(position).ended_at is not None:
            waiting += followers(draft, position)


def settle_after(draft: Draft, position: int, now: Micros, capacity: Capacity) -> None:
    """Let those steps take their turn that depend on one that has ended."""
    definition = draft.run.definition  # most have no rules, and a call less for each step
    later = followers(draft, position) if definition.has_rules else definition.dependents[position]
    if later:
        settle(draft, later, now, capacity)


def _follow_rule(
    draft: Draft, position: int, step: StepState, now: Micros, capacity: Capacity
) -> None:
    """Let a step take its turn, or none, as its trigger rule says."""
    spec = draft.run.definition.steps[position]
    if _has_to_wait(draft, position, spec.trigger_rule):
        return
    before = map(draft.step, spec.depends_on)
    match verdict(spec.trigger_rule, before):
        case Verdict.RUN if not is_behind(draft, position):
            take_turn(draft, position, step, now, capacity)
        case Verdict.OMIT:
            end_step(draft, EventKind.TASK_SKIPPED, position, now, SKIPPED_BY_RULE)
        case Verdict.SKIP:
            reason = to_json(f"its trigger rule {spec.trigger_rule} cannot be met any more")
            end_step(draft, EventKind.TASK_SKIPPED, position, now, reason)
        case Verdict.RUN | Verdict.WAIT:
            pass


def _has_to_wait(draft: Draft, position: int, rule: TriggerRule) -> bool:
    """Whether that is certain without a look at each of the steps before, of which may be many."""
    if draft.blocked_by(position) <= draft.dead_ends:
        return False  # perhaps all of them have ended
    if rule is TriggerRule.ALL_DONE:
        return True
    has_failures = draft.dead_ends > 0 or draft.run.definition.tolerates_failures
    return rule in _ABOUT_FAILURES and not has_failures


def _skip_if_hopeless(draft: Draft, position: int, now: Micros) -> None:
    """Skip a step before which another has ended in such a way that this one can never run."""
    specs = draft.run.definition.steps
    for before in specs[position].depends_on:
        step = draft.step(before)
        if step.ended_at is not None and not step.passed:
            reason = to_json(f"{specs[before].id!r} did not complete")
            end_step(draft, EventKind.TASK_SKIPPED, position, now, reason)
            return


def take_turn(
    draft: Draft, position: int, step: StepState, now: Micros, capacity: Capacity
) -> None:
    """It is a step's turn: skip it, start its child, start it, or queue it."""
    spec = draft.run.definition.steps[position]
    work = spec.work
    if spec.branch_of is not None and not is_chosen(draft, position, spec.branch_of):
        end_step(draft, EventKind.TASK_SKIPPED, position, now, not_chosen(draft, spec.branch_of))
        return
    try:
        if spec.when is not None and not _holds(draft, position):
            end_step(draft, EventKind.TASK_SKIPPED, position, now, SKIPPED_BY_CONDITION)
            return
        if not isinstance(work, TaskSpec):
            _set_about(draft, position, work, now)
            return
        if work.limits:
            limits_at(draft, position)  # fails where there is no key
    except ExpressionError as error:
        failure = Failure("ExpressionError", str(error), None, ("ExpressionError",))
        end_step(draft, EventKind.TASK_FAILED, position, now, to_json(failure_data(failure)))
        return
    if work.deadline is not None:
        ends_at = Micros(now + work.deadline)
        draft.queue(wake_entry_of(draft, position, ends_at))
    priority = draft.run.priority if spec.priority is None else spec.priority
    if not work.limits and capacity.take(lane_of(work, step), priority):
        launch(draft, position, now, capacity)
    else:
        queue_step(draft, position, now, now)


def queue_step(draft: Draft, position: int, ready_at: Micros, now: Micros) -> None:
    """Let any worker start the step from a moment on."""
    draft.record(EventKind.TASK_READY, now, position, data=to_json(ready_at))
    draft.queue(entry_of(draft, position, ready_at))


def launch(draft: Draft, position: int, now: Micros, capacity: Capacity) -> None:
    """Start a step here, unless it is too late for it."""
    if start_attempt(draft, position, now, capacity.worker, capacity):
        draft.launch(position)


def start_attempt(
    draft: Draft, position: int, now: Micros, worker: WorkerKey, capacity: Capacity
) -> bool:
    """Let a worker begin the step's next attempt, unless the step is too late for it."""
    step, task = draft.step(position), task_at(draft, position)
    if task.deadline is not None:
        ends_at = deadline_of(task, step.since)
        if ends_at is not None and ends_at <= now:
            fail_step(draft, position, too_late(task, None), now, capacity)
            return False
    draft.record(_STARTED, now, position, step.attempt + 1, JsonText(str(worker)))
    return True


def _set_about(
    draft: Draft, position: int, work: ChildSpec | MapSpec | SwitchSpec, now: Micros
) -> None:
    """Do what needs no handler: start child runs, or choose."""
    match work:
        case ChildSpec():
            _start_child(draft, position, work, now)
        case MapSpec():
            begin_items(draft, position, work, now)
        case SwitchSpec():
            choose(draft, position, work, now)


def _start_child(draft: Draft, position: int, child: ChildSpec, now: Micros) -> None:
    attempt = draft.step(position).attempt + 1
    inputs = _values(draft, position, child)
    id = child_of(draft, position)
    draft.record(EventKind.TASK_WAITING, now, position, attempt, to_json(id))
    draft.bear(Child(position, id, child.definition, inputs, attempt))
    if attempt > 1:
        draft.wake_up(id)


def fail_step(
    draft: Draft, position: int, failure: Failure, now: Micros, capacity: Capacity
) -> None:
    """End a step as FAILED, and let what depends on it see that."""
    end_step(draft, EventKind.TASK_FAILED, position, now, to_json(failure_data(failure)))
    settle_after(draft, position, now, capacity)


def end_step(
    draft: Draft, kind: EventKind, position: int, now: Micros, data: JsonText | None
) -> None:
    """End a step, and forget its time limit."""
    step, work = draft.step(position), draft.run.definition.steps[position].work
    if isinstance(work, TaskSpec):
        if work.deadline is not None and step.since is not None:
            draft.unqueue(wake_entry_of(draft, position, Micros(step.since + work.deadline)))
    elif data not in LETS_PASS and (items := draft.items_at(position)) is not None:
        data = with_items(data, items)
    draft.record(kind, now, position, step.attempt, data)


def _holds(draft: Draft, position: int) -> bool:
    when = wiring(draft.run.definition).steps[position].when
    return when is None or condition(evaluated(draft, when))


def _values(draft: Draft, position: int, child: ChildSpec) -> Mapping[str, Json]:
    """The inputs of a child run, references resolved."""
    compiled = wiring(draft.run.definition).steps[position].values
    if compiled is None:
        return child.inputs
    value = evaluated(draft, compiled)
    assert isinstance(value, dict), "a mapping stays one when its references are resolved"
    return value
