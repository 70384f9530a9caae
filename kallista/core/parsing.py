"""From what users write to definitions: everything is checked here, all problems at once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Final, TypeAlias

from kallista.core.definitions import ChildSpec, Definition, InputSpec, StepSpec, TaskSpec
from kallista.core.durations import parse_duration
from kallista.core.encoding import definition_text
from kallista.core.expressions import Compiled, compile_condition, compile_value
from kallista.core.ids import canonical_json, check_id
from kallista.core.inputs import misfits, read_input
from kallista.core.plain import MAX_DEPTH, plain, shown
from kallista.core.retry import RetryPolicy, parse_retry
from kallista.core.states import RunKind
from kallista.core.types import Json, Micros, RunId, StepId, TaskType
from kallista.errors import DefinitionError, UsageError

CheckTask: TypeAlias = "Callable[[TaskType, Mapping[str, Json], frozenset[str]], Sequence[str]]"
"""Says what is wrong with a task's type and config; the set names keys that hold references."""

Lookup: TypeAlias = "Callable[[RunKind, str], Definition | None]"
"""The definition that a name stands for."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How large a definition may be.

    Args:
        steps: Steps of one definition, those of its child runs not counted.
        payload: Bytes of one task's config, as JSON.
        definition: Bytes of a whole definition, child runs included.
    """

    steps: int = 10_000
    payload: int = 1024 * 1024
    definition: int = 8 * 1024 * 1024


TASK_KEYS: Final = frozenset(
    {"id", "type", "name", "config", "retry", "timeout", "deadline", "when", "priority",
     "continue_on_error"}
)  # fmt: skip
"""The keys of a task that are its own; all others go to its handler."""

RESERVED_KEYS: Final = frozenset(
    {"queue", "concurrency_key", "rate_limit", "compensate", "for_each", "switch", "trigger_rule",
     "on_failure", "deduplicate", "expires_at", "heartbeat_timeout"}
)  # fmt: skip
"""Keys that mean something in later versions, and therefore nothing else today."""

CONFIG_KEYS: Final = frozenset(
    {"continue_on_error", "retry", "timeout", "deadline", "tags", "priority", "inputs"}
)
"""What a workflow's or process's ``config`` may say."""

PROCESS_KEYS: Final = CONFIG_KEYS | {"id", "kind", "name", "steps", "dependencies", "config"}

_STEP_KEYS: Final = frozenset(
    {"id", "type", "name", "depends_on", "when", "continue_on_error", "priority"}
)
_TASK_STEP_KEYS: Final = _STEP_KEYS | {"task_data", "retry", "timeout", "deadline"}
_WORKFLOW_STEP_KEYS: Final = _STEP_KEYS | {"tasks", "config", "inputs"}
_PROCESS_STEP_KEYS: Final = _STEP_KEYS | {"steps", "config", "inputs"}


@dataclass(frozen=True, slots=True)
class _Settings:
    """What holds for all steps of a definition unless they say otherwise."""

    continue_on_error: bool = False
    retry: RetryPolicy = field(default_factory=RetryPolicy)
    timeout: Micros | None = None
    deadline: Micros | None = None
    tags: tuple[str, ...] = ()
    priority: int = 0
    inputs: Mapping[str, InputSpec] = field(default_factory=dict)


