"""What the three objects ask of an engine; the embedded one is the first to answer."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Protocol

from msgspec import Struct

from kallista.core.birth import SameAgain
from kallista.core.commands import Command
from kallista.core.definitions import Definition
from kallista.core.expressions import Scope
from kallista.core.forking import Fork
from kallista.core.parsing import SingleTask
from kallista.core.schedules import FiringRules
from kallista.core.snapshots import (
    Answered,
    AnySnapshot,
    ApprovalSnapshot,
    BackfillMoment,
    Explanation,
    Forked,
    HistoryEvent,
    NextFiring,
    Page,
    Redefined,
    Replay,
    RunSummary,
    ScheduleSnapshot,
)
from kallista.core.states import RunKind, ScheduleStatus
from kallista.core.triggers import Trigger
from kallista.core.types import Json, Micros, RunId, ScheduleId


class RunRequest(Struct, frozen=True, gc=False):
    """A run that a user wants.

    Args:
        id: Given by the user, or None for a generated one.
        definition: What it runs.
        inputs: Its arguments, checked and completed by defaults.
        priority: Higher runs first.
        tags: To find it by.
        ready_at: Of a single task: from when it may run; None: now.
        deduplicate: What makes it the same as an earlier request, whose run is the answer then.
        fork: Where it comes from, if it is a fork.
    """

    id: RunId | None
    definition: Definition
    inputs: Mapping[str, Json]
    priority: int
    tags: tuple[str, ...]
    ready_at: Micros | None = None
    deduplicate: SameAgain | None = None
    fork: Fork | None = None


class ForkRequest(Struct, frozen=True, gc=False):
    """A run that a user wants to go on from before a step of another one.

    Args:
        source: The other run.
        task: The id of the step.
        id: Given by the user, or None for a generated one.
        definition: What the fork runs.
        inputs: Its arguments.
        changes: The ids of steps that the user gives something else.
        reason: Why, for its history.
        dry_run: Only say what would be done.
    """

    source: RunId
    task: str
    id: RunId | None
    definition: Definition
    inputs: Mapping[str, Json]
    changes: frozenset[str]
    reason: str | None
    dry_run: bool


class ScheduleRequest(Struct, frozen=True, gc=False):
    """A schedule that a user wants.

    Args:
        id: Names the schedule.
        definition: What it starts.
        inputs: The arguments of what it starts; texts in them may name the firing.
        trigger: When it fires, with zone and anchor filled in.
        first: The first firing, where it is not the trigger's own.
        start: No firing before this moment; an interval without a start of its own begins there.
        max_runs: After so many firings it is over.
        until: No firing after this moment.
        rules: How it treats its moments.
    """

    id: ScheduleId
    definition: Definition
    inputs: Mapping[str, Json]
    trigger: Trigger
    first: Micros | None
    start: Micros | None
    priority: int
    tags: tuple[str, ...]
    max_runs: int | None
    until: Micros | None
    rules: FiringRules


class ListRequest(Struct, frozen=True, gc=False):
    """Which runs a list shows; None means all."""

    kind: RunKind
    statuses: tuple[str, ...] | None = None
    name: str | None = None
    tag: str | None = None
    created_from: Micros | None = None
    created_until: Micros | None = None
    schedule: ScheduleId | None = None
    part_of: RunId | None = None
    error: str | None = None
    cursor: str | None = None
    limit: int = 100


class Schedules(Protocol):
    """Starts runs again and again, durably."""

    async def create(self, request: ScheduleRequest) -> ScheduleId:
        """Create a schedule. Raises ``ConflictError``."""
        ...

    async def get(self, id: ScheduleId) -> ScheduleSnapshot:
        """The schedule as it is now. Raises ``NotFoundError``."""
        ...

    async def set(self, id: ScheduleId, status: ScheduleStatus, reason: str | None) -> bool:
        """Pause (PAUSED), resume (ACTIVE) or end (FINISHED) it; false for a repeat.

        The reason is its note from then on.

        Raises:
            NotFoundError: No such schedule.
            StateError: It is over already.
        """
        ...

    async def trigger(self, id: ScheduleId) -> RunId:
        """Fire it once, now, whatever its trigger and status say; its rhythm stays."""
        ...

    async def backfill(
        self, id: ScheduleId, start: Micros, until: Micros, priority: int | None
    ) -> bool:
        """Let it fire for moments of the past, at a lower priority; false for a repeat.

        Raises:
            UsageError: There are none, or they are not past.
            StateError: It is over, or another backfill is not.
        """
        ...

    async def preview_backfill(
        self, id: ScheduleId, start: Micros, until: Micros, count: int
    ) -> Sequence[BackfillMoment]:
        """For which moments a backfill would fire, at most so many. Raises ``UsageError``."""
        ...

    async def cancel_backfill(self, id: ScheduleId) -> bool:
        """Leave out what a backfill has not started yet; false if there is none."""
        ...

    async def delete(self, id: ScheduleId) -> None:
        """Remove it; the tasks it has started stay. Raises ``NotFoundError``."""
        ...

    async def list(
        self, status: ScheduleStatus | None, cursor: str | None, limit: int
    ) -> Page[ScheduleSnapshot]:
        """Schedules in the order of their ids."""
        ...

    async def next_fire_times(self, id: ScheduleId, count: int) -> Sequence[Micros]:
        """When it will fire next, if nothing changes."""
        ...

    async def next_firings(self, id: ScheduleId, count: int) -> Sequence[NextFiring]:
        """The same, with what changes of the clocks do to it."""
        ...


class Engine(Protocol):
    """Runs what is asked of it, durably. Every ``id`` may be of any kind unless said otherwise."""

    @property
    def schedules(self) -> Schedules:
        """Its schedules."""
        ...

    @property
    def outside(self) -> Outside:
        """What comes to its runs from outside."""
        ...

    def now(self) -> Micros:
        """The moment, by the engine's clock."""
        ...

    async def create(self, request: RunRequest, *, start: bool) -> RunId:
        """Create a run, and start it in the same breath if asked to.

        Raises:
            ConflictError: Another run has this id.
        """
        ...

    async def create_all(self, requests: Sequence[RunRequest], *, start: bool) -> Sequence[RunId]:
        """Create runs together, or none of them; and start them in the same breath if asked to.

        Raises:
            ConflictError: Another run has one of the ids.
        """
        ...

    async def command(self, kind: RunKind, id: RunId, command: Command) -> bool:
        """Do what was asked; true when it changed something, false for a repeat.

        Raises:
            NotFoundError: No such run of this kind.
            StateError: It does not fit the state the run is in.
        """
        ...

    async def running(self, kind: RunKind, id: RunId) -> tuple[Definition, Mapping[str, Json]]:
        """What a run runs, and its arguments. Raises ``NotFoundError``."""
        ...

    async def retry_otherwise(
        self, kind: RunKind, id: RunId, command: Command, *, dry_run: bool
    ) -> Redefined:
        """Let a failed run go on with the definition that the command brings.

        Args:
            kind: Of what it is a run.
            id: The run.
            command: A retry with a definition.
            dry_run: Only say what that would change.

        Raises:
            NotFoundError: No such run of this kind.
            StateError: It has not failed, or the definition does not fit what it has done.
        """
        ...

    async def fork(self, kind: RunKind, request: ForkRequest) -> Forked:
        """Create and start a run that keeps what another one did before a step.

        Raises:
            NotFoundError: No such run of this kind.
            UsageError: There is no such step to go on from, or what is changed is kept.
            StateError: The other run has still to do what comes before the step.
            ConflictError: Something else has the id.
        """
        ...

    async def get(self, kind: RunKind, id: RunId) -> AnySnapshot:
        """The run as it is now. Raises ``NotFoundError``."""
        ...

    async def wait(self, kind: RunKind, id: RunId, timeout: float | None) -> AnySnapshot:
        """The run once it has finished and nothing of it is in flight.

        Raises:
            NotFoundError: No such run, or it was deleted meanwhile (the message says how it ended).
            WaitTimeoutError: It has not finished within ``timeout`` seconds.
        """
        ...

    async def history(self, kind: RunKind, id: RunId) -> Sequence[HistoryEvent]:
        """All that happened to the run. Raises ``NotFoundError``."""
        ...

    def watch(self, kind: RunKind, id: RunId) -> AsyncIterator[HistoryEvent]:
        """What happened so far, then what happens, until the run has finished."""
        ...

    async def list_runs(self, request: ListRequest) -> Page[RunSummary]:
        """Runs that match, newest first."""
        ...

    async def delete(self, kind: RunKind, id: RunId) -> None:
        """Remove a finished run and its children. Raises ``NotFoundError``, ``StateError``."""
        ...

    async def explain(self, id: str) -> Explanation:
        """Why the run or schedule is where it is. Raises ``NotFoundError``."""
        ...

    async def replay(self, id: str) -> Replay:
        """What the history of a run leads to. Raises ``NotFoundError``."""
        ...


