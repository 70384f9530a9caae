"""What is told of changes of the clocks: which firings they move, double and leave out.

The expectations follow from the change-overs of the IANA data: Europe/Berlin 2024-03-31 02:00+01:00
becomes 03:00+02:00, 2024-10-27 03:00+02:00 becomes 02:00+01:00; Australia/Lord_Howe 2024-10-06
02:00+10:30 becomes 02:30+11:00; Pacific/Apia went from the end of 2011-12-29 (-10:00) to 2011-12-31
(+14:00).
"""

from __future__ import annotations

from datetime import datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from kallista.core.change_overs import Effect, change_overs, offset_text, told
from kallista.core.durations import to_datetime, to_micros
from kallista.core.trigger_words import in_short, in_words
from kallista.core.triggers import AnyOf, At, Cron, Every, Trigger, next_fire_times
from kallista.core.wall_clock import MISSING, TWICE

BERLIN = "Europe/Berlin"


def micros(text: str, zone: str) -> int:
    return to_micros(datetime.fromisoformat(text), ZoneInfo(zone))


def seen(cron: Cron, after: str, until: str) -> list[tuple[str, str]]:
    """Each change, where it counts and in words."""
    zone = cron.timezone or "UTC"
    found = change_overs(cron, micros(after, zone), micros(until, zone))
    local = [to_datetime(change.moment).astimezone(ZoneInfo(zone)) for change in found]
    return [(f"{at:%m-%d %H:%M%z}", told(change)) for at, change in zip(local, found, strict=True)]


@pytest.mark.parametrize(
    ("cron", "expected"),
    [
        (
            Cron("30 2 * * *", BERLIN),
            [
                ("03-31 03:00+0200", "moved: 02:30 does not exist (+01:00 to +02:00)"),
                ("10-27 02:30+0200", "first of two: 02:30 comes twice (+02:00 to +01:00)"),
            ],
        ),
        (
            Cron("30 2 * * *", BERLIN, dst="skip both"),
            [
                ("03-31 03:00+0200", "left out: 02:30 does not exist (+01:00 to +02:00)"),
                ("10-27 02:30+0200", "first of two: 02:30 comes twice (+02:00 to +01:00)"),
                ("10-27 02:30+0100", "second of two: 02:30 comes twice (+02:00 to +01:00)"),
            ],
        ),
        (
            Cron("*/20 2 * * *", BERLIN, dst="second"),
            [
                ("03-31 03:00+0200", "moved: 02:00 to 02:40 do not exist (+01:00 to +02:00)"),
                ("10-27 02:00+0100", "second of two: 02:00 comes twice (+02:00 to +01:00)"),
                ("10-27 02:20+0100", "second of two: 02:20 comes twice (+02:00 to +01:00)"),
                ("10-27 02:40+0100", "second of two: 02:40 comes twice (+02:00 to +01:00)"),
            ],
        ),
        (
            Cron("0,15 2 * 7-12 *", "Australia/Lord_Howe"),
            [("10-06 02:30+1100", "moved: 02:00 and 02:15 do not exist (+10:30 to +11:00)")],
        ),
        (Cron("30 2 * * *", "Asia/Kolkata"), []),
        (Cron("30 2 * * *"), []),
    ],
)
def test_what_a_change_of_the_clocks_does_is_told(
    cron: Cron, expected: list[tuple[str, str]]
) -> None:
    """Which firing it touches, what happens to which times, and the offsets before and after."""
    assert seen(cron, "2024-01-01T00:00", "2024-12-31T00:00") == expected


def test_a_day_that_was_lost_is_told() -> None:
    """The times of Samoa's 30th of December 2011 moved to the first moment of the 31st."""
    cron = Cron("0 12 * * *", "Pacific/Apia")
    assert seen(cron, "2011-12-29T13:00", "2011-12-31T13:00") == [
        ("12-31 00:00+1400", "moved: 12:00 does not exist (-10:00 to +14:00)")
    ]