class _Reader:
    """Reads one description and gathers what is wrong with it."""

    def __init__(
        self,
        check_task: CheckTask,
        limits: Limits,
        lookup: Lookup | None = None,
        place: str = "",
        depth: int = 0,
    ) -> None:
        self.check_task = check_task
        self.limits = limits
        self.lookup = lookup
        self.place = place
        self.depth = depth
        self.problems: list[str] = []

    def inside(self, where: str) -> _Reader:
        """A reader for a part, whose problems are told with its place."""
        place = f"{self.place}{where}: "
        part = _Reader(self.check_task, self.limits, self.lookup, place, self.depth + 1)
        part.problems = self.problems
        return part

    def wrong(self, problem: str) -> None:
        """Note a problem."""
        self.problems.append(f"{self.place}{problem}")

    # small values

    def mapping(self, value: object, what: str) -> Mapping[str, object]:
        """A mapping with texts as keys; an empty one when it is something else."""
        if value is None:
            return {}
        if isinstance(value, Mapping) and all(isinstance(key, str) for key in value):
            return value
        self.wrong(f"{what} must be a mapping, not {shown(value)}")
        return {}

    def known_keys(self, data: Mapping[str, object], known: frozenset[str], what: str) -> None:
        """Complain about keys that are not among the known ones."""
        for key in data:
            if key in RESERVED_KEYS:
                self.wrong(f"{key} is reserved for a later version; leave it out")
            elif key not in known:
                self.wrong(f"{what} knows no key {key!r}{_near(key, known)}")

    def duration(self, value: object, what: str) -> Micros | None:
        """A length of time above zero."""
        if value is None:
            return None
        try:
            length = parse_duration(value)
        except UsageError as error:
            self.wrong(f"{what}: {error}")
            return None
        if length <= 0:
            self.wrong(f"{what} must be longer than nothing")
        return length

    def retry(self, value: object) -> RetryPolicy:
        """A retry policy."""
        try:
            return parse_retry(value)
        except UsageError as error:
            for problem in error.problems:
                self.wrong(problem if "retry" in problem else f"retry: {problem}")
            return RetryPolicy()

    def flag(self, value: object, what: str) -> bool:
        """True or false."""
        if not isinstance(value, bool):
            self.wrong(f"{what} must be true or false, not {shown(value)}")
        return bool(value)

    def priority(self, value: object) -> int:
        """A whole number."""
        if isinstance(value, bool) or not isinstance(value, int) or abs(value) >= 2**31:
            self.wrong(f"priority must be a whole number, not {shown(value)}")
            return 0
        return value

    def tags(self, value: object) -> tuple[str, ...]:
        """A list of texts."""
        if isinstance(value, (list, tuple)) and all(isinstance(tag, str) and tag for tag in value):
            return tuple(value)
        self.wrong(f"tags must be a list of texts, not {shown(value)}")
        return ()

    def name(self, value: object, what: str) -> str:
        """A text that is not empty."""
        if isinstance(value, str) and value.strip() and len(value) <= 500:
            return value
        self.wrong(f"{what} must be a text of 1 to 500 characters, not {shown(value)}")
        return ""

    def id(self, value: object, what: str) -> str:
        """An id by the pattern that all ids have."""
        try:
            return check_id(value, what)
        except UsageError as error:
            self.wrong(str(error))
            return ""

    def json(self, value: object, what: str) -> Json:
        """Plain data within the size of a payload."""
        problems: list[str] = []
        data = plain(value, what, problems)
        for problem in problems:
            self.wrong(problem)
        if not problems:
            size = len(canonical_json(data).encode())
            if size > self.limits.payload:
                self.wrong(f"{what} takes {size:,} bytes; {self.limits.payload:,} are allowed")
        return None if problems else data

    # settings

    def settings(self, config: Mapping[str, object]) -> _Settings:
        """What a definition says about all its steps."""
        return _Settings(
            continue_on_error=self.flag(
                config.get("continue_on_error", False), "continue_on_error"
            ),
            retry=self.retry(config.get("retry")),
            timeout=self.duration(config.get("timeout"), "timeout"),
            deadline=self.duration(config.get("deadline"), "deadline"),
            tags=self.tags(config.get("tags", ())),
            priority=self.priority(config.get("priority", 0)),
            inputs=self.inputs(config.get("inputs")),
        )

    def inputs(self, value: object) -> Mapping[str, InputSpec]:
        """The inputs that a definition declares."""
        declared: dict[str, InputSpec] = {}
        for name, data in self.mapping(value, "inputs").items():
            spec, problems = read_input(name, data)
            for problem in problems:
                self.wrong(problem)
            if spec is not None:
                declared[name] = spec
        return declared

    # tasks

    def task(self, data: Mapping[str, object], settings: _Settings) -> TaskSpec:
        """What a task executes; its id, name and the like are read by whoever lists it."""
        type = self.name(data.get("type"), "type")
        for key in sorted(RESERVED_KEYS & data.keys()):
            self.wrong(f"{key} is reserved for a later version; leave it out")
        config = dict(self.mapping(data.get("config"), "config"))
        for key in data.keys() - TASK_KEYS - RESERVED_KEYS:
            if key in config:
                self.wrong(f"{key!r} stands both in config and beside it; give it once")
            config[key] = data[key]
        payload = self.json(config, "config")
        plain = payload if isinstance(payload, dict) else {}
        if type and isinstance(payload, dict):
            for problem in self.check_task(TaskType(type), plain, _unresolved(plain)):
                self.wrong(problem)
        return TaskSpec(
            type=TaskType(type),
            config=plain,
            retry=self.retry(data["retry"]) if "retry" in data else settings.retry,
            timeout=(
                self.duration(data["timeout"], "timeout") if "timeout" in data else settings.timeout
            ),
            deadline=self.duration(data.get("deadline"), "deadline"),
        )

    def workflow(self, name: str, tasks: object, config: Mapping[str, object]) -> Definition:
        """A workflow: each task depends on the one before it."""
        self.known_keys(config, CONFIG_KEYS, "config")
        settings = self.settings(config)
        listed = self.listed(tasks, "tasks", "a workflow")
        ids = self.ids(listed, "task")
        steps = []
        for position, (id, data) in enumerate(zip(ids, listed, strict=True)):
            part = self.inside(f"task {id!r}")
            if "depends_on" in data:
                part.wrong("the tasks of a workflow run one after the other; use a process")
                data = {key: value for key, value in data.items() if key != "depends_on"}
            before = (position - 1,) if position else ()
            steps.append(part.step(id, data, part.task(data, settings), before, settings))
        definition = _definition(RunKind.WORKFLOW, name, steps, settings, ())
        self.references(definition)
        return definition

    def step(
        self,
        id: str,
        data: Mapping[str, object],
        work: TaskSpec | ChildSpec,
        before: tuple[int, ...],
        settings: _Settings,
    ) -> StepSpec:
        """A step whose work and predecessors have been read."""
        when = data.get("when")
        if when is not None and not isinstance(when, str):
            if isinstance(when, bool):
                when = "true" if when else "false"
            else:
                self.wrong(f"when must be a condition, not {shown(when)}")
                when = None
        return StepSpec(
            id=StepId(id),
            name=self.name(data["name"], "name") if "name" in data else id,
            work=work,
            depends_on=before,
            when=when,
            continue_on_error=(
                self.flag(data["continue_on_error"], "continue_on_error")
                if "continue_on_error" in data
                else settings.continue_on_error
            ),
            priority=self.priority(data["priority"]) if "priority" in data else None,
        )

    def listed(self, value: object, what: str, owner: str) -> list[Mapping[str, object]]:
        """The tasks or steps of a definition."""
        if not isinstance(value, (list, tuple)) or not value:
            self.wrong(f"{owner} needs {what}: a list with at least one entry")
            return []
        if len(value) > self.limits.steps:
            self.wrong(f"{len(value):,} {what} are too many; {self.limits.steps:,} are allowed")
            return []
        return [self.mapping(item, f"{what}[{place}]") for place, item in enumerate(value)]

    def ids(self, listed: Sequence[Mapping[str, object]], what: str) -> list[str]:
        """The ids of tasks or steps; who has none is named after its type."""
        given = {id for data in listed if isinstance(id := data.get("id"), str)}
        seen: set[str] = set()
        counts: dict[str, int] = {}
        ids = []
        for place, data in enumerate(listed):
            if "id" in data:
                id = self.id(data["id"], f"{what} id")
                if id and id in seen:
                    self.wrong(f"two {what}s have the id {id!r}; give each its own")
            else:
                id = _unused(_type_word(data), given | seen, counts)
            seen.add(id)
            ids.append(id or f"{what}-{place + 1}")
        return ids

    # processes

    def process(self, data: Mapping[str, object], name: str) -> Definition:
        """A process: a graph of steps."""
        self.known_keys(data, PROCESS_KEYS, "a process")
        config = dict(self.mapping(data.get("config"), "config"))
        self.known_keys(config, CONFIG_KEYS, "config")
        for key in CONFIG_KEYS & data.keys():
            if key in config and config[key] != data[key]:
                self.wrong(f"{key} stands both in config and beside it; give it once")
            config[key] = data[key]
        settings = self.settings(config)
        listed = self.listed(data.get("steps"), "steps", "a process")
        ids = self.ids(listed, "step")
        places = {id: place for place, id in enumerate(ids)}
        steps = []
        for place, (id, described) in enumerate(zip(ids, listed, strict=True)):
            part = self.inside(f"step {id!r}")
            before = part.before(described, place, places)
            steps.append(part.process_step(id, described, before, settings))
        dependencies = self.dependencies(data.get("dependencies"))
        definition = _definition(RunKind.PROCESS, name, steps, settings, dependencies)
        cycle = _cycle(definition)
        if cycle:
            self.wrong(f"the steps depend on each other in a cycle: {' -> '.join(cycle)}")
        else:
            self.references(definition)
        return definition

    def before(
        self, data: Mapping[str, object], place: int, places: Mapping[str, int]
    ) -> tuple[int, ...]:
        """The positions of the steps a step depends on."""
        wanted = data.get("depends_on")
        if "depends_on" not in data or wanted is None:
            return (place - 1,) if place else ()
        if isinstance(wanted, str):
            wanted = [wanted]
        if not isinstance(wanted, (list, tuple)):
            self.wrong(f"depends_on must be a list of step ids, not {shown(wanted)}")
            return ()
        found = set()
        for id in wanted:
            if isinstance(id, str) and id in places:
                found.add(places[id])
            else:
                self.wrong(f"depends_on names no step: {id!r}{_near(str(id), places)}")
        return tuple(sorted(found))

    def process_step(
        self, id: str, data: Mapping[str, object], before: tuple[int, ...], settings: _Settings
    ) -> StepSpec:
        """One step of a process, of any type."""
        match data.get("type"):
            case "workflow":
                work: TaskSpec | ChildSpec = self.workflow_child(id, data)
            case "process":
                work = self.process_child(id, data)
            case "task":
                work = self.task_of_step(data, settings)
            case _:
                inline = {key: value for key, value in data.items() if key != "depends_on"}
                work = self.task(inline, settings)
        return self.step(id, data, work, before, settings)

    def task_of_step(self, data: Mapping[str, object], settings: _Settings) -> TaskSpec:
        """A step of type task, whose task stands in ``task_data``."""
        self.known_keys(data, _TASK_STEP_KEYS, "a step of type task")
        if "task_data" not in data:
            self.wrong("a step of type task needs task_data: {type: …}")
            return TaskSpec(TaskType(""), {})
        task = dict(self.mapping(data["task_data"], "task_data"))
        for key in ("retry", "timeout", "deadline"):
            if key in data:
                if key in task:
                    self.wrong(f"{key} stands both in task_data and beside it; give it once")
                task[key] = data[key]
        for key in ("depends_on", "when", "continue_on_error", "priority"):
            if task.pop(key, None) is not None:
                self.wrong(f"{key} belongs to the step, not into its task_data")
        return self.inside("task_data").task(task, settings)

    def workflow_child(self, id: str, data: Mapping[str, object]) -> ChildSpec:
        """A step of type workflow: its own tasks, or the definition of its name."""
        self.known_keys(data, _WORKFLOW_STEP_KEYS, "a step of type workflow")
        if self.too_deep():
            return _nothing_to_run(RunKind.WORKFLOW)
        if "tasks" in data:
            config = self.own_config(data)
            name = data["name"] if isinstance(data.get("name"), str) else id
            child = self.workflow(str(name), data["tasks"], config)
        else:
            child = self.named(RunKind.WORKFLOW, data, "tasks")
        return ChildSpec(child, self.child_inputs(child, data))

    def process_child(self, id: str, data: Mapping[str, object]) -> ChildSpec:
        """A step of type process: its own steps, or the definition of its name."""
        self.known_keys(data, _PROCESS_STEP_KEYS, "a step of type process")
        if self.too_deep():
            return _nothing_to_run(RunKind.PROCESS)
        if "steps" in data:
            own = {"steps": data["steps"], "config": self.own_config(data)}
            name = data["name"] if isinstance(data.get("name"), str) else id
            child = self.process(own, str(name))
        else:
            child = self.named(RunKind.PROCESS, data, "steps")
        return ChildSpec(child, self.child_inputs(child, data))

    def own_config(self, data: Mapping[str, object]) -> dict[str, object]:
        """The config of a child that is written inside its step: the inputs it is given there
        need no declaration."""
        config = dict(self.mapping(data.get("config"), "config"))
        given = self.mapping(data.get("inputs"), "inputs")
        declared = self.mapping(config.get("inputs"), "config.inputs")
        config["inputs"] = {**{name: {} for name in given}, **declared}
        return config

    def too_deep(self) -> bool:
        """Whether child runs are nested so deep that it must be a mistake."""
        if self.depth > MAX_DEPTH:
            self.wrong(f"child runs are nested more than {MAX_DEPTH} levels deep")
            return True
        return False

    def named(self, kind: RunKind, data: Mapping[str, object], own: str) -> Definition:
        """The definition that a step names."""
        name = self.name(data.get("name"), f"a step of type {kind} needs {own} or a name; its name")
        found = self.lookup(kind, name) if self.lookup is not None and name else None
        if found is not None:
            return found
        if name:
            self.wrong(f"no {kind} is defined under the name {name!r}; define it, or give {own}")
        return _nothing_to_run(kind).definition

    def child_inputs(self, child: Definition, data: Mapping[str, object]) -> Mapping[str, Json]:
        """The values that a step gives its child run; references are resolved when it starts."""
        values = self.json(dict(self.mapping(data.get("inputs"), "inputs")), "inputs")
        given = values if isinstance(values, dict) else {}
        unresolved = _unresolved(given)
        complete: dict[str, Json] = {}
        for name in given:
            if name not in child.inputs:
                self.wrong(f"{child.name!r} has no input {name!r}{_near(name, child.inputs)}")
        for name, spec in child.inputs.items():
            if name in given:
                complete[name] = given[name]
                if name not in unresolved:
                    for text in misfits(given[name], spec.schema):
                        self.wrong(f"input {name!r} {text}")
            elif spec.required:
                self.wrong(f"input {name!r} of {child.name!r} is missing")
            else:
                complete[name] = spec.default
        return complete

    def dependencies(self, value: object) -> tuple[RunId, ...]:
        """The processes that must have completed before."""
        if value is None:
            return ()
        if not isinstance(value, (list, tuple)):
            self.wrong(f"dependencies must be a list of process ids, not {shown(value)}")
            return ()
        return tuple(dict.fromkeys(RunId(self.id(id, "process id")) for id in value))

    # references

    def references(self, definition: Definition) -> None:
        """Check what expressions read: declared inputs, and steps that come before."""
        root = "steps" if definition.kind is RunKind.PROCESS else "tasks"
        for position, step in enumerate(definition.steps):
            part = self.inside(f"{root[:-1]} {step.id!r}")
            read = [
                (reference.root, reference.name)
                for compiled in part.expressions(step)
                for reference in compiled.references
            ]
            if not read:
                continue
            earlier = _ancestors(definition, position)
            for where, name in sorted(set(read)):
                part.reference(definition, root, where, name, earlier)

    def expressions(self, step: StepSpec) -> Iterator[Compiled]:
        """The expressions of a step, those that can be read."""
        values = step.work.config if isinstance(step.work, TaskSpec) else step.work.inputs
        try:
            compiled = compile_value(dict(values))
            if compiled is not None:
                yield compiled
        except UsageError as error:
            for problem in error.problems:
                self.wrong(problem)
        if step.when is not None:
            try:
                yield compile_condition(step.when)
            except UsageError as error:
                for problem in error.problems:
                    self.wrong(f"when: {problem}")

    def reference(
        self, definition: Definition, root: str, where: str, name: str, earlier: set[int]
    ) -> None:
        """One thing that an expression reads."""
        if where == "inputs":
            if name not in definition.inputs:
                near = _near(name, definition.inputs)
                self.wrong(f"reads inputs.{name}, which is not declared under inputs{near}")
        elif where != root or definition.kind is RunKind.TASK:
            here = "inputs" if definition.kind is RunKind.TASK else f"{root} and inputs"
            self.wrong(f"reads {where}.{name}; a {definition.kind} has only {here}")
        elif name not in definition.position:
            near = _near(name, definition.position)
            self.wrong(f"reads {root}.{name}, but there is no such {root[:-1]}{near}")
        elif definition.position[StepId(name)] not in earlier:
            self.wrong(f"reads {root}.{name}, which does not run before it")

    def done(self, definition: Definition, what: str) -> Definition:
        """The definition, if nothing is wrong with it."""
        if not self.problems:
            size = len(definition_text(definition).encode())
            if size > self.limits.definition:
                self.wrong(f"it takes {size:,} bytes; {self.limits.definition:,} are allowed")
        if self.problems:
            raise DefinitionError(f"{what} cannot be run as it is described", self.problems)
        return definition


