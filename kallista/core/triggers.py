"""When a schedule is due: once, at an interval, by a cron expression, or by several of these.

Triggers are plain values. Each defines a set of due moments; ``next_after`` gives the first of them
strictly after a moment, and nothing but its arguments decides which. ADR 0005 says what happens
where a zone's clocks change.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from typing import TypeAlias, cast

from kallista.core.cron_text import check_expression, is_every_hour, spelled_out
from kallista.core.durations import (
    format_duration,
    parse_duration,
    parse_moment,
    to_datetime,
    to_micros,
)
from kallista.core.types import Json, Micros
from kallista.core.wall_clock import ONCE_A_TIME, RHYTHM, next_moment, read_dst, zone_named
from kallista.errors import UsageError

SHORTEST_INTERVAL = Micros(1_000)


@dataclass(frozen=True, slots=True, init=False, repr=False)
class Cron:
    """Due when the clock on the wall shows what a cron expression describes.

    Args:
        expression: Five fields (minute, hour, day of month, month, day of week), six with seconds
            first, or a word such as ``@daily``. Names (``MON``, ``JAN``), lists, ranges, steps,
            ``L``, ``LW`` and ``#`` are understood. Where both days are restricted either will do.
        timezone: The IANA name of the zone whose wall clock is meant; None: the configured one,
            which ``localized`` fills in.
        dst: What happens where that clock is changed. One word for a time that is left out:
            ``after`` (it runs at the first moment after the gap) or ``skip``; one for a time that
            comes twice: ``first``, ``second`` or ``both``; or one of each, as in ``"skip both"``.
            What is not said is ``after first``, so that every time counts once; for an expression
            whose hour is ``*`` it is ``skip both``, so that its rhythm follows real time.

    Raises:
        UsageError: The expression, the zone or ``dst`` cannot be read, or no date ever fits.
    """

    expression: str
    timezone: str | None
    dst: str

    def __init__(
        self, expression: str, timezone: str | None = None, dst: str | None = None
    ) -> None:
        if timezone is not None:
            zone_named(timezone)
        check_expression(expression)
        object.__setattr__(self, "expression", " ".join(expression.split()))
        object.__setattr__(self, "timezone", timezone)
        object.__setattr__(self, "dst", read_dst(dst, self._usual_dst()))

    def __repr__(self) -> str:
        zone = "" if self.timezone is None else f", timezone={self.timezone!r}"
        dst = "" if self.dst == self._usual_dst() else f", dst={self.dst!r}"
        return f"Cron({self.expression!r}{zone}{dst})"

    def localized(self, timezone: str) -> Cron:
        """The same with this zone, unless it names one already."""
        return self if self.timezone is not None else Cron(self.expression, timezone, self.dst)

    def anchored(self, moment: int) -> Cron:
        """The same: a wall clock needs no anchor."""
        return self

    def next_after(self, moment: datetime) -> datetime | None:
        """The first due moment strictly after an aware one, in the trigger's zone.

        A trigger without a zone reads the wall clock of the moment's own zone.
        """
        zone = self._zone(moment.tzinfo or UTC)
        return _in_zone(self._next(to_micros(moment), zone), zone)

    def next_after_us(self, moment: int) -> Micros | None:
        """The first due moment strictly after one, in microseconds; without a zone, by UTC."""
        return self._next(moment, self._zone(UTC))

    def to_data(self) -> dict[str, Json]:
        """Plain data that ``trigger_from_data`` reads back; a usual ``dst`` goes without saying."""
        data: dict[str, Json] = {
            "type": "cron", "expression": self.expression, "timezone": self.timezone,
        }  # fmt: skip
        return data if self.dst == self._usual_dst() else {**data, "dst": self.dst}

    def _zone(self, otherwise: tzinfo) -> tzinfo:
        return otherwise if self.timezone is None else zone_named(self.timezone)

    def _usual_dst(self) -> str:
        return RHYTHM if is_every_hour(spelled_out(self.expression)) else ONCE_A_TIME

    def _next(self, moment: int, zone: tzinfo) -> Micros | None:
        try:
            return next_moment(spelled_out(self.expression), self.dst, moment, zone)
        except OverflowError:
            return None


@dataclass(frozen=True, slots=True, init=False, repr=False)
class Every:
    """Due at a start and at every multiple of an interval after it; it never drifts.

    Args:
        interval: A length as ``parse_duration`` reads it, at least a millisecond.
        start: The anchor, a datetime or an ISO 8601 text, naive ones in the configured zone.
            None: the moment of scheduling, which ``anchored`` fills in.

    Raises:
        UsageError: The interval or the start cannot be read, or the interval is too short.
    """

    interval: Micros
    start: datetime | None

    def __init__(
        self, interval: float | str | timedelta, start: datetime | str | None = None
    ) -> None:
        length = parse_duration(interval)
        if length < SHORTEST_INTERVAL:
            raise UsageError(f"an interval is at least a millisecond, not {interval!r}")
        object.__setattr__(self, "interval", length)
        object.__setattr__(self, "start", None if start is None else _moment(start))

    def __repr__(self) -> str:
        start = "" if self.start is None else f", start={self.start.isoformat()!r}"
        return f"Every({format_duration(self.interval)!r}{start})"

    def localized(self, timezone: str) -> Every:
        """The same with a naive start read in this zone."""
        if self.start is None:
            return self
        return Every(_length(self.interval), _localized(self.start, timezone))

    def anchored(self, moment: int) -> Every:
        """The same started at this moment (microseconds), unless it has a start."""
        if self.start is not None:
            return self
        return Every(_length(self.interval), to_datetime(moment))

    def next_after(self, moment: datetime) -> datetime | None:
        """The first due moment strictly after an aware one, in the moment's zone.

        A naive start is read in the moment's zone; without a start, the moment is the anchor.
        """
        zone = moment.tzinfo or UTC
        return _in_zone(self._next(to_micros(moment), zone), zone)

    def next_after_us(self, moment: int) -> Micros | None:
        """The first due moment strictly after one, in microseconds; a naive start is in UTC."""
        return self._next(moment, UTC)

    def to_data(self) -> dict[str, Json]:
        """Plain data that ``trigger_from_data`` reads back.

        Raises:
            UsageError: The start is naive; ``localized`` comes first.
        """
        start = None if self.start is None else to_micros(self.start)
        return {"type": "every", "interval": self.interval, "start": start}

    def _next(self, moment: int, zone: tzinfo) -> Micros:
        anchor = moment if self.start is None else to_micros(self.start, zone)
        if moment < anchor:
            return Micros(anchor)
        return Micros(anchor + ((moment - anchor) // self.interval + 1) * self.interval)


@dataclass(frozen=True, slots=True, init=False, repr=False)
class At:
    """Due once.

    Args:
        moment: A datetime or an ISO 8601 text; naive ones are in the configured zone.

    Raises:
        UsageError: The moment cannot be read.
    """

    moment: datetime

    def __init__(self, moment: datetime | str) -> None:
        object.__setattr__(self, "moment", _moment(moment))

    def __repr__(self) -> str:
        return f"At({self.moment.isoformat()!r})"

    def localized(self, timezone: str) -> At:
        """The same with a naive moment read in this zone."""
        return At(_localized(self.moment, timezone))

    def anchored(self, moment: int) -> At:
        """The same: a moment needs no anchor."""
        return self

    def next_after(self, moment: datetime) -> datetime | None:
        """Its moment if that is strictly after an aware one, in that one's zone."""
        zone = moment.tzinfo or UTC
        return _in_zone(self._next(to_micros(moment), zone), zone)

    def next_after_us(self, moment: int) -> Micros | None:
        """Its moment in microseconds if that is strictly after one; a naive one is in UTC."""
        return self._next(moment, UTC)

    def to_data(self) -> dict[str, Json]:
        """Plain data that ``trigger_from_data`` reads back.

        Raises:
            UsageError: The moment is naive; ``localized`` comes first.
        """
        return {"type": "at", "moment": to_micros(self.moment)}

    def _next(self, moment: int, zone: tzinfo) -> Micros | None:
        due = to_micros(self.moment, zone)
        return due if due > moment else None