@settings(max_examples=60)
@given(
    st.sampled_from([BERLIN, "Australia/Lord_Howe", "America/Sao_Paulo", "America/St_Johns"]),
    st.sampled_from(["*/20 * * * *", "15,45 1 * * *", "0 0 * * *", "*/10 1-3 * * *"]),
    st.dates(datetime(2015, 1, 1).date(), datetime(2018, 12, 1).date()).map(str),
    st.sampled_from([f"{missing} {twice}" for missing in MISSING for twice in TWICE]),
)
@example(BERLIN, "*/10 1-3 * * *", "2018-10-27", "skip second")
@example("America/Sao_Paulo", "0 0 * * *", "2018-11-03", "after both")
def test_only_firings_are_told_of_and_all_that_lie_in_a_change(
    zone: str, text: str, day: str, dst: str
) -> None:
    """What is moved or doubled fires at that moment; a firing by neither is an ordinary time."""
    cron = Cron(text, zone, dst)
    after = micros(day, zone)
    moments = next_fire_times(cron, after, 60)
    changes = change_overs(cron, after, moments[-1])
    touched = {one.moment for one in changes if one.effect is not Effect.LEFT_OUT}
    assert touched <= set(moments)
    for moment in set(moments) - touched:
        wall = to_datetime(moment).astimezone(ZoneInfo(zone)).replace(tzinfo=None)
        assert to_micros(wall, ZoneInfo(zone)) == moment
        assert to_micros(wall.replace(fold=1), ZoneInfo(zone)) == moment


@pytest.mark.parametrize(
    ("trigger", "short", "words"),
    [
        (
            Cron("30 2 * * *", BERLIN),
            "cron 30 2 * * * (Europe/Berlin)",
            "at 02:30 every day, Europe/Berlin",
        ),
        (
            Cron("30 2 * * *", BERLIN, "skip second"),
            "cron 30 2 * * * (Europe/Berlin, skip second)",
            (
                "at 02:30 every day, Europe/Berlin; where clocks change, a time that does not exist"
                " is left out, one that comes twice runs the second time"
            ),
        ),
        (
            Cron("@weekly", "UTC"),
            "cron @weekly (UTC)",
            "at 00:00 on Sunday, UTC",
        ),
        (
            Every("1m30s", "2024-01-01T00:00:00Z"),
            "every 1m 30s",
            "every 1m 30s, counted from 2024-01-01 00:00:00 UTC",
        ),
        (
            At("2024-01-01T00:00:00.5Z"),
            "at 2024-01-01 00:00:00.500000+00:00",
            "once, at 2024-01-01 00:00:00.500000 UTC",
        ),
        (
            AnyOf(Cron("0 9 * * *", BERLIN), Cron("0 12 * * SAT", BERLIN)),
            "cron 0 9 * * * (Europe/Berlin), cron 0 12 * * SAT (Europe/Berlin)",
            "at 09:00 every day, Europe/Berlin; and at 12:00 on Saturday, Europe/Berlin",
        ),
    ],
)
def test_a_trigger_is_told_in_short_and_in_words(trigger: Trigger, short: str, words: str) -> None:
    """In short it is what was written, in words what that means."""
    assert in_short(trigger.to_data()) == short
    assert in_words(trigger.to_data()) == words


def test_words_need_no_zone_data() -> None:
    """A machine that does not know a zone can still say what a schedule is."""
    data = {"type": "cron", "expression": "@daily", "timezone": "Mars/Base"}
    assert in_words(data) == "at 00:00 every day, Mars/Base"
    assert in_words({"type": "new"}) == '{"type": "new"}'


def test_offsets_are_told_to_the_second_where_they_have_some() -> None:
    """Before standard time zones had offsets of seconds."""
    offsets = [0, 5 * 3600 + 45 * 60, -3 * 3600 - 30 * 60, -1521]
    shown = [offset_text(offset * 1_000_000) for offset in offsets]
    assert shown == ["+00:00", "+05:45", "-03:30", "-00:25:21"]
