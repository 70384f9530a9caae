"""What an expression reads: paths from a root, found in its tree and walked in a scope."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from itertools import takewhile
from typing import Final, TypeAlias, cast

from msgspec import Struct

from kallista.core.cel_syntax import Kind, Node, plain_position, plain_text
from kallista.core.types import Json
from kallista.errors import ExpressionError

OF_ITEMS = ("item", "index")
"""What is read as a whole: the item that a run is for, and its place in the list."""

OTHERS: Final = "processes"
"""The root of what is read of the processes that one waits for."""

ROOTS = ("tasks", "steps", "inputs", OTHERS, "firing", "run", "config", *OF_ITEMS)

_SHOWN_KEYS = 10
_SHOWN_LENGTH = 100

Scope: TypeAlias = Mapping[str, object]
Path: TypeAlias = "tuple[str | int, ...]"


class Reference(Struct, frozen=True, order=True, gc=False):
    """What an expression reads: ``tasks.design`` or ``inputs.name``.

    Args:
        root: ``tasks``, ``steps``, ``inputs``, ``processes``, ``firing``, ``run``, ``config``,
            ``item`` or ``index``.
        name: The id or name behind it; empty where that does not matter.
        rest: Of another process, which part of it: ``results`` and a step, or ``status``.
    """

    root: str
    name: str
    rest: tuple[str, ...] = ()

    def __str__(self) -> str:
        return _path_text((self.root, self.name, *self.rest) if self.name else (self.root,))


def path_of(node: Node) -> Path | None:
    """The path that a piece is, if it is one: names and fixed positions from a root on."""
    steps: list[str | int] = []
    while node.kind in (Kind.SELECT, Kind.INDEX):
        step = node.text if node.kind is Kind.SELECT else _fixed_index(node.children[1])
        if step is None:
            return None
        steps.append(step)
        node = node.children[0]
    if node.kind is not Kind.NAME or node.text not in ROOTS:
        return None
    return (node.text, *reversed(steps))


def _fixed_index(node: Node) -> str | int | None:
    text = plain_text(node)
    return plain_position(node) if text is None else text


class PlainPath(Struct, frozen=True, gc=False):
    """An expression that is nothing but a path: walked without the library, ten times as fast.

    Args:
        source: The expression.
        path: The path it is.
    """

    source: str
    path: Path

    def __str__(self) -> str:
        return quoted(self.source)

    def references(self) -> Iterator[Reference]:
        """The one thing it reads."""
        yield reference(self.path)

    def evaluate(self, scope: Scope) -> Json:
        """The value at the path, shared with the scope.

        Raises:
            ExpressionError: The path leads nowhere; the message says what is there instead.
        """
        value: object = scope
        for depth, step in enumerate(self.path):
            value = _stepped(value, step, self.path, depth)
        return cast(Json, value)


def reference(path: Path) -> Reference:
    """What a path refers to: its root and the name behind that."""
    root = str(path[0])
    if root != OTHERS:
        return Reference(root, "" if root in OF_ITEMS else str(path[1]))
    rest = takewhile(lambda step: isinstance(step, str), path[2:4])
    return Reference(OTHERS, str(path[1]), tuple(map(str, rest)))


def _stepped(value: object, step: str | int, path: Path, depth: int) -> object:
    if isinstance(value, Mapping) and isinstance(step, str):
        if step in value:
            return value[step]
    elif isinstance(value, list | tuple) and isinstance(step, int) and step < len(value):
        return value[step]
    raise ExpressionError(_missing(value, path, depth))


def _missing(value: object, path: Path, depth: int) -> str:
    wanted = _path_text(path)
    step = path[depth]
    parent = _path_text(path[:depth]) or "the scope"
    if isinstance(value, Mapping):
        names = [str(key) for key in value]
        near = get_close_matches(str(step), names, n=1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        listed = ", ".join(sorted(names)[:_SHOWN_KEYS]) or "nothing"
        more = f" and {len(names) - _SHOWN_KEYS} more" if len(names) > _SHOWN_KEYS else ""
        return f"${{{wanted}}}: {parent} has no {step!r}; {hint}it has {listed}{more}"
    if isinstance(value, list | tuple) and isinstance(step, int):
        return f"${{{wanted}}}: {parent} has {len(value)} items, so there is no [{step}]"
    return f"${{{wanted}}}: {parent} is {shown(value)}, so it has no {step!r}"


def quoted(source: str) -> str:
    """An expression for a message, cut where it is long."""
    return f"${{{source if len(source) <= _SHOWN_LENGTH else source[:_SHOWN_LENGTH] + '…'}}}"


def _path_text(path: Path) -> str:
    text = ""
    for step in path:
        if isinstance(step, int):
            text += f"[{step}]"
        elif step.isidentifier():
            text += f".{step}" if text else step
        else:
            text += f'["{step}"]'
    return text


def shown(value: object) -> str:
    """A value for a message: short, and without what may be large or private."""
    match value:
        case Mapping():
            return "an object"
        case list() | tuple():
            return "a list"
        case str():
            return "a text"
        case None:
            return "null"
        case bool():
            return str(value).lower()
        case _:
            return repr(value)[:60]
