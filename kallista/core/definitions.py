"""What to run: the immutable description that a run keeps from its start to its end."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property, partial
from typing import Final, TypeAlias

from msgspec import Struct

from kallista.core.dependencies import DependencyPolicy
from kallista.core.limits import LimitSpec
from kallista.core.plan import DEFAULT_QUEUE
from kallista.core.questions import ASKING
from kallista.core.retry import NO_RETRY, RetryPolicy
from kallista.core.states import RunKind
from kallista.core.trigger_rules import TriggerRule
from kallista.core.types import Json, Micros, RunId, StepId, TaskType


class InputSpec(Struct, frozen=True, gc=False):
    """One declared argument of a definition.

    Args:
        schema: A JSON Schema of the value (``{"type": "string"}``).
        required: Whether a run must be given a value.
        default: The value when none is given and none is required.
    """

    schema: Mapping[str, Json]
    required: bool = True
    default: Json = None


DEFAULT_MAX_CRASHES: Final = 5


class TaskSpec(Struct, frozen=True, gc=False):
    """What one task executes.

    Args:
        type: The task type whose handler executes it.
        config: The handler's arguments; texts may hold ``${…}`` references.
        retry: How failed attempts are tried again.
        timeout: The limit of one attempt.
        deadline: The limit of all attempts together, from when the task may first run.
        max_crashes: How often its worker may die while it runs; then it is set aside as FAILED.
        queue: Only workers that serve this queue execute it.
        heartbeat_timeout: How long an attempt may be silent before it is stopped, and has failed.
        limits: What its attempts are counted under, over all workers.
    """

    type: TaskType
    config: Mapping[str, Json]
    retry: RetryPolicy = NO_RETRY
    timeout: Micros | None = None
    deadline: Micros | None = None
    max_crashes: int = DEFAULT_MAX_CRASHES
    queue: str = DEFAULT_QUEUE
    heartbeat_timeout: Micros | None = None
    limits: tuple[LimitSpec, ...] = ()

    def is_suspect(self, crashes: int) -> bool:
        """Whether one more crash sets it aside: so that nobody else is blamed, it runs alone."""
        return crashes > 0 and crashes + 1 >= self.max_crashes


class ChildSpec(Struct, frozen=True, gc=False):
    """The run that a task or step of type workflow or process starts.

    Args:
        definition: What the child runs; names are resolved when the parent is created.
        inputs: The child's own arguments; texts may hold ``${…}`` references.
    """

    definition: Definition
    inputs: Mapping[str, Json]


class Case(Struct, frozen=True, gc=False):
    """One way to go on from a switch.

    Args:
        when: The condition (CEL) under which it is chosen.
        then: Positions of the steps that run then.
    """

    when: str
    then: tuple[int, ...]


class SwitchSpec(Struct, frozen=True, gc=False):
    """The choice between branches that a step makes.

    Args:
        cases: In the order in which they are asked; the first that holds is chosen.
        otherwise: Positions of the steps that run when none of them holds.
    """

    cases: tuple[Case, ...]
    otherwise: tuple[int, ...] = ()

    @property
    def branches(self) -> frozenset[int]:
        """The positions of all steps of which it chooses."""
        return frozenset(self.otherwise).union(*(case.then for case in self.cases))


DEFAULT_MAX_PARALLEL: Final = 10


class MapSpec(Struct, frozen=True, gc=False):
    """What a step does with each item of a list: it starts a child run.

    Args:
        child: What is run for an item; its inputs may read ``${item}`` and ``${index}``. Of a task
            the definition has an empty config, for its inputs are that.
        items: The list; texts in it may hold ``${…}`` references, or it is one.
        max_parallel: How many items are under way at a time.
        collect: Whether the result is the list of what the items returned.
    """

    child: ChildSpec
    items: Json
    max_parallel: int = DEFAULT_MAX_PARALLEL
    collect: bool = True


SWITCH: Final = TaskType("switch")
"""What is shown as the type of a step that chooses."""

Work: TypeAlias = TaskSpec | ChildSpec | MapSpec | SwitchSpec
"""What a step does."""


def type_of(work: Work) -> TaskType:
    """What people know a step's work by: the task type, the kind of its child runs, ``switch``."""
    match work:
        case TaskSpec(type=type):
            return type
        case ChildSpec(definition=definition):
            return TaskType(definition.kind.value)
        case MapSpec(child=ChildSpec(definition=definition)):
            is_task = definition.kind is RunKind.TASK
            return type_of(definition.steps[0].work) if is_task else TaskType(definition.kind.value)
        case SwitchSpec():
            return SWITCH


class Phase(StrEnum):
    """In which part of a run a step runs."""

    MAIN = "main"
    UNDO = "undo"
    FINALLY = "finally"


class OnFailure(StrEnum):
    """What a run does when it fails."""

    STOP = "stop"
    ROLLBACK = "rollback"


class StepSpec(Struct, frozen=True, gc=False):
    """One step: a task of a workflow, a step of a process, or the one step of a single task.

    Args:
        id: Unique within the definition; empty in a single task's: it is called as its run is.
        name: What people read; the id when none is given.
        work: A task that a handler executes, a child run or many, or a choice between later steps.
        depends_on: Positions of the steps before it, ascending.
        when: A condition (CEL); the step is skipped when it is false.
        continue_on_error: Its failure is recorded, and what depends on it goes on.
        priority: Added to nothing: overrides the run's own priority when given.
        trigger_rule: What it asks of the steps before it.
        phase: Whether the run is for it, or it undoes another one, or runs at the end.
        undoes: The position of the step that it undoes.
        branch_of: The position of the switch that decides whether it runs.
    """

    id: StepId
    name: str
    work: Work
    depends_on: tuple[int, ...] = ()
    when: str | None = None
    continue_on_error: bool = False
    priority: int | None = None
    trigger_rule: TriggerRule = TriggerRule.ALL_COMPLETED
    phase: Phase = Phase.MAIN
    undoes: int | None = None
    branch_of: int | None = None


