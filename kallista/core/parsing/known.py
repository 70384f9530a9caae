"""Remembers definitions that were read, so that an equal description is not read again."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from hashlib import blake2b
from typing import Final

from kallista.core.definitions import ChildSpec, Definition, MapSpec, TaskSpec
from kallista.core.encoding import definition_text
from kallista.core.plain import plain_json
from kallista.core.types import TaskType

MOST_BYTES: Final = 8 * 1024 * 1024
"""How long the texts of all remembered definitions may be together."""

_WHOLE: Final = 256
"""Descriptions up to this length are known by themselves, longer ones by their hash."""

Handler = object
"""The code behind a task type; only whether it is still the same one matters here."""


class KnownDefinitions:
    """Definitions by what described them; the least recently used are forgotten.

    Args:
        handler_of: The code behind a task type, or None. What was checked against other code is
            not known any more, and what this program has no code for is never remembered.
    """

    def __init__(self, handler_of: Callable[[TaskType], Handler | None]) -> None:
        self._handler_of = handler_of
        self._known: dict[bytes, tuple[Definition, Collection[tuple[TaskType, Handler]]]] = {}
        self._size = 0

    def key(self, *description: object) -> bytes | None:
        """What a description is remembered by; None when it is not all plain data.

        Other values may become the same JSON and yet not be the same.
        """
        text = plain_json(list(description))
        if text is None:
            return None
        return text if len(text) <= _WHOLE else blake2b(text, digest_size=32).digest()

    def get(self, key: bytes | None) -> Definition | None:
        """The definition that was read of this description, if it may still be used."""
        known = self._known.get(key) if key is not None else None
        if known is None or key is None:
            return None
        definition, handlers = known
        del self._known[key]
        for type, handler in handlers:
            if self._handler_of(type) is not handler:
                self._size -= len(definition_text(definition))
                return None
        self._known[key] = known
        return definition

    def put(self, key: bytes | None, definition: Definition) -> None:
        """Remember what was read of this description."""
        if key is None or key in self._known:
            return
        handlers = [(type, self._handler_of(type)) for type in set(_types(definition))]
        if any(handler is None for _, handler in handlers):
            return
        self._known[key] = definition, handlers
        self._size += len(definition_text(definition))
        while self._size > MOST_BYTES:
            oldest, _ = self._known.pop(next(iter(self._known)))
            self._size -= len(definition_text(oldest))


def _types(definition: Definition) -> Iterator[TaskType]:
    """All task types of a definition and of those within it."""
    for step in definition.steps:
        match step.work:
            case TaskSpec(type=type):
                yield type
            case ChildSpec(definition=child) | MapSpec(child=ChildSpec(definition=child)):
                yield from _types(child)
