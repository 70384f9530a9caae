"""Reads tasks: what a handler executes, and how it is tried again."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Final, TypeAlias

from msgspec import Struct

from kallista.core import fields
from kallista.core.definitions import DEFAULT_MAX_CRASHES, StepSpec, TaskSpec, Work
from kallista.core.expressions import Reference, compile_value
from kallista.core.parsing.crowding import read_limits
from kallista.core.parsing.defaults import Defaults
from kallista.core.parsing.limits import CheckTask, Limits, Lookup, nothing_named
from kallista.core.plain import shown
from kallista.core.plan import DEFAULT_QUEUE
from kallista.core.problems import Problems
from kallista.core.questions import ASKING
from kallista.core.trigger_rules import TriggerRule
from kallista.core.types import Json, Micros, StepId, TaskType
from kallista.errors import ExpressionError

LIMIT_KEYS: Final = (
    "retry", "timeout", "deadline", "max_crashes", "queue", "heartbeat_timeout",
    "concurrency_key", "rate_limit",
)  # fmt: skip
STEP_KEYS: Final = (
    "id", "type", "name", "when", "continue_on_error", "priority", "depends_on", "trigger_rule",
    "compensate",
)  # fmt: skip
TASK_KEYS: Final = (*STEP_KEYS, *LIMIT_KEYS, "config", "tags", "expires_at")
"""The keys of a task that are its own; all others go to its handler."""

AMONG_OTHERS: Final = frozenset({"switch", "for_each"})
"""Keys that mean something only to tasks and steps of a main phase."""

References: TypeAlias = frozenset[Reference]

OF_CHILDREN: Final = ("workflow", "process")
"""The types of tasks and steps that start a child run."""


class Reading(Struct, frozen=True):
    """What reading a description needs, besides the description.

    Args:
        check_task: Knows the task types.
        limits: How large it may be.
        lookup: The definitions that tasks and steps may name.
        depth: How deep in other definitions this one lies.
    """

    check_task: CheckTask
    limits: Limits
    lookup: Lookup = nothing_named
    depth: int = 0

    @property
    def inner(self) -> Reading:
        """The same, one definition deeper."""
        return Reading(self.check_task, self.limits, self.lookup, self.depth + 1)


def listed(
    value: object, what: str, reading: Reading, problems: Problems
) -> list[Mapping[str, object]]:
    """The tasks or steps of a definition.

    Args:
        value: What was given.
        what: ``tasks`` or ``steps``.
        reading: Knows the limit.
        problems: Where problems are noted.
    """
    items = fields.sequence(value, what, problems)
    if len(items) > reading.limits.max_steps:
        problems.add(too_many(len(items), what, reading.limits))
        return []
    if not items and not problems:
        problems.add(f"{what} is empty; give at least one")
    return [fields.mapping(item, f"{what}[{index}]", problems) for index, item in enumerate(items)]


def too_many(count: int, what: str, limits: Limits) -> str:
    """What is wrong with a definition of so many steps.

    Args:
        count: How many there are.
        what: Of what.
        limits: How many there may be.
    """
    return (
        f"there are {count:,} {what}, and a definition may have {limits.max_steps:,}; divide it, or"
        " raise the limit (max_steps)"
    )


def ids_of(items: Sequence[Mapping[str, object]], what: str, problems: Problems) -> list[str]:
    """An id for every task or step: its own, or one after its type (``sleep``, ``sleep-2``).

    Args:
        items: The tasks or steps.
        what: ``task`` or ``step``, for the problems.
        problems: Where problems are noted.
    """
    given = [item.get("id") for item in items]
    taken = {id for id in given if isinstance(id, str)}
    counts: dict[str, int] = {}
    seen: set[str] = set()
    found: list[str] = []
    for index, (item, own) in enumerate(zip(items, given, strict=True)):
        id = _named_after(item, taken, counts) if own is None else own
        if not isinstance(id, str) or fields.identifier(id, f"{what} id", problems) is None:
            id = f"{what}s[{index}]"
        elif id in seen:
            problems.add(f"two {what}s have the id {id!r}; give each its own")
        seen.add(id)
        found.append(id)
    return found


def read_task(
    data: Mapping[str, object], defaults: Defaults, reading: Reading, problems: Problems
) -> tuple[TaskSpec, References]:
    """What a task executes, and what its config reads.

    Args:
        data: The task; those of its keys that say when it runs are read by ``read_step``.
        defaults: What its workflow or process says.
        reading: Knows the task types and the limits.
        problems: Where problems are noted.
    """
    config = _config(data, reading, problems)
    type = _type(data.get("type"), problems)
    unresolved, read = references(config, problems)
    if type in ASKING:
        defaults = Defaults()  # they are for what works, not for what waits
    limits, read_by_keys = read_limits(data, type, config, problems)
    if type is not None:
        problems.add_all(reading.check_task(type, config, unresolved))
    timeout = (
        fields.length(data["timeout"], "timeout", problems)
        if "timeout" in data
        else defaults.timeout
    )
    spec = TaskSpec(
        type=type or TaskType("?"),
        config=config,
        retry=fields.retry(data["retry"], problems) if "retry" in data else defaults.retry,
        timeout=timeout,
        deadline=fields.length(data.get("deadline"), "deadline", problems),
        max_crashes=_max_crashes(data.get("max_crashes"), problems),
        queue=_queue(data.get("queue"), problems),
        heartbeat_timeout=_heartbeat_timeout(data.get("heartbeat_timeout"), timeout, problems),
        limits=limits,
    )
    return spec, read | read_by_keys


def read_step(
    id: str,
    data: Mapping[str, object],
    work: Work,
    depends_on: tuple[int, ...],
    defaults: Defaults,
    problems: Problems,
) -> StepSpec:
    """A step whose work and predecessors have been read.

    Args:
        id: Its id.
        data: The step.
        work: What it does.
        depends_on: Positions of the steps before it.
        defaults: What its workflow or process says.
        problems: Where problems are noted.
    """
    name = data.get("name")
    go_on = data.get("continue_on_error")
    priority = data.get("priority")
    return StepSpec(
        id=StepId(id),
        name=id if name is None else fields.name(name, "name", problems) or id,
        work=work,
        depends_on=depends_on,
        when=_when(data.get("when"), problems),
        continue_on_error=(
            defaults.continue_on_error
            if go_on is None
            else fields.flag(go_on, "continue_on_error", problems)
        ),
        priority=None if priority is None else fields.priority(priority, problems),
        trigger_rule=_trigger_rule(data.get("trigger_rule"), depends_on, problems),
    )


def references(
    values: Mapping[str, Json], problems: Problems
) -> tuple[Collection[str], References]:
    """The keys whose values hold expressions, and what those read.

    Args:
        values: A config, or inputs.
        problems: Where expressions that cannot be read are noted.
    """
    keys: set[str] = set()
    found: set[Reference] = set()
    for key, value in values.items():
        try:
            compiled = compile_value({key: value})
        except ExpressionError as error:
            problems.add_error(error)
            keys.add(key)
            continue
        if compiled is not None:
            keys.add(key)
            found |= compiled.references
    return keys, frozenset(found)


def _config(data: Mapping[str, object], reading: Reading, problems: Problems) -> Mapping[str, Json]:
    """``config`` and the keys beside it that are not the task's own."""
    given = data.get("config")
    config = {} if given is None else dict(fields.mapping(given, "config", problems))
    for key, value in data.items():
        if key in TASK_KEYS:
            continue
        if key in fields.ELSEWHERE:
            problems.add(fields.elsewhere(key))
        elif key in AMONG_OTHERS:
            problems.add(f"{key!r} belongs to the tasks of a workflow or the steps of a process")
        elif key in config:
            problems.add(f"{key!r} is given twice, in config and beside it; give it once")
        else:
            config[key] = value
    if not config:
        return {}
    return fields.plain_payload(config, "config", reading.limits.max_payload_bytes, problems)


