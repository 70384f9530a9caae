"""Reads the steps of a process and what each depends on; and what becomes a child run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from kallista.core import fields
from kallista.core.definitions import Definition
from kallista.core.inputs import input_problems
from kallista.core.parsing.tasks import (
    LIMIT_KEYS,
    OF_CHILDREN,
    STEP_KEYS,
    Reading,
    References,
    no_task_type,
    references,
)
from kallista.core.plain import shown, some
from kallista.core.problems import Problems
from kallista.core.states import RunKind
from kallista.core.types import Json

TASK_STEP_KEYS: Final = (*STEP_KEYS, *LIMIT_KEYS, "task_data")
OWN_LIST: Final = {"workflow": "tasks", "process": "steps"}
"""Under which key the definition stands that lies in a task or step of such a type."""

CHILD_KEYS: Final = {
    "workflow": (*STEP_KEYS, "tasks", "config", "inputs"),
    "process": (*STEP_KEYS, "steps", "config", "inputs", "dependencies"),
}

_BOTH: Final = (
    *LIMIT_KEYS,
    "when",
    "continue_on_error",
    "priority",
    "name",
    "trigger_rule",
    "compensate",
)


def task_of_step(data: Mapping[str, object], problems: Problems) -> Mapping[str, object] | None:
    """The task of a step: what stands in ``task_data``, or the step itself when it is inline.

    Args:
        data: The step.
        problems: Where problems are noted.

    Returns:
        One task with the keys of both places; what is given in both is a problem. None,
        and a problem, when there is none.
    """
    if data.get("type") != "task":
        if "task_data" in data:
            problems.add(
                f"a step with task_data is of type task, not {shown(data.get('type'))};"
                " write type: task, or leave task_data out"
            )
        return data
    fields.known_keys(data, TASK_STEP_KEYS, problems)
    if "task_data" not in data:
        problems.add("a step of type task needs task_data, like {type: sleep, seconds: 5}")
        return None
    task = dict(fields.mapping(data["task_data"], "task_data", problems))
    if task.get("id", data.get("id")) != data.get("id"):
        problems.add("the id in task_data is another one than the step's; leave it out there")
    if task.get("type") in OF_CHILDREN:
        problems.add(no_task_type(str(task["type"])))
        return None
    if "depends_on" in task:
        problems.add("depends_on belongs beside task_data, not into it")
    for key in _BOTH:
        if key in data:
            if key in task and task[key] != data[key]:
                problems.add(f"{key!r} is given twice, in task_data and beside it; give it once")
            task[key] = data[key]
    return task


def depends_on(
    data: Mapping[str, object], position: int, positions: Mapping[str, int], problems: Problems
) -> tuple[int, ...]:
    """The positions of the steps before a step: without ``depends_on`` the one listed before it.

    Args:
        data: The step.
        position: Its own position.
        positions: Of all steps, by id.
        problems: Where problems are noted.
    """
    wanted = data.get("depends_on")
    if wanted is None:
        return (position - 1,) if position else ()
    named = [wanted] if isinstance(wanted, str) else fields.sequence(wanted, "depends_on", problems)
    found: set[int] = set()
    for id in named:
        if isinstance(id, str) and id in positions:
            found.add(positions[id])
        else:
            hint = problems.near(str(id), positions, f"there are {some(positions)}")
            problems.add(f"depends_on names no step: {shown(id)}; {hint}")
    return tuple(sorted(found))


def inner_name(data: Mapping[str, object], id: str) -> str:
    """The name of a definition written inside its task or step."""
    name = data.get("name")
    return name if isinstance(name, str) and name.strip() else id


def inner_config(data: Mapping[str, object], problems: Problems) -> dict[str, object]:
    """The config of a definition written inside its task or step.

    That gives it inputs; those need no declaration.
    """
    given = data.get("config")
    config = {} if given is None else dict(fields.mapping(given, "config", problems))
    values = data.get("inputs")
    named = values if isinstance(values, Mapping) else {}
    declared = config.get("inputs")
    if declared is None or isinstance(declared, Mapping):
        config["inputs"] = {**dict.fromkeys(named), **(declared or {})}
    return config


def named_definition(
    kind: RunKind, data: Mapping[str, object], reading: Reading, problems: Problems
) -> Definition | None:
    """The definition that a task or step names; None, and a problem, when there is none."""
    own = OWN_LIST[kind]
    for key in ("config", "dependencies"):
        if key in data:
            problems.add(f"{key!r} belongs beside {own} that are given here; leave it out")
    if data.get("name") is None:
        problems.add(f"type {kind} needs {own}, or the name of a defined {kind}")
        return None
    name = fields.name(data["name"], "name", problems)
    found = None if name is None else reading.lookup(kind, name)
    if name is not None and found is None:
        problems.add(f"no {kind} is defined under the name {name!r}; define it, or give {own} here")
    return found


def child_inputs(
    child: Definition, data: Mapping[str, object], reading: Reading, problems: Problems
) -> tuple[Mapping[str, Json], References]:
    """What a task or step hands to its child run, completed by defaults, and what that reads.

    Args:
        child: What it runs.
        data: The task or step.
        reading: Knows the limits.
        problems: Where problems are noted.
    """
    given = data.get("inputs")
    if given is None:
        given = {}
    most = reading.limits.max_payload_bytes
    values = fields.payload(given, "inputs", most, problems)
    unresolved, read = references(values, problems)
    problems.add_all(input_problems(child.inputs, values, unresolved))
    defaults = {
        name: spec.default
        for name, spec in child.inputs.items()
        if name not in values and not spec.required
    }
    return {**values, **defaults}, read
