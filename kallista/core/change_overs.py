"""What a cron trigger does where its zone's clocks change, told for people."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, tzinfo
from enum import StrEnum
from typing import Final, NamedTuple

from kallista.core.cron_text import spelled_out, wall_times
from kallista.core.triggers import Cron
from kallista.core.types import Micros
from kallista.core.wall_clock import end_of_gap, looked_at_from, moments_of, offset_at, zone_named

_MINUTE: Final = 60_000_000


class Effect(StrEnum):
    """What a change of the clocks does to a wall-clock time that an expression describes."""

    MOVED = "moved"
    LEFT_OUT = "left out"
    FIRST = "first of two"
    SECOND = "second of two"


class ChangeOver(NamedTuple):
    """What a change of the clocks does to some wall-clock times.

    Args:
        moment: When they count instead; of those that are left out, the first moment after the gap.
        effect: What becomes of them.
        walls: Which times they are, as naive datetimes.
        before: By how much the clock is ahead of UTC before the change, in microseconds.
        after: And afterwards.
    """

    moment: Micros
    effect: Effect
    walls: tuple[datetime, ...]
    before: int
    after: int


def change_overs(cron: Cron, after: int, until: int) -> Sequence[ChangeOver]:
    """What happens to the times of an expression at changes of the clocks, in their order.

    Args:
        cron: A trigger; without a zone it knows no changes.
        after: Looked at from this moment on, itself excluded, in microseconds since 1970.
        until: Looked at as far as this moment.
    """
    if cron.timezone is None:
        return ()
    zone = zone_named(cron.timezone)
    found: dict[tuple[Micros, Effect], ChangeOver] = {}
    for wall, change in _changed(cron, zone, after, until):
        there = found.setdefault(change[:2], change)
        found[change[:2]] = there._replace(walls=(*there.walls, wall))
    return sorted(found.values())


def _changed(
    cron: Cron, zone: tzinfo, after: int, until: int
) -> Iterator[tuple[datetime, ChangeOver]]:
    missing, twice = cron.dst.split()
    for wall in wall_times(spelled_out(cron.expression), looked_at_from(after, zone, -1)):
        shown = moments_of(wall, zone)
        if (shown[0] if shown else end_of_gap(wall, zone)) > until:
            return
        for moment, effect in _effects(wall, zone, shown, missing, twice):
            if after < moment <= until:
                change = end_of_gap(wall, zone) if not shown else shown[1]
                offsets = (
                    offset_at(shown[0] if shown else change - 1, zone),
                    offset_at(change, zone),
                )
                yield wall, ChangeOver(moment, effect, (), *offsets)


def _effects(
    wall: datetime, zone: tzinfo, shown: tuple[Micros, ...], missing: str, twice: str
) -> Iterator[tuple[Micros, Effect]]:
    if not shown:
        effect = Effect.MOVED if missing == "after" else Effect.LEFT_OUT
        yield end_of_gap(wall, zone), effect
    elif len(shown) > 1:
        if twice != "second":
            yield shown[0], Effect.FIRST
        if twice != "first":
            yield shown[1], Effect.SECOND


def told(change: ChangeOver) -> str:
    """A sentence's worth about a change: which times, what is wrong with them, and the offsets."""
    walls = [f"{wall:%H:%M:%S}".removesuffix(":00") for wall in change.walls]
    which = " and ".join(walls) if len(walls) < 3 else f"{walls[0]} to {walls[-1]}"
    is_gap = change.effect in (Effect.MOVED, Effect.LEFT_OUT)
    does = ("do" if len(walls) > 1 else "does") + " not exist"
    comes = ("come" if len(walls) > 1 else "comes") + " twice"
    return (
        f"{change.effect}: {which} {does if is_gap else comes}"
        f" ({offset_text(change.before)} to {offset_text(change.after)})"
    )


def offset_text(offset: int) -> str:
    """An offset from UTC as people write it, such as ``+05:45``."""
    minutes, rest = divmod(abs(offset), _MINUTE)
    seconds = f":{rest // 1_000_000:02}" if rest else ""
    return f"{'-' if offset < 0 else '+'}{minutes // 60:02}:{minutes % 60:02}{seconds}"
