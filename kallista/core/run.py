"""A run in memory, and the one function that events change it by.

``Draft.record`` is used by a live decision and ``follow`` by a replay; both go through the same
functions and the tables of ``states``, so a folded history gives the same run. A draft holds only
what differs from its run, so deciding costs what changes, not what there is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, NamedTuple, TypeAlias, TypeVar

from msgspec import Struct
from msgspec.structs import replace

from kallista.core.amounts import Budgets
from kallista.core.clocks import clocks_after, moved
from kallista.core.definitions import Definition, TaskSpec, type_of
from kallista.core.events import Event, RunHead, StepState
from kallista.core.ids import content_hash
from kallista.core.inbox import EMPTY_INBOX, Inbox, InboxDraft, Signal, answer_id
from kallista.core.items import Items
from kallista.core.json_text import from_json, to_json
from kallista.core.plan import WHOLE_RUN, Entry, Failing, Grant
from kallista.core.questions import Asked, question_of
from kallista.core.states import (
    FINISHED_RUN,
    FINISHED_STEP,
    RUN_TRANSITIONS,
    STEP_TRANSITIONS,
    Ending,
    EventKind,
    ProcessStatus,
    RunKind,
    TaskStatus,
)
from kallista.core.types import Json, JsonText, Micros, RunId, StepId, WorkerKey
from kallista.errors import StateError

SKIPPED_BY_CONDITION: Final = JsonText('"its condition is false"')
"""The reason of a step whose own ``when`` is false: what depends on it goes on."""


SKIPPED_BY_RULE: Final = JsonText('"its trigger rule is not met, and nothing is missing"')
"""The reason of a step that has nothing to do, such as one for failures where there are none."""

SKIPPED_BY_SWITCH: Final = JsonText('"its switch did not choose it"')
"""The reason of a step of another branch: what depends on it goes on."""

LETS_PASS: Final = frozenset({SKIPPED_BY_CONDITION, SKIPPED_BY_RULE, SKIPPED_BY_SWITCH})


_NONE: Final[Mapping[int, Any]] = {}
"""What most runs have no use for; never changed."""


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
            ``WHOLE_RUN`` stands for what they read of other processes.
        expires_at: Until when it is of use if nothing of it has begun; None: for ever.
    """

    __slots__ = (
        "blockers", "budget", "dead_ends", "definition", "expires_at", "head", "id", "in_order",
        "inbox", "inputs", "items", "last_steps", "lists", "outputs", "priority", "steps",
        "unfinished", "wound_up",
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
        expires_at: Micros | None = None,
    ) -> None:
        self.id = id
        self.definition = definition
        self.inputs = inputs
        self.priority = priority
        self.head = head
        self.steps = steps
        self.outputs: dict[int, Json] = {} if outputs is None else outputs
        self.expires_at = expires_at
        self.budget: Budgets | None = None
        """What is spent of its budgets, as it was last looked at; None: nothing that matters."""
        self.inbox: Inbox = EMPTY_INBOX
        """What was sent to it; to be filled in where the definition ``asks`` (facts)."""
        self.blockers = list(definition.predecessors)
        self.unfinished = definition.main_count
        self.dead_ends = 0
        self.last_steps: list[int] | None = None
        """What is left to do at the end, in order; known once it has come to that."""
        self.wound_up = 0
        """How many of those have certainly ended."""
        self.items: Mapping[int, Items] = _NONE
        """How far those steps are that go through a list and have begun."""
        self.lists: Mapping[int, list[Json]] = _NONE
        """The lists that they go through, once they are known for good."""
        self.in_order: set[int] | None = None
        """Steps that have certainly ended, as has all that they come after; kept by ``order``."""
        main = definition.main_count
        for position, step in enumerate(steps if main == len(steps) else steps[:main]):
            if step is not _NEW_STEP and step.status in FINISHED_STEP:
                self.unfinished -= 1
                if not step.passed:
                    self.dead_ends += 1
                    continue
                for later in definition.dependents[position]:
                    self.blockers[later] -= 1

    @classmethod
    def new(
        cls,
        id: RunId,
        definition: Definition,
        inputs: Mapping[str, Json],
        priority: int,
        expires_at: Micros | None = None,
    ) -> Run:
        """A run to which nothing has happened yet."""
        steps = [_NEW_STEP] * len(definition.steps)
        return cls(id, definition, inputs, priority, _NEW_HEAD, steps, None, expires_at)

    @property
    def kind(self) -> RunKind:
        """What it is a run of."""
        return self.definition.kind

    def config(self, position: int) -> Mapping[str, Json]:
        """What a task hands to its handler, references not resolved.

        A single task's may be the inputs of its run instead: so alike ones share a definition.
        """
        work = self.definition.steps[position].work
        assert isinstance(work, TaskSpec), "only tasks have a config"
        if self.definition.kind is not RunKind.TASK or not self.inputs:
            return work.config
        return {**work.config, **self.inputs}

    def is_over(self, position: int) -> bool:
        """Whether a step begins no more, for the run has ended or is being wound up."""
        return _is_over(self.definition, self.head, position)

    def can_undo(self, position: int) -> bool:
        """Whether there is something that undoes a step."""
        definition = self.definition
        last = definition.steps[definition.main_count :]
        return any(spec.undoes == position for spec in last)

    def step_id(self, position: int) -> StepId:
        """What the step at a position is called; that of a single task is called as its run is."""
        return self.definition.steps[position].id or StepId(self.id)