def parse_workflow(
    name: object,
    tasks: object,
    config: object,
    check_task: CheckTask,
    limits: Limits,
) -> Definition:
    """Read a workflow.

    Args:
        name: What people read, and what it may be defined under.
        tasks: A list of tasks, run one after the other.
        config: ``continue_on_error``, ``retry``, ``timeout``, ``deadline``, ``tags``,
            ``priority``, ``inputs``; or None.
        check_task: Knows the task types.
        limits: How large it may be.

    Raises:
        DefinitionError: ``problems`` lists everything that is wrong.
    """
    reader = _Reader(check_task, limits)
    called = reader.name(name, "name")
    definition = reader.workflow(called, tasks, reader.mapping(config, "config"))
    return reader.done(definition, f"workflow {called!r}")


def parse_process(
    data: Mapping[str, object], lookup: Lookup, check_task: CheckTask, limits: Limits
) -> Definition:
    """Read a process.

    Args:
        data: ``steps``, and optionally ``id``, ``name``, ``dependencies``, ``config``, ``inputs``
            and what ``config`` may say.
        lookup: The definitions that steps may name.
        check_task: Knows the task types.
        limits: How large it may be.

    Raises:
        DefinitionError: ``problems`` lists everything that is wrong.
    """
    reader = _Reader(check_task, limits, lookup)
    if "id" in data:
        reader.id(data["id"], "process id")
    name = reader.name(data.get("name", data.get("id", "process")), "name")
    return reader.done(reader.process(data, name), f"process {name!r}")


