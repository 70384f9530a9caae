"""What an expression of CEL says, as a tree with positions: enough to analyse it, not to run it.

The library that evaluates CEL does not show its tree. This one knows what is needed to tell which
values an expression reads and where it iterates. It follows the grammar of the CEL specification
(cel-spec, doc/langdef.md, "Syntax") but leaves the precedence of binary operators to the library.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from enum import StrEnum

from msgspec import Struct

from kallista.errors import ExpressionError

MAX_DEPTH = 24
MAX_CHAIN = 64
_SHOWN = 100

_TOKEN = re.compile(
    r"""
    (?P<space>[ \t\r\n\f]+|//[^\n]*)
  | (?P<string>(?:[rR][bB]?|[bB][rR]?)?
        (?: \"{3}(?:\\.|[^\\])*?\"{3} | '{3}(?:\\.|[^\\])*?'{3}
          | "(?:\\.|[^"\\\n\r])*"     | '(?:\\.|[^'\\\n\r])*' ))
  | (?P<number>0[xX][0-9a-fA-F]+[uU]?
        | \d+\.\d+(?:[eE][+-]?\d+)? | \d+[eE][+-]?\d+ | \.\d+(?:[eE][+-]?\d+)? | \d+[uU]?)
  | (?P<name>[A-Za-z_][A-Za-z0-9_]*)
  | (?P<sign>\|\||&&|==|!=|<=|>=|[<>+\-*/%!?:.,()\[\]{}])
    """,
    re.VERBOSE | re.ASCII | re.DOTALL,
)
_BINARY = frozenset(("||", "&&", "==", "!=", "<=", ">=", "<", ">", "+", "-", "*", "/", "%", "in"))
_CONSTANTS = frozenset(("true", "false", "null"))
_RESERVED = _CONSTANTS | {"in"}


class Kind(StrEnum):
    """What a piece of an expression is."""

    LITERAL = "literal"
    NAME = "name"
    SELECT = "select"
    INDEX = "index"
    CALL = "call"
    METHOD = "method"
    LIST = "list"
    MAP = "map"
    OPERATION = "operation"


class Node(Struct, frozen=True, gc=False):
    """A piece of an expression.

    Args:
        kind: What it is.
        start: Where it begins in the source.
        end: Behind its last character.
        text: The name, field or function; of a literal the source text.
        children: Its parts in the order of the source; of a method the target comes first.
    """

    kind: Kind
    start: int
    end: int
    text: str = ""
    children: tuple[Node, ...] = ()

    def walk(self) -> Iterator[Node]:
        """This piece and all within it."""
        yield self
        for child in self.children:
            yield from child.walk()


class Token(Struct, frozen=True, gc=False):
    """A word of an expression; ``kind`` is string, number, name, sign or end."""

    kind: str
    text: str
    start: int
    end: int


def tokens(source: str, position: int = 0) -> Iterator[Token]:
    """The words from a position on, without spaces and comments, then one of kind ``end``.

    Raises:
        ExpressionError: At a character that begins no word.
    """
    while position < len(source):
        found = _TOKEN.match(source, position)
        if found is None:
            raise ExpressionError(_at(source, position, "this cannot be read"))
        position = found.end()
        if found.lastgroup != "space":
            yield Token(str(found.lastgroup), found.group(), found.start(), position)
    yield Token("end", "", len(source), len(source))


def parse(source: str) -> Node:
    """Read an expression.

    Raises:
        ExpressionError: It is none, is nested deeper than 24 levels, or chains more than 64
            members.
    """
    parser = _Parser(source)
    tree = parser.expression()
    parser.expect("")
    return tree


def plain_text(node: Node) -> str | None:
    """The value of a text literal; None for one with escapes and for everything else."""
    quoted = node.text
    if node.kind is not Kind.LITERAL or not quoted or quoted[0] not in "'\"" or "\\" in quoted:
        return None
    width = 3 if quoted[:3] in {"'''", '"""'} else 1
    return quoted[width:-width]


def plain_position(node: Node) -> int | None:
    """The value of a literal that is a whole number without a sign; None for everything else."""
    return int(node.text) if node.kind is Kind.LITERAL and _is_digits(node.text) else None


def _is_digits(text: str) -> bool:
    return text.isascii() and text.isdigit()


def _at(source: str, position: int, problem: str) -> str:
    shown = source if len(source) <= _SHOWN else source[:_SHOWN] + "…"
    if position >= len(source):
        return f"the expression {shown!r} ends too early"
    return f"{problem}, at character {position + 1} of {shown!r}: {source[position:][:20]!r}"


class _Parser:
    def __init__(self, source: str) -> None:
        self._source = source
        self._words = list(tokens(source))
        self._next = 0
        self._depth = 0

    def expression(self) -> Node:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise ExpressionError(f"the expression is nested deeper than {MAX_DEPTH} levels")
        parts = [self._unary()]
        while self._word.text in _BINARY:
            self._advance()
            parts.append(self._unary())
        if self._takes("?"):
            parts.append(self.expression())
            self.expect(":")
            parts.append(self.expression())
        self._depth -= 1
        return parts[0] if len(parts) == 1 else self._node(Kind.OPERATION, parts[0].start, parts)

    def expect(self, text: str) -> None:
        if not self._takes(text):
            raise self._surprise()

    @property
    def _word(self) -> Token:
        return self._words[self._next]

    def _advance(self) -> Token:
        word = self._word
        self._next += 1
        return word

    def _takes(self, text: str) -> bool:
        if self._word.text != text:
            return False
        if text:
            self._advance()
        return True

    def _surprise(self) -> ExpressionError:
        return ExpressionError(_at(self._source, self._word.start, "this was not expected"))

    def _node(self, kind: Kind, start: int, children: list[Node], text: str = "") -> Node:
        return Node(kind, start, self._words[self._next - 1].end, text, tuple(children))

    def _unary(self) -> Node:
        start = self._word.start
        signed = False
        while self._word.text in {"!", "-"}:
            self._advance()
            signed = True
        member = self._member()
        return self._node(Kind.OPERATION, start, [member]) if signed else member

    def _member(self) -> Node:
        start = self._word.start
        node = self._primary()
        links = 0
        while self._word.text in {".", "["}:
            links += 1
            if links > MAX_CHAIN:
                raise ExpressionError(f"the expression chains more than {MAX_CHAIN} members")
            if self._takes("["):
                node = self._node_after(Kind.INDEX, start, [node, self.expression()], "]")
            else:
                self._advance()
                node = self._selected(start, node)
        return node

    def _node_after(self, kind: Kind, start: int, children: list[Node], closing: str) -> Node:
        self.expect(closing)
        return self._node(kind, start, children)

    def _selected(self, start: int, operand: Node) -> Node:
        field = self._advance()
        if field.kind != "name" or field.text in _RESERVED:
            raise ExpressionError(
                _at(self._source, field.start, 'a name was expected (or ["any text"])')
            )
        if not self._takes("("):
            return self._node(Kind.SELECT, start, [operand], field.text)
        arguments = self._listed(")")
        return self._node(Kind.METHOD, start, [operand, *arguments], field.text)

    def _primary(self) -> Node:
        word = self._word
        if word.kind in {"string", "number"} or word.text in _CONSTANTS:
            self._advance()
            return self._node(Kind.LITERAL, word.start, [], word.text)
        if word.kind == "name" and word.text not in _RESERVED:
            self._advance()
            if self._takes("("):
                return self._node(Kind.CALL, word.start, self._listed(")"), word.text)
            return self._node(Kind.NAME, word.start, [], word.text)
        if self._takes("("):
            return self._node_after(Kind.OPERATION, word.start, [self.expression()], ")")
        if self._takes("["):
            return self._node(Kind.LIST, word.start, self._listed("]"))
        if self._takes("{"):
            return self._node(Kind.MAP, word.start, self._entries())
        raise self._surprise()

    def _listed(self, closing: str) -> list[Node]:
        items: list[Node] = []
        while not self._takes(closing):
            items.append(self.expression())
            if not self._takes(","):
                self.expect(closing)
                break
        return items

    def _entries(self) -> list[Node]:
        items: list[Node] = []
        while not self._takes("}"):
            items.append(self.expression())
            self.expect(":")
            items.append(self.expression())
            if not self._takes(","):
                self.expect("}")
                break
        return items
