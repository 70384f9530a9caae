"""When a schedule is due: once, at an interval, or by a cron expression.

Triggers are plain values. Each defines a set of due moments; ``next_after`` gives the first of them
strictly after a moment, and nothing but its arguments decides which. ADR 0005 says what happens
where a zone's clocks change.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from difflib import get_close_matches
from typing import TypeAlias
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

from kallista.core.durations import (
    format_duration,
    parse_duration,
    parse_moment,
    to_datetime,
    to_micros,
)
from kallista.core.types import Json, Micros
from kallista.errors import UsageError

SHORTEST_INTERVAL = Micros(1_000)

_WORDS = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
_FIELDS = {
    "second": "0-59",
    "minute": "0-59",
    "hour": "0-23",
    "day-of-month": "1-31, L (the last day) or LW (the last weekday), and a day its months have",
    "month": "1-12 or JAN-DEC",
    "day-of-week": "0-7 or SUN-SAT (0 and 7 are Sunday), 5L (the last Friday) or 1#2 "
    "(the second Monday)",
}
_FIRST_YEAR = datetime(2000, 1, 1)
_NAIVE_EPOCH = datetime(1970, 1, 1)
_MICROSECOND = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True, init=False, repr=False)
class Cron:
    """Due when the clock on the wall shows what a cron expression describes.

    Args:
        expression: Five fields (minute, hour, day of month, month, day of week), six with seconds
            first, or a word such as ``@daily``. Names (``MON``, ``JAN``), lists, ranges, steps,
            ``L``, ``LW`` and ``#`` are understood. Where both days are restricted either will do.
        timezone: The IANA name of the zone whose wall clock is meant; None: the configured one,
            which ``localized`` fills in.

    Raises:
        UsageError: The expression or the zone cannot be read, or no date ever fits.
    """

    expression: str
    timezone: str | None

    def __init__(self, expression: str, timezone: str | None = None) -> None:
        if timezone is not None:
            zone_named(timezone)
        _check_expression(expression)
        object.__setattr__(self, "expression", " ".join(expression.split()))
        object.__setattr__(self, "timezone", timezone)

    def __repr__(self) -> str:
        zone = "" if self.timezone is None else f", timezone={self.timezone!r}"
        return f"Cron({self.expression!r}{zone})"

    def localized(self, timezone: str) -> Cron:
        """The same with this zone, unless it names one already."""
        return self if self.timezone is not None else Cron(self.expression, timezone)

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
        """Plain data that ``trigger_from_data`` reads back."""
        return {"type": "cron", "expression": self.expression, "timezone": self.timezone}

    def _zone(self, otherwise: tzinfo) -> tzinfo:
        return otherwise if self.timezone is None else zone_named(self.timezone)

    def _next(self, moment: int, zone: tzinfo) -> Micros | None:
        fields = _spelled_out(self.expression)
        try:
            if _every_hour(fields):
                return _next_by_rhythm(fields, moment, zone)
            return _next_by_wall_clock(fields, moment, zone)
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


Trigger: TypeAlias = Cron | Every | At


def trigger_from_data(data: Mapping[str, Json]) -> Trigger:
    """Read back what ``to_data`` wrote.

    Raises:
        UsageError: It is no trigger.
    """
    match data:
        case {"type": "cron", "expression": str(expression), "timezone": str() | None as timezone}:
            return Cron(expression, timezone)
        case {"type": "every", "interval": int(interval), "start": int() | None as start}:
            return Every(_length(interval), None if start is None else to_datetime(start))
        case {"type": "at", "moment": int(moment)}:
            return At(to_datetime(moment))
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


def zone_named(name: str) -> ZoneInfo:
    """The zone of an IANA name.

    Raises:
        UsageError: There is none of this name; the nearest names are given.
    """
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError, TypeError):
        near = get_close_matches(str(name), sorted(available_timezones()), n=3, cutoff=0.5)
        hint = f"did you mean {', '.join(near)}?" if near else 'write it like "Europe/Berlin"'
        raise UsageError(f"there is no time zone {name!r}; {hint}") from None


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


def _check_expression(expression: object) -> None:
    if not isinstance(expression, str) or not expression.isascii():
        raise UsageError(f'a cron expression is a text like "0 9 * * MON-FRI", not {expression!r}')
    fields = _spelled_out(expression)
    if next(_wall_times(fields, _FIRST_YEAR), None) is None:
        raise UsageError(f"no date ever fits the cron expression {expression!r}")


def _spelled_out(expression: str) -> str:
    stripped = expression.strip()
    if not stripped.startswith("@"):
        return stripped
    if stripped.lower() in _WORDS:
        return _WORDS[stripped.lower()]
    raise UsageError(f"there is no cron word {stripped!r}; there are {', '.join(_WORDS)}")


def _every_hour(fields: str) -> bool:
    return fields.split()[-4] in {"*", "*/1"}


def _wall_times(fields: str, after: datetime) -> Iterator[datetime]:
    """The naive wall-clock times that fit, strictly after one, each once and ascending."""
    # Imported here: only who uses cron pays for it at start.
    from cronsim import CronSim, CronSimError

    try:
        return iter(CronSim(fields, after))
    except (CronSimError, AssertionError, TypeError, ValueError) as problem:
        raise UsageError(_explained(fields, str(problem))) from None


def _explained(fields: str, problem: str) -> str:
    parts = fields.split()
    names = list(_FIELDS)[-len(parts) :]
    name = problem.removeprefix("Bad ")
    if len(parts) not in (5, 6):
        return (
            f"the cron expression {fields!r} has {len(parts)} fields; it needs five "
            "(minute hour day-of-month month day-of-week), or six with seconds first"
        )
    if name not in names:
        return f"the cron expression {fields!r} cannot be read"
    part = parts[names.index(name)]
    return f"{name} {part!r} in the cron expression {fields!r} does not fit: {_FIELDS[name]}"


def _next_by_wall_clock(fields: str, moment: int, zone: tzinfo) -> Micros | None:
    """Each wall-clock time once: after the gap where it is missing, first where it is double."""
    for wall in _wall_times(fields, _wall(moment, zone)):
        due = _first_occurrence(wall, zone)
        if due > moment:
            return due
    return None


def _wall(moment: int, zone: tzinfo) -> datetime:
    return to_datetime(moment).astimezone(zone).replace(tzinfo=None, fold=0)


def _first_occurrence(wall: datetime, zone: tzinfo) -> Micros:
    early = to_micros(wall, zone)
    if _wall(early, zone) == wall:
        return early
    # In a gap fold=0 counts by the offset before it, which lands behind it by as much as the
    # time lies inside; fold=1 counts by the offset after it, which lands before it.
    return _change_between(to_micros(wall.replace(fold=1), zone), early, zone)


def _change_between(before: int, after: int, zone: tzinfo) -> Micros:
    """The first moment at which the offset of ``after`` holds."""
    settled = _offset(after, zone)
    while after - before > 1:
        middle = (before + after) // 2
        if _offset(middle, zone) == settled:
            after = middle
        else:
            before = middle
    return Micros(after)


def _offset(moment: int, zone: tzinfo) -> int:
    return _micros_of(_wall(moment, zone)) - moment


def _micros_of(wall: datetime) -> int:
    return (wall - _NAIVE_EPOCH) // _MICROSECOND


def _next_by_rhythm(fields: str, moment: int, zone: tzinfo) -> Micros | None:
    """Every moment at which the wall clock shows a fitting time, however often it shows it.

    For each offset that the zone has hereabouts, the fitting times are laid out by that offset
    alone; the earliest one at which its offset really holds is the answer.
    """
    day = 86_400_000_000
    waiting: list[tuple[int, int, Callable[[], datetime | None]]] = []
    known: set[int] = set()

    def follow(offset: int) -> None:
        if offset not in known:
            known.add(offset)
            walls = _wall_times(fields, _NAIVE_EPOCH + (moment + offset) * _MICROSECOND)
            push(offset, lambda: next(walls, None))

    def push(offset: int, draw: Callable[[], datetime | None]) -> None:
        wall = draw()
        if wall is not None:
            heapq.heappush(waiting, (_micros_of(wall) - offset, offset, draw))

    follow(_offset(moment, zone))
    follow(_offset(moment + day, zone))
    while waiting:
        due, offset, draw = heapq.heappop(waiting)
        holds = _offset(due, zone)
        if holds == offset:
            return Micros(due)
        follow(holds)
        push(offset, draw)
    return None
