"""Triggers: which moments are due, in every zone and through every change of its clocks.

The expectations at change-overs follow from the transitions in the IANA time zone data and from
two rules: a wall-clock time that does not exist runs at the first moment after the gap, one that
exists twice runs once, the first time. Expressions for every hour follow real time instead.
"""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from kallista.core.durations import to_datetime, to_micros
from kallista.core.triggers import (
    AnyOf,
    At,
    Cron,
    Every,
    Trigger,
    next_fire_times,
    trigger_from_data,
)
from kallista.core.wall_clock import MISSING, TWICE
from kallista.errors import UsageError

MINUTE = 60_000_000
MINUTES = timedelta(minutes=1)
NOON = to_micros(datetime(2024, 1, 1, 12, tzinfo=UTC))


def walls(trigger: Trigger, zone: str, start: str, count: int) -> list[str]:
    """The next firings after a wall-clock time, as month-day hour:minute and offset."""
    after = datetime.fromisoformat(start).replace(tzinfo=ZoneInfo(zone))
    moments = next_fire_times(trigger, to_micros(after), count)
    local = [to_datetime(moment).astimezone(ZoneInfo(zone)) for moment in moments]
    return [moment.strftime("%m-%d %H:%M%z") for moment in local]


@pytest.mark.parametrize(
    ("expression", "zone", "start", "expected"),
    [
        # Europe/Berlin: 2024-03-31 02:00 becomes 03:00.
        (
            "30 2 * * *",
            "Europe/Berlin",
            "2024-03-30T12:00",
            ["03-31 03:00+0200", "04-01 02:30+0200"],
        ),
        (
            "*/15 2 * * *",
            "Europe/Berlin",
            "2024-03-30T12:00",
            ["03-31 03:00+0200", "04-01 02:00+0200"],
        ),
        (
            "0 2,3 * * *",
            "Europe/Berlin",
            "2024-03-30T12:00",
            ["03-31 03:00+0200", "04-01 02:00+0200"],
        ),
        (
            "0 */2 * * *",
            "Europe/Berlin",
            "2024-03-31T00:00",
            ["03-31 03:00+0200", "03-31 04:00+0200"],
        ),
        # 2024-10-27 03:00 becomes 02:00.
        (
            "30 2 * * *",
            "Europe/Berlin",
            "2024-10-26T12:00",
            ["10-27 02:30+0200", "10-28 02:30+0100"],
        ),
        (
            "0,59 2 * * *",
            "Europe/Berlin",
            "2024-10-26T12:00",
            ["10-27 02:00+0200", "10-27 02:59+0200", "10-28 02:00+0100"],
        ),
        ("0 3 * * *", "Europe/Berlin", "2024-10-26T12:00", ["10-27 03:00+0100"]),
        (
            "30 0 2 * * *",
            "Europe/Berlin",
            "2024-10-26T12:00",
            ["10-27 02:00+0200", "10-28 02:00+0100"],
        ),
        # Every hour follows real time: no firing is missing, none comes early.
        (
            "*/30 * * * *",
            "Europe/Berlin",
            "2024-10-27T02:00",
            ["10-27 02:30+0200", "10-27 02:00+0100", "10-27 02:30+0100", "10-27 03:00+0100"],
        ),
        (
            "*/30 * * * *",
            "Europe/Berlin",
            "2024-03-31T01:00",
            ["03-31 01:30+0100", "03-31 03:00+0200", "03-31 03:30+0200"],
        ),
        (
            "@hourly",
            "America/Sao_Paulo",
            "2018-11-03T22:00",
            ["11-03 23:00-0300", "11-04 01:00-0200", "11-04 02:00-0200"],
        ),
        # Australia/Lord_Howe moves by half an hour: 2024-10-06 02:00 becomes 02:30,
        # 2024-04-07 02:00 becomes 01:30.
        (
            "15 2 * * *",
            "Australia/Lord_Howe",
            "2024-10-05T12:00",
            ["10-06 02:30+1100", "10-07 02:15+1100"],
        ),
        (
            "45 1 * * *",
            "Australia/Lord_Howe",
            "2024-04-06T12:00",
            ["04-07 01:45+1100", "04-08 01:45+1030"],
        ),
        (
            "0 2 * * *",
            "Australia/Lord_Howe",
            "2024-04-06T12:00",
            ["04-07 02:00+1030", "04-08 02:00+1030"],
        ),
        # America/Sao_Paulo changed at midnight: 2018-11-04 00:00 became 01:00,
        # 2018-02-18 00:00 became 2018-02-17 23:00.
        (
            "0 0 * * *",
            "America/Sao_Paulo",
            "2018-11-03T12:00",
            ["11-04 01:00-0200", "11-05 00:00-0200"],
        ),
        (
            "@daily",
            "America/Sao_Paulo",
            "2018-02-17T12:00",
            ["02-18 00:00-0300", "02-19 00:00-0300"],
        ),
        (
            "30 23 * * *",
            "America/Sao_Paulo",
            "2018-02-17T12:00",
            ["02-17 23:30-0200", "02-18 23:30-0300"],
        ),
        (
            "0 0 4 11 *",
            "America/Sao_Paulo",
            "2018-01-01T00:00",
            ["11-04 01:00-0200", "11-04 00:00-0300"],
        ),
        # Zones of half and quarter hours.
        ("0 9 * * *", "Asia/Kolkata", "2024-01-01T09:00", ["01-02 09:00+0530"]),
        ("0 9 * * *", "Asia/Kathmandu", "2024-01-01T08:59", ["01-01 09:00+0545"]),
        (
            "45 2 * * *",
            "Pacific/Chatham",
            "2024-09-28T12:00",
            ["09-29 03:45+1345", "09-30 02:45+1345"],
        ),
        (
            "30 2 * * *",
            "America/St_Johns",
            "2024-03-09T12:00",
            ["03-10 03:00-0230", "03-11 02:30-0230"],
        ),
        # Pacific/Apia left out 2011-12-30.
        (
            "0 12 * * *",
            "Pacific/Apia",
            "2011-12-29T00:00",
            ["12-29 12:00-1000", "12-31 00:00+1400", "12-31 12:00+1400"],
        ),
        # Africa/Casablanca turns its clocks back before Ramadan: 2024-03-10 03:00 became 02:00.
        (
            "30 2 * * *",
            "Africa/Casablanca",
            "2024-03-09T12:00",
            ["03-10 02:30+0100", "03-11 02:30+0000"],
        ),
        (
            "30 2 * * *",
            "America/New_York",
            "2024-03-09T12:00",
            ["03-10 03:00-0400", "03-11 02:30-0400"],
        ),
        (
            "30 1 * * *",
            "America/New_York",
            "2024-11-02T12:00",
            ["11-03 01:30-0400", "11-04 01:30-0500"],
        ),
    ],
)
def test_change_overs(expression: str, zone: str, start: str, expected: list[str]) -> None:
    """What does not exist runs after the gap, what exists twice runs once, rhythms go on."""
    assert walls(Cron(expression, zone), zone, start, len(expected)) == expected


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("0 9 * * MON-FRI", ["01-01 09:00", "01-02 09:00", "01-03 09:00"]),
        ("0 0 L * *", ["01-31 00:00", "02-29 00:00", "03-31 00:00"]),
        ("0 0 LW * *", ["01-31 00:00", "02-29 00:00", "03-29 00:00"]),
        ("0 0 * * 5L", ["01-26 00:00", "02-23 00:00", "03-29 00:00"]),
        ("0 0 * * MON#2", ["01-08 00:00", "02-12 00:00", "03-11 00:00"]),
        ("0 0 13 * FRI", ["01-05 00:00", "01-12 00:00", "01-13 00:00"]),
        ("0 0 29 2 *", ["02-29 00:00", "02-29 00:00", "02-29 00:00"]),
        ("0 6 1 jan,jul *", ["01-01 06:00", "07-01 06:00", "01-01 06:00"]),
        ("0 0 * * 7", ["01-07 00:00", "01-14 00:00", "01-21 00:00"]),
        ("@weekly", ["01-07 00:00", "01-14 00:00", "01-21 00:00"]),
        ("@Monthly", ["02-01 00:00", "03-01 00:00", "04-01 00:00"]),
        ("@yearly", ["01-01 00:00", "01-01 00:00", "01-01 00:00"]),
        ("  10-20/5   1 * *  * ", ["01-01 01:10", "01-01 01:15", "01-01 01:20"]),
    ],
)
def test_the_language_of_cron(expression: str, expected: list[str]) -> None:
    """Names, lists, ranges, steps, L, LW, # and words; both days given means either."""
    found = walls(Cron(expression, "UTC"), "UTC", "2024-01-01T00:00", 3)
    assert [moment.removesuffix("+0000") for moment in found] == expected