def _is_over(definition: Definition, head: RunHead, position: int) -> bool:
    is_wound_up = head.ending is not None and position < definition.main_count
    return is_wound_up or head.state in FINISHED_RUN


_NEW_STEP: Final = StepState()
_NEW_HEAD: Final = RunHead()


class Child(NamedTuple):
    """A child run that a step wants to exist, and the attempt of the step that does."""

    step: int
    id: RunId
    definition: Definition
    inputs: Mapping[str, Json]
    attempt: int


_T = TypeVar("_T")
_Few: TypeAlias = list[_T] | tuple[()]


def _with(few: _Few[_T], more: _T) -> list[_T]:
    """One more of something that most decisions have none of."""
    if isinstance(few, list):
        few.append(more)
        return few
    return [more]


class Draft:
    """What a decision changes of a run, before it is written.

    Besides the run itself it gathers what goes with it: lines for the queue, child runs to create
    and to wake, the steps that were launched here and now, those that are to be stopped, and what
    is lent to other workers, or no longer.

    ``state``, ``seq`` and ``in_flight`` are the head's; the head itself is put together when asked
    for, once a decision instead of once an event.
    """

    __slots__ = (
        "_last_head", "announce", "blockers", "budget", "changed", "children",
        "dead_ends", "dequeue", "enqueue", "events", "failures", "in_flight", "items", "launched",
        "lend", "outputs", "own_inbox", "run", "seq", "settle", "state", "stopped", "unfinished",
        "wake", "wake_parent",
    )  # fmt: skip

    def __init__(self, run: Run) -> None:
        head = run.head
        self.run = run
        self._last_head = head
        self.state = head.state
        self.seq = head.seq
        self.in_flight = head.in_flight
        self.unfinished = run.unfinished
        self.dead_ends = run.dead_ends
        self.changed: dict[int, StepState] = {}
        self.events: list[Event] = []
        # Most decisions need few of these, so each is made for the first that goes into it.
        self.blockers: dict[int, int] | None = None
        self.outputs: dict[int, Json] | None = None
        self.items: dict[int, Items] | None = None
        self.failures: dict[int, Failing | None] | None = None
        self.own_inbox: InboxDraft | None = None
        self.enqueue: _Few[Entry] = ()
        self.dequeue: _Few[Entry] = ()
        self.children: _Few[Child] = ()
        self.wake: _Few[RunId] = ()
        self.launched: _Few[int] = ()
        self.stopped: _Few[int] = ()
        self.lend: _Few[Grant] = ()
        self.settle: _Few[int] = ()
        self.wake_parent = False
        self.announce = False
        self.budget: tuple[tuple[str, int], ...] = ()

    @property
    def ending(self) -> Ending | None:
        """How the run will end once it is wound up, if it is."""
        return self._last_head.ending

    @property
    def still_since(self) -> Micros | None:
        """Since when the run's clocks stand still; None: they go on."""
        return self._last_head.still_since

    def clock(self, now: Micros) -> Micros:
        """What the run's clocks show: no time passes for it while they stand still."""
        still = self._last_head.still_since
        return now if still is None else still

    @property
    def head(self) -> RunHead:
        """The run's head, this draft's changes included."""
        head = self._last_head
        if head.seq != self.seq or head.in_flight != self.in_flight:
            head = self._last_head = RunHead(
                head.state, self.seq, self.in_flight, head.started_at, head.ended_at,
                head.deadline_at, head.driven, head.held, head.outcome, head.ending,
                head.still_since, head.stood_still,
            )  # fmt: skip
        return head

    @property
    def inbox(self) -> InboxDraft:
        """What was sent to the run and what its steps wait for, this draft's changes included."""
        if self.own_inbox is None:
            self.own_inbox = InboxDraft(self.run.inbox)
        return self.own_inbox

    def step(self, position: int) -> StepState:
        """Where a step is, this draft's changes included."""
        changed = self.changed.get(position)
        return self.run.steps[position] if changed is None else changed

    def steps(self) -> tuple[StepState, ...]:
        """Where all steps are, this draft's changes included."""
        steps = list(self.run.steps)
        for position, state in self.changed.items():
            steps[position] = state
        return tuple(steps)

    def blocked_by(self, position: int) -> int:
        """How many of the steps before it have not passed."""
        changed = None if self.blockers is None else self.blockers.get(position)
        return self.run.blockers[position] if changed is None else changed

    def output(self, position: int) -> Json:
        """A result that a reference reads."""
        if self.outputs is not None and position in self.outputs:
            return self.outputs[position]
        return self.run.outputs.get(position)

    def keep_output(self, position: int, output: Json) -> None:
        """Remember a result that references read."""
        if self.outputs is None:
            self.outputs = {}
        self.outputs[position] = output

    def items_at(self, position: int) -> Items | None:
        """How far a step is that goes through a list; None: it has never begun."""
        if self.items is not None and position in self.items:
            return self.items[position]
        return self.run.items.get(position)

    def keep_items(self, position: int, items: Items) -> None:
        """Remember how far a step is."""
        if self.items is None:
            self.items = {}
        self.items[position] = items

    def note_failure(self, position: int, failing: Failing | None) -> None:
        """Let a step count among those that failed, or no longer."""
        if self.failures is None:
            self.failures = {}
        self.failures[position] = failing

    def queue(self, entry: Entry) -> None:
        """Add a line to the queue."""
        self.enqueue = _with(self.enqueue, entry)

    def unqueue(self, entry: Entry) -> None:
        """Take a line out of the queue."""
        self.dequeue = _with(self.dequeue, entry)

    def bear(self, child: Child) -> None:
        """Create a child run."""
        self.children = _with(self.children, child)

    def wake_up(self, child: RunId) -> None:
        """Let a child run be looked at."""
        self.wake = _with(self.wake, child)

    def launch(self, position: int) -> None:
        """Execute a step's attempt here."""
        self.launched = _with(self.launched, position)

    def withdraw(self, position: int) -> bool:
        """Launch a step not after all; false where its attempt is under way already."""
        if position not in self.launched:
            return False
        self.launched = [other for other in self.launched if other != position]
        return True

    def is_over(self, position: int) -> bool:
        """The same as of the run, this draft's changes included."""
        return _is_over(self.run.definition, self._last_head, position)

    def stop(self, position: int) -> None:
        """Stop a step's attempt."""
        self.stopped = _with(self.stopped, position)

    def grant(self, grant: Grant) -> None:
        """Lend a step to another worker."""
        self.lend = _with(self.lend, grant)

    def end_loan(self, position: int) -> None:
        """Let a step be on loan no longer."""
        self.settle = _with(self.settle, position)

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
        event = Event(self.seq, at, kind, step, attempt, data)
        if step is None:
            _apply_to_run(self, event)
        else:
            _apply_to_step(self, event, step)
        self.events.append(event)

    def go_on_as(self, run: Run) -> None:
        """Decide on the same run with another definition; nothing has happened in this draft."""
        self.run = run
        self.unfinished = run.unfinished
        self.dead_ends = run.dead_ends

    def absorb(self, run: Run | None = None) -> None:
        """Make this draft's changes the run's own, once they are written.

        Args:
            run: Another run that was at the same point, and of which the same was written.
        """
        run = self.run if run is None else run
        run.head = self.head
        run.unfinished = self.unfinished
        run.dead_ends = self.dead_ends
        for position, state in self.changed.items():
            run.steps[position] = state
        if self.blockers is not None:
            for position, count in self.blockers.items():
                run.blockers[position] = count
        if self.budget and run.budget is not None:
            run.budget = run.budget.raised(dict(self.budget))
        if self.outputs is not None:
            run.outputs.update(self.outputs)
        if self.items is not None:
            run.items = {**run.items, **self.items}
        if self.own_inbox is not None:
            run.inbox = self.own_inbox.now


