"""Reads what users say about when a schedule fires, and how it treats its moments."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from difflib import get_close_matches
from typing import Final, TypeAlias, TypedDict

from kallista.core.durations import parse_duration
from kallista.core.schedules import CatchUp, FiringRules, Overlap
from kallista.core.triggers import AnyOf, Cron, Every, Trigger
from kallista.core.types import Micros
from kallista.errors import UsageError

Length: TypeAlias = float | str | timedelta

_MANY: Final = (CatchUp.ALL, CatchUp.WITHIN)
"""What may make up for more than one firing."""

_TRIGGERS: Final = ("interval", "cron", "trigger")
"""What makes something recur."""

_WORDS: Final = ("none", "latest", "all")


class ScheduleOptions(TypedDict, total=False):
    """When a schedule fires and how; each as the argument of ``schedule_task`` of that name."""

    interval: Length | None
    cron: str | None
    timezone: str | None
    dst: str | None
    trigger: Trigger | Sequence[Trigger] | None
    start: datetime | str | None
    until: datetime | str | None
    max_runs: int | None
    jitter: Length | None
    catch_up: Length | None
    overlap: str | None
    pause_on_failure: int | None


def read_trigger(options: ScheduleOptions) -> Trigger | None:
    """The trigger that some options describe; None if they describe none.

    Raises:
        UsageError: There is no such option, or they contradict each other.
    """
    for name in options.keys() - ScheduleOptions.__annotations__.keys():
        near = get_close_matches(name, ScheduleOptions.__annotations__, n=1)
        hint = f"did you mean {near[0]!r}?" if near else "schedule_task shows those there are"
        raise UsageError(f"there is no option {name!r}; {hint}")
    interval, cron = options.get("interval"), options.get("cron")
    trigger, dst = options.get("trigger"), options.get("dst")
    if isinstance(trigger, Sequence):
        trigger = AnyOf(*trigger)
    if dst is not None and cron is None:
        raise UsageError("dst belongs to cron=; a trigger says it itself: Cron(…, dst=…)")
    given = [
        name
        for name, value in (("interval", interval), ("cron", cron), ("trigger", trigger))
        if value is not None
    ]
    if len(given) > 1:
        raise UsageError(f"{' and '.join(given)} exclude each other; give one of them")
    if given and cron is None and options.get("timezone") is not None:
        raise UsageError("timezone belongs to cron=; a trigger says it itself: Cron(…, timezone=…)")
    if interval is not None:
        return Every(interval)
    return trigger if cron is None else Cron(cron, options.get("timezone"), dst)


def refuse(options: ScheduleOptions, why: str) -> None:
    """Refuse options where nothing recurs. Raises ``UsageError`` with those that are given."""
    given = [name for name, value in options.items() if value is not None and name not in _TRIGGERS]
    if given:
        raise UsageError(f"{why} {', '.join(given)}; add interval=, cron= or trigger=")


def read_max_runs(options: ScheduleOptions) -> int | None:
    """After how many firings it is over; None: never. Raises ``UsageError``."""
    value = options.get("max_runs")
    if value is not None and value < 1:
        raise UsageError(f"max_runs must be at least 1, not {value}")
    return value


def read_rules(options: ScheduleOptions) -> FiringRules:
    """How a schedule treats its moments.

    Raises:
        UsageError: One of the options cannot be read, or two contradict each other.
    """
    jitter, catch_up = options.get("jitter"), options.get("catch_up")
    made_up, within = _catch_up(catch_up)
    rules = FiringRules(
        jitter=Micros(0) if jitter is None else _length("jitter", jitter),
        catch_up=made_up,
        within=within,
        overlap=_overlap(options.get("overlap"), made_up),
        pause_on_failure=_count(options.get("pause_on_failure")),
    )
    if rules.overlap is Overlap.SKIP and made_up in _MANY:
        raise UsageError(
            f"catch_up={catch_up!r} with overlap='skip' would skip all but the first of the firings"
            " that it makes up for; choose overlap='queue' (one after the other) or 'allow'"
        )
    return rules


def _catch_up(value: Length | None) -> tuple[CatchUp, Micros]:
    if value is None:
        return CatchUp.LATEST, Micros(0)
    if value in _WORDS:
        return CatchUp(str(value)), Micros(0)
    try:
        within = parse_duration(value)
    except UsageError as error:
        raise UsageError(f"catch_up is {', '.join(_WORDS)} or a length: {error}") from error
    if not within:
        raise UsageError("catch_up is a length greater than 0; 'none' makes up for nothing")
    return CatchUp.WITHIN, within


def _overlap(value: str | None, made_up: CatchUp) -> Overlap:
    if value is None:
        return Overlap.QUEUE if made_up in _MANY else Overlap.SKIP
    try:
        return Overlap(value)
    except ValueError:
        raise UsageError(f"overlap is one of {', '.join(Overlap)}, not {value!r}") from None


def _count(value: int | None) -> int:
    if value is None:
        return 0
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise UsageError(f"pause_on_failure is a number of failures, at least 1, not {value!r}")
    return value


def _length(name: str, value: Length) -> Micros:
    try:
        return parse_duration(value)
    except UsageError as error:
        raise UsageError(f"{name}: {error}") from error
