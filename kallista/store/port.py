"""What the engine asks of a store; every store passes the same contract tests.

A store knows nothing of what a plan means. It writes plans whole or not at all, checks their
fences, hands out queue entries, and answers questions. All writes that arrive while a commit is
under way go into the next transaction together; each awaits its own answer.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple, Protocol, TypeAlias

from msgspec import Struct

from kallista.core.amounts import Share, Spent
from kallista.core.events import Event, Heartbeat, RunHead, StepState
from kallista.core.inbox import Inbox
from kallista.core.limits import Limit
from kallista.core.plan import WAKE, Entry, Failing, NewRun, Plan, SameKey
from kallista.core.questions import Asked
from kallista.core.schedules import Firing, Schedule
from kallista.core.states import RunKind, ScheduleStatus
from kallista.core.types import (
    JsonText,
    Micros,
    RunId,
    RunKey,
    ScheduleId,
    StepId,
    TaskType,
    WorkerKey,
)

NEW_VERSION: Final = 1
"""The version of a run that was just created."""

NEW_EPOCH: Final = 1
"""The epoch of a run that was created with an owner; without one it is 0."""


WAKES_AT_ONCE: Final = 1_000
"""How many WAKE entries one claim hands out at most."""


class Loan(NamedTuple):
    """A step of a process that a worker executes for the one that drives the run.

    It begins as a wish: a claim took the step's entry although another worker drives the run. The
    driver grants it by a plan (``Plan.lend``) that starts the attempt, or refuses it by one that
    ends the loan (``Plan.settle``). The borrower leaves its report here; the plan that folds the
    report settles the loan.

    Args:
        run: Whose step it is.
        step: Which.
        worker: The borrower.
        attempt: The attempt that the driver has granted; None: not yet.
        stop: Whether the borrower is asked to stop the handler and report.
        lost: Whether the borrower died after the grant.
        report: How the attempt ended, once it has.
        ready_at: From when on the entry that was taken was due.
    """

    run: RunKey
    step: int
    worker: WorkerKey
    attempt: int | None
    stop: bool
    lost: bool
    report: JsonText | None
    ready_at: Micros


class Heard(NamedTuple):
    """What an attempt that runs says of itself, on its way to the store."""

    run: RunKey
    step: int
    heartbeat: Heartbeat


class Created(NamedTuple):
    """The answer to a creation.

    Args:
        key: The run's key.
        new: Whether it was created by this.
        id: The id of an earlier run that is the answer because it asks for the same; None: it is
            the run of the id that was given.
    """

    key: RunKey
    new: bool
    id: RunId | None = None


class Committed(Struct, frozen=True, gc=False):
    """The answer to a plan: the run's version from now on."""

    version: int


class RunRecord(Struct, frozen=True, gc=False):
    """All that is stored of a run but its history.

    Args:
        status: The word that users see and lists filter by (a task's is its step's).
        root: The run at the top of its tree; itself when it has no parent.
        parent_id: The id of the run that started it.
        owner: The worker that drives it.
        epoch: Rises whenever the owner changes.
        version: Rises with every plan.
        steps: In the order of the definition; empty where they were not asked for.
        forked_from: Of a fork: the run that it goes on from, and at which step.
    """

    key: RunKey
    id: RunId
    kind: RunKind
    name: str
    status: str
    definition: str
    definition_content: JsonText
    content: str
    inputs: JsonText
    parent: tuple[RunKey, int] | None
    parent_id: RunId | None
    root: RunKey
    schedule: ScheduleId | None
    priority: int
    tags: tuple[str, ...]
    created_at: Micros
    owner: WorkerKey | None
    epoch: int
    version: int
    head: RunHead
    steps: tuple[StepState, ...]
    forked_from: tuple[RunId, StepId] | None = None


_MOST: Final = 1 << 61
"""Half of what turns are counted to, so that every store can; only absurd priorities reach it."""


