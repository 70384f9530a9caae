"""References in config values: ``${…}`` read once, checked at creation, evaluated within bounds.

An expression is CEL. A plain path (``tasks.design.result.views``) is walked directly; everything
else goes to the CEL library, which is imported when the first such expression is compiled.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Protocol

from msgspec import Struct

from kallista.core.cel_check import paths_read
from kallista.core.cel_paths import OTHERS, ROOTS, PlainPath, Reference, Scope, path_of, shown
from kallista.core.cel_program import CelProgram
from kallista.core.cel_syntax import parse, tokens
from kallista.core.ids import canonical_json
from kallista.core.types import Json
from kallista.errors import ExpressionError

__all__ = [
    "OTHERS",
    "ROOTS",
    "Compiled",
    "Reference",
    "Scope",
    "compile_condition",
    "compile_value",
]

MAX_LENGTH = 2_000


class _Part(Protocol):
    """A piece of a config value that has been read."""

    def references(self) -> Iterator[Reference]: ...

    def evaluate(self, scope: Scope) -> Json: ...


class Compiled(Struct, frozen=True, gc=False):
    """A config value with expressions, or a condition, ready to be evaluated.

    Args:
        references: Everything it may read.
    """

    references: frozenset[Reference]
    _part: _Part

    def evaluate(self, scope: Scope) -> Json:
        """The value, given what it reads.

        Args:
            scope: The values by root and name: ``{"tasks": {"design": {"result": …}}}``. Nothing
                of it is changed; the value may share parts with it.

        Returns:
            The value as plain data, the same for the same scope.

        Raises:
            ExpressionError: Something it reads is missing (the message says what is there), an
                operation does not fit its values, or the work goes beyond the bounds.
        """
        return self._part.evaluate(scope)


def compile_value(value: Json) -> Compiled | None:
    """Read the expressions of a config value.

    Args:
        value: Plain data. A text that is one ``${…}`` becomes the value itself; a text with more
            around it becomes a text, in which null is empty and everything else is as in JSON.
            ``$${`` stands for ``${``. Keys are taken as they are.

    Returns:
        The compiled form; None if nothing in it is an expression.

    Raises:
        ExpressionError: Some expression is wrong; ``problems`` lists every one and where.
    """
    problems: list[str] = []
    part = _compile(value, "", problems)
    if problems:
        raise ExpressionError("a value holds wrong expressions", problems)
    return None if part is None else Compiled(frozenset(part.references()), part)


def compile_condition(text: str) -> Compiled:
    """Read a condition, bare (``tasks.a.result.ok``) or as ``${…}``.

    Returns:
        The compiled form; it evaluates to true or false, or raises ``ExpressionError``.

    Raises:
        ExpressionError: It cannot be read.
    """
    source = text.strip()
    if source.startswith("${"):
        end = _end_of_expression(source, 2)
        if end != len(source) - 1:
            raise ExpressionError(f"a condition is one expression, not a text: {text!r}")
        source = source[2:end]
    condition = _Condition(_expression(source))
    return Compiled(frozenset(condition.references()), condition)


def _compile(value: Json, place: str, problems: list[str]) -> _Part | None:
    match value:
        case str():
            return _compile_text(value, place, problems) if "${" in value else None
        case list():
            items = [_compile(item, f"{place}[{i}]", problems) for i, item in enumerate(value)]
            return _Items(value, tuple(items)) if any(items) else None
        case dict():
            entries = {
                key: _compile(item, f"{place}.{key}" if place else str(key), problems)
                for key, item in value.items()
            }
            return _Entries(value, entries) if any(entries.values()) else None
        case _:
            return None


def _compile_text(text: str, place: str, problems: list[str]) -> _Part | None:
    try:
        return _joined(list(_pieces(text)))
    except ExpressionError as problem:
        problems.append(f"{place}: {problem}" if place else str(problem))
        return None


def _pieces(text: str) -> Iterator[str | _Part]:
    position = 0
    while (start := text.find("${", position)) >= 0:
        if start > position and text[start - 1] == "$":
            yield text[position : start - 1] + "${"
            position = start + 2
            continue
        if start > position:
            yield text[position:start]
        end = _end_of_expression(text, start + 2)
        yield _expression(text[start + 2 : end])
        position = end + 1
    if position < len(text):
        yield text[position:]


def _end_of_expression(text: str, position: int) -> int:
    depth = 0
    for word in tokens(text, position):
        if word.text == "{":
            depth += 1
        elif word.text == "}":
            if depth == 0:
                return word.start
            depth -= 1
    raise ExpressionError(f"a ${{ is never closed in {text!r}; write $${{ for a plain ${{")


def _joined(pieces: list[str | _Part]) -> _Part:
    if len(pieces) == 1 and not isinstance(pieces[0], str):
        return pieces[0]
    return _Text(tuple(pieces))


class _Text(Struct, frozen=True, gc=False):
    pieces: tuple[str | _Part, ...]

    def references(self) -> Iterator[Reference]:
        for piece in self.pieces:
            if not isinstance(piece, str):
                yield from piece.references()

    def evaluate(self, scope: Scope) -> Json:
        return "".join(
            piece if isinstance(piece, str) else _as_text(piece.evaluate(scope))
            for piece in self.pieces
        )


class _Items(Struct, frozen=True, gc=False):
    original: list[Json]
    parts: tuple[_Part | None, ...]

    def references(self) -> Iterator[Reference]:
        for part in self.parts:
            if part is not None:
                yield from part.references()

    def evaluate(self, scope: Scope) -> Json:
        pairs = zip(self.original, self.parts, strict=True)
        return [item if part is None else part.evaluate(scope) for item, part in pairs]


class _Entries(Struct, frozen=True, gc=False):
    original: dict[str, Json]
    parts: Mapping[str, _Part | None]

    def references(self) -> Iterator[Reference]:
        for part in self.parts.values():
            if part is not None:
                yield from part.references()

    def evaluate(self, scope: Scope) -> Json:
        return {
            key: item if (part := self.parts[key]) is None else part.evaluate(scope)
            for key, item in self.original.items()
        }


class _Condition(Struct, frozen=True, gc=False):
    inner: _Part

    def references(self) -> Iterator[Reference]:
        return self.inner.references()

    def evaluate(self, scope: Scope) -> Json:
        value = self.inner.evaluate(scope)
        if not isinstance(value, bool):
            raise ExpressionError(
                f"a condition must be true or false, but {self.inner} is {shown(value)}"
            )
        return value


def _as_text(value: Json) -> str:
    match value:
        case None:
            return ""
        case str():
            return value
        case _:
            return canonical_json(value)


def _expression(source: str) -> _Part:
    source = source.strip()
    if not source:
        raise ExpressionError("the expression is empty; write $${ for a plain ${")
    if len(source) > MAX_LENGTH:
        raise ExpressionError(f"an expression has at most {MAX_LENGTH} characters")
    tree = parse(source)
    paths = paths_read(source, tree)
    path = path_of(tree)
    return PlainPath(source, path) if path is not None else CelProgram(source, tree, paths)