def follow(run: Run, events: Iterable[Event]) -> Draft:
    """The draft of all that a history tells; the run is not changed.

    Raises:
        StateError: The history breaks the law.
    """
    draft = Draft(run)
    for event in events:
        if event.step is None:
            _apply_to_run(draft, event)
        else:
            _apply_to_step(draft, event, event.step)
    return draft


def _apply_to_run(draft: Draft, event: Event) -> None:
    head = draft._last_head
    state = RUN_TRANSITIONS.get((draft.state, event.kind))
    if state is None:
        raise _illegal(draft, event, draft.state)
    if event.kind is _SIGNAL_RECEIVED:
        _receive(draft, event)
        return
    started = head.started_at
    deadline = head.deadline_at
    goes_on = event.kind in _GO_ON
    if state is _RUN_RUNNING and not goes_on:
        limit = draft.run.definition.deadline
        deadline = None if limit is None else Micros(event.at + limit)
        started = event.at if started is None else started
    finished = state in FINISHED_RUN
    held = event.attempt > 0 and event.kind is _PAUSED
    ended = event.at if finished else None
    outcome = event.seq if finished and event.data is not None else None
    ending: Ending | None = None
    if goes_on or head.ending is not None:
        outcome, ending = _winding(head, event, outcome)
    if outcome != head.outcome:
        _note_outcome(draft, event, outcome)
    still, stood = head.still_since, head.stood_still
    if still is not None or event.kind is _PAUSED:
        still, stood = clocks_after(head, event, state)
        if stood != head.stood_still:
            deadline = _go_on_later(draft, Micros(stood - head.stood_still), deadline)
    draft.state = state
    draft.seq = event.seq + 1
    draft._last_head = RunHead(
        state, draft.seq, draft.in_flight, started, ended, deadline, event.attempt or head.driven,
        held, outcome, ending, still, stood,
    )  # fmt: skip