def test_seconds_are_an_optional_first_field() -> None:
    """Six fields begin with the second."""
    assert next_fire_times(Cron("*/20 * * * * *"), NOON, 3) == [
        NOON + 20_000_000,
        NOON + 40_000_000,
        NOON + 60_000_000,
    ]


@pytest.mark.parametrize(
    ("expression", "says"),
    [
        ("61 * * * *", "minute '61'.*0-59"),
        ("0 25 * * *", "hour '25'.*0-23"),
        ("0 0 * * MOON", "day-of-week 'MOON'"),
        ("0 0 30 2 *", "day-of-month '30'"),
        ("0 0 31 4,6 *", "day-of-month '31'"),
        ("* * */20 * 1L", "no date ever fits"),
        ("*/0 * * * *", "minute"),
        ("1#2/3 * * * *", "minute"),
        ("* * * * 1L/2", "day-of-week"),
        ("* * *", "has 3 fields"),
        ("", "has 0 fields"),
        ("@dayly", "@daily"),
        ("٣ * * * *", "is a text"),
        (None, "is a text"),
    ],
)
def test_a_wrong_expression_says_what_is_wrong(expression: str, says: str) -> None:
    """The field, what stands there and what may stand there; impossible dates are found too."""
    with pytest.raises(UsageError, match=says):
        Cron(expression)


