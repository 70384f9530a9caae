"""Which expressions are accepted, and every path that one reads."""

from __future__ import annotations

from difflib import get_close_matches

from kallista.core.cel_paths import OF_ITEMS, ROOTS, Path, path_of, quoted
from kallista.core.cel_syntax import Kind, Node
from kallista.errors import ExpressionError

MAX_NESTING = 3

ITERATIONS = {
    "all": (2,),
    "exists": (2,),
    "exists_one": (2,),
    "filter": (2,),
    "map": (2, 3),
}
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


def paths_read(source: str, tree: Node) -> tuple[Path, ...]:
    """Every path that an expression reads, once for each time it is mentioned.

    Raises:
        ExpressionError: It mentions a name or a function that there is not, reads a root as a
            whole or by a computed name, or holds what could not be bounded.
    """
    reading = _Reading(source)
    reading.visit(tree, (), 0)
    return tuple(reading.paths)


class _Reading:
    """Finds what an expression reads, and refuses what it must not hold."""

    def __init__(self, source: str) -> None:
        self._source = source
        self.paths: list[Path] = []

    def visit(self, node: Node, bound: tuple[str, ...], nesting: int) -> None:
        path = path_of(node)
        if path is not None and path[0] not in bound:
            self._read(path)
            return
        match node.kind:
            case Kind.NAME:
                self._check_name(node.text, bound)
            case Kind.LITERAL:
                self._check_literal(node.text)
            case Kind.CALL:
                self._check_function(node.text, _FUNCTIONS)
            case Kind.METHOD if node.text in ITERATIONS:
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
        root = path[0]
        if root not in OF_ITEMS and (len(path) < 2 or not isinstance(path[1], str)):
            raise self._error(
                f"{root} is read by name: write {root}.name or "
                f'{root}["any-name"], with the name spelled out'
            )
        self.paths.append(path)

    def _visit_iteration(self, node: Node, bound: tuple[str, ...], nesting: int) -> None:
        target, *arguments = node.children
        if len(arguments) not in ITERATIONS[node.text] or arguments[0].kind is not Kind.NAME:
            raise self._error(f"write .{node.text}(item, …) with a name for the item")
        if nesting == MAX_NESTING:
            raise self._error(f"iterations are nested deeper than {MAX_NESTING} levels")
        variable = arguments[0].text
        if variable in ROOTS and variable not in OF_ITEMS:
            raise self._error(f"an item cannot be called {variable!r}")
        self.visit(target, bound, nesting)
        for body in arguments[1:]:
            self.visit(body, (*bound, variable), nesting + 1)

    def _check_name(self, name: str, bound: tuple[str, ...]) -> None:
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
            every = sorted((_FUNCTIONS | _METHODS | set(ITERATIONS)) - {"dyn"})
            near = get_close_matches(name, every, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(every)}"
            raise self._error(f"there is no function {name}() here; {hint}")

    def _error(self, problem: str) -> ExpressionError:
        return ExpressionError(f"in {quoted(self._source)}: {problem}")