class ClaimRequest(NamedTuple):
    """What a worker could take on.

    Args:
        worker: Who asks.
        now: Entries whose ``ready_at`` is later are not due.
        slots: How many entries of task types at most; WAKE entries come on top, up to 1,000.
        limits: For each task type that the worker executes, how many entries at most.
        within: Only runs of the tree below this root; None: any run.
        ahead: Task entries that become due within this time are taken as well, and wait at the
            worker; not those that lie where every worker looks.
        punctual: Of these types none is taken before it is due.
        ageing: For how long a line has to wait to come before those of a priority higher by one
            that have become due by then; None: it never does.
    """

    worker: WorkerKey
    now: Micros
    slots: int
    limits: Mapping[TaskType, int]
    within: RunKey | None = None
    ahead: Micros = Micros(0)
    punctual: Collection[TaskType] = ()
    ageing: Micros | None = None

    def turn(self, rank: int, ready_at: Micros) -> int:
        """What decides first which line comes before another: that of the lower turn.

        Two lines age alike, so their order never changes.

        Args:
            rank: The negated priority.
            ready_at: From when it may be taken.
        """
        shift = self.shift(rank)
        return self.standing(rank) if shift is None else ready_at + shift

    def shift(self, rank: int) -> int | None:
        """By how much a rank puts off the turn of a line.

        None where no moment matters (``standing``): nothing ages, or no age would be enough.
        """
        if self.ageing is None or abs(shift := rank * self.ageing) >= _MOST:
            return None
        return shift

    def standing(self, rank: int) -> int:
        """The turn of all lines of a rank in which no moment matters."""
        if self.ageing is None:
            return 0
        return -2 * _MOST if rank < 0 else 2 * _MOST

    def urgency(self, rank: int, ready_at: Micros) -> int:
        """The priority that a line has reached by waiting."""
        if self.ageing is None or ready_at >= self.now:
            return -rank
        return (self.now - ready_at) // self.ageing - rank

    def until(self, type: TaskType, *, shared: bool) -> Micros:
        """Up to which moment entries of a type are taken.

        Args:
            type: The type.
            shared: Whether they lie where every worker looks.
        """
        if shared or type == WAKE or type in self.punctual:
            return self.now
        return Micros(self.now + self.ahead)


class ClaimedEntry(Struct, frozen=True, gc=False):
    """An entry that is the worker's now, and gone from the queue.

    ``record`` holds the run as it is after the claim, with its steps, when the claim made the
    worker its owner; it is None when the worker drove the run already. ``borrowed`` is true when
    another worker drives the run: the claim made a ``Loan`` of it that is not granted yet, and
    woke the driver to look at that step.
    """

    run: RunKey
    entry: Entry
    record: RunRecord | None
    borrowed: bool = False


class Claim(NamedTuple):
    """The answer to a claim.

    Args:
        entries: WAKE entries first, then the highest priority first, equal ones in the order of
            ``ready_at``, then of the runs' creation, then of the step's position.
        next_due: When the next entry becomes due that the worker could take (given its types,
            whatever its limits) and that was out of this claim's reach, a moment past if more WAKE
            entries are due than one claim hands out; None: nothing waits.
        waiting: The highest priority among the due entries of the worker's types that were left
            for want of slots alone, not for their type's limit; None: nothing was left.
    """

    entries: Sequence[ClaimedEntry]
    next_due: Micros | None
    waiting: int | None


Begin: TypeAlias = Callable[[Sequence[ClaimedEntry]], Sequence[Plan]]
"""Says what is written at once for what a claim has taken: at most one plan for each run that it
made the worker the owner of, with the fence of its record. It is called within the claim's
transaction, maybe on another thread, and once more if that is repeated; it must not wait."""


class RunFilter(Struct, frozen=True, gc=False):
    """Which runs a list shows; None means all.

    Args:
        kind: Only runs of this kind.
        statuses: Only runs in one of these; READY finds SCHEDULED tasks whose moment has come,
            SCHEDULED the others.
        name: Only runs of exactly this name.
        tag: Only runs with this tag.
        created_from: Only runs created at this moment or later.
        created_until: Only runs created before this moment.
        schedule: Only firings of this schedule.
        parent: Only children of this run.
        roots: Only runs that no other run has started.
        error: Only runs of which something has failed by this error, or of something below them
            if no other run has started them; the name of the class alone, or with its module.
        now: The moment that READY is judged by.
        after: The cursor: the key of the last run of the page before.
        limit: How many at most.
    """

    now: Micros
    kind: RunKind | None = None
    statuses: tuple[str, ...] | None = None
    name: str | None = None
    tag: str | None = None
    created_from: Micros | None = None
    created_until: Micros | None = None
    schedule: ScheduleId | None = None
    parent: RunKey | None = None
    roots: bool = False
    error: str | None = None
    after: RunKey | None = None
    limit: int = 100