@pytest.mark.parametrize("zone", ["Europe/Belin", "", "../etc/passwd", "Europe", "a\0b", "/UTC"])
def test_an_unknown_zone_is_refused(zone: str) -> None:
    """No zone is guessed, and nothing outside the zone data is opened."""
    with pytest.raises(UsageError, match="there is no time zone"):
        Cron("@daily", zone)


def test_an_unknown_zone_gets_the_nearest_names() -> None:
    """A typing error is a short way to the right name."""
    with pytest.raises(UsageError, match="Europe/Berlin"):
        Cron("@daily", "Europe/Belin")


@given(st.text("0123456789*/-,#LWMONJAFRI@ ", max_size=20))
def test_any_text_is_either_an_expression_or_a_usage_error(text: str) -> None:
    """No expression crashes, and one that is accepted has a next moment."""
    try:
        cron = Cron(text)
    except UsageError:
        return
    assert cron.next_after_us(NOON) is not None


def firings(trigger: Trigger, after: int) -> Iterator[int]:
    """All due moments after one."""
    while (found := trigger.next_after_us(after)) is not None:
        yield found
        after = found


ZONES = ["Europe/Berlin", "Australia/Lord_Howe", "America/Sao_Paulo", "America/St_Johns", "UTC"]
EXPRESSIONS = ["*/20 * * * *", "30 * * * *", "15,45 1 * * *", "0 0 * * *", "*/10 1-3 * * *"]


def fires(expression: str, wall: datetime) -> bool:
    """Whether a wall-clock time fits one of EXPRESSIONS, by reading it in the plainest way."""
    minutes, hours = expression.split()[:2]

    def fits(field: str, value: int) -> bool:
        if field.startswith("*"):
            return value % int(field[2:] or 1) == 0
        if "-" in field:
            low, high = map(int, field.split("-"))
            return low <= value <= high
        return value in map(int, field.split(","))

    return fits(minutes, wall.minute) and fits(hours, wall.hour)


