"""What one decision writes: all of it in one transaction, or none of it."""

from __future__ import annotations

from typing import Final, TypeAlias

from msgspec import Struct

from kallista.core.events import Event, RunHead, StepState
from kallista.core.inbox import InboxChanges
from kallista.core.limits import Gate
from kallista.core.states import RunKind
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

WAKE: Final = TaskType("")
"""The type of an entry that asks for a look at a run instead of for a handler."""

WHOLE_RUN: Final = -1
"""The step of an entry that concerns the run itself."""

DEFAULT_QUEUE: Final = "default"
"""The queue of a task that names none."""


_ALONE: Final = "!"


def lane(type: TaskType, queue: str) -> TaskType:
    """What a task's entry is claimed by: its type, and its queue if that is not the default one."""
    return type if queue == DEFAULT_QUEUE else TaskType(f"{type}@{queue}")


def alone(lane: TaskType) -> TaskType:
    """The lane of tasks that are to have their worker for themselves (ADR 9)."""
    return TaskType(lane + _ALONE)


def is_alone(lane: TaskType) -> bool:
    """Whether what waits in a lane is to have its worker for itself.

    It is not lent, for nobody but the driver of a run knows when to begin it.
    """
    return lane.endswith(_ALONE)


def type_of_lane(lane: TaskType) -> TaskType:
    """The task type of what waits in a lane."""
    return TaskType(lane.removesuffix(_ALONE).partition("@")[0])


def queue_of_lane(lane: TaskType) -> str:
    """The queue that a lane belongs to."""
    return lane.removesuffix(_ALONE).partition("@")[2] or DEFAULT_QUEUE


class Entry(Struct, frozen=True, gc=False):
    """A line of the queue: from ``ready_at`` on, a worker may take up this step of the run.

    Its ``type`` is a ``lane``, a task type in a queue: the step may start. Of type ``WAKE``: look
    at the step (or the whole run), for a sleep is over, a time limit has come, or another run has
    changed.
    """

    type: TaskType
    priority: int
    ready_at: Micros
    step: int = WHOLE_RUN


class Fence(Struct, frozen=True, gc=False):
    """What a writer shows to prove that it decided on the newest state.

    Args:
        version: The version of the run it decided on.
        epoch: The epoch in which it owns the run; None for a command, which needs no ownership.
    """

    version: int
    epoch: int | None


class Ownership(Struct, frozen=True, gc=False):
    """Who drives the run after this plan: nobody (worker None), or a worker in a new epoch."""

    worker: WorkerKey | None
    epoch: int


class Grant(Struct, frozen=True, gc=False, order=True):
    """A step that another worker may execute: it has asked for it, and this is its attempt."""

    step: int
    worker: WorkerKey
    attempt: int


class Failing(Struct, frozen=True, gc=False):
    """A step that has failed, or the run itself, as lists of what failed show it.

    Args:
        error: The qualified name of the exception's class.
        type: The task type; of a child run, or of the run itself, its kind.
        seq: The event that tells of it.
        at: When it failed.
    """

    error: str
    type: str
    seq: int
    at: Micros


Failures: TypeAlias = tuple[tuple[int, Failing | None], ...]
"""What has failed, by the position of the step, and what is not FAILED any more (None)."""


class SameKey(Struct, frozen=True, gc=False):
    """By what a later request is known to be the same: it gets this run instead of one of its own.

    Args:
        scope: What is started, for a key means nothing beyond it.
        key: The key that the user has given.
        until: Up to which moment.
    """

    scope: str
    key: str
    until: Micros