class FailureFilter(Struct, frozen=True, gc=False):
    """Which failures are looked at; None means all.

    Args:
        error: Only this error; the name of the class alone, or with its module.
        type: Only of this task type, or of this kind of child run.
        since: Only those that failed at this moment or later.
        until: Only those that failed before this moment.
        examples: How many of each group are shown at most.
    """

    error: str | None = None
    type: str | None = None
    since: Micros | None = None
    until: Micros | None = None
    examples: int = 3


class FailedStep(NamedTuple):
    """One of the newest in a group of failures of one error and task type.

    Args:
        error: The qualified name of the exception's class.
        type: The task type; of a child run, or of the run itself, its kind.
        alike: How many there are in the group.
        step: Which step; ``WHOLE_RUN``: the run itself.
        at: When it failed.
        run: The run it belongs to.
        root: The run at the top of its tree, as far as that is there.
        root_kind: What that is a run of.
        data: What the event says that tells of it.
    """

    error: str
    type: str
    alike: int
    step: int
    at: Micros
    run: RunId
    root: RunId
    root_kind: RunKind
    data: JsonText | None


class BudgetLine(NamedTuple):
    """A budget that holds for a run: its own, or that of a run above it."""

    run: RunId
    unit: str
    share: Share


class SpendingFilter(Struct, frozen=True, gc=False):
    """Which spending is summed up, and by what; None means all.

    Args:
        by: ``run`` (that at the top of the tree), ``type``, ``tag`` (of that run) or ``unit``.
        unit: Only of this unit.
        since: Only what was spent at this moment or later.
        until: Only what was spent before this moment.
    """

    by: str
    unit: str | None = None
    since: Micros | None = None
    until: Micros | None = None


class Sum(NamedTuple):
    """What was spent of a unit, in billionths, for one of whatever it is summed up by."""

    of: str
    unit: str
    amount: int


class OpenApproval(Struct, frozen=True, gc=False):
    """An approval that nobody has answered yet.

    Args:
        run: The key of its run.
        run_id: The id of its run.
        kind: What that is a run of.
        name: What people call the run.
        step: The position of the step.
        until: When the time for an answer is over; None: never.
        asked: What is asked, and since when.
    """

    run: RunKey
    run_id: RunId
    kind: RunKind
    name: str
    step: int
    until: Micros | None
    asked: Asked


class ApprovalFilter(NamedTuple):
    """Which approvals a list shows, those that have waited longest first.

    Args:
        within: Only of this run and of those below it; None: of all.
        after: The cursor: when the last one of the page before was asked, its run and its step.
        limit: How many at most.
    """

    within: RunKey | None = None
    after: tuple[Micros, RunKey, int] = (Micros(-1), RunKey(-1), -1)
    limit: int = 100


class Tombstone(NamedTuple):
    """What stays of a deleted run."""

    id: RunId
    kind: RunKind
    status: str
    deleted_at: Micros


class WorkerRecord(Struct, frozen=True, gc=False):
    """A program that executes tasks, or did.

    Args:
        name: What people read: host, process id, a random part.
        types: The task types it executes, with the JSON Schema of their config.
        alive: Whether the operating system (on PostgreSQL, the server) still shows it to be there.
            False is certain unless it may return; True may also mean that nobody can tell.
        beat: How often it has renewed its lease.
        may_return: Whether it may be its connection that has ended, and not its program.
    """

    key: WorkerKey
    name: str
    types: Mapping[TaskType, JsonText]
    started_at: Micros
    alive: bool
    beat: int = 0
    may_return: bool = False


COUNTED: Final = (
    "runs", "steps", "events", "queue", "waits", "loans", "definitions", "schedules", "tombstones",
    "workers", "failures", "heartbeats", "signals", "questions",
)  # fmt: skip
"""What ``Figures`` counts, in this order."""


class Figures(NamedTuple):
    """How much a store holds.

    Args:
        rows: How many there are of each of ``COUNTED``.
        size_bytes: What it takes on the disk; 0: it has none.
        free_bytes: How much of that is empty and taken first by what is written next; None: it
            cannot be told.
    """

    rows: Mapping[str, int]
    size_bytes: int
    free_bytes: int | None