def _go_on_later(draft: Draft, by: Micros, deadline: Micros | None) -> Micros | None:
    """Move all moments that are to come, for the clocks have stood still; returns the deadline."""
    for position, before in enumerate(draft.steps()):
        after = moved(before, by)
        if after is not before:
            draft.changed[position] = after
    return None if deadline is None else Micros(deadline + by)


def _note_outcome(draft: Draft, event: Event, outcome: int | None) -> None:
    """The run has another reason now why it fails, or none."""
    failing = None if outcome is None else _failing(draft, WHOLE_RUN, event)
    if failing is not None or draft._last_head.outcome is not None:
        draft.note_failure(WHOLE_RUN, failing)


def _failing(draft: Draft, position: int, event: Event) -> Failing | None:
    """What an event tells of a failure; None: it tells of none."""
    told = from_json(event.data or "null")
    if not isinstance(told, dict) or "type" not in told:
        return None
    definition = draft.run.definition
    kind: str = definition.kind.value
    if position != WHOLE_RUN:
        kind = type_of(definition.steps[position].work)
    return Failing(told["type"], kind, event.seq, event.at)


def _receive(draft: Draft, event: Event) -> None:
    """Keep what was sent to the run; nothing else of it changes."""
    draft.seq = event.seq + 1
    told = from_json(event.data or "{}")
    payload: Json = told["payload"]
    text, digest = to_json(payload), content_hash(payload)
    draft.inbox.receive(Signal(event.seq, told["name"], told["id"], digest, None, text))


def _winding(head: RunHead, event: Event, outcome: int | None) -> tuple[int | None, Ending | None]:
    """Why the run fails, and how it will end, where an event may have told that before its end."""
    if event.kind in _WIND and event.data is not None:
        told = from_json(event.data)
        why = event.seq if len(told) > 1 else head.outcome
        return why, Ending(told["ending"])
    ended = event.kind in _RUN_ENDS
    return head.outcome if outcome is None else outcome, None if ended else head.ending


