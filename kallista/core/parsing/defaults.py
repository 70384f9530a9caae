"""What a workflow or process says about itself and all its steps, mostly in its ``config``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from msgspec import Struct

from kallista.core import fields
from kallista.core.definitions import Expiry, InputSpec, OnFailure
from kallista.core.inputs import parse_inputs
from kallista.core.parsing.limits import Limits
from kallista.core.plain import shown
from kallista.core.problems import Problems
from kallista.core.retry import NO_RETRY, RetryPolicy
from kallista.core.types import Micros

CONFIG_KEYS: Final = (
    "continue_on_error", "retry", "timeout", "deadline", "tags", "priority", "inputs",
    "on_failure", "finally", "expires_at", "budget",
)  # fmt: skip
"""What ``config`` of a workflow or process may say."""


class Defaults(Struct, frozen=True, gc=False):
    """What holds for a run and for its steps, unless they say otherwise.

    Args:
        continue_on_error: Of the steps.
        retry: Of the tasks.
        timeout: Of the tasks' attempts.
        deadline: Of the whole run.
        tags: Of the run.
        priority: Of the run.
        inputs: What the run may be given.
        on_failure: What the run does when it fails.
        last: The tasks that run whatever the end, as they were written.
        expires: Until when the run is of use.
        budget: What the run may spend, in billionths, by unit.
    """

    continue_on_error: bool = False
    retry: RetryPolicy = NO_RETRY
    timeout: Micros | None = None
    deadline: Micros | None = None
    tags: tuple[str, ...] = ()
    priority: int = 0
    inputs: Mapping[str, InputSpec] = {}
    on_failure: OnFailure = OnFailure.STOP
    last: Sequence[object] = ()
    expires: Expiry | None = None
    budget: Mapping[str, int] = {}


def merged_config(data: Mapping[str, object], problems: Problems) -> Mapping[str, object]:
    """``config`` together with those of its keys that stand beside it; both must agree.

    Args:
        data: A whole workflow or process.
        problems: Where problems are noted.
    """
    given = data.get("config")
    config = {} if given is None else dict(fields.mapping(given, "config", problems))
    fields.known_keys(config, CONFIG_KEYS, problems.at("config"))
    for key in CONFIG_KEYS:
        if key not in data:
            continue
        if key in config and config[key] != data[key]:
            problems.add(f"{key!r} says one thing in config and another beside it; give it once")
        config[key] = data[key]
    return config


def read_defaults(config: Mapping[str, object], limits: Limits, problems: Problems) -> Defaults:
    """Read a config whose keys have been looked at.

    Args:
        config: The values of ``CONFIG_KEYS``; None is the same as leaving it out.
        limits: Know the configured time zone.
        problems: Where problems are noted.
    """
    given = {key: value for key, value in config.items() if value is not None}
    return Defaults(
        fields.flag(given.get("continue_on_error", False), "continue_on_error", problems),
        fields.retry(given.get("retry"), problems),
        fields.length(given.get("timeout"), "timeout", problems),
        fields.length(given.get("deadline"), "deadline", problems),
        fields.tags(given.get("tags", ()), problems),
        fields.priority(given.get("priority", 0), problems),
        parse_inputs(given.get("inputs", {}), problems),
        _on_failure(given.get("on_failure", OnFailure.STOP.value), problems),
        fields.sequence(given.get("finally", ()), "finally", problems),
        fields.expiry(given.get("expires_at"), limits.zone, problems),
        fields.budget(given.get("budget"), problems),
    )


def _on_failure(value: object, problems: Problems) -> OnFailure:
    if isinstance(value, str) and value in set(OnFailure):
        return OnFailure(value)
    problems.add(f"on_failure must be one of {', '.join(OnFailure)}, not {shown(value)}")
    return OnFailure.STOP