class Expiry(Struct, frozen=True, gc=False):
    """Until when a run is of use: one of the two is given.

    Args:
        after: So long after its creation.
        at: Until this moment.
    """

    after: Micros | None = None
    at: Micros | None = None

    def moment(self, created_at: Micros) -> Micros:
        """When a run expires that was created at a moment."""
        return Micros(created_at + (self.after or 0)) if self.at is None else self.at


# eq=False keeps identity comparison: definitions are compared by their content hash.
@dataclass(frozen=True, eq=False)
class Definition:
    """A workflow's tasks, a process's steps, or the one step of a single task.

    Args:
        kind: What a run of it is.
        name: What people read, and the name to run it by when it is defined; empty where a single
            task is given none: people read the id of its run.
        steps: In the order they were listed, those of the main phase first, then those that undo,
            then those that run at the end; positions are used everywhere inside.
        continue_on_error: The default of its steps.
        deadline: The limit of a whole run, from its start.
        inputs: The arguments a run may be given, by name.
        dependencies: Processes that must have completed before a run starts.
        dependency_policies: What a run does about those that fail, where that is not to wait.
        priority: Of its runs, unless a run says otherwise; higher runs first.
        tags: Of its runs.
        on_failure: What a run does when it fails.
        expires: Until when a run is of use of which nothing has begun; None: for ever.
        budget: What a run may spend with all that it starts, in billionths, by unit.
        under_budget: A budget of what starts it holds for it as well.
    """

    kind: RunKind
    name: str
    steps: tuple[StepSpec, ...]
    continue_on_error: bool = False
    deadline: Micros | None = None
    inputs: Mapping[str, InputSpec] = field(default_factory=dict)
    dependencies: tuple[RunId, ...] = ()
    priority: int = 0
    tags: tuple[str, ...] = ()
    on_failure: OnFailure = OnFailure.STOP
    expires: Expiry | None = None
    budget: Mapping[str, int] = field(default_factory=dict)
    under_budget: bool = False
    dependency_policies: Mapping[RunId, DependencyPolicy] = field(default_factory=dict)
    # Every decision looks at these: a plain attribute costs it a tenth of a cached property.
    is_budgeted: bool = field(init=False, repr=False)
    """Whether nothing of a run may begin before it is known what is spent."""
    main_count: int = field(init=False, repr=False)
    """How many of its steps belong to the main phase."""
    maps: tuple[int, ...] = field(init=False, repr=False)
    """The positions of the steps that go through a list."""
    asks: bool = field(init=False, repr=False)
    """Whether it has steps that wait for what comes from outside."""
    has_rules: bool = field(init=False, repr=False)
    """Whether some of its steps may run although one before has not completed."""
    limited: frozenset[int] = field(init=False, repr=False)
    """The positions of its steps whose attempts are counted over all workers."""

    def __post_init__(self) -> None:
        """Derive what follows from the steps."""
        main, all_completed = Phase.MAIN, TriggerRule.ALL_COMPLETED
        main_count = 0
        maps: list[int] = []
        limited: list[int] = []
        asks = has_rules = False
        for position, step in enumerate(self.steps):
            work = step.work
            if isinstance(work, TaskSpec):
                if work.type in ASKING:
                    asks = True
                if work.limits:
                    limited.append(position)
            elif isinstance(work, MapSpec):
                maps.append(position)
            if step.phase is main:
                main_count += 1
            if step.trigger_rule is not all_completed:
                has_rules = True
        derive = partial(object.__setattr__, self)
        derive("is_budgeted", self.under_budget or bool(self.budget))
        derive("main_count", main_count)
        derive("maps", tuple(maps))
        derive("asks", asks)
        derive("has_rules", has_rules)
        derive("limited", frozenset(limited))

    def policy_on(self, dependency: RunId) -> DependencyPolicy:
        """What its runs do about a process that they wait for, if that fails."""
        return self.dependency_policies.get(dependency, DependencyPolicy.WAIT)

    @cached_property
    def tolerates_failures(self) -> bool:
        """Whether it has steps whose failure lets pass what depends on them."""
        return any(step.continue_on_error for step in self.steps)

    @cached_property
    def dependents(self) -> tuple[tuple[int, ...], ...]:
        """For each step, the positions of the steps that depend on it, ascending.

        Not derived beforehand: where a description has problems, some steps may not be there.
        """
        found: list[list[int]] = [[] for _ in self.steps]
        for position, step in enumerate(self.steps):
            for before in step.depends_on:
                found[before].append(position)
        return tuple(map(tuple, found))

    @cached_property
    def predecessors(self) -> tuple[int, ...]:
        """For each step, how many steps it depends on."""
        return tuple(len(step.depends_on) for step in self.steps)

    @cached_property
    def position(self) -> Mapping[StepId, int]:
        """Where the step of an id stands."""
        return {step.id: position for position, step in enumerate(self.steps)}
