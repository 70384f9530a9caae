"""An expression run by the CEL library, within bounds of time and memory.

The library neither counts its work nor keeps the order of an object's keys. So every iteration is
rewritten to ask here first, where its work is estimated and paid for, and the result is put into
order. ADR 0004 tells what was measured.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import cache
from importlib import import_module
from importlib.machinery import PathFinder
from importlib.util import find_spec, module_from_spec
from itertools import takewhile
from typing import Protocol, TypeAlias, cast

from msgspec import Struct

from kallista.core.cel_check import ITERATIONS
from kallista.core.cel_paths import (
    ROOTS,
    Path,
    PlainPath,
    Reference,
    Scope,
    quoted,
    reference,
    shown,
)
from kallista.core.cel_syntax import Kind, Node
from kallista.core.types import Json
from kallista.errors import ExpressionError

MAX_DATA_DEPTH = 64
MAX_WORK = 5_000_000

_GROWING = frozenset(("filter", "map"))
_OVER = "kallista_over"
_INT64 = range(-(2**63), 2**63)
_TEXT_UNIT = 16
_COPIES = 4

_Wanted: TypeAlias = "dict[str, _Wanted]"


class CelProgram:
    """A compiled expression.

    Args:
        source: The expression.
        tree: What it says.
        paths: Every path that it reads, as ``paths_read`` gives them.

    Raises:
        ExpressionError: The library cannot read it.
    """

    def __init__(self, source: str, tree: Node, paths: tuple[Path, ...]) -> None:
        instrumented = _Instrumented(source)
        self._source = source
        self._paths = paths
        self._wanted = _tree_of(paths)
        self._size = _size(tree)
        self._program = _compiled(source, instrumented.render(tree, ()))
        self._loops = tuple(instrumented.loops)

    def __str__(self) -> str:
        return quoted(self._source)

    def references(self) -> Iterator[Reference]:
        """Everything it may read."""
        return map(reference, self._paths)

    def evaluate(self, scope: Scope) -> Json:
        """The value as plain data.

        Raises:
            ExpressionError: It failed on the values, or its work goes beyond the bounds.
        """
        given = {root: _picked(scope.get(root, {}), inner) for root, inner in self._wanted.items()}
        meter = _Meter(self._source)
        weight = meter.weigh(given)
        meter.spend(self._size + weight * len(self._paths))
        over = _Over(self._loops, weight, meter)
        try:
            value = self._program.execute({**given, _OVER: over})
        except (ArithmeticError, LookupError, RuntimeError, TypeError, ValueError) as problem:
            if over.refusal is None:
                self._explain_missing(scope, problem)
                raise self._error(_first_line(problem)) from problem
        if over.refusal is not None:
            raise over.refusal
        return _plain(value, self._error)

    def _explain_missing(self, scope: Scope, problem: Exception) -> None:
        """Raise the better error where a path that is read leads nowhere."""
        if isinstance(problem, LookupError):
            for path in self._paths:
                PlainPath(self._source, path).evaluate(scope)

    def _error(self, problem: str) -> ExpressionError:
        return ExpressionError(f"{quoted(self._source)} failed: {problem}")


def _tree_of(paths: Sequence[Path]) -> _Wanted:
    """The paths as a tree; a leaf (an empty mapping) stands for the whole value there."""
    named = {tuple(takewhile(lambda step: isinstance(step, str), path)) for path in paths}
    tree: _Wanted = {}
    for path in named:
        if any(path[:length] in named for length in range(1, len(path))):
            continue
        branch = tree
        for step in path:
            branch = branch.setdefault(str(step), {})
    return tree


def _picked(value: object, wanted: _Wanted) -> object:
    """What of a value is wanted: the library copies all that it is given."""
    if not wanted or not isinstance(value, Mapping):
        return value
    return {key: _picked(value[key], inner) for key, inner in wanted.items() if key in value}


class _Loop(Struct, frozen=True, gc=False):
    """What one round of an iteration may cost.

    Args:
        grows: It builds a list, which the library copies for each item it appends.
        copies: How dear it is to hold what its body mentions.
        size: The size of its body.
        reads: How often its body reads from the scope.
        uses: How often its body mentions the item.
    """

    grows: bool
    copies: int
    size: int
    reads: int
    uses: int


class _Instrumented:
    """Rewrites an expression so that each iteration asks ``_Over`` first."""

    def __init__(self, source: str) -> None:
        self._source = source
        self.loops: list[_Loop] = []

    def render(self, node: Node, bound: tuple[str, ...]) -> str:
        if node.kind is Kind.METHOD and node.text in ITERATIONS:
            return self._render_iteration(node, bound)
        return self._joined(node, [self.render(child, bound) for child in node.children])

    def _render_iteration(self, node: Node, bound: tuple[str, ...]) -> str:
        target, variable, *bodies = node.children
        number = len(self.loops)
        self.loops.append(_loop(node.text, variable.text, bodies))
        outer = [piece.text for body in bodies for piece in _mentions(body, bound)]
        asked = ", ".join([str(number), self.render(target, bound), *outer])
        inside = (*bound, variable.text)
        rendered = [self.render(body, inside) for body in bodies]
        return self._joined(node, [f"{_OVER}({asked})", variable.text, *rendered])

    def _joined(self, node: Node, children: list[str]) -> str:
        text, position = "", node.start
        for child, rendered in zip(node.children, children, strict=True):
            text += self._source[position : child.start] + rendered
            position = child.end
        return text + self._source[position : node.end]


def _loop(kind: str, variable: str, bodies: Sequence[Node]) -> _Loop:
    return _Loop(
        grows=kind in _GROWING,
        copies=_COPIES if kind == "map" else 1,
        size=sum(_size(body) for body in bodies),
        reads=sum(1 for body in bodies for _ in _mentions(body, ROOTS)),
        uses=sum(1 for body in bodies for _ in _mentions(body, (variable,))),
    )


def _mentions(node: Node, names: Sequence[str]) -> Iterator[Node]:
    return (piece for piece in node.walk() if piece.kind is Kind.NAME and piece.text in names)


def _size(node: Node) -> int:
    return sum(1 + len(piece.text) // _TEXT_UNIT for piece in node.walk())


class _Meter:
    """Counts the work of one evaluation in values touched, and stops it beyond the bound."""

    def __init__(self, source: str) -> None:
        self._source = source
        self._left = MAX_WORK

    def spend(self, work: int) -> None:
        self._left -= work
        if self._left < 0:
            raise self._error("it would do too much work on so much data; do it in a task instead")

    def weigh(self, value: object) -> int:
        """How many values there are in a value; long texts count for more."""
        weight = 0
        level = [value]
        for _ in range(MAX_DATA_DEPTH):
            if not level:
                return weight
            weight += len(level)
            if weight > MAX_WORK:
                self.spend(weight)
            inner: list[object] = []
            for item in level:
                weight += self._unpack(item, inner)
            level = inner
        raise self._error(f"its data are nested deeper than {MAX_DATA_DEPTH} levels")

    def _unpack(self, item: object, inner: list[object]) -> int:
        match item:
            case str():
                return len(item) // _TEXT_UNIT
            case Mapping():
                inner.extend(item.keys())
                inner.extend(item.values())
            case list() | tuple():
                inner.extend(item)
            case int() if item not in _INT64:
                raise self._error(f"it computes with integers of 64 bits, not with {item}")
        return 0

    def _error(self, problem: str) -> ExpressionError:
        return ExpressionError(f"{quoted(self._source)} failed: {problem}")


class _Over:
    """What an iteration goes over, once its work is paid for.

    The library iterates over objects in another order in each program, so here they become their
    sorted keys. After a refusal there is nothing to go over, so that the evaluation soon ends.
    """

    def __init__(self, loops: Sequence[_Loop], given: int, meter: _Meter) -> None:
        self._loops = loops
        self._given = given
        self._meter = meter
        self.refusal: ExpressionError | None = None

    def __call__(self, number: int, items: object, *outer: object) -> object:
        if self.refusal is None:
            try:
                self._pay(self._loops[number], items, outer)
            except ExpressionError as refusal:
                # Not raised here: the library would print it, and raise an error of its own.
                self.refusal = refusal
        if self.refusal is not None:
            return []
        return sorted(items) if isinstance(items, Mapping) else items

    def _pay(self, loop: _Loop, items: object, outer: tuple[object, ...]) -> None:
        rounds = len(items) if isinstance(items, list | tuple | Mapping) else 0
        each = loop.size + loop.copies * (loop.reads * self._given + self._meter.weigh(outer))
        own = self._meter.weigh(items) * (1 + loop.copies * loop.uses)
        self._meter.spend(own + rounds * each + (rounds * rounds // 2 if loop.grows else 0))


def _plain(value: object, error: Callable[[str], ExpressionError]) -> Json:
    """A value of the library as JSON, by the rules of CEL (langdef.md, "JSON Data Conversion").

    Keys are sorted: the library gives them in another order in each program.
    """
    match value:
        case None | bool() | int() | str():
            return value
        case float() if math.isfinite(value):
            return value
        case list():
            return [_plain(item, error) for item in value]
        case dict():
            if not all(isinstance(key, str) for key in value):
                raise error("the keys of an object must be texts")
            return {key: _plain(value[key], error) for key in sorted(value)}
        case datetime():
            return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
        case timedelta():
            return f"{value.total_seconds():.6f}".rstrip("0").rstrip(".") + "s"
        case _:
            raise error(f"its result, {shown(value)}, is no JSON")


class _Program(Protocol):
    """A compiled expression of the library."""

    def execute(self, context: dict[str, object]) -> object: ...


class _Library(Protocol):
    """What is used of the library."""

    def compile(self, expression: str) -> _Program: ...


def _compiled(source: str, instrumented: str) -> _Program:
    library = _library()
    try:
        # The source comes first, so that a message speaks of what the user wrote.
        program = library.compile(source)
        return program if source == instrumented else library.compile(instrumented)
    except ValueError as problem:
        raise ExpressionError(
            f"{quoted(source)} cannot be read: {_first_line(problem)}"
        ) from problem


def _first_line(problem: Exception) -> str:
    if isinstance(problem, LookupError):
        return f"there is no {problem}"
    return str(problem).partition("\n")[0]


@cache
def _library() -> _Library:
    """The compiled part of the library alone.

    Its package imports a command line with all that belongs to it: half a second against 10 ms.
    """
    loaded = sys.modules.get("cel.cel")
    package = find_spec("cel") if loaded is None else None
    folders = package.submodule_search_locations if package else None
    spec = PathFinder.find_spec("cel.cel", folders) if folders else None
    if loaded is not None or spec is None or spec.loader is None:
        return cast(_Library, loaded or import_module("cel"))
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    # Registered under its own name, so that importing the whole package later shares it.
    sys.modules[spec.name] = module
    return cast(_Library, module)
