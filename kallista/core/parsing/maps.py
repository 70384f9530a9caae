"""Reads what a task or step goes through (``for_each``), and how many items at a time."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from msgspec.structs import replace

from kallista.core import fields
from kallista.core.cel_paths import OF_ITEMS
from kallista.core.definitions import (
    DEFAULT_MAX_PARALLEL,
    ChildSpec,
    Definition,
    MapSpec,
    StepSpec,
    TaskSpec,
)
from kallista.core.parsing.tasks import Reading, References, references
from kallista.core.plain import shown
from kallista.core.problems import Problems
from kallista.core.states import RunKind
from kallista.core.trigger_rules import EARLY
from kallista.core.types import Json, StepId

MAP_KEYS: Final = ("for_each", "max_parallel", "collect")
"""The keys of what goes through a list; the last two mean this only beside the first."""

MAX_PARALLEL: Final = 1_000

Data = Mapping[str, object]


def parted(data: Data) -> tuple[Data | None, Data]:
    """What a task or step says of the list it goes through, and all else it says.

    Args:
        data: The task or step.

    Returns:
        None for the first where there is no list.
    """
    if "for_each" not in data:
        return None, data
    if data["for_each"] is None:
        return None, {key: value for key, value in data.items() if key != "for_each"}
    own = {key: value for key, value in data.items() if key in MAP_KEYS}
    return own, {key: value for key, value in data.items() if key not in MAP_KEYS}


def read_map(
    data: Data, rule: object, work: TaskSpec | ChildSpec, reading: Reading, problems: Problems
) -> tuple[MapSpec, References]:
    """A step that does its work for each item of a list, and what the list is read from.

    The list has to be there for good when the step begins: what comes before has ended by then.

    Args:
        data: What it says of the list.
        rule: The trigger rule it asks for, as it is written.
        work: What it does with an item.
        reading: Knows the limits.
        problems: Where problems are noted.
    """
    items, read = _items(data["for_each"], reading, problems)
    is_early = isinstance(rule, str) and rule in EARLY
    if is_early and any(reference.root in ("tasks", "steps") for reference in read):
        problems.add(
            f"for_each reads what need not have ended when it is read, by trigger_rule {rule}; give"
            " it an input or a list"
        )
    collect = data.get("collect")
    child = work if isinstance(work, ChildSpec) else _of_task(work)
    mapped = MapSpec(
        child=child,
        items=items,
        max_parallel=_max_parallel(data.get("max_parallel"), problems),
        collect=True if collect is None else fields.flag(collect, "collect", problems),
    )
    return mapped, read


def _of_task(task: TaskSpec) -> ChildSpec:
    """The run of one task; its config is the inputs, so that all items share a definition."""
    step = StepSpec(StepId(""), "", replace(task, config={}))
    return ChildSpec(Definition(RunKind.TASK, "", (step,)), task.config)


def _items(value: object, reading: Reading, problems: Problems) -> tuple[Json, References]:
    is_list = isinstance(value, list | tuple)
    if not is_list and not (isinstance(value, str) and value.strip().startswith("${")):
        problems.add(
            f"for_each must be a list or an expression like ${{inputs.files}}, not {shown(value)}"
        )
        return [], frozenset()
    most = reading.limits.max_payload_bytes
    items = fields.plain_payload({"for_each": value}, "for_each", most, problems)
    _, read = references(items, problems)
    for reference in read:
        if reference.root in OF_ITEMS:
            problems.add(f"{reference} is known in the config, not in for_each itself")
    return items.get("for_each", []), frozenset(one for one in read if one.root not in OF_ITEMS)


def _max_parallel(value: object, problems: Problems) -> int:
    if value is None:
        return DEFAULT_MAX_PARALLEL
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= MAX_PARALLEL:
        problems.add(
            f"max_parallel must be a whole number from 1 to {MAX_PARALLEL:,}, not {shown(value)}"
        )
        return DEFAULT_MAX_PARALLEL
    return value
