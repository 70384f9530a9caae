"""What a run is told of other runs: of its children, its parent, and those it depends on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from kallista.core.commands import (
    BudgetSeen,
    ChildSeen,
    Command,
    DependenciesSeen,
    ItemsSeen,
    ParentSeen,
    Verb,
)
from kallista.core.decide.capacity import Capacity
from kallista.core.decide.commands import (
    MAY,
    expire,
    go_again,
    go_on,
    hold,
    hold_for_budget,
    refuse_to_go_again,
    resume,
    stop,
    stop_clocks_late,
)
from kallista.core.decide.expiry import is_expired
from kallista.core.decide.failures import failed_with, failure_data
from kallista.core.decide.items import on_items
from kallista.core.decide.lines import child_of
from kallista.core.decide.spending import is_used_up
from kallista.core.decide.turns import end_step, fail_step, settle_after
from kallista.core.decide.winding import is_given_up
from kallista.core.definitions import MapSpec
from kallista.core.dependencies import Verdict, standing
from kallista.core.json_text import to_json
from kallista.core.outcomes import Failure
from kallista.core.plan import WHOLE_RUN
from kallista.core.run import Draft
from kallista.core.states import (
    FINISHED_RUN,
    UNDOING,
    Ending,
    EventKind,
    ProcessStatus,
    TaskStatus,
)
from kallista.core.types import Json, JsonText, Micros, RunId

_P = ProcessStatus


def on_child_seen(draft: Draft, child: ChildSeen, now: Micros, capacity: Capacity) -> None:
    """A child run is where it is: the step that waits for it ends with it."""
    step = draft.step(child.step)
    if step.status is not TaskStatus.WAITING or child.state not in FINISHED_RUN:
        return
    id = child_of(draft, child.step)
    if child.state is _P.COMPLETED:
        draft.keep_output(child.step, child.output)
        end_step(draft, EventKind.TASK_COMPLETED, child.step, now, to_json({"run": id}))
        settle_after(draft, child.step, now, capacity)
    elif draft.is_over(child.step) and (
        child.state is _P.CANCELLED or child.attempt < step.attempt
    ):
        end_step(draft, EventKind.TASK_CANCELLED, child.step, now, None)
    elif child.attempt < step.attempt:
        draft.wake_up(id)
    else:
        kind = "ChildFailed" if child.state is _P.FAILED else "ChildCancelled"
        message = f"{id!r} is {child.state}" + (f": {child.message}" if child.message else "")
        fail_step(draft, child.step, Failure(kind, message, None, (kind,)), now, capacity)


def on_items_seen(draft: Draft, seen: ItemsSeen, now: Micros, capacity: Capacity) -> None:
    """Runs of items are where they are: the step that waits for them goes on, or ends."""
    work = draft.run.definition.steps[seen.step].work
    assert isinstance(work, MapSpec), "only such a step has items"
    if draft.step(seen.step).ended_at is None:
        on_items(draft, seen, work, now)
        if draft.step(seen.step).ended_at is not None:
            settle_after(draft, seen.step, now, capacity)


def on_parent_seen(draft: Draft, parent: ParentSeen, now: Micros, capacity: Capacity) -> None:
    """The parent is where it is: this run is paused, resumed, cancelled or retried with it."""
    state = draft.state
    is_left = parent.state in FINISHED_RUN or not parent.waiting
    # Being wound up, it waits for this run, which goes on only if no more than `finally` is left.
    is_left |= parent.ending is not None and draft.ending is None
    if is_left and not is_given_up(draft):
        if state in MAY[Verb.CANCEL]:
            undone = parent.ending in UNDOING
            ending = Ending.UNDONE_CANCELLED if undone else Ending.CANCELLED
            stop(draft, ending, _by_parent(parent), now)
        elif state in FINISHED_RUN and parent.waiting:
            draft.wake_parent = True
    elif parent.state is _P.PAUSED:
        if state in MAY[Verb.PAUSE]:
            still = parent.stands_still
            hold(draft, _by_parent(parent), now, parent.attempt, stop_clocks=still)
        elif parent.stands_still and state is _P.PAUSED:
            stop_clocks_late(draft, _by_parent(parent), now)
    elif state is _P.PAUSED and draft.head.held and not is_used_up(draft):
        resume(draft, Command(Verb.RESUME), now, capacity)
    elif state in MAY[Verb.RETRY] and draft.head.driven < parent.attempt:
        if not refuse_to_go_again(draft, parent.attempt, now):
            go_again(draft, parent.attempt, now, capacity)
    elif state in FINISHED_RUN:
        draft.wake_parent = True


def on_budget_seen(draft: Draft, seen: BudgetSeen, now: Micros, capacity: Capacity) -> None:
    """Nothing is left of a budget: nothing begins any more, but for what is done at the end.

    A run of which everything has begun need not be held: it ends by itself, and is held only if one
    of its attempts comes to nothing.
    """
    main = draft.state is _P.RUNNING and draft.ending is None
    if main and draft.in_flight < draft.unfinished and is_used_up(draft):
        hold_for_budget(draft, now)


def on_dependencies_seen(
    draft: Draft, seen: DependenciesSeen, now: Micros, capacity: Capacity
) -> None:
    """The processes that this one waits for are where they are.

    What it reads of them is written down with its start: whatever becomes of them afterwards, it
    reads the same.
    """
    if draft.state is not _P.WAITING:
        return
    if is_expired(draft, now):
        expire(draft, now)
        return
    verdict, because_of = standing(seen.states, draft.run.definition.dependency_policies)
    if seen.failure is not None:
        stop(draft, Ending.FAILED, failure_data(seen.failure), now)
    elif verdict is Verdict.FAIL:
        stop(draft, Ending.FAILED, failure_data(failed_with(seen, because_of)), now)
    elif verdict is Verdict.GO_ON:
        draft.record(EventKind.RUN_STARTED, now, data=_found(draft, seen, because_of))
        go_on(draft, now, capacity)


def _found(draft: Draft, seen: DependenciesSeen, passed_over: Sequence[RunId]) -> JsonText | None:
    """What a process has found of those it waited for; None: all is well, and it reads nothing."""
    told: dict[str, Json] = {}
    if seen.values is not None:
        draft.keep_output(WHOLE_RUN, dict(seen.values))
        told["processes"] = dict(seen.values)
    if passed_over:
        told["without"] = list(passed_over)
    return to_json(told) if told else None


def _by_parent(parent: ParentSeen) -> Mapping[str, Json]:
    if parent.cause is None:
        return {"reason": "the run that it is part of was deleted"}
    return {"reason": f"{parent.cause!r} is {parent.state}"}
