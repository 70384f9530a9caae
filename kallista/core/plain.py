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

from kallista.core.json_text import from_json
from kallista.core.types import Json

_encode = msgspec.json.Encoder().encode

MAX_DEPTH = 100
MAX_VALUES = 1_000_000
_SCALARS = frozenset({str, int, float, bool, type(None)})
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
    try:
        return _Plain(problems).value(value, place, MAX_DEPTH)
    except _Endless as endless:
        problems.append(str(endless))
        return None


def plain_json(value: object) -> bytes | None:
    """The JSON of what is plain data to the last, neither too deep nor endless; else None.

    Reading it gives the same as ``plain``, in a fraction of the time. Other values may become the
    same JSON and yet not be the same.
    """
    if not _looks_plain(value):
        return None
    try:
        text = _encode(value)
        same = from_json(text) == value
    except (TypeError, ValueError, OverflowError, RecursionError, msgspec.MsgspecError):
        return None
    return text if same else None


def _looks_plain(value: object) -> bool:
    """Whether there are only plain types in it, and an end: the same list may stand in it often."""
    level, left = [value], MAX_VALUES
    for _ in range(MAX_DEPTH):
        inner: list[object] = []
        for item in level:
            kind = type(item)
            if kind is dict:
                inner.extend(cast("dict[object, object]", item).values())
            elif kind is list:
                inner.extend(cast("list[object]", item))
            elif kind not in _SCALARS:
                return False
            if len(inner) > left:
                return False
        if not inner:
            return True
        left -= len(inner)
        level = inner
    return False


def own(value: Json) -> Json:
    """Plain data that its new owner may change: what can be changed in it is copied."""
    if isinstance(value, dict):
        return {key: own(item) for key, item in value.items()}
    return [own(item) for item in value] if isinstance(value, list) else value


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


class _Endless(Exception):
    """It goes deeper, or on for longer, than any payload does: perhaps it holds itself."""


class _Plain:
    """One value on its way to plain data."""

    __slots__ = ("_left", "_problems")

    def __init__(self, problems: list[str]) -> None:
        self._problems = problems
        self._left = MAX_VALUES

    def value(self, value: object, place: str, depth: int) -> Json:
        """The plain form of a value."""
        if value is None or value is True or value is False:
            return value
        if isinstance(value, Enum):
            return self.value(value.value, place, depth - 1)
        match value:
            case str():
                return self._text(value, place)
            case int():
                return int(value)
            case float():
                if isfinite(value):
                    return float(value)
                return self._problem(place, f"is {value!r}, which JSON cannot express")
            case Mapping():
                self._enter(len(value), place, depth)
                return self._mapping(value, place, depth)
            case list() | tuple():
                self._enter(len(value), place, depth)
                return self._items(value, place, depth)
            case Set():
                self._enter(len(value), place, depth)
                return self._items(_ordered(value), place, depth)
            case _:
                return self._other(value, place, depth)

    def _enter(self, values: int, place: str, depth: int) -> None:
        self._left -= values
        if depth == 0:
            raise _Endless(f"{shown(place)} is nested deeper than {MAX_DEPTH} levels")
        if self._left < 0:
            raise _Endless(f"{shown(place)} has more than {MAX_VALUES:,} values")

    def _text(self, value: str, place: str) -> Json:
        text = str.__str__(value)
        if text.isascii():
            return text
        try:
            text.encode()
        except UnicodeEncodeError:
            return self._problem(place, f"holds half a character: {shown(text)}")
        return text

    def _mapping(self, value: Mapping[object, object], place: str, depth: int) -> dict[str, Json]:
        found: dict[str, Json] = {}
        for key, item in value.items():
            name = _key(key)
            if name is None:
                self._problem(place, f"has the key {shown(key)}, which is no text")
            elif name in found:
                self._problem(place, f"has the key {name!r} twice")
            else:
                found[name] = self.value(item, f"{place}.{name}" if place else name, depth - 1)
        return found

    def _items(self, values: Sequence[object], place: str, depth: int) -> list[Json]:
        return [
            self.value(item, f"{place}[{index}]", depth - 1) for index, item in enumerate(values)
        ]

    def _other(self, value: object, place: str, depth: int) -> Json:
        try:
            simpler = msgspec.to_builtins(value, str_keys=True, enc_hook=as_basic)
        except (TypeError, ValueError, RecursionError):
            inner = _fields(value)
            if inner is None:
                what = f"is of type {type_name(value)}, which is no plain data"
                return self._problem(place, what)
            simpler = inner
        return self.value(simpler, place, depth - 1)

    def _problem(self, place: str, what: str) -> Json:
        self._problems.append(f"{place} {what}" if place else f"it {what}")
        return None


def _key(key: object) -> str | None:
    try:
        if isinstance(key, str) and not isinstance(key, Enum):
            return str.__str__(key) if key.isascii() else key.encode().decode()
        (name,) = cast(dict[str, None], msgspec.to_builtins({key: None}, str_keys=True))
    except (TypeError, ValueError):
        return None  # also half a character is a ValueError
    return name


def _ordered(values: Set[object]) -> list[object]:
    # A set has no order of its own; without one, equal content would get different hashes.
    return sorted(values, key=lambda value: (type_name(value), repr(value)))


def _fields(value: object) -> dict[str, object] | None:
    """The fields of a dataclass, so that the problem is named where it sits."""
    names: Iterator[str] = iter(getattr(type(value), "__dataclass_fields__", ()))
    return {name: getattr(value, name, None) for name in names} or None
