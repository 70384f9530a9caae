"""How large a description may be, and what reading one needs from outside."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TypeAlias

from msgspec import Struct

from kallista.core.definitions import Definition
from kallista.core.states import RunKind
from kallista.core.types import MAX_PAYLOAD_BYTES, Json, TaskType


class Limits(Struct, frozen=True):
    """How large a description may be, and what else a program has settled beforehand.

    Args:
        max_steps: Steps or tasks of one definition.
        max_payload_bytes: One task's config, one run's inputs, one result; encoded.
        max_definition_bytes: A whole definition with the ones inside it, encoded.
        max_nesting: How deep definitions may lie in each other.
        zone: The IANA name of the zone that naive moments are in.
    """

    max_steps: int = 10_000
    max_payload_bytes: int = MAX_PAYLOAD_BYTES
    max_definition_bytes: int = 8 * MAX_PAYLOAD_BYTES
    max_nesting: int = 16
    zone: Callable[[], str] = lambda: "UTC"


DEFAULT_LIMITS = Limits()

CheckTask: TypeAlias = Callable[[TaskType, Mapping[str, Json], Collection[str]], Sequence[str]]
"""What is wrong with a task's type and config; the third names keys that hold references."""

Lookup: TypeAlias = Callable[[RunKind, str], Definition | None]
"""The definition of a name."""


def nothing_named(kind: RunKind, name: str) -> Definition | None:
    """No definition has a name."""
    return None
