"""What is read once is not read again, unless it may mean something else by now."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from parsing_support import LIMITS, accept

from kallista.core.definitions import Definition
from kallista.core.encoding import definition_text
from kallista.core.parsing import KnownDefinitions, known, parse_workflow
from kallista.core.types import TaskType


class Handlers:
    """The code behind task types: one object each."""

    def __init__(self, *types: str) -> None:
        self.code = {TaskType(type): object() for type in types}


def read(*types: str) -> Definition:
    return parse_workflow("w", [{"type": type} for type in types], None, accept, LIMITS)


def test_an_equal_description_has_the_same_definition() -> None:
    """Equal is what is equal as data, whichever objects hold it; anything else is another."""
    remembered = KnownDefinitions(Handlers("a").code.get)
    definition = read("a")
    remembered.put(remembered.key("w", [{"type": "a", "n": 1}]), definition)
    assert remembered.get(remembered.key("w", [{"type": "a", "n": 1}])) is definition
    for other in ({"type": "a", "n": 1.0}, {"type": "a", "n": True}, {"type": "a", "n": "1"}):
        assert remembered.get(remembered.key("w", [other])) is None
    assert remembered.get(remembered.key("v", [{"type": "a", "n": 1}])) is None


def test_long_descriptions_are_told_apart() -> None:
    """They are known by their hash."""
    remembered = KnownDefinitions(Handlers("a").code.get)
    definition = read("a")
    remembered.put(remembered.key("x" * 1000), definition)
    assert remembered.get(remembered.key("x" * 1000)) is definition
    assert remembered.get(remembered.key("x" * 999 + "y")) is None


@pytest.mark.parametrize(
    "value",
    [{1, 2}, (1, 2), datetime(2030, 1, 1, tzinfo=UTC), b"x", object(), float("nan"), {1: 2}],
)
def test_what_is_no_plain_data_is_read_each_time(value: object) -> None:
    """Other values may look the same as JSON and mean something else."""
    assert KnownDefinitions(Handlers().code.get).key({"type": "a", "value": value}) is None


def test_other_code_behind_a_task_type_is_checked_again() -> None:
    """A handler that was replaced may take other arguments, also in a definition inside."""
    handlers = Handlers("a", "b")
    remembered = KnownDefinitions(handlers.code.get)
    key = remembered.key("w")
    remembered.put(key, read("a", "b"))
    handlers.code[TaskType("b")] = object()
    assert remembered.get(key) is None
    definition = read("a", "b")
    remembered.put(key, definition)
    assert remembered.get(key) is definition


def test_task_types_of_other_workers_are_looked_up_each_time() -> None:
    """What they take may change without this program."""
    remembered = KnownDefinitions(Handlers("a").code.get)
    key = remembered.key("w")
    remembered.put(key, read("a", "elsewhere"))
    assert remembered.get(key) is None


def test_the_least_recently_used_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    """All together take no more than a bound."""
    definitions = [read("a", *["a"] * length) for length in (0, 1, 2)]
    room = sum(len(definition_text(definitions[number])) for number in (0, 2))
    monkeypatch.setattr(known, "MOST_BYTES", room)
    remembered = KnownDefinitions(Handlers("a").code.get)
    for number, definition in enumerate(definitions):
        remembered.put(remembered.key(number), definition)
        assert remembered.get(remembered.key(0)) is definitions[0]
    assert remembered.get(remembered.key(0)) is definitions[0]
    assert remembered.get(remembered.key(1)) is None
    assert remembered.get(remembered.key(2)) is definitions[2]


def test_a_description_without_an_end_is_not_written_out() -> None:
    """Lists that hold each other twice would double with every level, and fill the memory."""
    value: object = 1
    for _ in range(60):
        value = [value, value]
    assert KnownDefinitions(lambda type: object()).key("w", value) is None