def expected_firings(
    expression: str, zone: ZoneInfo, start: datetime, hours: int, dst: str
) -> list[datetime]:
    """Every due moment of some hours, found by looking at each minute of them and around them."""
    around = [start + timedelta(minutes=number) for number in range(-180, (hours + 3) * 60)]
    shown: dict[datetime, list[datetime]] = defaultdict(list)
    last = around[0].astimezone(zone).replace(tzinfo=None, fold=0)
    due: set[datetime] = set()
    for minute in around:
        wall = minute.astimezone(zone).replace(tzinfo=None, fold=0)
        left_out = [last + timedelta(minutes=n) for n in range(1, (wall - last) // MINUTES)]
        if dst.startswith("after") and any(fires(expression, missing) for missing in left_out):
            due.add(minute)
        shown[wall].append(minute)
        last = wall
    pick = {"first": slice(0, 1), "second": slice(-1, None), "both": slice(None)}[dst.split()[1]]
    for wall, minutes in shown.items():
        due |= set(minutes[pick]) if fires(expression, wall) else set()
    return sorted(minute for minute in due if start < minute <= start + timedelta(hours=hours))


DAYS = ["2018-02-17", "2018-11-03", "2018-10-27", "2018-03-24", "2018-03-31"]
POLICIES = [None, *(f"{missing} {twice}" for missing in MISSING for twice in TWICE)]


@settings(max_examples=150)
@given(
    st.sampled_from(ZONES),
    st.sampled_from(EXPRESSIONS),
    st.sampled_from(DAYS)
    | st.dates(datetime(1975, 1, 1).date(), datetime(2037, 1, 1).date()).map(str),
    st.sampled_from(POLICIES),
)
@example("Australia/Lord_Howe", "30 * * * *", "2018-03-31", None)
@example("Europe/Berlin", "*/10 1-3 * * *", "2018-10-27", None)
@example("Europe/Berlin", "*/10 1-3 * * *", "2018-10-27", "skip second")
@example("Europe/Berlin", "*/10 1-3 * * *", "2018-03-24", "after both")
@example("Europe/Berlin", "30 * * * *", "2018-03-24", "after first")
@example("America/Sao_Paulo", "0 0 * * *", "2018-11-03", None)
def test_cron_finds_what_looking_at_each_minute_finds(
    zone: str, text: str, day: str, dst: str | None
) -> None:
    """Over whole days with and without change-overs, no firing is lost, doubled or displaced."""
    start = datetime.fromisoformat(day).replace(tzinfo=UTC)
    cron = Cron(text, zone, dst)
    expected = expected_firings(text, ZoneInfo(zone), start, 48, cron.dst)
    moments = next_fire_times(cron, to_micros(start), len(expected))
    assert [to_datetime(moment) for moment in moments] == expected


@given(
    st.sampled_from(ZONES),
    st.sampled_from(EXPRESSIONS),
    st.integers(0, 2_000_000_000_000_000),
    st.integers(0, 3 * 3_600_000_000),
    st.sampled_from(POLICIES),
)
def test_where_one_starts_to_look_does_not_matter(
    zone: str, text: str, moment: int, before: int, dst: str | None
) -> None:
    """Due moments are a fixed set: a later start never finds an earlier or another one."""
    cron = Cron(text, zone, dst)
    first = cron.next_after_us(moment)
    assert first is not None
    assert first > moment
    # Between the earlier start and the moment there may be many: each is skipped in turn.
    assert first in itertools.islice(firings(cron, moment - before), 400)
    assert cron.next_after_us(first - 1) == first


@pytest.mark.parametrize(
    ("dst", "spring", "autumn"),
    [
        # Europe/Berlin: 2024-03-31 02:00+01:00 becomes 03:00, 2024-10-27 03:00+02:00 becomes 02:00.
        (None, ["03-31 03:00+0200"], ["10-27 02:30+0200"]),
        ("after", ["03-31 03:00+0200"], ["10-27 02:30+0200"]),
        ("skip", ["04-01 02:30+0200"], ["10-27 02:30+0200"]),
        ("second", ["03-31 03:00+0200"], ["10-27 02:30+0100"]),
        ("both", ["03-31 03:00+0200"], ["10-27 02:30+0200", "10-27 02:30+0100"]),
        ("skip both", ["04-01 02:30+0200"], ["10-27 02:30+0200", "10-27 02:30+0100"]),
        ("second skip", ["04-01 02:30+0200"], ["10-27 02:30+0100"]),
    ],
)
def test_what_happens_at_a_change_over_can_be_chosen(
    dst: str | None, spring: list[str], autumn: list[str]
) -> None:
    """A missing time runs after the gap or not at all, a doubled one first, second or twice."""
    cron = Cron("30 2 * * *", "Europe/Berlin", dst)
    assert walls(cron, "Europe/Berlin", "2024-03-30T12:00", len(spring)) == spring
    next_day = "10-28 02:30+0100"
    found = walls(cron, "Europe/Berlin", "2024-10-26T12:00", len(autumn) + 1)
    assert found == [*autumn, next_day]
    again = trigger_from_data(cron.to_data())
    assert walls(again, "Europe/Berlin", "2024-10-26T12:00", len(autumn) + 1) == found


def test_a_rare_time_that_comes_twice_is_found_from_afar() -> None:
    """In January nothing tells yet that the clock will show this time by summer's offset first."""
    cron = Cron("30 2 27 10 *", "Europe/Berlin", dst="both")
    assert walls(cron, "Europe/Berlin", "2024-01-01T00:00", 3) == [
        "10-27 02:30+0200", "10-27 02:30+0100", "10-27 02:30+0100",
    ]  # fmt: skip


def test_a_rhythm_may_be_told_to_keep_to_the_wall_clock() -> None:
    """What is said of change-overs holds for every expression; only what goes unsaid differs."""
    assert walls(
        Cron("30 * * * *", dst="after first", timezone="Europe/Berlin"),
        "Europe/Berlin", "2024-10-27T01:30", 2,
    ) == ["10-27 02:30+0200", "10-27 03:30+0100"]  # fmt: skip
    assert Cron("30 * * * *", dst="skip both") == Cron("30 * * * *")
    assert Cron("30 2 * * *", dst="first") == Cron("30 2 * * *")
    assert Cron("30 2 * * *").dst == "after first"


@pytest.mark.parametrize(
    "dst", ["", "late", "after skip", "first second", "skip skip", 1, ["skip"]]
)
def test_a_wrong_word_for_change_overs_says_which_there_are(dst: str) -> None:
    """Who mistypes it is told every word there is and what it does."""
    with pytest.raises(UsageError, match="after, skip .*first, second, both .*'skip both'"):
        Cron("@daily", dst=dst)


def test_a_trigger_that_was_stored_before_there_was_a_choice_is_read() -> None:
    """What says nothing of change-overs does what was always done."""
    data = {"type": "cron", "expression": "30 2 * * *", "timezone": "Europe/Berlin"}
    assert trigger_from_data(data) == Cron("30 2 * * *", "Europe/Berlin", dst="after first")
    assert Cron("30 2 * * *", "Europe/Berlin").to_data() == data


def test_the_second_pass_of_an_hour_finds_nothing_that_ran_in_the_first() -> None:
    """Asked amid the hour that is shown again, the next firing still lies ahead."""
    cron = Cron("30 2 * * *", "Europe/Berlin")
    amid = datetime(2024, 10, 27, 1, 15, tzinfo=UTC)
    assert amid.astimezone(ZoneInfo("Europe/Berlin")).hour == 2
    assert cron.next_after(amid) == datetime(2024, 10, 28, 1, 30, tzinfo=UTC)


def test_cron_without_a_zone() -> None:
    """It reads the clock of the moment it is asked about, or UTC, until a zone is filled in."""
    cron = Cron("0 9 * * *")
    tokyo = timezone(timedelta(hours=9))
    assert cron.next_after(datetime(2024, 1, 1, tzinfo=tokyo)) == datetime(
        2024, 1, 1, 9, tzinfo=tokyo
    )
    assert cron.next_after_us(NOON) == NOON + 21 * 60 * MINUTE
    assert cron.localized("Asia/Tokyo") == Cron("0 9 * * *", "Asia/Tokyo")
    assert cron.localized("Asia/Tokyo").localized("UTC").timezone == "Asia/Tokyo"


def test_cron_answers_in_its_own_zone() -> None:
    """People read the wall clock they wrote the expression for."""
    found = Cron("0 9 * * *", "Asia/Tokyo").next_after(datetime(2024, 1, 1, tzinfo=UTC))
    assert found is not None
    assert found.isoformat() == "2024-01-02T09:00:00+09:00"


def test_cron_ends_with_the_calendar() -> None:
    """Behind the last year there is no moment, and no crash."""
    assert Cron("@daily").next_after(datetime(9999, 12, 31, 23, tzinfo=UTC)) is None


@given(st.integers(1_000, 10**12), st.integers(0, 10**15), st.integers(-(10**15), 2 * 10**15))
def test_an_interval_never_drifts(interval: int, start: int, moment: int) -> None:
    """Every firing is the start plus a whole number of intervals, and the first one due."""
    every = Every(timedelta(microseconds=interval)).anchored(start)
    found = every.next_after_us(moment)
    assert found is not None
    assert found > moment
    assert (found - start) % interval == 0
    assert found == start or (found > start and found - interval <= moment)


def test_an_interval_begins_at_its_start() -> None:
    """The start itself is due; without one, the moment of scheduling is the anchor."""
    every = Every("1h", start="2024-01-01T12:00:00+00:00")
    assert every.next_after_us(NOON - 1) == NOON
    assert every.next_after_us(NOON) == NOON + 60 * MINUTE
    assert every.anchored(5) is every
    assert Every("1h").anchored(NOON) == every
    assert Every("1h").next_after_us(NOON) == NOON + 60 * MINUTE


def test_intervals_are_not_touched_by_change_overs() -> None:
    """An hour is an hour."""
    every = Every("1h", start="2024-03-31T01:00:00+01:00")
    assert walls(every, "Europe/Berlin", "2024-03-31T01:00", 2) == [
        "03-31 03:00+0200",
        "03-31 04:00+0200",
    ]


@pytest.mark.parametrize("interval", [0, "0s", "999us", -1, "soon", True])
def test_a_wrong_interval_is_refused(interval: float | str) -> None:
    """An interval too short to mean anything would flood the store."""
    with pytest.raises(UsageError):
        Every(interval)


def test_once_is_once() -> None:
    """Strictly after: a moment is due until it has come."""
    at = At("2024-01-01T12:00:00+00:00")
    assert next_fire_times(at, NOON - 1, 5) == [NOON]
    assert at.next_after_us(NOON) is None


def test_naive_moments_take_the_zone_that_is_filled_in() -> None:
    """Before that they are read by the clock of the moment asked about."""
    at = At(datetime(2024, 1, 1, 13))
    assert at.localized("Europe/Berlin").next_after_us(0) == NOON
    assert at.next_after(datetime(2024, 1, 1, tzinfo=ZoneInfo("Europe/Berlin"))) == to_datetime(
        NOON
    )
    assert at.next_after_us(0) == NOON + 60 * MINUTE
    every = Every("1d", start=datetime(2024, 1, 1, 13))
    assert every.localized("Europe/Berlin").next_after_us(0) == NOON
    with pytest.raises(UsageError, match="no time zone"):
        every.to_data()


NOON_DAILY = Cron("0 12 * * *", "UTC")
SIX_HOURS = Every("6h", "2024-01-01T00:00:00Z")


def test_a_union_is_due_whenever_one_of_its_triggers_is() -> None:
    """A moment that several of them have is one moment."""
    union = AnyOf(NOON_DAILY, SIX_HOURS, At("2024-01-01T13:00:00Z"))
    assert walls(union, "UTC", "2024-01-01T00:00", 6) == [
        "01-01 06:00+0000", "01-01 12:00+0000", "01-01 13:00+0000", "01-01 18:00+0000",
        "01-02 00:00+0000", "01-02 06:00+0000",
    ]  # fmt: skip
    assert union.next_after(to_datetime(NOON)) == to_datetime(NOON + 60 * MINUTE)
    assert AnyOf(At("2024-01-01T13:00:00Z")).next_after_us(NOON + 60 * MINUTE) is None


@given(
    st.lists(
        st.builds(Every, st.integers(60, 90_000), st.just("2024-01-01T00:00:00Z"))
        | st.sampled_from([NOON_DAILY, Cron("30 2 * * *", "Europe/Berlin"), At("2024-01-02")])
        .map(lambda trigger: trigger.localized("UTC")),
        min_size=1, max_size=4,
    ),
    st.integers(NOON - 86_400_000_000, NOON),
)  # fmt: skip
def test_a_union_is_the_union_of_its_moments(triggers: list[Trigger], moment: int) -> None:
    """Whatever the triggers: their moments in order, each once, and no other."""
    union = AnyOf(*triggers)
    each = [due for trigger in triggers for due in next_fire_times(trigger, moment, 20)]
    expected = sorted(set(each))[:20]
    assert next_fire_times(union, moment, len(expected)) == expected
    assert trigger_from_data(union.to_data()) == union


def test_a_union_fills_in_what_its_triggers_lack() -> None:
    """Zones and anchors reach each of them; unions within are laid open, equal triggers are one."""
    union = AnyOf(Cron("@daily"), AnyOf(Every("1h"), Cron("@daily")), Every("1h"))
    assert union.triggers == (Cron("@daily"), Every("1h"))
    assert union.localized("Asia/Tokyo").anchored(NOON) == AnyOf(
        Cron("@daily", "Asia/Tokyo"), Every("1h", "2024-01-01T12:00:00Z")
    )


@pytest.mark.parametrize(
    ("triggers", "says"),
    [((), "at least one"), ((5,), "5 is no trigger"), ((Every(5), "@daily"), "'@daily' is no tr")],
)
def test_a_union_of_something_else_is_refused(triggers: tuple[Trigger, ...], says: str) -> None:
    """What is no trigger is named."""
    with pytest.raises(UsageError, match=says):
        AnyOf(*triggers)


@pytest.mark.parametrize("trigger", [Cron("@daily"), Every(5), At("2024-01-01T00:00:00Z")])
def test_naive_questions_are_refused(trigger: Trigger) -> None:
    """A question without a zone has no answer."""
    with pytest.raises(UsageError, match="no time zone"):
        trigger.next_after(datetime(2024, 1, 1))


@pytest.mark.parametrize(
    ("trigger", "shown"),
    [
        (Cron("0  9 * * *"), "Cron('0 9 * * *')"),
        (Cron("@daily", "Asia/Tokyo"), "Cron('@daily', timezone='Asia/Tokyo')"),
        (Cron("@daily", dst="skip"), "Cron('@daily', dst='skip first')"),
        (Every(90), "Every('1m 30s')"),
        (
            Every("1h", "2024-01-01T00:00:00+00:00"),
            "Every('1h', start='2024-01-01T00:00:00+00:00')",
        ),
        (At("2024-01-01T00:00:00+00:00"), "At('2024-01-01T00:00:00+00:00')"),
        (AnyOf(Every(90), Cron("@daily")), "AnyOf(Every('1m 30s'), Cron('@daily'))"),
    ],
)
def test_triggers_are_values(trigger: Trigger, shown: str) -> None:
    """They show as what makes them, compare and hash by content, and survive storing."""
    again: Trigger = eval(shown, {"AnyOf": AnyOf, "Cron": Cron, "Every": Every, "At": At})
    assert repr(trigger) == shown
    assert again == trigger
    assert hash(again) == hash(trigger)
    assert trigger_from_data(trigger.to_data()) == trigger


@pytest.mark.parametrize(
    "data", [{}, {"type": "any", "of": []}, {"type": "every"}, {"type": "at", "moment": "noon"}]
)
def test_what_is_no_stored_trigger_is_refused(data: dict[str, None]) -> None:
    """A row that another program wrote is not taken on trust."""
    with pytest.raises(UsageError, match="no stored trigger"):
        trigger_from_data(data)