def _apply_to_step(draft: Draft, event: Event, position: int) -> None:
    before = draft.changed.get(position) or draft.run.steps[position]
    move = _MOVES.get((before.status, event.kind))
    if move is None:
        raise _illegal(draft, event, before.status)
    after = move.change(draft, event, before, move.status)
    draft.changed[position] = after
    draft.seq = event.seq + 1
    draft.in_flight += move.in_flight
    if move.finished and position < draft.run.definition.main_count:
        draft.unfinished -= move.finished
        draft.dead_ends += _is_dead_end(after) - _is_dead_end(before)
        if after.passed is not before.passed:
            _count_blockers(draft, position, -1 if after.passed else 1)


def _is_dead_end(step: StepState) -> bool:
    """Whether what depends on it can never run."""
    return step.ended_at is not None and not step.passed


def _count_blockers(draft: Draft, position: int, change: int) -> None:
    if draft.blockers is None:
        draft.blockers = {}
    before, counts = draft.run.blockers, draft.blockers
    for later in draft.run.definition.dependents[position]:
        counts[later] = counts.get(later, before[later]) + change


_Change = Callable[[Draft, Event, StepState, TaskStatus], StepState]


def _ready(draft: Draft, event: Event, step: StepState, status: TaskStatus) -> StepState:
    ready_at = Micros(int(event.data or 0))
    return StepState(
        status, step.attempt, step.failures, step.crashes, ready_at, step.since or ready_at,
        step.started_at, step.ended_at, None, None, False,
    )  # fmt: skip


def _started(draft: Draft, event: Event, step: StepState, status: TaskStatus) -> StepState:
    return StepState(
        status, event.attempt, step.failures, step.crashes, None, step.since or event.at,
        event.at, None, WorkerKey(int(event.data or 0)), None, False,
    )  # fmt: skip


def _waiting(draft: Draft, event: Event, step: StepState, status: TaskStatus) -> StepState:
    what = from_json(event.data or "null")
    if isinstance(what, dict) and "question" in what:
        return _asking(draft, event, step, status, what)
    asleep = isinstance(what, int)
    return replace(
        step,
        status=status,
        attempt=event.attempt,
        ready_at=Micros(what) if asleep else None,
        since=step.since or event.at,
        started_at=step.started_at if asleep else event.at,
        worker=None,
        outcome=event.seq if isinstance(what, dict) else None,
    )


def _asking(
    draft: Draft, event: Event, step: StepState, status: TaskStatus, what: Mapping[str, Any]
) -> StepState:
    """A step waits for what comes from outside, perhaps until a moment."""
    asked = Asked(event.seq, event.at, question_of(what["question"]))
    draft.inbox.ask(event.step or 0, asked)
    return replace(step, status=status, ready_at=what.get("until"), worker=None)


def _advanced(draft: Draft, event: Event, step: StepState, status: TaskStatus) -> StepState:
    return replace(step, outcome=event.seq)


def _answered(draft: Draft, event: Event, step: StepState, status: TaskStatus) -> StepState:
    told, position = from_json(event.data or "{}"), event.step or 0
    draft.inbox.close(position)
    if "signal" in told:
        draft.inbox.take(told["signal"], position)
    elif "answer" in told:
        id = answer_id(draft.run.step_id(position), step.attempt)
        digest = content_hash(told["answer"])
        draft.inbox.receive(Signal(event.seq, "", id, digest, position, None))
    return replace(step, status=status, ready_at=None)


def _retrying(draft: Draft, event: Event, step: StepState, status: TaskStatus) -> StepState:
    ready_at = Micros(from_json(event.data or "{}")["ready_at"])
    return replace(step, status=status, failures=step.failures + 1, ready_at=ready_at, worker=None)


def _snoozed(draft: Draft, event: Event, step: StepState, status: TaskStatus) -> StepState:
    ready_at = Micros(int(event.data or 0))
    return replace(step, status=status, ready_at=ready_at, worker=None)


def _interrupted(draft: Draft, event: Event, step: StepState, status: TaskStatus) -> StepState:
    crashes = step.crashes + (event.data is None)
    ready_at = draft.clock(event.at)
    return replace(step, status=status, crashes=crashes, ready_at=ready_at, worker=None)


