"""JSON Schemas of what comes from outside: payloads of signals, and the forms that people fill in.

They may say what the declarations of inputs say, and of an object its ``properties``, which of
them are ``required``, and whether there may be others (``additionalProperties``).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from kallista.core import fields
from kallista.core.inputs import SCHEMA_KEYS, misfits, value_schema
from kallista.core.plain import shown
from kallista.core.problems import Problems
from kallista.core.types import Json

_OBJECT_KEYS: Final = ("properties", "required", "additionalProperties")
_KEYS: Final = (*SCHEMA_KEYS, *_OBJECT_KEYS)


def payload_schema(given: object, problems: Problems) -> dict[str, Json]:
    """The schema of a payload, as far as it makes sense.

    Args:
        given: What a user wrote.
        problems: Where problems are noted.
    """
    data = fields.mapping(given, "a schema", problems)
    fields.known_keys(data, _KEYS, problems)
    own = {key: data[key] for key in data if key in SCHEMA_KEYS and key != "items"}
    schema = value_schema(own, problems)
    if "items" in data:
        schema["items"] = payload_schema(data["items"], problems.at("items"))
    if "properties" in data:
        properties = fields.mapping(data["properties"], "properties", problems)
        schema["properties"] = {
            name: payload_schema(inner, problems.at(f"property {name!r}"))
            for name, inner in properties.items()
        }
    if "required" in data:
        schema["required"] = _required(data["required"], schema.get("properties"), problems)
    if "additionalProperties" in data:
        schema["additionalProperties"] = fields.flag(
            data["additionalProperties"], "additionalProperties", problems
        )
    return schema


def form_schema(given: object, problems: Problems) -> dict[str, Json]:
    """The schema of a form: an object that has no other fields than those.

    Args:
        given: What a user wrote.
        problems: Where problems are noted.
    """
    schema = payload_schema(given, problems)
    if schema.get("type", "object") != "object":
        problems.add(f"a form is an object of fields, not of type {shown(schema['type'])}")
    return {"additionalProperties": False, **schema, "type": "object"}


def payload_problems(value: Json, schema: Mapping[str, Json], what: str) -> Iterator[str]:
    """What of a schema a value does not fulfil, a sentence each.

    Args:
        value: The payload, or a part of it.
        schema: Its schema.
        what: What the value is called.
    """
    own = {key: schema[key] for key in schema if key != "items"}
    wrong = list(misfits(value, own, what))
    yield from wrong
    items = schema.get("items")
    if isinstance(items, dict) and isinstance(value, list):
        for index, item in enumerate(value):
            yield from payload_problems(item, items, f"{what}[{index}]")
    if isinstance(value, dict) and not wrong:
        yield from _object_problems(value, schema, what)


def _object_problems(
    value: Mapping[str, Json], schema: Mapping[str, Json], what: str
) -> Iterator[str]:
    properties = schema.get("properties")
    known = properties if isinstance(properties, dict) else {}
    required = schema.get("required")
    for name in required if isinstance(required, list) else ():
        if name not in value:
            yield f"{what}.{name} is missing"
    if schema.get("additionalProperties") is False:
        for name in value:
            if name not in known:
                there = f"there are {', '.join(known)}" if known else "there is none"
                yield f"{what} has no field {name!r}; {Problems().near(name, known, there)}"
    for name, inner in known.items():
        if name in value and isinstance(inner, dict):
            yield from payload_problems(value[name], inner, f"{what}.{name}")


def _required(given: object, properties: Json, problems: Problems) -> list[Json]:
    known = properties if isinstance(properties, dict) else {}
    found: list[Json] = []
    for name in fields.sequence(given, "required", problems):
        if isinstance(name, str) and name in known:
            found.append(name)
        else:
            hint = problems.near(str(name), known, "name it under properties")
            problems.add(f"required names no property: {shown(name)}; {hint}")
    return found
