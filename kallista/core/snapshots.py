"""What a user gets to see of a run, frozen at one moment."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Generic, Self, TypeAlias, TypeVar

from msgspec import Struct

from kallista.core.definitions import Phase
from kallista.core.dependencies import DependencyPolicy
from kallista.core.durations import format_duration
from kallista.core.limits import LimitKind
from kallista.core.states import (
    ProcessStatus,
    RunKind,
    ScheduleStatus,
    TaskStatus,
    WorkflowStatus,
)
from kallista.core.types import Json, RunId, ScheduleId, StepId, TaskType
from kallista.errors import RunFailedError


def _plain(value: object) -> Json:
    if isinstance(value, Snapshot):
        return value.to_dict()
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, StrEnum):
        return value.value
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, Decimal):
        return f"{value:f}"
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    raise TypeError(f"a snapshot holds a {type(value).__name__}, which has no plain form")


class Snapshot(Struct, frozen=True, gc=False):
    """What all snapshots share: a plain form of themselves."""

    def to_dict(self) -> dict[str, Json]:
        """All fields as JSON data; moments as ISO 8601 in UTC."""
        return {name: _plain(getattr(self, name)) for name in self.__struct_fields__}


class RunError(Snapshot, frozen=True):
    """Why a task or step failed.

    Args:
        task_id: Which one; None for the run itself (its time limit, say).
        type: The qualified name of the exception's class.
        message: Its text.
        traceback: Where it happened, when there is Python behind it.
        attempt: Which attempt it ended.
        at: When.
    """

    task_id: StepId | None
    type: str
    message: str
    traceback: str | None
    attempt: int
    at: datetime | None

    def __str__(self) -> str:
        where = f"{self.task_id}: " if self.task_id else ""
        return f"{where}{self.type}: {self.message}"


class ItemsSnapshot(Snapshot, frozen=True):
    """How far a step is that goes through a list; ``str()`` of it is that in words.

    Args:
        count: How many items there are.
        completed: How many have completed.
        failed: How many have failed, or were stopped.
        under_way: How many are under way.
        under_way_ids: Their runs.
        failed_ids: The runs of those that will run again if the run is retried.
    """

    count: int
    completed: int
    failed: int
    under_way: int
    under_way_ids: tuple[RunId, ...]
    failed_ids: tuple[RunId, ...]

    def __str__(self) -> str:
        failed = f", {self.failed:,} failed" if self.failed else ""
        under_way = f", {self.under_way:,} under way" if self.under_way else ""
        return f"{self.completed:,} of {self.count:,} done{failed}{under_way}"


class StepSnapshot(Snapshot, frozen=True):
    """One task of a workflow, or one step of a process.

    Args:
        id: Its id in the definition.
        name: What people read.
        kind: A task, or the kind of the child run it starts.
        type: The task type, or ``switch``; None for a child run.
        status: Where it is.
        attempt: The number of its last attempt, 0 before the first.
        depends_on: The ids of the steps before it.
        result: What it returned; None until it is COMPLETED.
        error: Why it failed.
        note: Why it was skipped, what could not be stopped when it was cancelled, or what a switch
            has chosen.
        child_id: The run it started.
        ready_at: From when it may run or goes on, where that is a moment.
        started_at: When its last attempt started.
        ended_at: When it finished.
        progress: How far its running attempt says it is, from 0 to 1; other programs learn of it
            about once a second.
        progress_message: What the attempt says it is doing.
        phase: Whether the run is for it, or it undoes another one, or runs at the end.
        items: How far it is with the list that it goes through; None: there is none, or it has not
            begun.
        heartbeat_at: When its running attempt was last heard of.
        heartbeat_details: What it has left for the attempt after it, or one before it for it.
    """

    id: StepId
    name: str
    kind: RunKind
    type: TaskType | None
    status: TaskStatus
    attempt: int
    depends_on: tuple[StepId, ...]
    result: Json
    error: RunError | None
    note: str | None
    child_id: RunId | None
    ready_at: datetime | None
    started_at: datetime | None
    ended_at: datetime | None
    progress: float | None
    progress_message: str | None
    phase: Phase = Phase.MAIN
    items: ItemsSnapshot | None = None
    heartbeat_at: datetime | None = None
    heartbeat_details: Json = None


class RunSnapshot(Snapshot, frozen=True):
    """What the snapshots of all three kinds share.

    Args:
        id: The run's id.
        kind: What it is a run of.
        name: What people read.
        inputs: Its arguments.
        errors: Everything that failed, in the order it failed.
        in_flight: How many of its steps are being executed right now.
        priority: Higher runs first.
        tags: To find it by.
        parent_id: The run that started it.
        created_at: When it was created.
        started_at: When it first started.
        ended_at: When it finished.
        expires_at: When it is CANCELLED if nothing of it has begun by then.
        clocks_stopped_at: PAUSED: since when its clocks stand still; None: they go on.
        forked_from: Of a fork: the run whose results it keeps.
        forked_at: Of a fork: the task or step from which on everything was done again.
    """

    id: RunId
    kind: RunKind
    name: str
    inputs: Mapping[str, Json]
    errors: tuple[RunError, ...]
    in_flight: int
    priority: int
    tags: tuple[str, ...]
    parent_id: RunId | None
    created_at: datetime
    started_at: datetime | None
    ended_at: datetime | None
    expires_at: datetime | None
    clocks_stopped_at: datetime | None
    forked_from: RunId | None
    forked_at: StepId | None

    @property
    def ok(self) -> bool:
        """Whether it completed."""
        return self.word == "COMPLETED"

    @property
    def word(self) -> str:
        """The status, whatever the kind."""
        return str(getattr(self, "status"))  # noqa: B009 - every kind has a status of its own type

    def raise_for_status(self) -> Self:
        """Return itself when it completed.

        Raises:
            RunFailedError: It is in any other state; the message lists what failed.
        """
        if self.ok:
            return self
        reasons = "; ".join(str(error) for error in self.errors) or "no error was recorded"
        raise RunFailedError(f"{self.kind} {self.id!r} is {self.word}, not COMPLETED: {reasons}")


class WorkflowSnapshot(RunSnapshot, frozen=True):
    """A workflow at one moment."""

    status: WorkflowStatus
    tasks: tuple[StepSnapshot, ...]

    @property
    def results(self) -> dict[StepId, Json]:
        """What its completed tasks returned, by task id."""
        return _results(self.tasks)


class ProcessSnapshot(RunSnapshot, frozen=True):
    """A process at one moment.

    Args:
        dependencies: The processes it waits for before it starts.
        dependency_policies: What it does about each of them if that fails.
    """

    status: ProcessStatus
    steps: tuple[StepSnapshot, ...]
    dependencies: tuple[RunId, ...]
    dependency_policies: Mapping[RunId, DependencyPolicy]

    @property
    def results(self) -> dict[StepId, Json]:
        """What its completed steps returned, by step id."""
        return _results(self.steps)


class TaskSnapshot(RunSnapshot, frozen=True):
    """A single task at one moment; see ``StepSnapshot`` for what is not said by its name."""

    status: TaskStatus
    type: TaskType
    config: Mapping[str, Json]
    attempt: int
    result: Json
    error: RunError | None
    note: str | None
    schedule_id: ScheduleId | None
    scheduled_time: datetime | None
    progress: float | None = None
    progress_message: str | None = None
    heartbeat_at: datetime | None = None
    heartbeat_details: Json = None


AnySnapshot: TypeAlias = WorkflowSnapshot | ProcessSnapshot | TaskSnapshot


def _results(steps: Sequence[StepSnapshot]) -> dict[StepId, Json]:
    completed, main = TaskStatus.COMPLETED, Phase.MAIN
    return {
        step.id: step.result for step in steps if step.status is completed and step.phase is main
    }


class RunSummary(Snapshot, frozen=True):
    """A line of a list of runs; of a single task also how far it is."""

    id: RunId
    kind: RunKind
    name: str
    status: str
    priority: int
    tags: tuple[str, ...]
    in_flight: int
    parent_id: RunId | None
    schedule_id: ScheduleId | None
    scheduled_time: datetime | None
    created_at: datetime
    started_at: datetime | None
    ended_at: datetime | None
    progress: float | None = None
    progress_message: str | None = None


ItemT = TypeVar("ItemT", bound=Snapshot)


class Page(Snapshot, Generic[ItemT], frozen=True):
    """Some of a list.

    Args:
        items: In order.
        cursor: Give it to the next call to go on; None at the end.
    """

    items: tuple[ItemT, ...]
    cursor: str | None


class Commanded(Snapshot, frozen=True):
    """What has become of a command to many runs.

    Args:
        verb: What was asked, such as ``pause``.
        matched: How many runs were meant.
        changed: For how many it has changed something; 0 of a preview.
        ids: The first of those that were meant.
        refusals: How many could not be told.
        refused: Why, of the first of them.
    """

    verb: str
    matched: int
    changed: int
    ids: tuple[RunId, ...]
    refusals: int
    refused: Mapping[RunId, str]


class TaskAgain(Snapshot, frozen=True):
    """A task or step that runs again in a fork.

    Args:
        id: Its id.
        changed: Whether it is otherwise than in the source, or new.
        last_seconds: How long its last attempt took there; None: it has not ended there.
    """

    id: StepId
    changed: bool
    last_seconds: float | None

    def __str__(self) -> str:
        took = "not run before"
        if self.last_seconds is not None:
            took = format_duration(round(self.last_seconds * 1e6))
        return f"{self.id} ({took}{', changed' if self.changed else ''})"


class Forked(Snapshot, frozen=True):
    """A fork, or what one would do; ``str()`` of it is the sentence.

    Args:
        id: The new run; None of a preview.
        source_id: The run that it goes on from.
        from_task: From which task or step on everything is done again.
        kept: What is not done again: its result is kept.
        again: What is, in the order of the definition.
        estimated_seconds: How long that takes if all takes as long as it did in the source, and
            nothing waits for a worker; what has not run there counts as nothing.
    """

    id: RunId | None
    source_id: RunId
    from_task: StepId
    kept: tuple[StepId, ...]
    again: tuple[TaskAgain, ...]
    estimated_seconds: float

    def __str__(self) -> str:
        what = "a fork" if self.id is None else repr(self.id)
        kept = f"{len(self.kept)} kept ({', '.join(self.kept)})" if self.kept else "nothing is kept"
        again = f"{len(self.again)} run again: {', '.join(map(str, self.again))}"
        took = format_duration(round(self.estimated_seconds * 1e6))
        return (
            f"{what} of {self.source_id!r} from {self.from_task!r}: {kept}; {again}; about {took}"
        )


class Redefined(Snapshot, frozen=True):
    """A run that goes on with another definition, or would; ``str()`` of it says how.

    Args:
        id: The run.
        before: The hash of the definition that it had.
        after: The hash of the one that it goes on with.
        changed: The tasks or steps that are otherwise from now on.
        added: Those that it did not have before.
        too_late: Those that are otherwise, but have completed: their results stay.
        again: What runs again, or for the first time, in the order of the definition.
    """

    id: RunId
    before: str
    after: str
    changed: tuple[StepId, ...]
    added: tuple[StepId, ...]
    too_late: tuple[StepId, ...]
    again: tuple[StepId, ...]

    def __str__(self) -> str:
        told = [f"{len(self.changed)} changed ({', '.join(self.changed)})"] if self.changed else []
        if self.added:
            told.append(f"{len(self.added)} added ({', '.join(self.added)})")
        if self.too_late:
            told.append(f"{len(self.too_late)} changed too late ({', '.join(self.too_late)})")
        if self.before == self.after:
            told = ["the same as before"]
        again = ", ".join(self.again) or "nothing"
        changes = "; ".join(told) or "nothing changed"
        return f"with definition {self.after[:12]}: {changes}; runs again: {again}"


class HistoryEvent(Snapshot, frozen=True):
    """One thing that happened to a run.

    Args:
        run_id: The run.
        seq: 0 for the first event of the run, without gaps.
        at: When.
        kind: What happened, such as ``task.completed``.
        task_id: The task or step it happened to.
        attempt: The attempt it concerns, 0 where there is none.
        data: The result, the failure, or what else belongs to it.
    """

    run_id: RunId
    seq: int
    at: datetime
    kind: str
    task_id: StepId | None
    attempt: int
    data: Json


class BackfillSnapshot(Snapshot, frozen=True):
    """Moments of the past for which a schedule fires.

    Args:
        start: From which moment on.
        until: Up to which.
        next_fire_time: The next one; None when the last one has been started.
        priority: Of the runs it starts.
    """

    start: datetime
    until: datetime
    next_fire_time: datetime | None
    priority: int

    def __str__(self) -> str:
        following = "the last has started" if self.next_fire_time is None else self.next_fire_time
        return f"{self.start} to {self.until}, next: {following}"


class BackfillMoment(Snapshot, frozen=True):
    """A moment of the past that a backfill comes to.

    Args:
        moment: Which one, in UTC.
        run_id: The run of that moment.
        status: Its status if it exists, or that which it had when it was deleted: such a moment
            is left as it is. None: it would be started.
    """

    moment: datetime
    run_id: RunId
    status: str | None


class ScheduleSnapshot(Snapshot, frozen=True):
    """A schedule at one moment.

    Args:
        trigger: In short, such as ``every 30s`` or ``cron 0 9 * * * (Europe/Berlin)``.
        in_words: What that means, such as ``at 09:00 every day, Europe/Berlin``.
        kind: What it starts: a task, a workflow or a process.
        name: The name of what it starts; of a task without one its type.
        type: The task type, if it starts a task.
        config: What the task is given; texts in it may name the firing.
        inputs: What the workflow or process is given; texts in it may name the firing.
        fired: How many firings have started a run.
        skipped: How many were left out because the one before was still unfinished.
        last_run_id: The run that the last firing started.
        jitter: A firing may start so much later than its moment, such as ``5m``; None: not at all.
        catch_up: Which missed firings are made up for: ``none``, ``latest``, ``all``, or those
            that are no older than a length, such as ``1h``.
        overlap: What becomes of a firing while the run of the one before is unfinished: ``skip``,
            ``queue``, ``replace`` or ``allow``.
        pause_on_failure: After so many failures in a row it is PAUSED; None: never.
        note: Why it is in its status, where somebody or something said so.
        since: From when on it is in its status.
        backfill: Which moments of the past it fires for beside.
        backfilled: How many runs backfills have started.
    """

    id: ScheduleId
    status: ScheduleStatus
    trigger: str
    in_words: str
    kind: RunKind
    name: str
    type: TaskType | None
    config: Mapping[str, Json]
    inputs: Mapping[str, Json]
    priority: int
    tags: tuple[str, ...]
    max_runs: int | None
    until: datetime | None
    fired: int
    skipped: int
    next_fire_time: datetime | None
    last_fire_time: datetime | None
    last_run_id: RunId | None
    created_at: datetime
    jitter: str | None
    catch_up: str
    overlap: str
    pause_on_failure: int | None
    note: str | None
    since: datetime
    backfill: BackfillSnapshot | None
    backfilled: int


class ChangeOverSnapshot(Snapshot, frozen=True):
    """What a change of the clocks does to a firing; ``str()`` of it is the sentence.

    Args:
        effect: ``moved`` (behind a gap), ``left out``, ``first of two`` or ``second of two``.
        wall_times: Which times of the wall clock it is about, in ISO 8601 without an offset.
        offset_before: By how much the clock is ahead of UTC before the change, as ``+01:00``.
        offset_after: And afterwards.
        sentence: All of that for people.
    """

    effect: str
    wall_times: tuple[str, ...]
    offset_before: str
    offset_after: str
    sentence: str

    def __str__(self) -> str:
        return self.sentence


class NextFiring(Snapshot, frozen=True):
    """A firing that lies ahead, or one that a change of the clocks leaves out.

    Args:
        moment: When, in the schedule's zone; of one that is left out, the end of the gap.
        starts_at: When it starts: its moment, and the jitter of the schedule.
        fires: False for one that is left out.
        change_over: What a change of the clocks does to it; None: nothing, as nearly always.
    """

    moment: datetime
    starts_at: datetime
    fires: bool
    change_over: ChangeOverSnapshot | None


class DependencySnapshot(Snapshot, frozen=True):
    """A process that another one waits for.

    Args:
        id: Its id.
        status: Where it is, or how it ended before it was deleted; None: it does not exist yet.
        on_failure: What the other one does if it fails.
        needed_by: The other one.
        depth: How far it is from the process that was asked about; 1: that one waits for it.
    """

    id: RunId
    status: str | None
    on_failure: DependencyPolicy
    needed_by: RunId
    depth: int


class ApprovalSnapshot(Snapshot, frozen=True):
    """An approval that waits for an answer.

    Args:
        run_id: The run it belongs to.
        kind: What that is a run of.
        name: What people call the run.
        task_id: The approval in that run.
        title: What it is called.
        prompt: What is to be decided.
        form: The JSON Schema of what is to be filled in; None: nothing is.
        approvers: Who is asked.
        on_reject: What a rejection does: ``fail``, ``complete`` or ``cancel``.
        default: The answer that counts once the time is over; None: the attempt fails.
        since: When it was asked.
        until: When the time for an answer is over; None: never.
    """

    run_id: RunId
    kind: RunKind
    name: str
    task_id: StepId
    title: str
    prompt: str
    form: Mapping[str, Json] | None
    approvers: tuple[str, ...]
    on_reject: str
    default: Json
    since: datetime
    until: datetime | None


class Answered(Snapshot, frozen=True):
    """What has become of an answer.

    Args:
        run_id: The run of the approval.
        task_id: The approval that was answered.
        approved: What was answered.
        changed: False when the same answer had been given before.
    """

    run_id: RunId
    task_id: StepId
    approved: bool
    changed: bool


class Explanation(Snapshot, frozen=True):
    """Why a run is where it is; ``str()`` of it is the sentence.

    Args:
        id: The run or schedule.
        status: Where it is.
        sentence: One sentence for people.
        reason: One word for programs, such as ``waits_for_process``, ``waits_for_worker``.
        waits_for: The ids, task types or moments it waits for.
        dependencies: Of a process that waits for others: all of those, and what they wait for in
            turn, each followed by its own; of very many the first.
        awaited_by: The processes that wait for this one.
    """

    id: str
    status: str
    sentence: str
    reason: str
    waits_for: tuple[str, ...] = ()
    dependencies: tuple[DependencySnapshot, ...] = ()
    awaited_by: tuple[RunId, ...] = ()

    def __str__(self) -> str:
        return self.sentence


class LimitInfo(Snapshot, frozen=True):
    """How full a limit is that is counted over all workers.

    Args:
        kind: What is counted.
        key: What is counted together.
        number: How many attempts may run at once; None: it is a rate. Where tasks of one key say
            different numbers, each keeps to its own; this is the highest.
        rate: Of a rate, how often one may begin.
        held: How many attempts run now that are counted.
        waiting: How many tasks are held back by it.
        held_by: The first of those that run, for people.
    """

    kind: LimitKind
    key: str
    number: int | None
    rate: str | None
    held: int
    waiting: int
    held_by: tuple[str, ...] = ()


class Replay(Snapshot, frozen=True):
    """What the history of a run leads to when it is followed from its beginning.

    Args:
        id: The run.
        status: Where it is.
        events: How many events were followed.
        difference: The first thing that is otherwise than the history tells; None: all agrees.
    """

    id: RunId
    status: str
    events: int
    difference: str | None

    @property
    def agrees(self) -> bool:
        """Whether the history leads to where the run is."""
        return self.difference is None

    def __str__(self) -> str:
        told = f"{self.events} events of {self.id!r}"
        if self.difference is None:
            return f"{told} lead to where it is: {self.status}."
        return f"{told} do not lead to where it is: {self.difference}."


def as_json(snapshot: Snapshot) -> str:
    """The plain form of a snapshot as indented JSON text."""
    return json.dumps(snapshot.to_dict(), indent=2, ensure_ascii=False)
