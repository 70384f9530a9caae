"""Reads what a process says of those it waits for, and checks what its expressions read of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, TypeAlias

from kallista.core import fields
from kallista.core.definitions import Definition, Phase
from kallista.core.dependencies import DependencyPolicy
from kallista.core.expressions import OTHERS, Reference
from kallista.core.plain import shown, some
from kallista.core.problems import Problems
from kallista.core.states import RunKind
from kallista.core.types import RunId, StepId
from kallista.core.wiring import RESULTS, STATUS, wiring

Dependencies: TypeAlias = Mapping[RunId, DependencyPolicy]
"""The processes that one waits for, and what it does about each when it fails."""

NO_DEPENDENCIES: Final[Dependencies] = {}

_KEYS: Final = ("process", "on_failure")


def read_dependencies(data: Mapping[str, object], problems: Problems) -> Dependencies:
    """The processes that a process waits for.

    Args:
        data: The process; ``dependencies`` lists ids, or ``{"process": id, "on_failure": policy}``.
        problems: Where problems are noted.
    """
    given = data.get("dependencies")
    if given is None:
        return NO_DEPENDENCIES
    listed = [given] if isinstance(given, str) else fields.sequence(given, "dependencies", problems)
    found: dict[RunId, DependencyPolicy] = {}
    for item in listed:
        id, policy = _dependency(item, problems)
        if id is not None and found.setdefault(id, policy) is not policy:
            problems.add(f"dependencies name {id!r} twice, with another on_failure each time")
    if data.get("id") in [*found]:  # it may be anything yet
        problems.add(f"dependencies: the process would wait for itself ({data['id']!r})")
    return found


def _dependency(item: object, problems: Problems) -> tuple[RunId | None, DependencyPolicy]:
    policy = DependencyPolicy.WAIT
    id: object = item
    if isinstance(item, Mapping):
        place = problems.at("dependencies")
        told = fields.mapping(item, "a dependency", place)
        fields.known_keys(told, _KEYS, place)
        id = told.get("process")
        policy = _policy(told.get("on_failure", policy), place)
    checked = fields.identifier(id, "process id", problems)
    return None if checked is None else RunId(checked), policy


def _policy(value: object, problems: Problems) -> DependencyPolicy:
    if isinstance(value, str) and value in set(DependencyPolicy):
        return DependencyPolicy(value)
    problems.add(f"on_failure must be one of {', '.join(DependencyPolicy)}, not {shown(value)}")
    return DependencyPolicy.WAIT


def problem_of_other(definition: Definition, reference: Reference) -> str | None:
    """What is wrong with a reference to another process, as far as this one can tell.

    Args:
        definition: Whose expression it is.
        reference: What it reads.
    """
    id, rest = RunId(reference.name), reference.rest
    if definition.kind is not RunKind.PROCESS:
        return (
            f"{reference} means nothing here: only a process waits for others; let its process hand"
            f" it to this {definition.kind} as an input"
        )
    if id not in definition.dependencies:
        return f"{reference} is not waited for; add {reference.name!r} to dependencies"
    if not rest or rest[0] not in (RESULTS, STATUS):
        whole = Reference(OTHERS, id)
        return f"{reference} is not there; there are {whole}.{RESULTS}.STEP and {whole}.{STATUS}"
    return None


def unknown_steps(reader: Definition, id: RunId, other: Definition) -> Sequence[str]:
    """What a process reads of another one that has no such steps, each as a sentence.

    Args:
        reader: Who reads.
        id: The other one's id.
        other: What the other one runs.
    """
    read = wiring(reader).others.get(id)
    steps = [step.id for step in other.steps if step.phase is Phase.MAIN]
    return [_unknown(id, step, steps) for step in sorted(read or ()) if step not in steps]


def _unknown(id: RunId, step: StepId, steps: Sequence[StepId]) -> str:
    reference = Reference(OTHERS, id, (RESULTS, step))
    hint = Problems().near(step, steps, f"there are {some(steps)}")
    return f"{reference} is no step of process {id!r}; {hint}"