def parse_task(
    id: object, data: Mapping[str, object], check_task: CheckTask, limits: Limits
) -> Definition:
    """Read a single task.

    Args:
        id: Its id.
        data: ``type`` and what else a task may say.
        check_task: Knows the task types.
        limits: How large it may be.

    Raises:
        DefinitionError: ``problems`` lists everything that is wrong.
    """
    reader = _Reader(check_task, limits)
    called = reader.id(id, "task id")
    described = dict(reader.mapping(data, "task_data"))
    if "id" in described and described.pop("id") != id:
        reader.wrong(f"its own id {data['id']!r} is not {id!r}; leave it out")
    tags = reader.tags(described.pop("tags", ()))
    work = reader.task(described, _Settings())
    step = reader.step(called or "task", described, work, (), _Settings())
    settings = _Settings(tags=tags, priority=step.priority or 0)
    definition = _definition(RunKind.TASK, step.name, [step], settings, ())
    reader.references(definition)
    return reader.done(definition, f"task {called!r}")


def named_definitions(data: Mapping[str, object]) -> set[tuple[RunKind, str]]:
    """The definitions that the steps of a process name, so that they can be looked up before."""
    found: set[tuple[RunKind, str]] = set()
    waiting: list[object] = [data]
    while waiting:
        described = waiting.pop()
        steps = described.get("steps") if isinstance(described, Mapping) else None
        for step in steps if isinstance(steps, (list, tuple)) else ():
            if not isinstance(step, Mapping):
                continue
            type, name = step.get("type"), step.get("name")
            own = "tasks" if type == "workflow" else "steps"
            if type in ("workflow", "process") and own not in step and isinstance(name, str):
                found.add((RunKind(type), name))
            waiting.append(step)
    return found


