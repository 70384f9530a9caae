"""The arguments of runs: how a definition declares them, and whether given values fit.

A declaration is a small part of JSON Schema: ``type`` (one or a list), ``enum``, ``items``,
``minimum``, ``maximum``, ``minLength``, ``maxLength``, ``title``, ``description``; beside it
``default`` and ``required`` (true unless there is a default). Small enough to be checked here, so
that the core needs no library for it and a wrong value is named in our words.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Final

from kallista.core import fields
from kallista.core.definitions import Definition, InputSpec
from kallista.core.ids import canonical_json
from kallista.core.plain import plain, shown
from kallista.core.problems import Problems
from kallista.core.types import MAX_PAYLOAD_BYTES, Json
from kallista.errors import UsageError

TYPES: Final[Mapping[str, Callable[[Json], bool]]] = {
    "string": lambda value: isinstance(value, str),
    "integer": lambda value: (
        (isinstance(value, int) and not isinstance(value, bool))
        or (isinstance(value, float) and value.is_integer())
    ),
    "number": lambda value: isinstance(value, int | float) and not isinstance(value, bool),
    "boolean": lambda value: isinstance(value, bool),
    "array": lambda value: isinstance(value, list),
    "object": lambda value: isinstance(value, dict),
    "null": lambda value: value is None,
}  # fmt: skip
SCHEMA_KEYS: Final = (
    "type", "enum", "items", "minimum", "maximum", "minLength", "maxLength", "title", "description",
)  # fmt: skip
"""What a schema may say of a value."""
_OWN_KEYS: Final = ("default", "required")
_BOUNDS: Final = ("minimum", "maximum", "minLength", "maxLength")


def parse_inputs(value: object, problems: Problems) -> dict[str, InputSpec]:
    """The inputs that a definition declares.

    Args:
        value: ``{name: {"type": "string", "default": …, …}}``; None for a value declares an
            input that takes anything.
        problems: Where problems are noted.
    """
    found: dict[str, InputSpec] = {}
    for name, declared in fields.mapping(value, "inputs", problems).items():
        fields.identifier(name, "name of an input", problems)
        place = problems.at(f"input {name!r}")
        found[name] = _spec({} if declared is None else declared, place)
    return found


def check_inputs(
    definition: Definition, values: Mapping[str, object], most: int = MAX_PAYLOAD_BYTES
) -> dict[str, Json]:
    """The arguments of a run, checked and completed by defaults.

    Args:
        definition: What declares them.
        values: What a user gave, by name.
        most: How many bytes they may have together, encoded.

    Returns:
        A value for every input that is declared.

    Raises:
        UsageError: Unknown names, missing or unfit values; ``problems`` lists all.
    """
    problems = Problems()
    given = fields.payload(values, "inputs", most, problems)
    problems.add_all(input_problems(definition.inputs, given, ()))
    if problems:
        what = f"the inputs do not fit the {definition.kind} {definition.name!r}"
        raise UsageError(what, problems.lines)
    return {name: given.get(name, spec.default) for name, spec in definition.inputs.items()}


def input_problems(
    declared: Mapping[str, InputSpec], given: Mapping[str, Json], unresolved: Collection[str]
) -> Iterator[str]:
    """What is wrong with the arguments of a run.

    Args:
        declared: The inputs there are.
        given: Their values.
        unresolved: Inputs whose values hold references: those are not looked at.
    """
    for name in given:
        if name not in declared:
            there = f"there are {', '.join(declared)}" if declared else "none is declared"
            yield f"there is no input {name!r}; {Problems().near(name, declared, there)}"
    for name, spec in declared.items():
        if name in given:
            if name not in unresolved:
                yield from misfits(given[name], spec.schema, f"input {name!r}")
        elif spec.required:
            yield f"the input {name!r} is missing{_wanted(spec.schema)}"


def _spec(declared: object, problems: Problems) -> InputSpec:
    data = fields.mapping(declared, "its declaration", problems)
    fields.known_keys(data, (*SCHEMA_KEYS, *_OWN_KEYS), problems)
    schema = value_schema({key: data[key] for key in data if key in SCHEMA_KEYS}, problems)
    required = fields.flag(data.get("required", "default" not in data), "required", problems)
    if "default" not in data:
        return InputSpec(schema, required)
    if required:
        problems.add("is required and has a default; leave one of them out")
    wrong: list[str] = []
    default = plain(data["default"], "default", wrong)
    problems.add_all(wrong or misfits(default, schema, "default"))
    return InputSpec(schema, False, default)


def value_schema(data: Mapping[str, object], problems: Problems) -> dict[str, Json]:
    """The schema of a value, as far as it makes sense.

    Args:
        data: Some of ``SCHEMA_KEYS``.
        problems: Where problems are noted.
    """
    wrong: list[str] = []
    schema = plain(data, "", wrong)
    problems.add_all(wrong)
    assert isinstance(schema, dict), "a mapping stays one"
    kept = {key: value for key, value in schema.items() if _sound(key, value, problems)}
    if "items" in kept:
        inner = problems.at("items")
        items = fields.mapping(kept["items"], "items", inner)
        fields.known_keys(items, SCHEMA_KEYS, inner)
        kept["items"] = value_schema(
            {key: items[key] for key in items if key in SCHEMA_KEYS}, inner
        )
    return kept


def _sound(key: str, value: Json, problems: Problems) -> bool:
    """Whether the value of a schema's key makes sense."""
    match key:
        case "type":
            names = value if isinstance(value, list) else [value]
            wrong = [name for name in names if not isinstance(name, str) or name not in TYPES]
            for name in wrong:
                hint = problems.near(str(name), TYPES, f"there are {', '.join(TYPES)}")
                problems.add(f"there is no type {shown(name)}; {hint}")
            return not wrong
        case "enum" if not isinstance(value, list) or not value:
            problems.add(f"enum must be a list of the values allowed, not {shown(value)}")
            return False
        case _ if key in _BOUNDS and not TYPES["number"](value):
            problems.add(f"{key} must be a number, not {shown(value)}")
            return False
        case "title" | "description" if not isinstance(value, str):
            problems.add(f"{key} must be a text, not {shown(value)}")
            return False
        case _:
            return True