class Waiting(NamedTuple):
    """Somebody who waits for the end of another run.

    Args:
        awaited: The run that is waited for; it need not exist.
        run: Who waits.
    """

    awaited: RunId
    run: RunId


class OldRun(NamedTuple):
    """What decides whether a run may go.

    Args:
        has_parent: Whether the run that started it is still there.
    """

    key: RunKey
    created_at: Micros
    ended_at: Micros | None
    has_parent: bool


class BrokenLink(NamedTuple):
    """Something that points to nothing.

    Args:
        what: ``request`` (a run without what was asked for), ``owner`` (a run held by a worker
            that does not exist), ``step``, ``event``, ``line``, ``loan``, ``wait``, ``tag``,
            ``failure``, ``same``, ``heartbeat`` (of a run or step that does not exist), ``signal``,
            ``question`` (without the event that tells of it), ``name`` or ``schedule`` (without
            its definition).
        run: The key of the run.
        step: The position of the step.
        about: The id, type, tag or name that people know it by.
    """

    what: str
    run: RunKey | None
    step: int | None
    about: str | None


class GateState(NamedTuple):
    """A limit that a step of a run is subject to.

    Args:
        step: The step.
        limit: The limit.
        ready_at: From when the step may run, for all else.
        worker: Who executes its attempt, or is about to; None: it waits.
        held_back: Whether it waits for room under this limit, out of the queue.
    """

    step: int
    limit: Limit
    ready_at: Micros
    worker: WorkerKey | None
    held_back: bool


class Holder(NamedTuple):
    """A step whose attempt is counted under a limit."""

    run: RunId
    step: int
    worker: WorkerKey


class LimitFigures(NamedTuple):
    """How full a limit is.

    Args:
        limit: The limit; where those that are subject to it say different numbers, the highest.
        held: How many attempts are counted under it.
        waiting: How many lines are held back by it.
    """

    limit: Limit
    held: int
    waiting: int


