"""The arguments of a run: how a definition declares them, and whether values fit."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from difflib import get_close_matches

from kallista.core.definitions import Definition, InputSpec
from kallista.core.plain import plain, shown
from kallista.core.types import Json
from kallista.errors import UsageError

TYPES: Mapping[str, Callable[[object], bool]] = {
    "string": lambda value: isinstance(value, str),
    "boolean": lambda value: isinstance(value, bool),
    "integer": lambda value: isinstance(value, int) and not isinstance(value, bool),
    "number": lambda value: isinstance(value, (int, float)) and not isinstance(value, bool),
    "array": lambda value: isinstance(value, list),
    "object": lambda value: isinstance(value, dict),
    "null": lambda value: value is None,
}
"""The types of JSON Schema, and what is of each."""

KEYS = ("type", "enum", "items", "default", "required", "description", "title")
"""What the declaration of an input may say: a part of JSON Schema, and ``required``."""


def read_input(name: str, data: object) -> tuple[InputSpec | None, list[str]]:
    """Read how a definition declares one input.

    Args:
        name: The input's name, for messages.
        data: A mapping with ``KEYS``, or the name of a type.

    Returns:
        The declaration, None when it has problems, and those problems.
    """
    where = f"input {name!r}"
    if isinstance(data, str):
        data = {"type": data}
    if not isinstance(data, Mapping):
        return None, [f"{where}: declare it by a mapping such as {{type: string}}, not {data!r}"]
    problems = [
        f"{where}: unknown key {key!r}; known are {', '.join(KEYS)}"
        for key in data
        if key not in KEYS
    ]
    schema = {key: value for key, value in data.items() if key not in ("default", "required")}
    problems += _schema_problems(schema, where)
    if problems:
        return None, problems
    default = data.get("default")
    if "default" in data:
        problems += [f"{where}: its default {text}" for text in misfits(default, schema)]
    required = bool(data.get("required", "default" not in data))
    return InputSpec(schema, required, default), problems


def _schema_problems(schema: Mapping[str, object], where: str) -> list[str]:
    problems = [
        f"{where}: {type!r} is no type; there are {', '.join(TYPES)}"
        for type in _types(schema)
        if type not in TYPES
    ]
    if not isinstance(schema.get("enum", []), list):
        problems.append(f"{where}: enum must be a list")
    items = schema.get("items", {})
    if isinstance(items, Mapping):
        return problems + (_schema_problems(items, f"{where}, items") if items else [])
    return [*problems, f"{where}: items must be a mapping such as {{type: string}}"]


def misfits(value: object, schema: Mapping[str, object]) -> list[str]:
    """In what a value does not fit a schema; empty when it fits."""
    types = _types(schema)
    if types and not any(TYPES[type](value) for type in types):
        return [f"must be of type {' or '.join(types)}, not {shown(value)}"]
    enum = schema.get("enum")
    if isinstance(enum, list) and value not in enum:
        return [f"must be one of {', '.join(map(shown, enum))}, not {shown(value)}"]
    items = schema.get("items")
    if isinstance(items, Mapping) and isinstance(value, list):
        return [
            f"holds at place {place} what {text}"
            for place, item in enumerate(value)
            for text in misfits(item, items)
        ]
    return []


def check_inputs(definition: Definition, values: Mapping[str, object]) -> dict[str, Json]:
    """The arguments of a run, completed by defaults.

    Args:
        definition: What declares them.
        values: What was given.

    Raises:
        UsageError: Some are unknown, missing or of the wrong type; all of it is listed.
    """
    problems = [
        f"no input is called {name!r}{_hint(name, definition.inputs)}"
        for name in values
        if name not in definition.inputs
    ]
    complete: dict[str, Json] = {}
    for name, spec in definition.inputs.items():
        if name in values:
            value = plain(values[name], f"input {name!r}", problems)
            problems += [f"input {name!r} {text}" for text in misfits(value, spec.schema)]
            complete[name] = value
        elif spec.required:
            problems.append(f"input {name!r} is missing")
        else:
            complete[name] = spec.default
    if problems:
        what = f"{definition.kind} {definition.name!r}"
        raise UsageError(f"the inputs of {what} do not fit", problems)
    return complete


def _types(schema: Mapping[str, object]) -> Sequence[str]:
    types = schema.get("type", [])
    return [types] if isinstance(types, str) else [str(type) for type in _listed(types)]


def _listed(value: object) -> Sequence[object]:
    return value if isinstance(value, (list, tuple)) else []


def _hint(name: str, known: Mapping[str, InputSpec]) -> str:
    near = get_close_matches(name, known, 3)
    if near:
        return f"; did you mean {' or '.join(map(repr, near))}?"
    return f"; there are {', '.join(known)}" if known else "; the definition declares none"
