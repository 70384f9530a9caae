"""Turns the values users hand over into plain data, and says where one is none.

The forms are those of msgspec, which also encodes results: moments, dates and lengths as ISO 8601,
bytes as base64, enums by value, sets as lists; pydantic reads every one of them back.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence, Set
from enum import Enum
from itertools import islice
from math import isfinite
from typing import cast

import msgspec

from kallista.core.types import Json

MAX_DEPTH = 100
_SHOWN = 60
_LISTED = 10


def plain(value: object, place: str, problems: list[str]) -> Json:
    """Plain data for a value; what cannot be plain becomes None and a problem.

    Args:
        value: What a user handed over: JSON-like data, datetimes, UUIDs, bytes, decimals, enums,
            dataclasses, pydantic models, sets, paths, and mappings and sequences of them.
        place: What it is, for the problems ("config.views"); may be empty.
        problems: What is found is added here, a sentence each.

    Returns:
        New lists and dicts all the way down, with text keys.
    """
    return _plain(value, place, problems, MAX_DEPTH)


def as_basic(value: object) -> object:
    """The nearest simpler form of a value that msgspec does not know (its ``enc_hook``).

    Raises:
        TypeError: There is none.
    """
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, bool | int | float):
        return int(value) if isinstance(value, int) else float(value)
    dump = getattr(type(value), "model_dump", None)
    if dump is not None:
        return dump(value, mode="json")
    if hasattr(value, "__fspath__"):
        return str(value)
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, Sequence | Set):
        return list(value)
    raise TypeError(f"{type_name(value)} is no plain data")


def type_name(value: object) -> str:
    """The name of a value's class, with its module where that helps to find it."""
    kind = type(value)
    if kind.__module__ in ("builtins", "__main__"):
        return kind.__qualname__
    return f"{kind.__module__}.{kind.__qualname__}"


def shown(value: object) -> str:
    """A value as a message shows it: on one line and not too long."""
    text = repr(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"


def some(names: Collection[str]) -> str:
    """Names as a message lists them: all of a few, and of many the first."""
    listed = list(islice(names, _LISTED))
    more = len(names) - len(listed)
    return ", ".join([*listed, *([f"{more:,} more"] if more else [])])


def _plain(value: object, place: str, problems: list[str], depth: int) -> Json:
    if value is None or value is True or value is False:
        return value
    if depth == 0:
        return _problem(place, f"is nested deeper than {MAX_DEPTH} levels", problems)
    if isinstance(value, Enum):
        return _plain(value.value, place, problems, depth - 1)
    match value:
        case str():
            return _text(value, place, problems)
        case int():
            return int(value)
        case float():
            if isfinite(value):
                return float(value)
            return _problem(place, f"is {value!r}, which JSON cannot express", problems)
        case Mapping():
            return _mapping(value, place, problems, depth)
        case list() | tuple():
            return _items(value, place, problems, depth)
        case Set():
            return _items(_ordered(value), place, problems, depth)
        case _:
            return _other(value, place, problems, depth)


def _text(value: str, place: str, problems: list[str]) -> Json:
    text = str.__str__(value)
    if text.isascii():
        return text
    try:
        text.encode()
    except UnicodeEncodeError:
        return _problem(place, f"holds half a character: {shown(text)}", problems)
    return text


def _mapping(
    value: Mapping[object, object], place: str, problems: list[str], depth: int
) -> dict[str, Json]:
    found: dict[str, Json] = {}
    for key, item in value.items():
        name = _key(key)
        if name is None:
            _problem(place, f"has the key {shown(key)}, which is no text", problems)
        elif name in found:
            _problem(place, f"has the key {name!r} twice", problems)
        else:
            inner = f"{place}.{name}" if place else name
            found[name] = _plain(item, inner, problems, depth - 1)
    return found


def _key(key: object) -> str | None:
    if isinstance(key, str) and not isinstance(key, Enum):
        return str.__str__(key)
    try:
        (name,) = cast(dict[str, None], msgspec.to_builtins({key: None}, str_keys=True))
    except (TypeError, ValueError):
        return None
    return name


def _items(values: Sequence[object], place: str, problems: list[str], depth: int) -> list[Json]:
    return [
        _plain(item, f"{place}[{index}]", problems, depth - 1) for index, item in enumerate(values)
    ]


def _ordered(values: Set[object]) -> list[object]:
    # A set has no order of its own; without one, equal content would get different hashes.
    return sorted(values, key=lambda value: (type_name(value), repr(value)))


def _other(value: object, place: str, problems: list[str], depth: int) -> Json:
    try:
        simpler = msgspec.to_builtins(value, str_keys=True, enc_hook=as_basic)
    except (TypeError, ValueError, RecursionError):
        inner = _fields(value)
        if inner is None:
            what = f"is of type {type_name(value)}, which is no plain data"
            return _problem(place, what, problems)
        simpler = inner
    return _plain(simpler, place, problems, depth - 1)


def _fields(value: object) -> dict[str, object] | None:
    """The fields of a dataclass, so that the problem is named where it sits."""
    names: Iterator[str] = iter(getattr(type(value), "__dataclass_fields__", ()))
    return {name: getattr(value, name, None) for name in names} or None


def _problem(place: str, what: str, problems: list[str]) -> Json:
    problems.append(f"{place} {what}" if place else f"it {what}")
    return None
