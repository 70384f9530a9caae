"""Reads what a task's attempts are counted under: its concurrency key and its rate limit."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from kallista.core import fields
from kallista.core.definitions import TaskSpec
from kallista.core.durations import DAY, HOUR, MINUTE, SECOND
from kallista.core.expressions import Reference, compile_value
from kallista.core.limits import LimitKind, LimitSpec, key_problem
from kallista.core.plain import shown
from kallista.core.problems import Problems
from kallista.core.types import Json, Micros, TaskType
from kallista.errors import ExpressionError

_PERIODS: Final = {
    "second": SECOND, "s": SECOND, "minute": MINUTE, "m": MINUTE, "hour": HOUR, "h": HOUR,
    "day": DAY, "d": DAY,
}  # fmt: skip

_RATE = re.compile(r"\s*([0-9]{1,7})\s*/\s*([a-z]+)\s*")


def read_limits(
    data: Mapping[str, object],
    type: TaskType | None,
    config: Mapping[str, Json],
    problems: Problems,
) -> tuple[tuple[LimitSpec, ...], frozenset[Reference]]:
    """The limits of a task, and what their keys read besides its config.

    Args:
        data: The task.
        type: Its type, which a rate is counted by that has no key.
        config: What its keys may read.
        problems: Where problems are noted.
    """
    key, rate = data.get("concurrency_key"), data.get("rate_limit")
    if key is None and rate is None:
        return (), frozenset()
    found: list[LimitSpec] = []
    if key is not None:
        found += _concurrency(key, problems)
    if rate is not None:
        found += _rate(rate, type, problems)
    read: set[Reference] = set()
    for spec in found:
        read |= _read_by(spec, config, problems)
    return tuple(found), frozenset(read)


def check_limits_of_items(task: TaskSpec, problems: Problems) -> None:
    """Note what the keys of a task cannot read that runs once for each item of a list.

    Each item is a run of its own, which knows its config and nothing else.
    """
    for spec in task.limits:
        for reference in sorted(_read_by(spec, task.config, Problems())):
            problems.add(
                f"the {spec.kind} reads {reference}; with for_each it can read the task's config"
                " alone: ${config.…}"
            )


def _concurrency(value: object, problems: Problems) -> list[LimitSpec]:
    """A text is a key of which one attempt runs at a time; a mapping says how many."""
    place = problems.at("concurrency_key")
    given = value if isinstance(value, Mapping) else {"key": value}
    fields.known_keys(given, ("key", "limit"), place)
    key = _key(given.get("key"), place)
    number = fields.count(given.get("limit", 1), "limit", place)
    return [] if key is None else [LimitSpec(LimitKind.KEY, key, number)]


def _rate(value: object, type: TaskType | None, problems: Problems) -> list[LimitSpec]:
    """A text is how many of the task's type may begin in a time; a mapping names another key."""
    place = problems.at("rate_limit")
    given = value if isinstance(value, Mapping) else {"limit": value}
    fields.known_keys(given, ("key", "limit"), place)
    key = _key(given["key"], place) if "key" in given else type
    limit = given.get("limit")
    match = _RATE.fullmatch(limit) if isinstance(limit, str) else None
    period = None if match is None else _PERIODS.get(match[2])
    if match is None or period is None or int(match[1]) == 0:
        place.add(f"a rate is a number in a time, like 100/minute or 5/s, not {shown(limit)}")
        return []
    return [] if key is None else [LimitSpec(LimitKind.RATE, key, int(match[1]), Micros(period))]


def _key(value: object, problems: Problems) -> str | None:
    if not isinstance(value, str):
        problems.add(f"a key is a text, like customer-${{inputs.customer}}, not {shown(value)}")
        return None
    problem = None if "${" in value else key_problem(value)
    if problem is not None:
        problems.add(f"the key {problem}")
        return None
    return value


def _read_by(
    spec: LimitSpec, config: Mapping[str, Json], problems: Problems
) -> frozenset[Reference]:
    """What a key reads besides the config, of which it may read what is given."""
    try:
        compiled = compile_value(spec.key)
    except ExpressionError as error:
        problems.add_error(error, f"the {spec.kind}")
        return frozenset()
    if compiled is None:
        return frozenset()
    own = {reference for reference in compiled.references if reference.root == "config"}
    for reference in sorted(own):
        if reference.name not in config:
            hint = problems.near(reference.name, config, "give it in config")
            problems.add(f"{reference} is not there; {hint}")
    return compiled.references - own
