"""Which moments a wall-clock time is, also where a zone's clocks change (ADR 5).

A clock that is set forward leaves wall-clock times out, one that is set back shows some twice. What
becomes of those is said by a ``dst``: a word for the times that are missing, ``after`` (they count
at the first moment after the gap) or ``skip``, and one for those that come twice, ``first``,
``second`` or ``both``.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta, tzinfo
from difflib import get_close_matches
from functools import partial
from typing import Final, TypeAlias
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

from kallista.core.cron_text import wall_times
from kallista.core.durations import to_datetime, to_micros
from kallista.core.types import Micros
from kallista.errors import UsageError

MISSING: Final = ("after", "skip")
"""What may become of a wall-clock time that does not exist."""

TWICE: Final = ("first", "second", "both")
"""What may become of a wall-clock time that exists twice."""

ONCE_A_TIME: Final = "after first"
"""Every wall-clock time counts exactly once: what an expression with hours means."""

RHYTHM: Final = "skip both"
"""Real time goes on evenly: what an expression for every hour means."""

_NAIVE_EPOCH: Final = datetime(1970, 1, 1)
_MICROSECOND: Final = timedelta(microseconds=1)
_DAY: Final = 86_400_000_000

_Search: TypeAlias = Callable[[str, int, tzinfo], Micros | None]


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


def read_dst(dst: object, otherwise: str) -> str:
    """What becomes of wall-clock times at change-overs.

    Args:
        dst: One word of ``MISSING``, one of ``TWICE``, or one of each; None: nothing is said.
        otherwise: What holds as far as nothing is said.

    Returns:
        Both words, that for missing times first.

    Raises:
        UsageError: A word is unknown, or there are two of one kind.
    """
    missing, twice = otherwise.split()
    words = [] if dst is None else dst.split() if isinstance(dst, str) else [repr(dst)]
    chosen = [[word for word in words if word in kind] for kind in (MISSING, TWICE)]
    if (dst is not None and not words) or any(len(kind) > 1 for kind in chosen):
        raise UsageError(_dst_help(dst))
    if sum(map(len, chosen)) != len(words):
        raise UsageError(_dst_help(dst))
    return " ".join((*(chosen[0] or [missing]), *(chosen[1] or [twice])))


def _dst_help(dst: object) -> str:
    return (
        f"{dst!r} does not say what happens where clocks change: give one word of"
        f" {', '.join(MISSING)} (a time that does not exist runs after the gap, or not at all),"
        f" one of {', '.join(TWICE)} (of a time that exists twice), or one of each, such as"
        f" dst={RHYTHM!r}"
    )


def next_moment(fields: str, dst: str, moment: int, zone: tzinfo) -> Micros | None:
    """The first moment strictly after one at which an expression is due.

    Args:
        fields: The expression, spelled out.
        dst: Both words, as ``read_dst`` returns them.
        moment: In microseconds since 1970.
        zone: Whose wall clock is meant.
    """
    return _SEARCHES[dst](fields, moment, zone)


def moments_of(wall: datetime, zone: tzinfo) -> tuple[Micros, ...]:
    """When the clock of a zone shows a naive wall-clock time: once, twice, or never."""
    # In a gap fold=0 counts by the offset before it, which lands behind it by as much as the
    # time lies inside; fold=1 counts by the offset after it, which lands before it.
    early, late = to_micros(wall, zone), to_micros(wall.replace(fold=1), zone)
    if early == late:
        return (early,)
    return (early, late) if early < late else ()


def end_of_gap(wall: datetime, zone: tzinfo) -> Micros:
    """The first moment after the gap in which a wall-clock time is missing."""
    return change_between(to_micros(wall.replace(fold=1), zone), to_micros(wall, zone), zone)


def change_between(before: int, after: int, zone: tzinfo) -> Micros:
    """The first moment at which the offset of ``after`` holds, ``before`` having another."""
    settled = offset_at(after, zone)
    while after - before > 1:
        middle = (before + after) // 2
        if offset_at(middle, zone) == settled:
            after = middle
        else:
            before = middle
    return Micros(after)


def offset_at(moment: int, zone: tzinfo) -> int:
    """By how much the clock of a zone is ahead of UTC at a moment, in microseconds."""
    return _micros_of(wall_at(moment, zone)) - moment


def wall_at(moment: int, zone: tzinfo) -> datetime:
    """What the clock of a zone shows at a moment, as a naive datetime."""
    return to_datetime(moment).astimezone(zone).replace(tzinfo=None, fold=0)


def _micros_of(wall: datetime) -> int:
    return (wall - _NAIVE_EPOCH) // _MICROSECOND


def _next_by_wall_clock(
    fields: str, moment: int, zone: tzinfo, *, missing: str, pick: int
) -> Micros | None:
    """Each wall-clock time once at most.

    Args:
        missing: What becomes of one that does not exist.
        pick: Which moment of one that exists twice: 0 for the first, -1 for the last.
    """
    for wall in wall_times(fields, looked_at_from(moment, zone, pick)):
        found = moments_of(wall, zone)
        if not found and missing == "skip":
            continue
        due = found[pick] if found else end_of_gap(wall, zone)
        if due > moment:
            return due
    return None


def looked_at_from(moment: int, zone: tzinfo, pick: int) -> datetime:
    """The wall-clock time after which everything lies that may be due after a moment.

    Where the clock will be set back and second times count, what it has shown already is due again.
    """
    wall = wall_at(moment, zone)
    shown = moments_of(wall, zone)
    if pick == 0 or len(shown) < 2 or shown[0] != moment:
        return wall
    return wall_at(change_between(moment, shown[1], zone), zone) - _MICROSECOND


def _next_of_both(fields: str, moment: int, zone: tzinfo) -> Micros | None:
    """Every moment at which the clock shows a fitting time, and the ends of gaps."""
    first, second = (
        _next_by_wall_clock(fields, moment, zone, missing="after", pick=pick) for pick in (0, -1)
    )
    return second if first is None else first if second is None else min(first, second)


def _next_by_rhythm(fields: str, moment: int, zone: tzinfo) -> Micros | None:
    """Every moment at which the wall clock shows a fitting time, however often it shows it.

    For each offset that the zone has hereabouts, the fitting times are laid out by that offset
    alone; the earliest one at which its offset really holds leads to the answer.
    """
    waiting: list[tuple[int, int, datetime, Callable[[], datetime | None]]] = []
    known: set[int] = set()

    def follow(offset: int) -> None:
        if offset not in known:
            known.add(offset)
            walls = wall_times(fields, _NAIVE_EPOCH + (moment + offset) * _MICROSECOND)
            push(offset, lambda: next(walls, None))

    def push(offset: int, draw: Callable[[], datetime | None]) -> None:
        wall = draw()
        if wall is not None:
            heapq.heappush(waiting, (_micros_of(wall) - offset, offset, wall, draw))

    follow(offset_at(moment, zone))
    follow(offset_at(moment + _DAY, zone))
    while waiting:
        due, offset, wall, draw = heapq.heappop(waiting)
        holds = offset_at(due, zone)
        if holds == offset:
            # It may have been shown before, by an offset that nothing has led to so far.
            return Micros(min(due, *(other for other in moments_of(wall, zone) if other > moment)))
        follow(holds)
        push(offset, draw)
    return None


_SEARCHES: Final[Mapping[str, _Search]] = {
    ONCE_A_TIME: partial(_next_by_wall_clock, missing="after", pick=0),
    "after second": partial(_next_by_wall_clock, missing="after", pick=-1),
    "after both": _next_of_both,
    "skip first": partial(_next_by_wall_clock, missing="skip", pick=0),
    "skip second": partial(_next_by_wall_clock, missing="skip", pick=-1),
    RHYTHM: _next_by_rhythm,
}
"""How the next moment is found, by what becomes of missing times and of those that come twice."""
