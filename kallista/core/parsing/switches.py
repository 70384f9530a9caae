"""Reads switches: their conditions, and which of the later steps each of them lets run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from msgspec.structs import replace

from kallista.core import fields
from kallista.core.definitions import Case, StepSpec, SwitchSpec
from kallista.core.plain import shown, some
from kallista.core.problems import Problems
from kallista.core.states import RunKind
from kallista.core.trigger_rules import EARLY

SWITCH_KEYS: Final = (
    "id", "name", "switch", "default", "when", "depends_on", "trigger_rule", "continue_on_error",
)  # fmt: skip
"""The keys of a step that chooses."""

CASE_KEYS: Final = ("when", "then")


def read_switch(
    data: Mapping[str, object], positions: Mapping[str, int], problems: Problems
) -> SwitchSpec:
    """What a step chooses between.

    Args:
        data: The step.
        positions: Of all steps, by id.
        problems: Where problems are noted.
    """
    fields.known_keys(data, SWITCH_KEYS, problems)
    listed = fields.sequence(data["switch"], "switch", problems)
    if not listed and not problems:
        problems.add("switch is empty; give cases like {when: inputs.big, then: big_step}")
    cases = [
        _case(case, positions, problems.at(f"switch[{index}]")) for index, case in enumerate(listed)
    ]
    given = data.get("default")
    otherwise = () if given is None else _branches(given, "default", positions, problems)
    return SwitchSpec(tuple(cases), otherwise)


def _case(data: object, positions: Mapping[str, int], problems: Problems) -> Case:
    case = fields.mapping(data, "a case", problems)
    fields.known_keys(case, CASE_KEYS, problems)
    when = case.get("when")
    if isinstance(when, bool):
        when = "true" if when else "false"
    if not isinstance(when, str) or not when.strip():
        problems.add(
            f"when must be a condition like 'inputs.big', not {shown(when)}; what runs when no"
            " condition holds is told by default, beside switch"
        )
        when = "false"
    return Case(when, _branches(case.get("then"), "then", positions, problems))


def _branches(
    value: object, what: str, positions: Mapping[str, int], problems: Problems
) -> tuple[int, ...]:
    """The positions of the steps of a branch; a single id stands for a list of one."""
    named = [value] if isinstance(value, str) else fields.sequence(value, what, problems)
    found: set[int] = set()
    for id in named:
        if isinstance(id, str) and id in positions:
            found.add(positions[id])
        else:
            hint = problems.near(str(id), positions, f"there are {some(positions)}")
            problems.add(f"{what} names no step: {shown(id)}; {hint}")
    return tuple(sorted(found))


def branched(
    kind: RunKind, steps: Sequence[StepSpec], places: Sequence[Problems]
) -> Sequence[StepSpec]:
    """The same steps; those of which a switch chooses know it.

    Args:
        kind: Whose steps: the tasks of a workflow come after all that are listed before them.
        steps: All steps of the main phase.
        places: Where the problems of each step are noted.
    """
    found = list(steps)
    if len(places) != len(steps):
        return found  # some could not be read, so that others do not stand where they should
    for position, step in enumerate(steps):
        if not isinstance(step.work, SwitchSpec):
            continue
        for branch in sorted(step.work.branches):
            target = _branch(kind, found[branch], branch, step, position, places[position])
            if target is not None:
                found[branch] = target
    return found


def _branch(
    kind: RunKind,
    target: StepSpec,
    branch: int,
    switch: StepSpec,
    position: int,
    problems: Problems,
) -> StepSpec | None:
    """A step that knows its switch; None, and a problem, where it cannot be a branch of it."""
    if branch == position:
        problems.add("a switch cannot choose itself")
    elif target.branch_of is not None:
        problems.add(f"{target.id!r} is a branch of another switch already; give it one")
    elif target.trigger_rule in EARLY:
        problems.add(
            f"{target.id!r} would not wait for the choice: its trigger_rule is"
            f" {target.trigger_rule}"
        )
    elif kind is RunKind.WORKFLOW and branch < position:
        problems.add(f"{target.id!r} runs before the switch; list it behind")
    elif kind is RunKind.PROCESS and position not in target.depends_on:
        problems.add(
            f"{target.id!r} does not wait for the switch; add {switch.id!r} to its depends_on"
        )
    else:
        before = tuple(sorted({*target.depends_on, position}))
        return replace(target, branch_of=position, depends_on=before)
    return None