def _definition(
    kind: RunKind,
    name: str,
    steps: Sequence[StepSpec],
    settings: _Settings,
    dependencies: tuple[RunId, ...],
) -> Definition:
    return Definition(
        kind=kind,
        name=name,
        steps=tuple(steps),
        continue_on_error=settings.continue_on_error,
        deadline=settings.deadline,
        inputs=settings.inputs,
        dependencies=dependencies,
        priority=settings.priority,
        tags=settings.tags,
    )


def _nothing_to_run(kind: RunKind) -> ChildSpec:
    """What stands for a child that could not be read; the problem is noted already."""
    return ChildSpec(Definition(kind, "?", ()), {})


def _ancestors(definition: Definition, position: int) -> set[int]:
    found: set[int] = set()
    waiting = list(definition.steps[position].depends_on)
    while waiting:
        earlier = waiting.pop()
        if earlier not in found:
            found.add(earlier)
            waiting.extend(definition.steps[earlier].depends_on)
    return found


def _cycle(definition: Definition) -> list[str]:
    """The ids along some cycle, the first one again at the end; empty when there is none."""
    steps = definition.steps
    open_ends = [len(step.depends_on) for step in steps]
    free = [place for place, count in enumerate(open_ends) if not count]
    left = set(range(len(steps)))
    while free:
        place = free.pop()
        left.discard(place)
        for later in definition.dependents[place]:
            open_ends[later] -= 1
            if not open_ends[later]:
                free.append(later)
    if not left:
        return []
    path = [min(left)]
    while True:
        before = next(place for place in steps[path[-1]].depends_on if place in left)
        if before in path:
            around = [*path[path.index(before) :], before]
            return [steps[place].id for place in reversed(around)]
        path.append(before)


def _unused(word: str, taken: set[str], counts: dict[str, int]) -> str:
    while True:
        counts[word] = counts.get(word, 0) + 1
        id = word if counts[word] == 1 else f"{word}-{counts[word]}"
        if id not in taken:
            return id


def _type_word(data: Mapping[str, object]) -> str:
    """What a task or step without an id is named after."""
    inner = data.get("task_data")
    type = inner.get("type") if data.get("type") == "task" and isinstance(inner, Mapping) else None
    word = type or data.get("type")
    return word if isinstance(word, str) and word else "task"


def _unresolved(values: Mapping[str, Json]) -> frozenset[str]:
    """The keys whose values hold references."""
    return frozenset(key for key, value in values.items() if _holds_reference(value))


def _holds_reference(value: Json) -> bool:
    if isinstance(value, str):
        return "${" in value
    if isinstance(value, dict):
        return any(_holds_reference(item) for item in value.values())
    return isinstance(value, list) and any(_holds_reference(item) for item in value)


def _near(word: str, known: Iterable[str]) -> str:
    near = get_close_matches(word, list(known), 3)
    return f"; did you mean {' or '.join(map(repr, near))}?" if near else ""