@dataclass(frozen=True, slots=True, init=False, repr=False)
class AnyOf:
    """Due whenever one of several triggers is; a moment that several of them have is one moment.

    Args:
        triggers: ``Cron``, ``Every``, ``At`` or further unions, at least one.

    Raises:
        UsageError: There is none, or something else stands among them.
    """

    triggers: tuple[SingleTrigger, ...]

    def __init__(self, *triggers: Trigger) -> None:
        found: dict[SingleTrigger, None] = {}
        for trigger in triggers:
            if not isinstance(trigger, Cron | Every | At | AnyOf):
                raise UsageError(f"{trigger!r} is no trigger; give Cron(…), Every(…) or At(…)")
            found |= dict.fromkeys(parts_of(trigger))
        if not found:
            raise UsageError("a union of no triggers is never due; give at least one")
        object.__setattr__(self, "triggers", tuple(found))

    def __repr__(self) -> str:
        return f"AnyOf({', '.join(map(repr, self.triggers))})"

    def localized(self, timezone: str) -> AnyOf:
        """The same, each trigger with this zone unless it names one already."""
        return AnyOf(*(trigger.localized(timezone) for trigger in self.triggers))

    def anchored(self, moment: int) -> AnyOf:
        """The same, each interval without a start started at this moment (microseconds)."""
        return AnyOf(*(trigger.anchored(moment) for trigger in self.triggers))

    def next_after(self, moment: datetime) -> datetime | None:
        """The first due moment strictly after an aware one, in the zone of its trigger."""
        found = [trigger.next_after(moment) for trigger in self.triggers]
        return min((due for due in found if due is not None), default=None)

    def next_after_us(self, moment: int) -> Micros | None:
        """The first due moment strictly after one, in microseconds."""
        found = [trigger.next_after_us(moment) for trigger in self.triggers]
        return min((due for due in found if due is not None), default=None)

    def to_data(self) -> dict[str, Json]:
        """Plain data that ``trigger_from_data`` reads back.

        Raises:
            UsageError: A moment is naive; ``localized`` comes first.
        """
        return {"type": "any", "of": [trigger.to_data() for trigger in self.triggers]}