class Store(Protocol):
    """Where everything is kept.

    Every write method is atomic, and durable once its future is done. All methods are called on
    one event loop. Any of them raises ``StoreError`` when the store fails, ``StoreUncertainError``
    when a write may or may not have happened.
    """

    async def open(self) -> None:
        """Open the store, creating or migrating it; may run beside other programs doing so.

        Raises:
            StoreError: It is corrupt, foreign, read-only, on a network file system, or of a
                version this program does not know; the message says which and what to do.
        """
        ...

    def hurry(self) -> None:
        """From now on whoever asks is told within seconds when the store cannot be reached.

        A program that is about to leave says so; the store is open.
        """
        ...

    async def close(self) -> None:
        """Finish the writes under way, release everything held, and close."""
        ...

    # runs

    def create(self, run: NewRun) -> asyncio.Future[Created]:
        """Store a new run; one with the same id and content is returned as it is.

        So is an earlier one that asks for the same (``NewRun.same``), however many programs ask at
        the same time.

        The id of a deleted run may be used again; its tombstone goes.

        Raises:
            ConflictError: A run of this id has another content, or is of another kind.
            NotFoundError: The run that starts it is gone.
            DefinitionError: It would wait for a process that waits for it.
        """
        ...

    def create_all(self, runs: Sequence[NewRun]) -> asyncio.Future[Sequence[Created]]:
        """Store new runs together, or none of them; the answers come in their order.

        One that is there with the same content, in the store or earlier in the list, is returned
        as it is.

        Raises:
            ConflictError: A run of one of the ids has another content, or is of another kind.
            NotFoundError: The run that starts one of them is gone.
            DefinitionError: One of them would wait for a process that waits for it.
        """
        ...

    def commit(self, plan: Plan) -> asyncio.Future[Committed]:
        """Write a plan if its fence holds.

        Raises:
            LeaseLost: The version or the epoch is stale, a loan that it grants is gone, or an
                attempt that it begins is subject to limits and not counted for its worker;
                nothing was written.
            NotFoundError: The run is gone.
        """
        ...

    def claim(self, request: ClaimRequest, begin: Begin | None = None) -> asyncio.Future[Claim]:
        """Hand due entries to a worker: remove them, and make it the owner of their runs.

        The plans of ``begin`` are written in the same transaction; the answer's records are as
        they were before them.

        Entries of runs that another worker drives stay in the queue and are passed over, whatever
        their number, but for the tasks of processes: those are borrowed (see ``Loan``), in the
        same order and for the same slots as all others, unless their lane ``is_alone``. Entries
        of runs that are gone are dropped.

        An entry that has to pass limits (``NewRun.gates``, ``Plan.gates``) is handed out only if
        there is room under each of them; from then on its step is counted for the worker. One that
        finds no room is held back: no claim meets it until a step that is counted under the limit
        that was full is counted no more, or its rate lets it begin; then the next one of each
        lane comes into the queue, behind what has become due meanwhile.
        """
        ...

    # limits

    async def gates(self, run: RunKey) -> Sequence[GateState]:
        """The limits that steps of a run are subject to that wait or run, by step and name."""
        ...

    async def holders(self, name: str, limit: int) -> Sequence[Holder]:
        """Whose attempts are counted under a limit, so many at most, the oldest runs first."""
        ...

    async def ahead(self, run: RunKey, step: int) -> int:
        """How many lines are held back by the same limit as this step and come before it."""
        ...

    async def limits(self, after: str, limit: int) -> Sequence[LimitFigures]:
        """The limits that anything is counted under or held back by, in the order of their names.

        Args:
            after: Only names after this one.
            limit: So many at most.
        """
        ...

    # signals and questions

    async def inbox(self, run: RunKey) -> Inbox:
        """What was sent to a run, and what its steps wait for; empty where there is neither.

        Only signals that nobody has taken come with what they say.
        """
        ...

    async def approvals(self, wanted: ApprovalFilter) -> Sequence[OpenApproval]:
        """Approvals that wait for an answer, those that have waited longest first."""
        ...

    # loans

    async def loans(self, run: RunKey) -> Sequence[Loan]:
        """All loans of a run's steps, in the order of the steps."""
        ...

    async def driven(self, worker: WorkerKey) -> Sequence[RunKey]:
        """All runs that a worker drives, oldest first."""
        ...

    async def borrowed(self, worker: WorkerKey) -> Sequence[Loan]:
        """All that a worker has borrowed, by run and step; a loan that is settled is not there."""
        ...

    def report(
        self, run: RunKey, step: int, worker: WorkerKey, attempt: int, report: JsonText
    ) -> asyncio.Future[None]:
        """Leave the ending of a borrowed attempt, and wake whoever drives the run.

        The same report once more changes nothing.

        Raises:
            LeaseLost: The loan is gone, is another worker's, or is about another attempt.
        """
        ...

    # heartbeats

    def hear(self, heard: Sequence[Heard]) -> asyncio.Future[None]:
        """Write what attempts say of themselves.

        It replaces what was said before, but details stay until there are others. What is said by
        an attempt that is not its step's running one changes nothing.
        """
        ...

    async def heartbeats(self, runs: Sequence[RunKey]) -> Sequence[Heard]:
        """What is known of attempts of the runs' steps, by run and step; old ones included."""
        ...

    async def load(self, run: RunId | RunKey) -> RunRecord | None:
        """The run with its steps, or None."""
        ...

    async def heads(self, runs: Sequence[RunId]) -> Mapping[RunId, RunRecord]:
        """Those of the runs that exist, without their steps."""
        ...

    async def outcomes(
        self, run: RunKey, steps: Sequence[int] | None = None
    ) -> Mapping[int, JsonText]:
        """What the ``outcome`` events of finished steps hold (of all, or of these), by position.

        Position -1 (``WHOLE_RUN``) stands for the head's own outcome. Events without data are
        left out.
        """
        ...

    async def history(self, run: RunKey, from_seq: int = 0, limit: int = 1000) -> Sequence[Event]:
        """Events of the run in order, from a seq on."""
        ...

    async def list_runs(self, wanted: RunFilter) -> Sequence[RunRecord]:
        """Runs that match, newest first; single tasks with their one step, others without."""
        ...

    # spending

    def spend(self, lines: Sequence[Spent]) -> asyncio.Future[bool]:
        """Write down what attempts have spent; a line that is there already stays as it is.

        It adds up in the budgets of the run and of all runs above it. Where nothing is left of one
        then, whatever was decided so far on runs below it that have not ended is stale, and they
        are woken. A line of a run that is gone is dropped.

        Returns:
            Whether runs were woken.
        """
        ...

    async def budgets(self, run: RunKey) -> Sequence[BudgetLine]:
        """The budgets that hold for a run: its own first, then those of the runs above it."""
        ...

    async def spent(self, run: RunKey) -> Mapping[str, int]:
        """What a run has spent with all runs below it, in billionths, by unit."""
        ...

    async def spending(self, wanted: SpendingFilter) -> Sequence[Sum]:
        """Sums of what was spent, in the order of what they are of, then of the units."""
        ...

    async def same_key(self, run: RunKey) -> SameKey | None:
        """What makes requests the same as the one that has created a run, as long as it does."""
        ...

    async def failures(self, run: RunKey) -> Mapping[int, Failing]:
        """What of a run has failed, by the position of the step; ``WHOLE_RUN``: the run itself."""
        ...

    async def failure_groups(self, wanted: FailureFilter) -> Sequence[FailedStep]:
        """What failed, by error and task type: the newest of each group, the largest group first.

        Groups of one size come in the order of error and type.
        """
        ...

    async def count_runs(self) -> Mapping[tuple[RunKind, str], int]:
        """How many runs there are of each kind and status."""
        ...

    async def queued_types(self) -> Mapping[TaskType, int]:
        """How many entries of each task type wait in the queue."""
        ...

    def delete_run(self, run: RunKey, version: int, now: Micros) -> asyncio.Future[None]:
        """Remove a finished run with its finished children, and leave tombstones.

        A child that is unfinished, or of which something is in flight, stays, with all below it.

        Raises:
            LeaseLost: The run has changed since that version.
            NotFoundError: The run is gone already.
            StateError: The run has not finished.
        """
        ...

    def purge(
        self, runs: Sequence[RunKey], ended_before: Micros, now: Micros
    ) -> asyncio.Future[int]:
        """Remove those of the runs that may go, each with all below it; leave tombstones.

        A run stays when it had not ended before then, when the run that started it is still there,
        when anything below it is unfinished or in flight, and when another run that is not
        COMPLETED waits for it or for anything below it.

        Args:
            runs: Their keys; one that is gone is passed over.
            ended_before: When they have to have ended.
            now: The moment, for the tombstones.

        Returns:
            How many runs are gone, those below included.
        """
        ...

    async def purgeable(self, runs: Sequence[RunKey], ended_before: Micros) -> int:
        """How many runs ``purge`` would remove now if it were told the same."""
        ...

    async def tombstone(self, run: RunId) -> Tombstone | None:
        """What stayed of a deleted run, or None."""
        ...

    # named definitions

    def define(
        self, kind: RunKind, name: str, definition: str, content: JsonText, now: Micros
    ) -> asyncio.Future[None]:
        """Let the name mean this definition from now on."""
        ...

    async def definition(self, kind: RunKind, name: str) -> JsonText | None:
        """What the name means, or None."""
        ...

    async def definition_names(self, kind: RunKind) -> Sequence[str]:
        """All names of a kind, sorted."""
        ...

    # schedules

    def create_schedule(self, schedule: Schedule) -> asyncio.Future[bool]:
        """Store a schedule; true when it is new, false when the same one was there.

        Raises:
            ConflictError: A schedule of this id has another content.
        """
        ...

    def fire(self, firings: Sequence[Firing]) -> asyncio.Future[Sequence[bool]]:
        """Write what firings changed; false for each whose schedule has another version by now.

        Of the schedule its status with note and since, counts, moments, backfill and last run are
        written; what it starts and when it fires stay as they were created.
        """
        ...

    async def schedule(self, schedule: ScheduleId) -> Schedule | None:
        """The schedule, or None."""
        ...

    async def due_schedules(self, now: Micros, limit: int) -> Sequence[tuple[Schedule, bool]]:
        """ACTIVE schedules that have to be looked at by now, the longest due first.

        Each comes with whether the run of its last firing is still unfinished, or an attempt of it
        in flight.
        """
        ...

    async def next_schedule_at(self, after: Micros) -> Micros | None:
        """When the next ACTIVE schedule has to be looked at, after a moment."""
        ...

    async def list_schedules(
        self, status: ScheduleStatus | None, after: ScheduleId | None, limit: int
    ) -> Sequence[Schedule]:
        """Schedules in the order of their ids."""
        ...

    def delete_schedule(self, schedule: ScheduleId) -> asyncio.Future[bool]:
        """Remove it; its past firings stay. False when there was none."""
        ...

    # workers

    def register_worker(
        self, name: str, types: Mapping[TaskType, JsonText], now: Micros
    ) -> asyncio.Future[WorkerKey]:
        """Make this program known as a worker; the store shows that it lives until it closes.

        May be called again by the same store to change the types; the key stays, unless the
        worker has been taken for dead meanwhile: then it gets a new one.
        """
        ...

    def beat(self) -> asyncio.Future[bool]:
        """Renew this worker's lease; false when it has been taken for dead.

        Then its runs may be driven by others and its loans are gone: it has to stop all that it
        executes, and to register anew, under a new key.
        """
        ...

    def keep_lease(self, every: Micros, longest: Micros) -> None:
        """From now on renew this worker's lease on another thread while the event loop is busy.

        Args:
            every: So long after the last renewal, by whomever.
            longest: Until so long after the last ``beat``; then the loop is taken for frozen.
        """
        ...

    def release_dead(
        self,
        now: Micros,
        silent: Sequence[tuple[WorkerKey, int]] = (),
        spared: Collection[WorkerKey] = (),
    ) -> asyncio.Future[int]:
        """Take the runs of workers that died from them, and wake each run.

        What they had borrowed and was not granted is queued again; a loan that was granted is
        marked as lost, and whoever drives the run is woken to look at that step.

        Args:
            now: The moment.
            silent: Workers that count as dead too, unless they have renewed their lease since:
                each with the last ``beat`` that was seen of it.
            spared: Workers that seem dead and are left alone for now, since they may return.

        Returns how many runs were freed or woken. Rows of dead workers are removed.
        """
        ...

    def retire_worker(self, now: Micros) -> asyncio.Future[None]:
        """This program executes nothing any more: free what it still drives, and forget it.

        What it had borrowed goes the way of a dead worker's.
        """
        ...

    async def workers(self) -> Sequence[WorkerRecord]:
        """All workers known, dead ones not yet removed included."""
        ...

    async def type_schemas(self) -> Mapping[TaskType, JsonText]:
        """The JSON Schemas of all task types that any worker has had."""
        ...

    async def describe(self) -> Mapping[str, str]:
        """What there is to know of the store itself, for people: versions, place, size."""
        ...

    # care

    async def figures(self) -> Figures:
        """How much there is of everything; counting takes a while where there is much."""
        ...

    async def oldest_runs(
        self, kind: RunKind, status: str, after: RunKey, limit: int
    ) -> Sequence[OldRun]:
        """Runs that are in one status (as stored, never READY), the oldest first.

        Args:
            kind: Of this kind.
            status: In this status.
            after: Only runs with a higher key than this.
            limit: How many at most.
        """
        ...

    async def lines(self, run: RunKey) -> Sequence[Entry]:
        """All that waits in the queue to be taken up of a run, in no particular order."""
        ...

    async def awaited(self, run: RunKey) -> Sequence[RunId]:
        """Whose ends wake a run, sorted."""
        ...

    async def waiting_for(self, runs: Sequence[RunId]) -> Sequence[Waiting]:
        """Who waits for any of these, by itself or through others, in no particular order.

        These are the processes that have not started (those too that have failed or were cancelled
        before that: they may be retried), and the unfinished parents of child runs. None of the
        ids needs to exist.
        """
        ...

    async def broken_links(self, limit: int) -> Sequence[BrokenLink]:
        """What points to nothing, so many at most; the whole store is read for it."""
        ...

    async def damage(self, *, quick: bool) -> Sequence[str]:
        """What of the store itself is damaged, a sentence each; the whole store may be read for it.

        Args:
            quick: Leave out what takes longest: whether indexes and tables agree.
        """
        ...

    async def back_up(self, target: Path) -> None:
        """Write what is stored at this moment to a file, durably, while others go on writing.

        Raises:
            UsageError: The file is there already.
            StoreError: It cannot be written, or this store cannot be backed up; the message says
                what to do.
        """
        ...

    # changes by others

    def changed(self) -> bool:
        """Whether another program has committed since the last call; cheap and immediate."""
        ...

    def listen(self, ring: Callable[[], None]) -> None:
        """Call this on the event loop soon after another program has committed.

        It may be called too often, and a call may get lost: ``changed`` is the safety net.
        """
        ...
