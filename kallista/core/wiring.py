"""Which step reads what: a definition's expressions, compiled once, given what they read."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from typing import Final

from msgspec import Struct

from kallista.core.definitions import ChildSpec, Definition, MapSpec, StepSpec, SwitchSpec, TaskSpec
from kallista.core.expressions import (
    OTHERS,
    Compiled,
    Reference,
    compile_condition,
    compile_value,
)
from kallista.core.limits import LimitSpec
from kallista.core.plan import WHOLE_RUN
from kallista.core.states import Ending, RunKind, TaskStatus, status_after
from kallista.core.types import Json, RunId, StepId
from kallista.errors import ExpressionError

RESULTS: Final = "results"
STATUS: Final = "status"
"""What can be read of another process: what its steps returned, and how it ended."""


class StepWiring(Struct, frozen=True, gc=False):
    """The expressions of one step; None where it has none.

    Args:
        when: Its condition.
        values: What it hands on.
        cases: The conditions of a switch.
        items: The list that it goes through.
    """

    when: Compiled | None
    values: Compiled | None
    cases: tuple[Compiled, ...] = ()
    items: Compiled | None = None
    limits: tuple[tuple[LimitSpec, Compiled | None], ...] = ()
    """Its limits, each with its key where that has to be resolved."""

    def __iter__(self) -> Iterator[Compiled]:
        """All there are."""
        keys = (key for _, key in self.limits)
        all = (self.when, self.values, self.items, *self.cases, *keys)
        return (one for one in all if one is not None)


_UNWIRED: Final = StepWiring(None, None)
"""Of a step that has no expressions; passed over, for most have none, and there may be 10,000."""


class Wiring(Struct, frozen=True, gc=False):
    """All expressions of a definition.

    Args:
        steps: Of each step, by position.
        read: The positions whose results some expression reads, and the switches; ``WHOLE_RUN``
            stands for what is read of other processes.
        others: The processes that some expression reads, each with those of its steps whose
            results are read; None: of all its steps.
    """

    steps: tuple[StepWiring, ...]
    read: frozenset[int]
    others: Mapping[RunId, frozenset[StepId] | None]


def values_of(spec: StepSpec) -> Mapping[str, Json]:
    """What a step hands on: a task's config, or a child run's inputs."""
    match spec.work:
        case TaskSpec(config=config):
            return config
        case ChildSpec(inputs=inputs) | MapSpec(child=ChildSpec(inputs=inputs)):
            return inputs
        case SwitchSpec():
            return {}


@lru_cache(maxsize=1024)
def wiring(definition: Definition) -> Wiring:
    """The expressions of a definition; compiled once per definition object."""
    steps = tuple(map(_wired, definition.steps))
    all = [one for step in steps if step is not _UNWIRED for one in step]
    read = {position for one in all for position in reads(one, definition)}
    switches = {spec.branch_of for spec in definition.steps if spec.branch_of is not None}
    others = _others(reference for one in all for reference in one.references)
    whole = {WHOLE_RUN} if others else set()
    return Wiring(steps, frozenset(read | switches | whole), others)


def _wired(spec: StepSpec) -> StepWiring:
    work, handed_on = spec.work, values_of(spec)
    when = None if spec.when is None else compile_condition(spec.when)
    values = compile_value(dict(handed_on)) if handed_on else None
    if when is None and values is None and isinstance(work, TaskSpec) and not work.limits:
        return _UNWIRED
    return StepWiring(
        when=when,
        values=values,
        cases=_cases(spec),
        items=compile_value(work.items) if isinstance(work, MapSpec) else None,
        limits=_limits_of(spec),
    )


def _others(references: Iterable[Reference]) -> Mapping[RunId, frozenset[StepId] | None]:
    """What is read of other processes."""
    found: dict[RunId, frozenset[StepId] | None] = {}
    for reference in references:
        if reference.root != OTHERS:
            continue
        id, rest = RunId(reference.name), reference.rest
        before = found.setdefault(id, frozenset())
        if rest == (RESULTS,):
            found[id] = None
        elif rest[0] == RESULTS and before is not None:
            found[id] = before | {StepId(rest[1])}
    return {id: found[id] for id in sorted(found)}


@lru_cache(maxsize=1024)
def needs_facts(definition: Definition) -> bool:
    """Whether deciding on a run takes more than its row: results, lists, signals, what is spent."""
    reads = wiring(definition).read or definition.maps or definition.asks
    return bool(reads) or definition.is_budgeted


def _limits_of(spec: StepSpec) -> tuple[tuple[LimitSpec, Compiled | None], ...]:
    limits = spec.work.limits if isinstance(spec.work, TaskSpec) else ()
    return tuple((limit, compile_value(limit.key)) for limit in limits)


def _cases(spec: StepSpec) -> tuple[Compiled, ...]:
    if not isinstance(spec.work, SwitchSpec):
        return ()
    return tuple(compile_condition(case.when) for case in spec.work.cases)


def scope_of(
    definition: Definition,
    inputs: Mapping[str, Json],
    steps: Mapping[int, tuple[TaskStatus, Json]],
    ending: Ending | None = None,
    others: Json = None,
) -> dict[str, Json]:
    """What an expression may read, by root.

    Args:
        definition: Whose expression it is.
        inputs: The run's arguments.
        steps: Status and result of the steps it reads, by position.
        ending: How the run will end, for what runs at its end.
        others: What is read of other processes, by their ids.
    """
    seen: Json = {
        definition.steps[position].id: {"status": status.value, "result": result}
        for position, (status, result) in steps.items()
    }
    root = "steps" if definition.kind is RunKind.PROCESS else "tasks"
    scope: dict[str, Json] = {root: seen, "inputs": dict(inputs)}
    if ending is not None:
        scope["run"] = {"status": status_after(ending)}
    if others is not None:
        scope[OTHERS] = others
    return scope


def evaluate(
    compiled: Compiled,
    definition: Definition,
    inputs: Mapping[str, Json],
    steps: Mapping[int, tuple[TaskStatus, Json]],
    ending: Ending | None = None,
    others: Json = None,
) -> Json:
    """The value of an expression; arguments as for ``scope_of``.

    Raises:
        ExpressionError: It reads what is not there, or fails on what it is given.
    """
    return compiled.evaluate(scope_of(definition, inputs, steps, ending, others))


def reads(compiled: Compiled, definition: Definition) -> list[int]:
    """The positions of the steps an expression reads."""
    return sorted(
        definition.position[StepId(reference.name)]
        for reference in compiled.references
        if reference.root in ("tasks", "steps")
    )


def condition(value: Json) -> bool:
    """A condition's value, which has to be true or false.

    Raises:
        ExpressionError: It is anything else.
    """
    if isinstance(value, bool):
        return value
    raise ExpressionError(f"a condition must be true or false, not {value!r}")
