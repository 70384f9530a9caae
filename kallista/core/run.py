"""A run in memory, and the one function that events change it by.

``Draft.record`` is used by a live decision and ``fold`` by a replay; both go through the same
``_apply_…`` functions and the tables of ``states``, so a folded history gives the same run.
A draft holds only what differs from its run, so deciding costs what changes, not what there is.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from typing import Final, NamedTuple

from kallista.core.definitions import Definition
from kallista.core.events import Event, RunHead, StepState
from kallista.core.plan import Entry, Grant
from kallista.core.states import (
    FINISHED_RUN,
    FINISHED_STEP,
    RUN_TRANSITIONS,
    STEP_TRANSITIONS,
    EventKind,
    ProcessStatus,
    RunKind,
    TaskStatus,
)
from kallista.core.types import Json, JsonText, Micros, RunId, WorkerKey
from kallista.errors import StateError

SKIPPED_BY_CONDITION: Final = JsonText('"its condition is false"')
"""The reason of a step whose own ``when`` is false: what depends on it goes on."""


class Run:
    """A run as a decision sees it.

    Args:
        id: Its id.
        definition: What it runs.
        inputs: Its arguments.
        priority: Higher runs first.
        head: Where it is.
        steps: Where its steps are, by position; owned by this object from now on.
        outputs: Results that references read, by position; absent where none is referenced.
    """

    __slots__ = (
        "blockers", "definition", "head", "id", "inputs", "outputs", "priority", "steps",
        "unfinished",
    )  # fmt: skip

    def __init__(
        self,
        id: RunId,
        definition: Definition,
        inputs: Mapping[str, Json],
        priority: int,
        head: RunHead,
        steps: list[StepState],
        outputs: dict[int, Json] | None = None,
    ) -> None:
        self.id = id
        self.definition = definition
        self.inputs = inputs
        self.priority = priority
        self.head = head
        self.steps = steps
        self.outputs: dict[int, Json] = {} if outputs is None else outputs
        self.blockers = [
            sum(not steps[before].passed for before in spec.depends_on) for spec in definition.steps
        ]
        self.unfinished = sum(step.status not in FINISHED_STEP for step in steps)

    @classmethod
    def new(
        cls, id: RunId, definition: Definition, inputs: Mapping[str, Json], priority: int
    ) -> Run:
        """A run to which nothing has happened yet."""
        steps = [StepState()] * len(definition.steps)
        return cls(id, definition, inputs, priority, RunHead(), steps)

    @property
    def kind(self) -> RunKind:
        """What it is a run of."""
        return self.definition.kind


class Child(NamedTuple):
    """A child run that a step wants to exist."""

    step: int
    id: RunId
    definition: Definition
    inputs: Mapping[str, Json]


class Draft:
    """What a decision changes of a run, before it is written.

    Besides the run itself it gathers what goes with it: lines for the queue, child runs to create
    and to wake, the steps that were launched here and now, those that are to be stopped, and what
    is lent to other workers, or no longer.
    """

    __slots__ = (
        "announce", "blockers", "changed", "children", "dequeue", "enqueue", "events", "head",
        "launched", "lend", "outputs", "run", "settle", "stopped", "unfinished", "wake",
        "wake_parent",
    )  # fmt: skip

    def __init__(self, run: Run) -> None:
        self.run = run
        self.head = run.head
        self.unfinished = run.unfinished
        self.changed: dict[int, StepState] = {}
        self.blockers: dict[int, int] = {}
        self.outputs: dict[int, Json] = {}
        self.events: list[Event] = []
        self.enqueue: list[Entry] = []
        self.dequeue: list[Entry] = []
        self.children: list[Child] = []
        self.wake: list[RunId] = []
        self.launched: list[int] = []
        self.stopped: list[int] = []
        self.lend: list[Grant] = []
        self.settle: list[int] = []
        self.wake_parent = False
        self.announce = False

    def step(self, position: int) -> StepState:
        """Where a step is, this draft's changes included."""
        changed = self.changed.get(position)
        return self.run.steps[position] if changed is None else changed

    def blocked_by(self, position: int) -> int:
        """How many of the steps before it have not passed."""
        changed = self.blockers.get(position)
        return self.run.blockers[position] if changed is None else changed

    def output(self, position: int) -> Json:
        """A result that a reference reads."""
        if position in self.outputs:
            return self.outputs[position]
        return self.run.outputs.get(position)

    def record(
        self,
        kind: EventKind,
        at: Micros,
        step: int | None = None,
        attempt: int = 0,
        data: JsonText | None = None,
    ) -> None:
        """Let something happen: write it down and change what it changes.

        Raises:
            StateError: The law knows no such transition; the message tells the run's story.
        """
        event = Event(self.head.seq, at, kind, step, attempt, data)
        _apply(self, event)
        self.events.append(event)

    def absorb(self) -> None:
        """Make this draft's changes the run's own, once they are written."""
        run = self.run
        run.head = self.head
        run.unfinished = self.unfinished
        for position, state in self.changed.items():
            run.steps[position] = state
        for position, count in self.blockers.items():
            run.blockers[position] = count
        run.outputs.update(self.outputs)


def fold(run: Run, events: Iterable[Event]) -> Run:
    """Let what a history tells happen to a run; returns the same run.

    Raises:
        StateError: The history breaks the law.
    """
    for event in events:
        draft = Draft(run)
        _apply(draft, event)
        draft.absorb()
    return run


def _apply(draft: Draft, event: Event) -> None:
    if event.step is None:
        _apply_to_run(draft, event)
    else:
        _apply_to_step(draft, event, event.step)


