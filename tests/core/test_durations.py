"""Lengths and moments: what users write means exactly one number of microseconds."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kallista.core.durations import (
    LONGEST,
    format_duration,
    parse_duration,
    parse_moment,
    to_datetime,
    to_micros,
)
from kallista.errors import UsageError

SECOND = 1_000_000


@pytest.mark.parametrize(
    ("value", "length"),
    [
        (0, 0),
        (90, 90 * SECOND),
        (0.1, 100_000),
        (1e-6, 1),
        (3.5e-6, 4),
        ("90", 90 * SECOND),
        ("1.5", 1_500_000),
        ("500ms", 500_000),
        ("250us", 250),
        ("1m30s", 90 * SECOND),
        (" 1m 30s ", 90 * SECOND),
        ("2h", 7_200 * SECOND),
        ("1d12h", 129_600 * SECOND),
        ("1w", 604_800 * SECOND),
        ("1.5h", 5_400 * SECOND),
        ("PT1M30S", 90 * SECOND),
        ("P1DT12H", 129_600 * SECOND),
        ("P2W", 1_209_600 * SECOND),
        ("pt0.5s", 500_000),
        (timedelta(microseconds=7), 7),
    ],
)
def test_every_form_is_read(value: object, length: int) -> None:
    """Seconds, units, ISO 8601 and timedelta all give exact microseconds."""
    assert parse_duration(value) == length


@pytest.mark.parametrize(
    ("value", "says"),
    [
        (True, "no length of time"),
        (None, "no length of time"),
        (-1, "negative"),
        (-0.5, "negative"),
        ("-5s", "negative"),
        (timedelta(seconds=-1), "negative"),
        (math.nan, "finite"),
        (math.inf, "finite"),
        ("", "no length of time"),
        ("soon", "no length of time"),
        ("5 parsecs", "no length of time"),
        ("P", "no length of time"),
        ("PT", "no length of time"),
        ("P1M", "no length of time"),
        ("P1DT", "no length of time"),
        ("1s1s", "twice"),
        (10**12, "hundred years"),
        (1e300, "hundred years"),
        ("9" * 400, "no length of time"),
    ],
)
def test_what_is_no_length_is_refused(value: object, says: str) -> None:
    """A wrong length says what is wrong with it instead of becoming some number."""
    with pytest.raises(UsageError, match=says):
        parse_duration(value)


@pytest.mark.parametrize(
    ("length", "text"),
    [
        (0, "0s"),
        (7, "7us"),
        (1_500, "1.5ms"),
        (250_000, "250ms"),
        (90 * SECOND, "1m 30s"),
        (1_500_000, "1.5s"),
        (86_400 * SECOND, "1d"),
        (90_061 * SECOND + 1, "1d 1h 1m 1.000001s"),
        (-90 * SECOND, "-1m 30s"),
    ],
)
def test_lengths_are_written_for_people(length: int, text: str) -> None:
    """What people read is short and exact."""
    assert format_duration(length) == text


@given(st.integers(0, LONGEST))
def test_what_is_written_is_read_back(length: int) -> None:
    """Formatting loses nothing."""
    assert parse_duration(format_duration(length)) == length


@given(st.datetimes(), st.integers(-14 * 60, 14 * 60))
def test_moments_are_exact(naive: datetime, minutes: int) -> None:
    """A moment goes to microseconds and back without losing one, in any offset."""
    zone = timezone(timedelta(minutes=minutes))
    moment = naive.replace(tzinfo=UTC)
    assert to_datetime(to_micros(moment)) == moment
    assert to_micros(naive, zone) == to_micros(moment) - minutes * 60 * SECOND


def test_a_naive_datetime_means_the_given_zone() -> None:
    """Wall-clock time is read in the configured zone, the first time where it is double."""
    berlin = ZoneInfo("Europe/Berlin")
    assert to_datetime(to_micros(datetime(2024, 7, 1, 12), berlin)).hour == 10
    assert to_datetime(to_micros(datetime(2024, 10, 27, 2, 30), berlin)).hour == 0


def test_a_naive_datetime_without_a_zone_is_refused() -> None:
    """Nobody guesses a zone."""
    with pytest.raises(UsageError, match="no time zone"):
        to_micros(datetime(2024, 7, 1))


@pytest.mark.parametrize(
    "value",
    ["2024-07-01T12:00:00+02:00", "2024-07-01T10:00:00Z", "2024-07-01T12:00", "20240701T100000Z"],
)
def test_moments_are_read_from_text(value: str) -> None:
    """ISO 8601 with and without an offset names the same moment."""
    assert parse_moment(value, ZoneInfo("Europe/Berlin")) == to_micros(
        datetime(2024, 7, 1, 10, tzinfo=UTC)
    )


@pytest.mark.parametrize("value", ["tomorrow", "", 5, None, "2024-13-01"])
def test_what_is_no_moment_is_refused(value: object) -> None:
    """A moment that cannot be read says how to write one."""
    with pytest.raises(UsageError, match="is no moment"):
        parse_moment(value, UTC)


def test_a_moment_beyond_the_calendar_is_refused() -> None:
    """Arithmetic that leaves the calendar is an error of ours, not an OverflowError."""
    with pytest.raises(UsageError, match="outside the years"):
        to_datetime(10**18)
