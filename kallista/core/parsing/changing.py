"""Gives tasks of a definition that was read another config, checked like a new one."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

from msgspec.structs import replace

from kallista.core import fields
from kallista.core.definitions import (
    ChildSpec,
    Definition,
    MapSpec,
    StepSpec,
    SwitchSpec,
    TaskSpec,
)
from kallista.core.inputs import input_problems
from kallista.core.parsing.graph import order
from kallista.core.parsing.last import read_by
from kallista.core.parsing.limits import CheckTask, Limits
from kallista.core.parsing.references import check_references
from kallista.core.parsing.tasks import References, references
from kallista.core.plain import some
from kallista.core.problems import Problems
from kallista.core.states import RunKind
from kallista.core.types import StepId
from kallista.core.wiring import values_of


def with_changes(
    definition: Definition, changes: object, check_task: CheckTask, limits: Limits
) -> Definition:
    """The same definition, some steps of which are given something else.

    Args:
        definition: What is changed.
        changes: ``{step id: {key: value}}``, merged into the config of a task or the inputs of a
            child run.
        check_task: Knows the task types.
        limits: How large a config may be.

    Raises:
        DefinitionError: ``problems`` lists everything that is wrong.
    """
    problems = Problems()
    steps = list(definition.steps)
    for id, values in fields.mapping(changes, "config_changes", problems).items():
        position = definition.position.get(StepId(id))
        if position is None:
            known = some(definition.position)
            hint = problems.near(id, definition.position, f"there are {known}")
            problems.add(f"there is no {_word(definition)} {id!r}; {hint}")
            continue
        place = problems.at(f"{_word(definition)} {id!r}")
        given = fields.payload(values, "its changes", limits.max_payload_bytes, place)
        steps[position] = _changed(steps[position], given, check_task, limits, place)
    changed = dataclasses.replace(definition, steps=tuple(steps))
    _check_references(changed, problems)
    problems.raise_if_any(f"the change of the {definition.kind} {definition.name!r}")
    return changed


def _changed(
    step: StepSpec,
    values: Mapping[str, object],
    check_task: CheckTask,
    limits: Limits,
    problems: Problems,
) -> StepSpec:
    merged = fields.plain_payload(
        {**values_of(step), **values}, "its config", limits.max_payload_bytes, problems
    )
    unresolved, _ = references(merged, problems)
    match step.work:
        case TaskSpec() as task:
            problems.add_all(check_task(task.type, merged, unresolved))
            return replace(step, work=replace(task, config=merged))
        case ChildSpec() as child:
            problems.add_all(input_problems(child.definition.inputs, merged, unresolved))
            return replace(step, work=replace(child, inputs=merged))
        case MapSpec() | SwitchSpec():
            problems.add("what goes through a list or chooses is changed by another definition")
            return step


def _check_references(definition: Definition, problems: Problems) -> None:
    main = definition.main_count
    ordered = order([step.depends_on for step in definition.steps[:main]])
    steps = [*definition.steps[:main]]
    for step in definition.steps[main:]:
        ordered.append(len(steps))
        steps.append(replace(step, depends_on=read_by(step, main)))
    places = [problems.at(f"{_word(definition)} {step.id!r}") for step in steps]
    check_references(
        dataclasses.replace(definition, steps=tuple(steps)), ordered, _read(steps), places
    )


def _read(steps: Sequence[StepSpec]) -> list[References]:
    # What cannot be read was told already, where it was changed.
    return [references(values_of(step), Problems())[1] for step in steps]


def _word(definition: Definition) -> str:
    return "step" if definition.kind is RunKind.PROCESS else "task"