def misfits(value: Json, schema: Mapping[str, Json], what: str) -> Iterator[str]:
    """What of a schema a value does not fulfil."""
    types = schema.get("type")
    names = types if isinstance(types, list) else [types]
    if types is not None and not any(TYPES[str(name)](value) for name in names):
        yield f"{what} must be {_type_text(schema)}, not {shown(value)}"
        return
    options = schema.get("enum")
    if isinstance(options, list) and not any(_equal(value, option) for option in options):
        yield f"{what} must be one of {', '.join(map(shown, options))}, not {shown(value)}"
    yield from _out_of_bounds(value, schema, what)
    items = schema.get("items")
    if isinstance(items, dict) and isinstance(value, list):
        for index, item in enumerate(value):
            yield from misfits(item, items, f"{what}[{index}]")


def _out_of_bounds(value: Json, schema: Mapping[str, Json], what: str) -> Iterator[str]:
    match value:
        case bool():
            return
        case str():
            measured: float = len(value)
            low, high, unit = schema.get("minLength"), schema.get("maxLength"), " characters long"
        case int() | float():
            measured = value
            low, high, unit = schema.get("minimum"), schema.get("maximum"), ""
        case _:
            return
    if isinstance(low, int | float) and measured < low:
        yield f"{what} must be at least {low}{unit}, not {measured}"
    if isinstance(high, int | float) and measured > high:
        yield f"{what} must be at most {high}{unit}, not {measured}"


def _equal(one: Json, other: Json) -> bool:
    # As JSON: 1 and true are different, unlike in Python.
    return one == other and canonical_json(one) == canonical_json(other)


def _wanted(schema: Mapping[str, Json]) -> str:
    return f" ({_type_text(schema)})" if "type" in schema else ""


def _type_text(schema: Mapping[str, Json]) -> str:
    types = schema["type"]
    return " or ".join(map(str, types)) if isinstance(types, list) else str(types)