class Outside(Protocol):
    """What comes to runs from outside: signals, and the answers of people."""

    async def send(self, id: RunId, name: str, payload: object, signal_id: str | None) -> str:
        """Send a signal to a run of any kind; returns its id once it is durable.

        Raises:
            NotFoundError: No such run.
            StateError: It has finished, or keeps too many that nobody has taken.
            UsageError: None of its steps ever waits for such a signal, or for such a payload.
            ConflictError: Another signal has this id.
        """
        ...

    async def answer(
        self,
        id: RunId,
        step: str | None,
        *,
        approved: bool,
        by: str | None,
        comment: str | None,
        form: Mapping[str, object] | None,
    ) -> Answered:
        """Answer an approval of a run, or of one below it.

        Raises:
            NotFoundError: No such run or step.
            StateError: It does not ask now.
            UsageError: The form is not filled in well, or it is not clear which is meant.
            ConflictError: It was answered otherwise.
        """
        ...

    async def approvals(
        self, id: RunId | None, cursor: str | None, limit: int
    ) -> Page[ApprovalSnapshot]:
        """What waits for a person, of all runs or of one and those below it."""
        ...


class Definitions(Protocol):
    """Reads and checks what users describe, against the task types and names that exist."""

    async def workflow(
        self,
        name: str,
        tasks: Sequence[Mapping[str, object]] | None,
        config: Mapping[str, object] | None,
    ) -> Definition:
        """A workflow of these tasks, or the defined one of this name when there are none."""
        ...

    async def process(self, data: Mapping[str, object] | str) -> Definition:
        """A process described by this data, or the defined one of this name."""
        ...

    async def task(self, id: str, data: Mapping[str, object]) -> Definition:
        """A single task, its config in its definition."""
        ...

    async def single_task(self, id: str, data: Mapping[str, object]) -> SingleTask:
        """A task that runs once: the definition that alike ones share, and its own config."""
        ...

    async def firing_task(self, id: str, data: Mapping[str, object], example: Scope) -> SingleTask:
        """A task that a schedule starts; texts of its config may name the firing.

        The config is empty where none does: it is in the definition then.

        Args:
            id: The schedule's id.
            data: What describes it.
            example: What the config of one firing may read, to check it by.
        """
        ...

    def firing_inputs(
        self, definition: Definition, values: Mapping[str, object] | None, example: Scope
    ) -> Mapping[str, Json]:
        """The arguments of runs that a schedule starts; texts in them may name the firing.

        They are checked for one firing, whose scope is the example.
        """
        ...

    def inputs(
        self, definition: Definition, values: Mapping[str, object] | None
    ) -> Mapping[str, Json]:
        """The arguments of a run, checked and completed by defaults."""
        ...

    async def another(
        self, kind: RunKind, name: str, wanted: Mapping[str, object] | str
    ) -> Definition:
        """What ``current`` means today: the definition of the name; or one that is described."""
        ...

    async def changed(
        self, definition: Definition, changes: Mapping[str, Mapping[str, object]]
    ) -> Definition:
        """A definition, some steps of which are given something else."""
        ...

    async def define(self, definition: Definition) -> None:
        """Let the definition's name mean it from now on."""
        ...

    async def names(self, kind: RunKind) -> Sequence[str]:
        """The names that are defined."""
        ...

    def zone(self, name: str | None) -> str:
        """The IANA name to read local times by: this one, or the configured one."""
        ...

    def moment(self, value: object, what: str) -> Micros:
        """A moment from a datetime or ISO text; a naive one is in the configured time zone."""
        ...
