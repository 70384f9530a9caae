"""References in config values: ``${…}`` read once, checked at creation, evaluated within bounds.

An expression is CEL. A plain path (``tasks.design.result.views``) is walked here; everything else
goes to the CEL library, which is imported when the first such expression is compiled. ADR 0004 says
why this library and how its work is bounded.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from difflib import get_close_matches
from functools import cache
from importlib import import_module
from importlib.machinery import PathFinder
from importlib.util import find_spec, module_from_spec
from itertools import takewhile
from typing import Protocol, TypeAlias, cast

from kallista.core.cel_syntax import Kind, Node, parse, plain_position, plain_text, tokens
from kallista.core.ids import canonical_json
from kallista.core.types import Json
from kallista.errors import ExpressionError

ROOTS = ("tasks", "steps", "inputs", "processes")
MAX_LENGTH = 2_000
MAX_NESTING = 3
MAX_DATA_DEPTH = 64
MAX_WORK = 10_000_000

_ITERATIONS = {
    "all": (2,),
    "exists": (2,),
    "exists_one": (2,),
    "filter": (2,),
    "map": (2, 3),
}
_GROWING = frozenset(("filter", "map"))
_FUNCTIONS = frozenset(("has", "size", "int", "double", "string", "type", "dyn")) | frozenset(
    ("timestamp", "duration", "matches")
)
_METHODS = frozenset(("size", "contains", "startsWith", "endsWith", "matches")) | frozenset(
    f"get{part}"
    for part in (
        *("FullYear", "Month", "Date", "DayOfMonth", "DayOfYear", "DayOfWeek"),
        *("Hours", "Minutes", "Seconds", "Milliseconds"),
    )
)
_TYPES = frozenset(("int", "double", "string", "bool", "list", "map", "null_type"))
_OVER = "kallista_over"
_INT64 = range(-(2**63), 2**63)
_SHOWN_KEYS = 10
_TEXT_UNIT = 16
_COPIES = 4

Scope: TypeAlias = Mapping[str, object]
Path: TypeAlias = "tuple[str | int, ...]"
_Wanted: TypeAlias = "dict[str, _Wanted]"


@dataclass(frozen=True, slots=True, order=True)
class Reference:
    """What an expression reads: ``tasks.design`` or ``inputs.name``.

    Args:
        root: ``tasks``, ``steps``, ``inputs`` or ``processes``.
        name: The id or name behind it.
    """

    root: str
    name: str

    def __str__(self) -> str:
        return _path_text((self.root, self.name))


class _Part(Protocol):
    """A piece of a config value that has been read."""

    def references(self) -> Iterator[Reference]: ...

    def evaluate(self, scope: Scope) -> Json: ...


@dataclass(frozen=True, slots=True)
class Compiled:
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


@dataclass(frozen=True, slots=True)
class _Text:
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


@dataclass(frozen=True, slots=True)
class _Items:
    original: list[Json]
    parts: tuple[_Part | None, ...]

    def references(self) -> Iterator[Reference]:
        for part in self.parts:
            if part is not None:
                yield from part.references()

    def evaluate(self, scope: Scope) -> Json:
        pairs = zip(self.original, self.parts, strict=True)
        return [item if part is None else part.evaluate(scope) for item, part in pairs]


@dataclass(frozen=True, slots=True)
class _Entries:
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


@dataclass(frozen=True, slots=True)
class _Condition:
    inner: _Part

    def references(self) -> Iterator[Reference]:
        return self.inner.references()

    def evaluate(self, scope: Scope) -> Json:
        value = self.inner.evaluate(scope)
        if not isinstance(value, bool):
            raise ExpressionError(
                f"a condition must be true or false, but {self.inner} is {_shown(value)}"
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
    reading = _Reading(source)
    reading.visit(tree, (), 0)
    path = _path_of(tree)
    if path is not None:
        return _PlainPath(source, path)
    instrumented = _Instrumented(source)
    text = instrumented.render(tree, ())
    return _Cel(
        source,
        tuple(reading.paths),
        _wanted(reading.paths),
        _compiled(source, text),
        _size(tree),
        tuple(instrumented.loops),
    )


def _path_of(node: Node, bound: Sequence[str] = ()) -> Path | None:
    """The path that a piece is, if it is one: names and fixed positions from a root on."""
    steps: list[str | int] = []
    while node.kind in (Kind.SELECT, Kind.INDEX):
        step = node.text if node.kind is Kind.SELECT else _fixed_index(node.children[1])
        if step is None:
            return None
        steps.append(step)
        node = node.children[0]
    if node.kind is not Kind.NAME or node.text not in ROOTS or node.text in bound:
        return None
    return (node.text, *reversed(steps))


def _fixed_index(node: Node) -> str | int | None:
    text = plain_text(node)
    return plain_position(node) if text is None else text


class _Reading:
    """Finds what an expression reads, and refuses what it must not hold."""

    def __init__(self, source: str) -> None:
        self._source = source
        self.paths: list[Path] = []

    def visit(self, node: Node, bound: tuple[str, ...], nesting: int) -> None:
        path = _path_of(node)
        if path is not None:
            self._read(path)
            return
        match node.kind:
            case Kind.NAME:
                self._check_name(node.text, bound)
            case Kind.LITERAL:
                self._check_literal(node.text)
            case Kind.CALL:
                self._check_function(node.text, _FUNCTIONS)
            case Kind.METHOD if node.text in _ITERATIONS:
                self._visit_iteration(node, bound, nesting)
                return
            case Kind.METHOD:
                self._check_function(node.text, _METHODS)
        if nesting and node.text == "matches" and node.kind in (Kind.CALL, Kind.METHOD):
            raise self._error(
                "matches() would compile its pattern for each item; "
                "use startsWith(), endsWith() or contains() there"
            )
        for child in node.children:
            self.visit(child, bound, nesting)

    def _read(self, path: Path) -> None:
        if len(path) < 2 or not isinstance(path[1], str):
            root = path[0]
            raise self._error(
                f"{root} is read by name: write {root}.name or "
                f'{root}["any-name"], with the name spelled out'
            )
        self.paths.append(path)

    def _visit_iteration(self, node: Node, bound: tuple[str, ...], nesting: int) -> None:
        target, *arguments = node.children
        if len(arguments) not in _ITERATIONS[node.text] or arguments[0].kind is not Kind.NAME:
            raise self._error(f"write .{node.text}(item, …) with a name for the item")
        if nesting == MAX_NESTING:
            raise self._error(f"iterations are nested deeper than {MAX_NESTING} levels")
        variable = arguments[0].text
        if variable in ROOTS:
            raise self._error(f"an item cannot be called {variable!r}")
        self.visit(target, bound, nesting)
        for body in arguments[1:]:
            self.visit(body, (*bound, variable), nesting + 1)

    def _check_name(self, name: str, bound: tuple[str, ...]) -> None:
        if name in ROOTS:
            self._read((name,))
        if name in bound or name in _TYPES:
            return
        near = get_close_matches(name, (*ROOTS, *bound), n=1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise self._error(
            f"there is no {name!r} here: {hint}references start at {', '.join(ROOTS)}; "
            'a name with other signs than letters, digits and _ is quoted: tasks["my-task"]'
        )

    def _check_literal(self, text: str) -> None:
        if text[0].isdigit() and text[-1] in "uU":
            raise self._error(f"write {text[:-1]} without u: JSON has one kind of integer")
        if "b" in text[: min(map(text.find, filter(text.count, "'\"")), default=0)].lower():
            raise self._error("bytes are no JSON; write a text")

    def _check_function(self, name: str, known: frozenset[str]) -> None:
        if name not in known:
            every = sorted((_FUNCTIONS | _METHODS | set(_ITERATIONS)) - {"dyn"})
            near = get_close_matches(name, every, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(every)}"
            raise self._error(f"there is no function {name}() here; {hint}")

    def _error(self, problem: str) -> ExpressionError:
        return ExpressionError(f"in ${{{self._source}}}: {problem}")


@dataclass(frozen=True, slots=True)
class _PlainPath:
    source: str
    path: Path

    def __str__(self) -> str:
        return f"${{{self.source}}}"

    def references(self) -> Iterator[Reference]:
        yield _reference(self.path)

    def evaluate(self, scope: Scope) -> Json:
        value: object = scope
        for depth, step in enumerate(self.path):
            value = _stepped(value, step, self.path, depth)
        return cast(Json, value)


@dataclass(frozen=True, slots=True)
class _Cel:
    source: str
    paths: tuple[Path, ...]
    wanted: _Wanted
    program: _Program
    size: int
    loops: tuple[_Loop, ...]

    def __str__(self) -> str:
        return f"${{{self.source}}}"

    def references(self) -> Iterator[Reference]:
        return map(_reference, self.paths)

    def evaluate(self, scope: Scope) -> Json:
        given = {root: _picked(scope.get(root, {}), self.wanted.get(root, {})) for root in ROOTS}
        meter = _Meter(self.source)
        weight = meter.weigh(given)
        meter.spend(self.size + weight * len(self.paths))
        over = _Over(self.loops, weight, meter)
        try:
            value = self.program.execute({**given, _OVER: over})
        except (ArithmeticError, LookupError, RuntimeError, TypeError, ValueError) as problem:
            if over.refusal is not None:
                raise over.refusal from None
            self._explain_missing(scope, problem)
            raise self._error(_first_line(problem)) from problem
        return _plain(value, self._error)

    def _explain_missing(self, scope: Scope, problem: Exception) -> None:
        """Raise the better error where a path that is read leads nowhere."""
        if isinstance(problem, LookupError):
            for path in self.paths:
                _PlainPath(self.source, path).evaluate(scope)

    def _error(self, problem: str) -> ExpressionError:
        return ExpressionError(f"${{{self.source}}} failed: {problem}")


def _reference(path: Path) -> Reference:
    return Reference(str(path[0]), str(path[1]))


def _stepped(value: object, step: str | int, path: Path, depth: int) -> object:
    if isinstance(value, Mapping) and isinstance(step, str):
        if step in value:
            return value[step]
    elif isinstance(value, Sequence) and not isinstance(value, str) and isinstance(step, int):
        if step < len(value):
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
    return f"${{{wanted}}}: {parent} is {_shown(value)}, so it has no {step!r}"


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


def _shown(value: object) -> str:
    kinds = {dict: "an object", list: "a list", str: "a text", type(None): "null"}
    kind = kinds.get(type(value))
    if kind in ("an object", "a list"):
        return kind
    shown = repr(value)[:60]
    return kind if value is None and kind else f"{kind} ({shown})" if kind else shown


def _wanted(paths: Sequence[Path]) -> _Wanted:
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


@dataclass(frozen=True, slots=True)
class _Loop:
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
        if node.kind is Kind.METHOD and node.text in _ITERATIONS:
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
        return ExpressionError(f"${{{self._source}}} failed: {problem}")


class _Over:
    """What an iteration goes over, once its work is paid for.

    The library iterates over objects in another order in each program, so here they become their
    sorted keys.
    """

    def __init__(self, loops: Sequence[_Loop], given: int, meter: _Meter) -> None:
        self._loops = loops
        self._given = given
        self._meter = meter
        self.refusal: ExpressionError | None = None

    def __call__(self, number: int, items: object, *outer: object) -> object:
        try:
            self._pay(self._loops[number], items, outer)
        except ExpressionError as refusal:
            # The library turns what is raised here into an error of its own; this one is better.
            self.refusal = refusal
            raise
        return sorted(items) if isinstance(items, Mapping) else items

    def _pay(self, loop: _Loop, items: object, outer: tuple[object, ...]) -> None:
        rounds = len(items) if isinstance(items, list | tuple | Mapping) else 0
        each = loop.size + loop.copies * (loop.reads * self._given + self._meter.weigh(outer))
        own = self._meter.weigh(items) * (1 + loop.copies * loop.uses)
        self._meter.spend(own + rounds * each + (rounds * rounds if loop.grows else 0))


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
            raise error(f"its result, {_shown(value)}, is no JSON")


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
        raise ExpressionError(f"${{{source}}} cannot be read: {_first_line(problem)}") from problem


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
