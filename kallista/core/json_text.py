"""Plain data as the JSON that is stored, and back."""

from __future__ import annotations

import json
from typing import Final

import msgspec

from kallista.core.types import Json, JsonText

_encode = msgspec.json.Encoder().encode

NULL: Final = JsonText("null")
EMPTY: Final = JsonText("{}")

from_json = msgspec.json.Decoder().decode
"""The plain data that a JSON text holds."""


def json_size(value: Json) -> int:
    """How many bytes plain data takes as JSON."""
    return len(_encode(value))


def to_json(value: Json) -> JsonText:
    """Plain data as compact JSON; half characters become question marks."""
    try:
        return JsonText(_encode(value).decode())
    except UnicodeEncodeError:
        text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
        return JsonText(text.encode("utf-8", "replace").decode())
