"""Reads whole descriptions: workflows, processes, single tasks, and files that hold one."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from kallista.core import fields
from kallista.core.definitions import (
    ChildSpec,
    Definition,
    MapSpec,
    OnFailure,
    Phase,
    StepSpec,
    TaskSpec,
    Work,
)
from kallista.core.dependencies import DependencyPolicy
from kallista.core.encoding import definition_text
from kallista.core.parsing.crowding import check_limits_of_items
from kallista.core.parsing.defaults import CONFIG_KEYS, Defaults, merged_config, read_defaults
from kallista.core.parsing.dependencies import (
    NO_DEPENDENCIES,
    Dependencies,
    read_dependencies,
)
from kallista.core.parsing.graph import cycle_text, cycles, order
from kallista.core.parsing.last import UNDO, Last, read_by
from kallista.core.parsing.limits import CheckTask, Limits, Lookup, nothing_named
from kallista.core.parsing.maps import parted, read_map
from kallista.core.parsing.references import check_references
from kallista.core.parsing.steps import (
    CHILD_KEYS,
    OWN_LIST,
    child_inputs,
    depends_on,
    inner_config,
    inner_name,
    named_definition,
    task_of_step,
)
from kallista.core.parsing.switches import branched, read_switch
from kallista.core.parsing.tasks import (
    OF_CHILDREN,
    Reading,
    References,
    ids_of,
    listed,
    read_step,
    read_task,
)
from kallista.core.plain import shown
from kallista.core.problems import Problems
from kallista.core.states import RunKind
from kallista.core.types import RunId
from kallista.errors import DefinitionError

WORKFLOW_KEYS: Final = ("kind", "id", "name", "tasks", "config", *CONFIG_KEYS)
PROCESS_KEYS: Final = ("kind", "id", "name", "steps", "dependencies", "config", *CONFIG_KEYS)

_OF_RUNS: Final = {"tags": "tags belong", "expires_at": "expires_at belongs"}
"""Keys of single tasks that belong to a whole run."""


class Document(Struct, frozen=True, gc=False):
    """What a definition file holds.

    Args:
        id: The id that a run of it gets; None when the file gives none.
        definition: What it describes.
    """

    id: RunId | None
    definition: Definition


def parse_workflow(
    name: object,
    tasks: object,
    config: object,
    check_task: CheckTask,
    limits: Limits,
    lookup: Lookup = nothing_named,
) -> Definition:
    """Read a workflow.

    Args:
        name: What people read, and what it may be defined under.
        tasks: A list of tasks, run one after the other.
        config: ``continue_on_error``, ``retry``, ``timeout``, ``deadline``, ``tags``,
            ``priority``, ``inputs``; or None.
        check_task: Knows the task types.
        limits: How large it may be.
        lookup: The definitions that tasks may name.

    Raises:
        DefinitionError: ``problems`` lists everything that is wrong.
    """
    problems = Problems()
    called = fields.name(name, "name", problems) or "?"
    data = {"tasks": tasks, "config": config}
    definition = _workflow(called, data, Reading(check_task, limits, lookup), problems)
    return _whole(definition, limits, problems, f"the workflow {called!r}")


def parse_process(
    data: Mapping[str, object], lookup: Lookup, check_task: CheckTask, limits: Limits
) -> Definition:
    """Read a process.

    Args:
        data: ``steps``, and optionally ``id``, ``name``, ``dependencies``, ``config``, and beside
            ``config`` what it may hold.
        lookup: The definitions that steps may name.
        check_task: Knows the task types.
        limits: How large it may be.

    Raises:
        DefinitionError: ``problems`` lists everything that is wrong.
    """
    problems = Problems()
    read = fields.mapping(data, "a process", problems)
    fields.known_keys(read, PROCESS_KEYS, problems)
    if read.get("kind", "process") != "process":
        problems.add(f"kind must be process, not {shown(read['kind'])}")
    name = _name(read, "process", problems)
    definition = _process(name, read, Reading(check_task, limits, lookup), problems)
    return _whole(definition, limits, problems, f"the process {name!r}")


def parse_task(
    id: object, data: Mapping[str, object], check_task: CheckTask, limits: Limits
) -> Definition:
    """Read a single task.

    Args:
        id: Its id.
        data: ``type`` and what else a task may say.
        check_task: Knows the task types.
        limits: How large it may be.

    Returns:
        A definition of one step. It says nothing of the id, so that equal tasks share one: the
        step is called as the run is.

    Raises:
        DefinitionError: ``problems`` lists everything that is wrong.
    """
    problems = Problems()
    called = fields.identifier(id, "task id", problems) or "?"
    task = fields.mapping(data, "task_data", problems)
    if "id" in task and task["id"] != id:
        problems.add(f"its own id {shown(task['id'])} is not {called!r}; leave it out")
    if "depends_on" in task:
        problems.add("a single task depends on nothing; describe a process for depends_on")
    defaults = Defaults(
        tags=fields.tags(task.get("tags", ()), problems),
        priority=fields.priority(task.get("priority", 0), problems),
        expires=fields.expiry(task.get("expires_at"), limits.zone, problems),
    )
    work, read = read_task(task, defaults, Reading(check_task, limits), problems)
    own = {key: value for key, value in task.items() if key != "priority"}
    step = read_step("", own, work, (), defaults, problems)
    if "compensate" in task:
        problems.add("a single task has no run that could be rolled back; leave compensate out")
    none = Last(defaults, Reading(check_task, limits))
    definition = _definition(RunKind.TASK, step.name, [step], defaults, none, problems, [problems])
    check_references(definition, [0], [read], [problems])
    return _whole(definition, limits, problems, f"the task {called!r}")


def parse_document(data: object, lookup: Lookup, check_task: CheckTask, limits: Limits) -> Document:
    """Read what a definition file holds.

    Args:
        data: A workflow or process; ``kind`` says which, or else ``tasks`` or ``steps`` does.
        lookup: The definitions that tasks and steps may name.
        check_task: Knows the task types.
        limits: How large it may be.

    Raises:
        DefinitionError: ``problems`` lists everything that is wrong.
    """
    problems = Problems()
    read = fields.mapping(data, "a definition", problems)
    problems.raise_if_any("the definition")
    kind = _kind(read)
    if kind is RunKind.PROCESS:
        definition = parse_process(read, lookup, check_task, limits)
    else:
        fields.known_keys(read, WORKFLOW_KEYS, problems)
        name = _name(read, "workflow", problems)
        reading = Reading(check_task, limits, lookup)
        definition = _workflow(name, read, reading, problems)
        _whole(definition, limits, problems, f"the workflow {name!r}")
    id = read.get("id")
    return Document(None if id is None else RunId(str(id)), definition)


def named_definitions(data: object) -> set[tuple[RunKind, str]]:
    """The definitions that tasks and steps name, so that they can be looked up before.

    Args:
        data: A workflow or process as a user wrote it, perhaps wrongly.
    """
    found: set[tuple[RunKind, str]] = set()
    waiting: list[object] = [*map(data.get, OWN_LIST.values())] if isinstance(data, Mapping) else []
    seen: set[int] = set()
    while waiting:
        items = waiting.pop()
        if not isinstance(items, list | tuple) or id(items) in seen:
            continue
        seen.add(id(items))
        for item in items:
            kind = item.get("type") if isinstance(item, Mapping) else None
            if kind not in OF_CHILDREN:
                continue
            own, name = OWN_LIST[kind], item.get("name")
            if own in item:
                waiting.append(item[own])
            elif isinstance(name, str):
                found.add((RunKind(kind), name))
    return found


def _workflow(
    name: str, data: Mapping[str, object], reading: Reading, problems: Problems
) -> Definition:
    """A workflow: each task depends on the one before it."""
    defaults = read_defaults(merged_config(data, problems), reading.limits, problems)
    items = listed(data.get("tasks"), "tasks", reading, problems)
    finals = _finals(defaults, reading, problems)
    ids = ids_of([*items, *finals], "task", problems)
    positions = {id: position for position, id in enumerate(ids[: len(items)])}
    last = Last(defaults, reading)
    embedded = _Embedded(reading.limits, problems)
    steps: list[StepSpec] = []
    places: list[Problems] = []
    reads: list[References] = []
    for position, (id, task) in enumerate(zip(ids, items, strict=False)):
        place = problems.at(f"task {id!r}")
        if "depends_on" in task:
            place.add("tasks of a workflow run one after the other; use a process for depends_on")
        work, read = _work(id, task, positions, defaults, reading, embedded, place)
        before = (position - 1,) if position else ()
        steps.append(read_step(id, task, work, before, defaults, place))
        last.undo(id, position, task, place)
        places.append(place)
        reads.append(read)
    for id, task in zip(ids[len(items) :], finals, strict=True):
        last.final(id, task, problems.at(f"task {id!r} of finally"))
    definition = _definition(RunKind.WORKFLOW, name, steps, defaults, last, problems, places)
    if len(definition.position) == len(definition.steps):
        _check_references(definition, range(len(steps)), reads, places, last)
    return definition


def _process(
    name: str, data: Mapping[str, object], reading: Reading, problems: Problems
) -> Definition:
    """A process: a graph of steps."""
    defaults = read_defaults(merged_config(data, problems), reading.limits, problems)
    items = listed(data.get("steps"), "steps", reading, problems)
    finals = _finals(defaults, reading, problems)
    all_ids = ids_of([*items, *finals], "step", problems)
    ids = all_ids[: len(items)]
    last = Last(defaults, reading)
    positions = {id: position for position, id in enumerate(ids)}
    places = [problems.at(f"step {id!r}") for id in ids]
    embedded = _Embedded(reading.limits, problems)
    steps: list[StepSpec] = []
    reads: list[References] = []
    for position, (id, item) in enumerate(zip(ids, items, strict=True)):
        place = places[position]
        before = depends_on(item, position, positions, place)
        task = _of_step(item, place)
        if task is None:
            continue
        work, read = _work(id, task, positions, defaults, reading, embedded, place)
        last.undo(id, position, task, place)
        steps.append(read_step(id, task, work, before, defaults, place))
        reads.append(read)
    for id, item in zip(all_ids[len(items) :], finals, strict=True):
        place = problems.at(f"step {id!r} of finally")
        task = task_of_step(item, place)
        if task is not None:
            last.final(id, task, place)
    dependencies = read_dependencies(data, problems)
    definition = _definition(
        RunKind.PROCESS, name, steps, defaults, last, problems, places, dependencies
    )
    if len(positions) == len(steps) and len(definition.position) == len(definition.steps):
        ordered = _ordered(definition, problems)
        if ordered is not None:
            _check_references(definition, ordered, reads, places, last)
    return definition


def _of_step(item: Mapping[str, object], problems: Problems) -> Mapping[str, object] | None:
    """What a step does, written as in a workflow; None, and a problem, when there is nothing."""
    if item.get("type") in OF_CHILDREN:
        return item
    mapped, own = parted(item)
    task = task_of_step(own, problems)
    return task if task is None or mapped is None else {**task, **mapped}


def _refuse_of_runs(task: Mapping[str, object], problems: Problems) -> None:
    if _OF_RUNS.keys().isdisjoint(task):
        return
    for key, belongs in _OF_RUNS.items():
        if key in task:
            problems.add(f"{belongs} to a whole run: give it in the config of its definition")


def _work(
    id: str,
    data: Mapping[str, object],
    positions: Mapping[str, int],
    defaults: Defaults,
    reading: Reading,
    embedded: _Embedded,
    problems: Problems,
) -> tuple[Work, References]:
    """What a task or step does, once or for each item: it executes, starts a child run, or chooses.

    And what its config or its inputs read.
    """
    work: TaskSpec | ChildSpec
    mapped, own = parted(data)
    if own.get("type") in OF_CHILDREN:
        work, read = _child(id, own, reading, problems)
        embedded.add(work)
    elif "switch" in data:
        return read_switch(data, positions, problems), frozenset()
    else:
        _refuse_of_runs(own, problems)
        work, read = read_task(own, defaults, reading, problems)
        if mapped is not None:
            check_limits_of_items(work, problems)
    if mapped is None:
        return work, read
    each, of_list = read_map(mapped, own.get("trigger_rule"), work, reading, problems)
    return each, read | of_list


def _finals(defaults: Defaults, reading: Reading, problems: Problems) -> list[Mapping[str, object]]:
    """The tasks that run whatever the end; mostly there are none."""
    return listed(defaults.last, "finally", reading, problems) if defaults.last else []


def _check_references(
    definition: Definition,
    ordered: Sequence[int],
    reads: Sequence[References],
    places: Sequence[Problems],
    last: Last,
) -> None:
    """Check all expressions: what undoes a step may read it, what runs at the end all of them."""
    main = len(reads)
    if main == len(definition.steps):
        check_references(definition, ordered, reads, places)
        return
    steps = [
        step if step.phase is Phase.MAIN else replace(step, depends_on=read_by(step, main))
        for step in definition.steps
    ]
    check_references(
        dataclasses.replace(definition, steps=tuple(steps)),
        [*(earlier for earlier in ordered if earlier < main), *range(main, len(steps))],
        [*reads, *(read for _, read, _ in last.all)],
        [*places, *(place for _, _, place in last.all)],
    )


def _child(
    id: str, data: Mapping[str, object], reading: Reading, problems: Problems
) -> tuple[ChildSpec, References]:
    """What is of type workflow or process: what stands in it, or the definition of its name."""
    kind = RunKind(str(data["type"]))
    own = OWN_LIST[kind]
    fields.known_keys(data, CHILD_KEYS[kind], problems)
    child: Definition | None = None
    if reading.depth >= reading.limits.max_nesting:
        problems.add(f"definitions lie in each other more than {reading.limits.max_nesting} deep")
    elif own in data:
        child = _inner(kind, id, data, reading.inner, problems)
    else:
        child = named_definition(kind, data, reading, problems)
    if child is None:
        return ChildSpec(Definition(kind, "?", ()), {}), frozenset()
    inputs, read = child_inputs(child, data, reading, problems)
    return ChildSpec(child, inputs), read


def _inner(
    kind: RunKind, id: str, data: Mapping[str, object], reading: Reading, problems: Problems
) -> Definition:
    """A definition that is written inside its task or step."""
    name = inner_name(data, id)
    inner = {"config": inner_config(data, problems)}
    if kind is RunKind.WORKFLOW:
        return _workflow(name, {"tasks": data["tasks"], **inner}, reading, problems)
    dependencies = data.get("dependencies", ())
    described = {"steps": data["steps"], "dependencies": dependencies, **inner}
    return _process(name, described, reading, problems)


class _Embedded:
    """Adds up what definitions inside another one take, before they are written out together.

    Definitions that name each other twice would double with every level; the sum is known at
    once, the text might not fit into memory.
    """

    def __init__(self, limits: Limits, problems: Problems) -> None:
        self._most = limits.max_definition_bytes
        self._problems = problems
        self._size = 0
        self._told = False

    def add(self, child: ChildSpec) -> None:
        """Count one child."""
        if self._told or self._problems:
            return
        self._size += len(definition_text(child.definition))
        if self._size > self._most:
            self._told = True
            self._problems.add(
                _too_large("the definitions of its child runs have", self._size, self._most)
            )


def _ordered(definition: Definition, problems: Problems) -> list[int] | None:
    """The positions, each after what it depends on; None, and a problem, when there is a cycle."""
    before = [step.depends_on for step in definition.steps]
    ordered = order(before)
    if len(ordered) == len(before):
        return ordered
    for cycle in cycles(before, ordered):
        ids = [definition.steps[position].id for position in reversed(cycle)]
        problems.add(f"steps wait for each other in a circle: {cycle_text(ids)}")
    return None


def _name(data: Mapping[str, object], kind: str, problems: Problems) -> str:
    """What people read: the name, else the id, else the kind."""
    id = data.get("id")
    if id is not None:
        fields.identifier(id, f"{kind} id", problems)
    given = data.get("name")
    if given is None:
        return id if isinstance(id, str) else kind
    return fields.name(given, "name", problems) or "?"


def _kind(data: Mapping[str, object]) -> RunKind:
    """What a file describes."""
    given = data.get("kind")
    if given in ("workflow", "process"):
        return RunKind(given)
    if given is not None:
        raise DefinitionError(f"kind must be workflow or process, not {shown(given)}")
    if "steps" in data:
        return RunKind.PROCESS
    if "tasks" in data:
        return RunKind.WORKFLOW
    raise DefinitionError("a definition needs tasks (a workflow) or steps (a process)")


def _definition(
    kind: RunKind,
    name: str,
    steps: list[StepSpec],
    defaults: Defaults,
    last: Last,
    problems: Problems,
    places: Sequence[Problems],
    dependencies: Dependencies = NO_DEPENDENCIES,
) -> Definition:
    if defaults.on_failure is OnFailure.ROLLBACK and not last.can_undo:
        problems.add("on_failure: rollback undoes nothing: say compensate on a task at least")
    too_many = last.too_many(len(steps))
    if too_many is not None:
        problems.add(too_many)
    undone = {step.id for step, _, _ in last.all if step.phase is Phase.UNDO}
    finals = [step for step, _, _ in last.all if step.phase is Phase.FINALLY]
    for id in sorted(undone.intersection(step.id for step in (*steps, *finals))):
        problems.add(
            f"the id {id!r} is kept for what undoes {id.removeprefix(UNDO)!r}; choose another"
        )
    if defaults.budget:
        steps = [*map(_under_budget, steps)]
    return Definition(
        kind=kind,
        name=name,
        steps=(*branched(kind, steps, places), *(step for step, _, _ in last.all)),
        on_failure=defaults.on_failure,
        continue_on_error=defaults.continue_on_error,
        deadline=defaults.deadline,
        inputs=defaults.inputs,
        dependencies=tuple(dependencies),
        dependency_policies={
            id: policy for id, policy in dependencies.items() if policy is not DependencyPolicy.WAIT
        },
        priority=defaults.priority,
        tags=defaults.tags,
        expires=defaults.expires,
        budget=defaults.budget,
    )


def _under_budget(step: StepSpec) -> StepSpec:
    """A step for whose child runs a budget of what starts them holds."""
    match step.work:
        case ChildSpec() as child:
            return replace(step, work=_child_under_budget(child))
        case MapSpec(child=child):
            return replace(step, work=replace(step.work, child=_child_under_budget(child)))
        case _:
            return step


def _child_under_budget(child: ChildSpec) -> ChildSpec:
    steps = tuple(map(_under_budget, child.definition.steps))
    within = dataclasses.replace(child.definition, under_budget=True, steps=steps)
    return replace(child, definition=within)


def _whole(definition: Definition, limits: Limits, problems: Problems, what: str) -> Definition:
    """The definition, if nothing is wrong with it and it is not too large."""
    if not problems:
        size = len(definition_text(definition).encode())
        if size > limits.max_definition_bytes:
            problems.add(_too_large("it has", size, limits.max_definition_bytes))
    problems.raise_if_any(what)
    return definition


def _too_large(what: str, size: int, most: int) -> str:
    return (
        f"{what} {size:,} bytes, and a definition may have {most:,}; hand large data over as"
        " files, or raise the limit (max_definition_bytes)"
    )
