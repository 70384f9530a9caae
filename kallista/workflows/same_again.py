"""Reads what makes a request the same as an earlier one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from kallista.core import fields
from kallista.core.birth import SameAgain
from kallista.core.problems import Problems

_KEYS: Final = ("key", "window")


def read_deduplicate(value: Mapping[str, object] | None) -> SameAgain | None:
    """What a user gave as ``deduplicate``.

    Args:
        value: ``{"key": …, "window": …}``; None: each request is one by itself.

    Raises:
        DefinitionError: ``problems`` lists what is wrong with it.
    """
    if value is None:
        return None
    problems = Problems()
    given = fields.mapping(value, "deduplicate", problems)
    fields.known_keys(given, _KEYS, problems)
    for key in _KEYS:
        if not problems and given.get(key) is None:
            problems.add(f"the key {key!r} is missing")
    name = fields.name(given.get("key"), "key", problems) if not problems else None
    window = fields.length(given.get("window"), "window", problems) if not problems else None
    problems.raise_if_any("deduplicate")
    assert name is not None, "it was checked"
    assert window is not None, "it was checked"
    return SameAgain(name, window)