def _apply_to_run(draft: Draft, event: Event) -> None:
    head = draft.head
    state = RUN_TRANSITIONS.get((head.state, event.kind))
    if state is None:
        raise _illegal(draft, event, head.state)
    started = head.started_at
    deadline = head.deadline_at
    if state is ProcessStatus.RUNNING and event.kind is not EventKind.RUN_RESUMED:
        limit = draft.run.definition.deadline
        deadline = None if limit is None else Micros(event.at + limit)
        started = event.at if started is None else started
    draft.head = head._replace(
        state=state,
        seq=event.seq + 1,
        started_at=started,
        deadline_at=deadline,
        ended_at=event.at if state in FINISHED_RUN else None,
        held=event.kind is EventKind.RUN_PAUSED and event.attempt > 0,
        driven=event.attempt or head.driven,
        outcome=event.seq if state in FINISHED_RUN and event.data is not None else None,
    )


def _apply_to_step(draft: Draft, event: Event, position: int) -> None:
    before = draft.step(position)
    status = STEP_TRANSITIONS.get((before.status, event.kind))
    if status is None:
        raise _illegal(draft, event, before.status)
    after = _STEP_CHANGES[event.kind](draft, event, before)
    if after.status is not status:
        after = after._replace(status=status)
    draft.changed[position] = after
    head = draft.head
    in_flight = head.in_flight
    if before.status is TaskStatus.RUNNING:
        in_flight -= 1
    if status is TaskStatus.RUNNING:
        in_flight += 1
    draft.head = RunHead(
        head.state, event.seq + 1, in_flight, head.started_at, head.ended_at, head.deadline_at,
        head.driven, head.held, head.outcome,
    )  # fmt: skip
    draft.unfinished += (before.status in FINISHED_STEP) - (status in FINISHED_STEP)
    if after.passed is not before.passed:
        _count_blockers(draft, position, -1 if after.passed else 1)


def _count_blockers(draft: Draft, position: int, change: int) -> None:
    for later in draft.run.definition.dependents[position]:
        draft.blockers[later] = draft.blocked_by(later) + change


_Change = Callable[[Draft, Event, StepState], StepState]


def _ready(draft: Draft, event: Event, step: StepState) -> StepState:
    ready_at = Micros(_number(event))
    return step._replace(ready_at=ready_at, since=step.since or ready_at)


def _started(draft: Draft, event: Event, step: StepState) -> StepState:
    return StepState(
        TaskStatus.RUNNING, event.attempt, step.failures, step.crashes, None,
        step.since or event.at, event.at, None, WorkerKey(_number(event)), None, False,
    )  # fmt: skip


def _waiting(draft: Draft, event: Event, step: StepState) -> StepState:
    what = json.loads(event.data or "null")
    asleep = isinstance(what, int)
    return step._replace(
        attempt=event.attempt,
        ready_at=Micros(what) if asleep else None,
        since=step.since or event.at,
        started_at=step.started_at if asleep else event.at,
        worker=None,
    )


def _retrying(draft: Draft, event: Event, step: StepState) -> StepState:
    ready_at = Micros(json.loads(event.data or "{}")["ready_at"])
    return step._replace(failures=step.failures + 1, ready_at=ready_at, worker=None)


def _interrupted(draft: Draft, event: Event, step: StepState) -> StepState:
    crashed = event.data is None
    return step._replace(crashes=step.crashes + crashed, ready_at=event.at, worker=None)


def _reset(draft: Draft, event: Event, step: StepState) -> StepState:
    return StepState(attempt=step.attempt)


def _completed(draft: Draft, event: Event, step: StepState) -> StepState:
    return StepState(
        TaskStatus.COMPLETED, step.attempt, step.failures, step.crashes, None, step.since,
        step.started_at, event.at, None, event.seq, True,
    )  # fmt: skip


def _failed(draft: Draft, event: Event, step: StepState) -> StepState:
    return _ended(event, step, passed=draft.run.definition.steps[event.step or 0].continue_on_error)


def _skipped(draft: Draft, event: Event, step: StepState) -> StepState:
    return _ended(event, step, passed=event.data == SKIPPED_BY_CONDITION)


def _cancelled(draft: Draft, event: Event, step: StepState) -> StepState:
    return _ended(event, step, passed=False)


def _ended(event: Event, step: StepState, *, passed: bool) -> StepState:
    failed = event.kind is EventKind.TASK_FAILED
    return step._replace(
        failures=step.failures + failed,
        ready_at=None,
        ended_at=event.at,
        worker=None,
        outcome=event.seq,
        passed=passed,
    )


_STEP_CHANGES: Final[Mapping[EventKind, _Change]] = {
    EventKind.TASK_READY: _ready,
    EventKind.TASK_STARTED: _started,
    EventKind.TASK_WAITING: _waiting,
    EventKind.TASK_COMPLETED: _completed,
    EventKind.TASK_RETRYING: _retrying,
    EventKind.TASK_INTERRUPTED: _interrupted,
    EventKind.TASK_FAILED: _failed,
    EventKind.TASK_SKIPPED: _skipped,
    EventKind.TASK_CANCELLED: _cancelled,
    EventKind.TASK_RESET: _reset,
}


def _number(event: Event) -> int:
    return int(event.data or 0)


def _illegal(draft: Draft, event: Event, state: str) -> StateError:
    where = "the run" if event.step is None else repr(draft.run.definition.steps[event.step].id)
    story = " ".join(f"{past.kind}({past.step})" for past in draft.events[-5:]) or "nothing yet"
    return StateError(
        f"{event.kind} cannot happen to {where} of {draft.run.id!r}, which is {state};"
        f" before it, in this decision: {story}"
    )
