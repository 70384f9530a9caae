"""A table of what cron expressions mean in many zones, by published behaviour and the IANA data."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple
from zoneinfo import ZoneInfo

import pytest

from kallista.core.durations import to_datetime, to_micros
from kallista.core.triggers import Cron, next_fire_times, trigger_from_data

TABLE = Path(__file__).parent / "cron_cases.txt"
MOMENT = re.compile(
    r"(?:(?:(?P<year>\d{4})-)?(?P<day>\d\d-\d\d) )?(?P<time>\d\d:\d\d(?::\d\d)?)"
    r"(?P<offset>[+-]\d\d(?::\d\d)?)?"
)


class Case(NamedTuple):
    """A line of the table."""

    cron: Cron
    after: datetime
    expected: list[datetime]


def cases() -> Iterator[object]:
    for number, line in enumerate(TABLE.read_text("utf-8").splitlines(), 1):
        if line and not line.startswith(("#", "== ")):
            yield pytest.param(read(line), id=f"line {number}")


def read(line: str) -> Case:
    expression, zone, dst, after, expected = (part.strip() for part in line.split("|"))
    start = moment(after, zone, datetime(1, 1, 1))
    found = [start]
    for text in expected.split(", "):
        found.append(moment(text, zone, found[-1]))
    return Case(Cron(expression, zone, dst or None), start, found[1:])


def moment(text: str, zone: str, before: datetime) -> datetime:
    """The moment of a wall-clock time; what is missing of its date is that of the one before."""
    match = MOMENT.fullmatch(text)
    assert match, text
    year, day = match["year"] or f"{before:%Y}", match["day"] or f"{before:%m-%d}"
    wall = datetime.fromisoformat(f"{year}-{day} {match['time']}").replace(tzinfo=ZoneInfo(zone))
    if match["offset"] is None:
        return wall
    aware = datetime.fromisoformat(f"{wall:%Y-%m-%dT%H:%M:%S}{match['offset']}")
    shown = aware.astimezone(ZoneInfo(zone))
    assert shown.replace(tzinfo=None) == aware.replace(tzinfo=None), f"{text} is never shown"
    return shown


@pytest.mark.parametrize("case", list(cases()))
def test_the_table(case: Case) -> None:
    """Each expression means what its source says, from wherever one starts to look."""
    cron, after, expected = case
    found = next_fire_times(cron, to_micros(after), len(expected))
    assert [to_datetime(one) for one in found] == [one.astimezone(UTC) for one in expected]
    stored = trigger_from_data(cron.to_data())
    for earlier, later in pairwise(found):
        assert stored.next_after_us(later - 1) == later
        assert stored.next_after_us(earlier) == later


def test_the_table_is_large_and_wide() -> None:
    """What it is worth lies in how much of the world it sees."""
    lines = [line for line in TABLE.read_text("utf-8").splitlines() if line.count("|") == 4]
    rows = [line.split("|") for line in lines if not line.startswith("#")]
    assert len(rows) >= 150
    assert len({row[1].strip() for row in rows}) >= 40