def _reset(draft: Draft, event: Event, step: StepState, status: TaskStatus) -> StepState:
    if step.status is TaskStatus.FAILED:
        draft.note_failure(event.step or 0, None)
    return StepState(status, attempt=step.attempt, outcome=event.seq if event.data else None)


def _completed(draft: Draft, event: Event, step: StepState, status: TaskStatus) -> StepState:
    return StepState(
        status, step.attempt, step.failures, step.crashes, None, step.since, step.started_at,
        event.at, None, event.seq, True,
    )  # fmt: skip


def _failed(draft: Draft, event: Event, step: StepState, status: TaskStatus) -> StepState:
    position = event.step or 0
    draft.note_failure(position, _failing(draft, position, event))
    passed = draft.run.definition.steps[position].continue_on_error
    return _ended(event, replace(step, failures=step.failures + 1), status, passed=passed)


def _skipped(draft: Draft, event: Event, step: StepState, status: TaskStatus) -> StepState:
    return _ended(event, step, status, passed=event.data in LETS_PASS)


def _cancelled(draft: Draft, event: Event, step: StepState, status: TaskStatus) -> StepState:
    if step.status is TaskStatus.WAITING and draft.run.definition.asks:
        draft.inbox.close(event.step or 0)
    return _ended(event, step, status, passed=False)


def _ended(event: Event, step: StepState, status: TaskStatus, *, passed: bool) -> StepState:
    return replace(
        step,
        status=status,
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
    EventKind.TASK_ANSWERED: _answered,
    EventKind.TASK_COMPLETED: _completed,
    EventKind.TASK_KEPT: _completed,
    EventKind.TASK_CHOSEN: _completed,
    EventKind.TASK_ADVANCED: _advanced,
    EventKind.TASK_RETRYING: _retrying,
    EventKind.TASK_SNOOZED: _snoozed,
    EventKind.TASK_INTERRUPTED: _interrupted,
    EventKind.TASK_FAILED: _failed,
    EventKind.TASK_SKIPPED: _skipped,
    EventKind.TASK_CANCELLED: _cancelled,
    EventKind.TASK_RESET: _reset,
}


class _Move(Struct, frozen=True, gc=False):
    """A transition of the law together with what it does: one look at a table an event.

    Args:
        status: The step's status afterwards.
        change: What else it changes of the step.
        in_flight: By how much the number of running steps changes.
        finished: By how much the number of finished steps changes.
    """

    status: TaskStatus
    change: _Change
    in_flight: int
    finished: int


def _move(before: TaskStatus, kind: EventKind, after: TaskStatus) -> _Move:
    running = TaskStatus.RUNNING
    return _Move(
        status=after,
        change=_STEP_CHANGES[kind],
        in_flight=(after is running) - (before is running),
        finished=(after in FINISHED_STEP) - (before in FINISHED_STEP),
    )


_MOVES: Final[Mapping[tuple[TaskStatus, EventKind], _Move]] = {
    (before, kind): _move(before, kind, after) for (before, kind), after in STEP_TRANSITIONS.items()
}

# A member of an enumeration costs more to look up on its class than a constant.
_RUN_RUNNING: Final = ProcessStatus.RUNNING
_PAUSED: Final = EventKind.RUN_PAUSED
_SIGNAL_RECEIVED: Final = EventKind.SIGNAL_RECEIVED
_WIND: Final = frozenset({EventKind.RUN_ENDING, EventKind.RUN_COMPENSATING})
_GO_ON: Final = _WIND | {EventKind.RUN_RESUMED}
_RUN_ENDS: Final = frozenset(
    {
        EventKind.RUN_COMPLETED,
        EventKind.RUN_FAILED,
        EventKind.RUN_CANCELLED,
        EventKind.RUN_RETRIED,
        EventKind.RUN_WAITING,
    }
)


def _illegal(draft: Draft, event: Event, state: str) -> StateError:
    where = "the run" if event.step is None else repr(draft.run.step_id(event.step))
    story = " ".join(f"{past.kind}({past.step})" for past in draft.events[-5:]) or "nothing yet"
    return StateError(
        f"{event.kind} cannot happen to {where} of {draft.run.id!r}, which is {state};"
        f" before it, in this decision: {story}"
    )