def _type(value: object, problems: Problems) -> TaskType | None:
    if value is None:
        problems.add("the type is missing; name a task type")
    elif not isinstance(value, str):
        problems.add(f"type must be the name of a task type, not {shown(value)}")
    elif value == "task":
        problems.add("'task' is no task type; only steps of a process can be of type task")
    elif value in OF_CHILDREN:
        problems.add(no_task_type(value))
    else:
        return TaskType(value)
    return None


def no_task_type(kind: str) -> str:
    """What is wrong with what can only be a task, and is to be a child run.

    Args:
        kind: Of what it is to be a run.
    """
    return (
        f"{kind!r} is no task type; only a task of a workflow or a step of a process, without"
        f" task_data, can be of type {kind}"
    )


def _max_crashes(value: object, problems: Problems) -> int:
    if value is None:
        return DEFAULT_MAX_CRASHES
    return fields.count(value, "max_crashes", problems)


def _queue(value: object, problems: Problems) -> str:
    if value is None:
        return DEFAULT_QUEUE
    return fields.identifier(value, "queue", problems) or DEFAULT_QUEUE


def _heartbeat_timeout(value: object, timeout: Micros | None, problems: Problems) -> Micros | None:
    found = fields.length(value, "heartbeat_timeout", problems)
    if found is not None and timeout is not None and found >= timeout:
        problems.add(
            "heartbeat_timeout would never be over before timeout is; make it shorter, or leave it"
            " out"
        )
    return found


def _when(value: object, problems: Problems) -> str | None:
    match value:
        case None:
            return None
        case bool():
            return "true" if value else "false"
        case str() if value.strip():
            return value
        case _:
            problems.add(f"when must be a condition like 'inputs.big', not {shown(value)}")
            return None


def _trigger_rule(value: object, depends_on: tuple[int, ...], problems: Problems) -> TriggerRule:
    if value is None:
        return TriggerRule.ALL_COMPLETED
    if not isinstance(value, str) or value not in set(TriggerRule):
        problems.add(f"trigger_rule must be one of {', '.join(TriggerRule)}, not {shown(value)}")
        return TriggerRule.ALL_COMPLETED
    if not depends_on:
        problems.add("trigger_rule asks something of the steps before, and there are none")
    return TriggerRule(value)


def _named_after(item: Mapping[str, object], taken: Collection[str], counts: dict[str, int]) -> str:
    inner = item.get("task_data")
    type = inner.get("type") if isinstance(inner, Mapping) else item.get("type")
    word = type if isinstance(type, str) and type else "switch" if "switch" in item else "task"
    while True:
        counts[word] = counts.get(word, 0) + 1
        id = word if counts[word] == 1 else f"{word}-{counts[word]}"
        if id not in taken:
            return id
