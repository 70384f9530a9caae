"""Lengths of time and moments: read from what users write, kept as whole microseconds.

Inside the core a length and a moment are both ``Micros``; floats never touch them, so no rounding
creeps in between what is stored and what is compared.
"""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime, timedelta, tzinfo
from decimal import Decimal

from kallista.core.types import Micros
from kallista.errors import UsageError

__all__ = [
    "LONGEST",
    "Micros",
    "format_duration",
    "parse_duration",
    "parse_moment",
    "to_datetime",
    "to_micros",
]

SECOND = 1_000_000
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
DAY = 24 * HOUR
WEEK = 7 * DAY

LONGEST = Micros(36_525 * DAY)
"""A hundred years: added to any moment of this century it still is a moment."""

_UNITS = {"us": 1, "µs": 1, "ms": 1_000, "s": SECOND, "m": MINUTE, "h": HOUR, "d": DAY, "w": WEEK}
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)

_AMOUNT = r"\d{1,18}(?:\.\d{1,18})?"
_NUMBER = re.compile(_AMOUNT, re.ASCII)
_PART = re.compile(rf"\s*({_AMOUNT})\s*(us|µs|ms|s|m|h|d|w)", re.ASCII)
_SPELLED = re.compile(rf"(?:{_PART.pattern})+\s*", re.ASCII)
_ISO = re.compile(
    rf"P(?=\d|T\d)(?:(?P<w>{_AMOUNT})W)?(?:(?P<d>{_AMOUNT})D)?"
    rf"(?:T(?=\d)(?:(?P<h>{_AMOUNT})H)?(?:(?P<m>{_AMOUNT})M)?(?:(?P<s>{_AMOUNT})S)?)?",
    re.ASCII,
)
_FORMS = (
    'a length is seconds (90), a text like "1m 30s", "500ms" or "2h", '
    'ISO 8601 ("PT1M30S") or a timedelta'
)


def parse_duration(value: object) -> Micros:
    """Read a length of time.

    Args:
        value: Seconds as a number; a text of amounts with units (``us ms s m h d w``, each at
            most once: ``"1m30s"``), of ISO 8601 weeks to seconds (``"PT1M30S"``) or of bare
            seconds (``"90"``); or a ``timedelta``.

    Returns:
        The length in whole microseconds; finer fractions are rounded half to even.

    Raises:
        UsageError: It cannot be read, is negative, not finite, or longer than a hundred years.
    """
    length = _read_length(value)
    if length < 0:
        raise UsageError(f"a length of time cannot be negative: {value!r}")
    if length > LONGEST:
        raise UsageError(f"a length of time is at most a hundred years, not {value!r}")
    return Micros(length)


def _read_length(value: object) -> int:
    match value:
        case bool():
            raise UsageError(f"{value!r} is no length of time: {_FORMS}")
        case int():
            return value * SECOND
        case float():
            return _from_float(value)
        case timedelta():
            return value // _MICROSECOND
        case str():
            return _from_text(value)
        case _:
            raise UsageError(f"{value!r} is no length of time: {_FORMS}")


def _from_float(seconds: float) -> int:
    if not math.isfinite(seconds):
        raise UsageError(f"a length of time must be finite, not {seconds!r}")
    # repr is what the user wrote: 0.1 means exactly 100 ms, not its nearest binary fraction.
    return round(Decimal(repr(seconds)) * SECOND)


def _from_text(text: str) -> int:
    stripped = text.strip()
    if stripped.startswith("-"):
        raise UsageError(f"a length of time cannot be negative: {text!r}")
    if _NUMBER.fullmatch(stripped):
        return round(Decimal(stripped) * SECOND)
    iso = _ISO.fullmatch(stripped.upper())
    if iso:
        return _summed({unit.lower(): amount for unit, amount in iso.groupdict().items() if amount})
    if _SPELLED.fullmatch(stripped):
        return _summed(_spelled_parts(text, stripped))
    raise UsageError(f"{text!r} is no length of time: {_FORMS}")


def _spelled_parts(text: str, stripped: str) -> dict[str, str]:
    parts: dict[str, str] = {}
    for amount, unit in _PART.findall(stripped):
        if unit in parts:
            raise UsageError(f"{text!r} gives the unit {unit!r} twice; add the amounts up")
        parts[unit] = amount
    return parts


def _summed(parts: dict[str, str]) -> int:
    return round(sum((Decimal(amount) * _UNITS[unit] for unit, amount in parts.items()), Decimal()))


def format_duration(length: int) -> str:
    """Write a length of microseconds for people: ``"1m 30s"``, ``"1.5s"``, ``"250ms"``.

    What is written is exact, and ``parse_duration`` reads it back to the same length.
    """
    if length < 0:
        return f"-{format_duration(-length)}"
    if length < SECOND:
        return _below_a_second(length)
    parts: list[str] = []
    rest = length
    for unit, size in (("d", DAY), ("h", HOUR), ("m", MINUTE)):
        amount, rest = divmod(rest, size)
        if amount:
            parts.append(f"{amount}{unit}")
    if rest:
        parts.append(f"{_decimal(rest, SECOND)}s")
    return " ".join(parts)


def _below_a_second(length: int) -> str:
    if length == 0:
        return "0s"
    if length < 1_000:
        return f"{length}us"
    return f"{_decimal(length, 1_000)}ms"


def _decimal(amount: int, unit: int) -> str:
    whole, rest = divmod(amount, unit)
    fraction = f"{rest:0{len(str(unit)) - 1}d}".rstrip("0")
    return f"{whole}.{fraction}" if fraction else str(whole)


def to_micros(moment: datetime, zone: tzinfo | None = None) -> Micros:
    """Turn a moment into microseconds since 1970 in UTC, exactly.

    Args:
        moment: An aware datetime, or a naive one, which is wall-clock time in ``zone``. A
            wall-clock time that exists twice means the first one (``fold=0``).
        zone: The zone of naive datetimes.

    Raises:
        UsageError: The datetime is naive and there is no zone to read it by.
    """
    if moment.utcoffset() is None:
        if zone is None:
            raise UsageError(f"{moment.isoformat()} has no time zone; give an aware datetime")
        moment = moment.replace(tzinfo=zone)
    return Micros((moment - _EPOCH) // _MICROSECOND)


def to_datetime(moment: int) -> datetime:
    """The aware UTC datetime of a moment in microseconds since 1970, exactly.

    Raises:
        UsageError: The moment lies outside the years 1 to 9999.
    """
    try:
        return _EPOCH + timedelta(0, 0, moment)
    except OverflowError:
        raise UsageError(f"the moment {moment} lies outside the years 1 to 9999") from None


def parse_moment(value: object, zone: tzinfo | None = None) -> Micros:
    """Read a moment.

    Args:
        value: A datetime, or an ISO 8601 text (``"2030-05-01T09:00:00+02:00"``); naive ones are
            wall-clock time in ``zone``.
        zone: The zone of naive moments.

    Returns:
        Microseconds since 1970 in UTC.

    Raises:
        UsageError: It cannot be read, or it is naive and there is no zone.
    """
    if isinstance(value, datetime):
        return to_micros(value, zone)
    if isinstance(value, str):
        return to_micros(_read_iso(value), zone)
    raise UsageError(f"{value!r} is no moment: give a datetime or an ISO 8601 text")


def _read_iso(text: str) -> datetime:
    try:
        return datetime.fromisoformat(text.strip())
    except ValueError:
        raise UsageError(
            f'{text!r} is no moment: write it like "2030-05-01T09:00:00+02:00"'
        ) from None
