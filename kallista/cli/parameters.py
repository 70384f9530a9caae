"""The parameters of a task type, read from the JSON Schema of its config, in words for people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from kallista.core.types import Json

_WORDS: Final = {
    "string": "text",
    "integer": "integer",
    "number": "number",
    "boolean": "true or false",
    "array": "list",
    "object": "mapping",
    "null": "null",
}
_OPTIONS: Final = 8

Schema = Mapping[str, Json]


@dataclass(frozen=True, slots=True)
class Parameter:
    """One key of a config.

    Args:
        name: The key.
        type: What it may be.
        required: Whether it has to be given.
        default: What it is otherwise.
        description: What it is for.
    """

    name: str
    type: str
    required: bool
    default: Json
    description: str


def parameters_of(schema: Schema) -> Sequence[Parameter]:
    """The parameters that a schema names, those that are required first.

    Args:
        schema: The JSON Schema of a config, with its definitions under ``$defs``.
    """
    properties, required = schema.get("properties"), schema.get("required")
    names = required if isinstance(required, list) else []
    definitions = schema.get("$defs")
    known = definitions if isinstance(definitions, dict) else {}
    found = [
        Parameter(
            name=name,
            type=_type(about, known),
            required=name in names,
            default=about.get("default"),
            description=str(about.get("description", "")),
        )
        for name, about in (properties.items() if isinstance(properties, dict) else ())
        if isinstance(about, dict)
    ]
    return sorted(found, key=lambda parameter: not parameter.required)


def _type(schema: Json, known: Schema) -> str:
    """What a value may be; null is left out where something else may be given too."""
    if not isinstance(schema, dict):
        return "anything"
    match schema:
        case {"$ref": str(ref)}:
            return _type(known.get(ref.rpartition("/")[2]), known)
        case {"const": value}:
            return str(value)
        case {"enum": list(options)}:
            shown = [str(option) for option in options[:_OPTIONS]]
            return " | ".join([*shown, *(["…"] if len(options) > _OPTIONS else [])])
        case {"anyOf": list(ways)} | {"oneOf": list(ways)}:
            words = dict.fromkeys(_type(way, known) for way in ways)
            return " | ".join(word for word in words if word != "null") or "null"
        case {"type": "array", "items": dict(items)} if items:
            return f"list of {_type(items, known)}"
        case {"type": str(word)}:
            return _WORDS.get(word, word)
        case _:
            return "anything"
