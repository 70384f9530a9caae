"""Limits over all workers: how many attempts of one key run at once, or begin in a time."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum
from typing import Final

from msgspec import Struct

from kallista.core.types import Micros
from kallista.errors import ExpressionError

MAX_KEY: Final = 200
"""How many characters a key may have."""


class LimitKind(StrEnum):
    """What is counted under one name."""

    KEY = "concurrency key"
    RATE = "rate limit"


class LimitSpec(Struct, frozen=True, gc=False):
    """A limit of a task, as its definition says it.

    Args:
        kind: What is counted.
        key: What is counted together; a text that may hold ``${…}``.
        number: How many attempts at once; of a rate, how many may begin in ``period``.
        period: Of a rate; else 0.
    """

    kind: LimitKind
    key: str
    number: int
    period: Micros = Micros(0)


class Limit(Struct, frozen=True, gc=False):
    """A limit that a step is subject to, its key resolved.

    Args:
        name: The kind and the key: what is counted together in a store.
        number: How many attempts of this name may run at once.
        spacing: Of a rate: how long after one attempt has begun the next one may; else 0.
    """

    name: str
    number: int
    spacing: Micros = Micros(0)

    @property
    def pile(self) -> str:
        """What lines have to share to wait for this limit in one order, besides their lane."""
        return f"{self.number}/{self.spacing}"


class Gate(Struct, frozen=True, gc=False):
    """What the line of a step has to pass, and the step's attempt keeps until it ends.

    Args:
        step: The step.
        ready_at: When its line is due.
        limits: What it is subject to.
    """

    step: int
    ready_at: Micros
    limits: tuple[Limit, ...]


def limit_of(spec: LimitSpec, key: object) -> Limit:
    """A limit whose key has been resolved.

    Raises:
        ExpressionError: That is no key.
    """
    text = str(key) if isinstance(key, int) and not isinstance(key, bool) else key
    if not isinstance(text, str):
        raise ExpressionError(f"the {spec.kind} must be a text, not {text!r}")
    problem = key_problem(text)
    if problem is not None:
        raise ExpressionError(f"the {spec.kind} {problem}")
    if spec.kind is LimitKind.RATE:
        return Limit(name_of(spec.kind, text), 1, Micros(-(-spec.period // spec.number)))
    return Limit(name_of(spec.kind, text), spec.number)


def key_problem(key: str) -> str | None:
    """Why a text cannot be a key; None: it can."""
    if not key.strip():
        return "is empty"
    if len(key) > MAX_KEY:
        return f"may have {MAX_KEY} characters, not {len(key):,}"
    if not key.isprintable():
        return f"holds characters that cannot be shown: {key[:MAX_KEY]!r}"
    return None


def name_of(kind: LimitKind, key: str) -> str:
    """What a limit is called in a store."""
    return f"{kind.value}:{key}"


def told(name: str) -> str:
    """What people read of a limit: its kind and its key."""
    kind, _, key = name.partition(":")
    return f"{kind} {key!r}"


def names(limits: Iterable[Limit]) -> list[str]:
    """What some limits are called, sorted."""
    return sorted(limit.name for limit in limits)