SingleTrigger: TypeAlias = Cron | Every | At
Trigger: TypeAlias = SingleTrigger | AnyOf


def parts_of(trigger: Trigger) -> tuple[SingleTrigger, ...]:
    """The triggers that a union is made of; of any other one itself."""
    return trigger.triggers if isinstance(trigger, AnyOf) else (trigger,)


def trigger_from_data(data: Mapping[str, Json]) -> Trigger:
    """Read back what ``to_data`` wrote.

    Raises:
        UsageError: It is no trigger.
    """
    match data:
        case {"type": "cron", "expression": str(expression), "timezone": str() | None as timezone}:
            return Cron(expression, timezone, cast("str | None", data.get("dst")))
        case {"type": "every", "interval": int(interval), "start": int() | None as start}:
            return Every(_length(interval), None if start is None else to_datetime(start))
        case {"type": "at", "moment": int(moment)}:
            return At(to_datetime(moment))
        case {"type": "any", "of": [dict(), *_] as parts}:
            return AnyOf(*(trigger_from_data(cast("dict[str, Json]", part)) for part in parts))
        case _:
            raise UsageError(f"this is no stored trigger: {data!r}")


def next_fire_times(trigger: Trigger, after: int, count: int) -> list[Micros]:
    """The first due moments strictly after one, at most so many, in microseconds."""
    found: list[Micros] = []
    moment: Micros | None = Micros(after)
    while len(found) < count and moment is not None:
        moment = trigger.next_after_us(moment)
        if moment is not None:
            found.append(moment)
    return found


def _moment(value: datetime | str) -> datetime:
    if isinstance(value, datetime):
        return value
    # Parsed for its checks alone: a naive text stays naive until the zone is known.
    parse_moment(value, UTC)
    return datetime.fromisoformat(value.strip())


def _localized(moment: datetime, timezone: str) -> datetime:
    if moment.utcoffset() is not None:
        return moment
    return to_datetime(to_micros(moment, zone_named(timezone)))


def _length(micros: int) -> timedelta:
    return timedelta(microseconds=micros)


def _in_zone(moment: Micros | None, zone: tzinfo) -> datetime | None:
    if moment is None:
        return None
    try:
        return to_datetime(moment).astimezone(zone)
    except (UsageError, OverflowError):
        return None
