"""What users hand over becomes plain data, by whichever of the two ways it is read."""

from __future__ import annotations

import math
from collections import OrderedDict
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from enum import IntEnum, StrEnum
from types import MappingProxyType
from uuid import UUID

import pytest

from kallista.core.json_text import from_json
from kallista.core.plain import MAX_DEPTH, plain, plain_json


class Word(StrEnum):
    A = "a"


class Number(IntEnum):
    ONE = 1


class Text(str):
    pass


@dataclass
class Point:
    x: int


def nested(depth: int) -> object:
    value: object = 1
    for _ in range(depth):
        value = [value]
    return value


SIMPLE = [
    None, True, False, 0, 1, -(2**63), 2**64, 2**70, 1.0, -0.0, 1e300, "", "ä", "${x}", "[{", [],
    {}, {"a": [1, True, 1.0, None, {"b": "c"}]}, ]  # fmt: skip

OTHER = [
    OrderedDict(a=1), Word.A, Number.ONE,
    math.nan, math.inf, (1, 2), {1, 2}, b"x", datetime(2030, 1, 1, tzinfo=UTC), Decimal("1.0"),
    timedelta(seconds=1), UUID(int=1), Point(1), MappingProxyType({"a": 1}), "\ud800", object(),
    Text("x"), nested(MAX_DEPTH + 1),
]  # fmt: skip


@pytest.mark.parametrize("value", SIMPLE, ids=repr)
def test_plain_data_is_known_by_its_json(value: object) -> None:
    """Reading the JSON gives exactly what looking at each value gives, types included."""
    problems: list[str] = []
    text = plain_json({"k": value})
    assert text is not None
    expected = plain({"k": value}, "", problems)
    assert repr(from_json(text)) == repr(expected)
    assert not problems


@pytest.mark.parametrize("value", OTHER, ids=lambda value: type(value).__name__)
def test_what_is_not_plain_is_looked_at_value_by_value(value: object) -> None:
    """Such values would come out as other ones, or are refused with the place where they are."""
    assert plain_json({"k": value}) is None


def test_keys_that_are_no_texts_are_not_plain() -> None:
    """In JSON they are texts, and then two of them may be the same."""
    assert plain_json({1: "a"}) is None
    assert plain_json({Word.A: 1}) in (None, b'{"a":1}')


def test_data_without_an_end_is_not_written_out() -> None:
    """Lists that hold each other twice would double with every level, and fill the memory."""
    value: object = 1
    for _ in range(60):
        value = [value, value]
    endless: list[object] = []
    endless.append(endless)
    assert plain_json({"k": value}) is None
    assert plain_json({"k": endless}) is None
