"""Checks what expressions read: inputs that are declared, and steps that run before."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from kallista.core.cel_paths import OF_ITEMS
from kallista.core.definitions import Definition, MapSpec, Phase, StepSpec, SwitchSpec
from kallista.core.expressions import OTHERS, Reference, compile_condition
from kallista.core.firing_values import FIRING
from kallista.core.parsing.dependencies import problem_of_other
from kallista.core.parsing.graph import ancestors
from kallista.core.plain import some
from kallista.core.problems import Problems
from kallista.core.states import RunKind
from kallista.core.types import StepId
from kallista.errors import ExpressionError


def check_references(
    definition: Definition,
    ordered: Sequence[int],
    read: Sequence[frozenset[Reference]],
    places: Sequence[Problems],
) -> None:
    """Note every reference that cannot be resolved when its step runs.

    Args:
        definition: Whose expressions they are.
        ordered: The positions of its steps, each after those it depends on.
        read: What the config or the inputs of each step read.
        places: Where the problems of each step are noted.
    """
    reads = {
        position: sorted(found)
        for position, step in enumerate(definition.steps)
        if (found := read[position] | _of_conditions(step, places[position]))
    }
    if not reads:
        return
    runs_before = _order(definition, ordered, {name.name for all in reads.values() for name in all})
    for position, references in reads.items():
        for reference in references:
            problem = _problem(definition, reference, position, runs_before, places[position])
            if problem is not None:
                places[position].add(problem)


def _of_conditions(step: StepSpec, problems: Problems) -> frozenset[Reference]:
    found = frozenset() if step.when is None else _of_condition(step.when, "when", problems)
    if isinstance(step.work, SwitchSpec):
        for index, case in enumerate(step.work.cases):
            found |= _of_condition(case.when, f"switch[{index}]: when", problems)
    return found


def _of_condition(text: str, what: str, problems: Problems) -> frozenset[Reference]:
    try:
        found = compile_condition(text).references
    except ExpressionError as error:
        problems.add_error(error, what)
        return frozenset()
    for reference in found:
        if reference.root in OF_ITEMS:
            problems.add(f"{what}: {reference} is known in the config, once the step has begun")
    return frozenset(reference for reference in found if reference.root not in OF_ITEMS)


def _order(
    definition: Definition, ordered: Sequence[int], names: set[str]
) -> Callable[[int, int], bool]:
    """Tells whether a step runs before another; only the named ones are asked for."""
    wanted = sorted(
        definition.position[StepId(name)] for name in names if name in definition.position
    )
    bit = {position: 1 << number for number, position in enumerate(wanted)}
    before = ancestors([step.depends_on for step in definition.steps], ordered, wanted)
    return lambda earlier, later: bool(before[later] & bit[earlier])


def _problem(
    definition: Definition,
    reference: Reference,
    position: int,
    runs_before: Callable[[int, int], bool],
    problems: Problems,
) -> str | None:
    """What is wrong with one reference of the step at a position."""
    root = "steps" if definition.kind is RunKind.PROCESS else "tasks"
    name = reference.name
    if reference.root == "inputs":
        if name in definition.inputs:
            return None
        there = "declare it under inputs"
        return f"{reference} is no input; {problems.near(name, definition.inputs, there)}"
    if reference.root == "run":
        if definition.steps[position].phase is not Phase.FINALLY:
            return f"{reference} is known when the run has come to its end: use it in finally"
        return None if name == "status" else f"{reference} is not there; there is run.status"
    if reference.root in OF_ITEMS:
        if isinstance(definition.steps[position].work, MapSpec):
            return None
        return f"{reference} is known in the config of a task or step with for_each"
    if reference.root == OTHERS:
        return problem_of_other(definition, reference)
    if reference.root == "config":
        return f"{reference} is known to concurrency_key and rate_limit alone"
    if reference.root == FIRING:
        return (
            f"{reference} is known where a schedule starts something: in the config of its task, or"
            " in the inputs of its workflow or process"
        )
    if definition.kind is RunKind.TASK:
        return f"{reference} means nothing here: a single task runs after no other"
    if reference.root != root:
        return f"{reference} means nothing here: in a {definition.kind} write {root}.{name}"
    earlier = definition.position.get(StepId(name))
    what = root[:-1]
    if earlier is None:
        hint = problems.near(name, definition.position, f"there are {some(definition.position)}")
        return f"{reference} is no {what} of this {definition.kind}; {hint}"
    if earlier == position:
        return f"{reference} is the {what} itself"
    if not runs_before(earlier, position):
        hint = "; add it to depends_on" if definition.kind is RunKind.PROCESS else ""
        return f"{reference} does not run before this {what}{hint}"
    return None