class NewRun(Struct, frozen=True, gc=False):
    """A run that is to exist; the first plan of its life is part of it.

    Args:
        id: Unique over all kinds of runs.
        kind: What it is a run of.
        name: What people read.
        definition: The hash under which its definition is stored.
        definition_content: The definition itself, stored once per hash.
        content: The hash of the request; the same id with another content is a conflict.
        inputs: Its arguments, a JSON object.
        parent: The run and the step that started it.
        schedule: The schedule whose firing it is.
        priority: Higher runs first.
        tags: To find it by.
        created_at: When.
        waits_for: Processes whose ends it wants to be woken by.
        owner: The worker that drives it from the start, in epoch 1; None: whoever claims it.
        head: The state of the run itself.
        steps: The states of its steps; a single task has one.
        events: What has happened to it so far.
        enqueue: What of it waits to be taken up.
        failures: What of it has failed already.
        same: What makes later requests the same as this one; a run that is there already with
            this key, whose time is not over and that is neither FAILED nor CANCELLED, is the
            answer instead of this one.
        forked_from: Of a fork: the run that it goes on from, and at which step.
        budget: What it may spend, in billionths, by unit.
        gates: What some of these lines have to pass.
    """

    id: RunId
    kind: RunKind
    name: str
    definition: str
    definition_content: JsonText
    content: str
    inputs: JsonText
    parent: tuple[RunKey, int] | None
    schedule: ScheduleId | None
    priority: int
    tags: tuple[str, ...]
    created_at: Micros
    waits_for: tuple[RunId, ...]
    owner: WorkerKey | None
    head: RunHead
    steps: tuple[StepState, ...]
    events: tuple[Event, ...]
    enqueue: tuple[Entry, ...]
    failures: Failures = ()
    same: SameKey | None = None
    forked_from: tuple[RunId, StepId] | None = None
    budget: tuple[tuple[str, int], ...] = ()
    gates: tuple[Gate, ...] = ()


class GateChanges(Struct, frozen=True, gc=False):
    """What a plan changes for steps whose attempts are counted over all workers.

    Args:
        opened: Steps whose gates are gone, with what they held, and with all that waits to be
            taken up of them: their lines, and wishes for them that are not granted.
        closed: What the lines among ``enqueue`` have to pass; written after ``opened``.
        begun: Attempts that begin, each with the worker that executes it; it has to hold what a
            claim has taken for it, or else the plan is stale.
        at: The moment, for the order in which others follow.
    """

    opened: tuple[int, ...]
    closed: tuple[Gate, ...]
    begun: tuple[tuple[int, WorkerKey], ...]
    at: Micros


class Redefinition(Struct, frozen=True, gc=False):
    """What a run runs from now on.

    Args:
        definition: The hash under which the definition is stored.
        content: The definition itself.
        steps: How many steps it has.
    """

    definition: str
    content: JsonText
    steps: int


class Plan(Struct, frozen=True, gc=False):
    """What one decision on one run writes.

    Args:
        run: Whose plan it is.
        fence: Checked first, inside the transaction; when it is stale nothing is written.
        head: The run's head afterwards.
        ownership: Who drives it afterwards; None leaves that as it is.
        events: New history, in order.
        steps: The steps that changed, by position.
        enqueue: New lines of the queue; one that is there already stays.
        dequeue: Lines that are void now; one that is gone already is no error.
        create: Child runs; one that exists already is left as it is.
        wake: Child runs, by id, that should be looked at because of this plan; unknown ones are
            passed over.
        wake_parent: The run has finished or goes on again: its parent should look at the step
            that started it.
        announce: The run has finished or has been retried: wake those that wait for its id.
        tell_owner: A command from elsewhere: wake the worker that drives the run.
        lend: Wishes for steps of this run that it grants.
        recall: Steps whose borrowers are to stop their handlers; one without a loan is no error.
        settle: Steps whose loans end with this plan; one without a loan is no error.
        failures: What of it fails, or goes on again.
        budget: New limits of its budgets, in billionths, by unit.
        forget: Steps whose heartbeats nobody needs any more; one without is no error.
        inbox: What changes of what was sent to the run, and of what its steps wait for.
        redefine: What the run runs from now on; None: what it did.
        gates: What it changes for steps with limits; None: the run has none.
    """

    run: RunKey
    fence: Fence
    head: RunHead
    ownership: Ownership | None = None
    events: tuple[Event, ...] = ()
    steps: tuple[tuple[int, StepState], ...] = ()
    enqueue: tuple[Entry, ...] = ()
    dequeue: tuple[Entry, ...] = ()
    create: tuple[NewRun, ...] = ()
    wake: tuple[RunId, ...] = ()
    wake_parent: bool = False
    announce: bool = False
    tell_owner: bool = False
    lend: tuple[Grant, ...] = ()
    recall: tuple[int, ...] = ()
    settle: tuple[int, ...] = ()
    failures: Failures = ()
    budget: tuple[tuple[str, int], ...] = ()
    forget: tuple[int, ...] = ()
    inbox: InboxChanges | None = None
    redefine: Redefinition | None = None
    gates: GateChanges | None = None
