"""Reads what users say about how a schedule treats its moments."""

from __future__ import annotations

from datetime import timedelta
from typing import Final, TypeAlias

from kallista.core.durations import parse_duration
from kallista.core.schedules import CatchUp, FiringRules, Overlap
from kallista.core.types import Micros
from kallista.errors import UsageError

Length: TypeAlias = float | str | timedelta

_MANY: Final = (CatchUp.ALL, CatchUp.WITHIN)
"""What may make up for more than one firing."""

_WORDS: Final = ("none", "latest", "all")


def read_rules(
    jitter: Length | None,
    catch_up: Length | None,
    overlap: str | None,
    pause_on_failure: int | None,
) -> FiringRules:
    """How a schedule treats its moments; arguments as for ``schedule_task``.

    Raises:
        UsageError: One of them cannot be read, or two contradict each other.
    """
    made_up, within = _catch_up(catch_up)
    rules = FiringRules(
        jitter=Micros(0) if jitter is None else _length("jitter", jitter),
        catch_up=made_up,
        within=within,
        overlap=_overlap(overlap, made_up),
        pause_on_failure=_count(pause_on_failure),
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
