"""Reads single values of a description: each reader notes a problem and goes on."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import Final, TypeVar, cast

from kallista.core.amounts import read_amount
from kallista.core.definitions import Expiry
from kallista.core.durations import parse_duration, parse_moment
from kallista.core.ids import check_id
from kallista.core.json_text import from_json, json_size
from kallista.core.plain import plain, plain_json, shown, type_name
from kallista.core.problems import Problems
from kallista.core.retry import NO_RETRY, RetryPolicy, parse_retry
from kallista.core.types import Json, Micros
from kallista.core.wall_clock import zone_named
from kallista.errors import UsageError

T = TypeVar("T")

MAX_NAME: Final = 200
MAX_PRIORITY: Final = 1_000_000_000
MAX_COUNT: Final = 1_000_000

ELSEWHERE: Final = {
    "deduplicate": "belongs beside the task: give it to schedule_task, or to what creates the run",
}
"""Keys that no task or step has and no handler gets, and where they belong."""


def mapping(value: object, what: str, problems: Problems) -> Mapping[str, object]:
    """A mapping with text keys; empty when it is none."""
    if not isinstance(value, Mapping):
        problems.add(f"{what} must be a mapping, not {_a(value)}")
        return {}
    for key in value:
        if not isinstance(key, str):
            problems.add(f"{what} has the key {shown(key)}, which is no text")
            return {}
    return value


def sequence(value: object, what: str, problems: Problems) -> Sequence[object]:
    """A list; empty when it is none."""
    if isinstance(value, Sequence) and not isinstance(value, str | bytes | bytearray):
        return value
    problems.add(f"{what} must be a list, not {_a(value)}")
    return ()


def known_keys(data: Collection[str], known: Collection[str], problems: Problems) -> None:
    """Note the keys that do not belong here."""
    for key in data:
        if key in known:
            continue
        if key in ELSEWHERE:
            problems.add(elsewhere(key))
        else:
            hint = problems.near(key, known, f"there are {', '.join(sorted(known))}")
            problems.add(f"there is no key {key!r}; {hint}")


def elsewhere(key: str) -> str:
    """The problem with a key that stands in the wrong place."""
    return f"{key!r} {ELSEWHERE[key]}"


def name(value: object, what: str, problems: Problems) -> str | None:
    """A text that people read; None when it is none."""
    if not isinstance(value, str) or not value.strip():
        problems.add(f"{what} must be a text, not {shown(value)}")
    elif len(value) > MAX_NAME:
        problems.add(f"{what} may have {MAX_NAME} characters, not {len(value):,}")
    elif not value.isprintable():
        problems.add(f"{what} holds characters that cannot be shown: {shown(value)}")
    else:
        return value
    return None


def identifier(value: object, what: str, problems: Problems) -> str | None:
    """An id; None when it is none."""
    return _tried(lambda: check_id(value, what), None, "", problems)


def flag(value: object, what: str, problems: Problems) -> bool:
    """True or false."""
    if not isinstance(value, bool):
        problems.add(f"{what} must be true or false, not {shown(value)}")
        return False
    return value


def priority(value: object, problems: Problems) -> int:
    """A whole number; higher runs first."""
    if isinstance(value, bool) or not isinstance(value, int) or abs(value) > MAX_PRIORITY:
        problems.add(
            f"priority must be a whole number (at most {MAX_PRIORITY:,}; higher runs first),"
            f" not {shown(value)}"
        )
        return 0
    return value


def count(value: object, what: str, problems: Problems) -> int:
    """A whole number from 1 on."""
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= MAX_COUNT:
        problems.add(f"{what} must be a whole number from 1 to {MAX_COUNT:,}, not {shown(value)}")
        return 1
    return value


def length(value: object, what: str, problems: Problems) -> Micros | None:
    """A length of time above zero; None when there is none."""
    if value is None:
        return None
    found = _tried(lambda: parse_duration(value), None, what, problems)
    if found == 0:
        problems.add(f"{what} must be longer than nothing; leave it out for no limit")
        return None
    return found


def expiry(value: object, zone: Callable[[], str], problems: Problems) -> Expiry | None:
    """Until when something is of use: a length from its creation, or a moment; None: for ever.

    Args:
        value: What was given.
        zone: The IANA name that naive moments are read by.
        problems: Where problems are noted.
    """
    if value is None:
        return None
    if isinstance(value, datetime) or (isinstance(value, str) and _DATE.match(value)):
        at = _tried(
            lambda: parse_moment(value, zone_named(zone())), Micros(0), "expires_at", problems
        )
        return Expiry(at=at)
    return Expiry(after=length(value, "expires_at", problems))


_DATE: Final = re.compile(r"\s*\d{4}-\d{2}")
"""How moments begin, and no length of time does."""


def budget(value: object, problems: Problems) -> Mapping[str, int]:
    """What may be spent, in billionths, by unit; nothing is said of other units."""
    limits: dict[str, int] = {}
    for unit, given in mapping({} if value is None else value, "budget", problems).items():
        amount = _tried(partial(read_amount, given), 0, f"budget.{unit}", problems)
        if identifier(unit, "unit", problems) is not None and not problems:
            limits[unit] = amount
    return limits


def retry(value: object, problems: Problems) -> RetryPolicy:
    """How failed attempts are tried again."""
    return _tried(lambda: parse_retry(value), NO_RETRY, "", problems)


def tags(value: object, problems: Problems) -> tuple[str, ...]:
    """Texts to find runs by, each once."""
    found = (name(tag, "a tag", problems) for tag in sequence(value, "tags", problems))
    return tuple(dict.fromkeys(tag for tag in found if tag is not None))


def identifiers(value: object, what: str, of: str, problems: Problems) -> tuple[str, ...]:
    """Ids, each once; a single text stands for a list of one."""
    listed = [value] if isinstance(value, str) else sequence(value, what, problems)
    found = (identifier(item, of, problems) for item in listed)
    return tuple(dict.fromkeys(item for item in found if item is not None))


def payload(value: object, what: str, most: int, problems: Problems) -> Mapping[str, Json]:
    """A mapping as plain data, within the limit."""
    if not isinstance(value, Mapping):
        problems.add(f"{what} must be a mapping, not {_a(value)}")
        return {}
    return plain_payload(value, what, most, problems)


def plain_payload(
    value: Mapping[str, object], what: str, most: int, problems: Problems
) -> Mapping[str, Json]:
    """The same, of what is known to be a mapping."""
    text = plain_json(value)
    if text is not None and len(text) <= most:
        return cast("dict[str, Json]", from_json(text))
    wrong: list[str] = []
    data = plain(value, what, wrong)
    if wrong:
        problems.add_all(wrong)
    if not isinstance(data, dict):
        return {}
    size = json_size(data)
    if size > most:
        problems.add(
            f"{what} has {size:,} bytes, and a payload may have {most:,}; put it into a file and"
            " give the file's name, or raise the limit (max_payload_bytes)"
        )
    return data


def _tried(read: Callable[[], T], otherwise: T, what: str, problems: Problems) -> T:
    try:
        return read()
    except UsageError as error:
        problems.add_error(error, what)
        return otherwise


def _a(value: object) -> str:
    return "nothing" if value is None else f"{shown(value)} ({type_name(value)})"
