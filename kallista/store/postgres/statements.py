"""Finds the SQL, and writes values the way PostgreSQL reads them.

Every statement stands in a ``.sql`` file, with a name and a reason. Each value has its type behind
it (``:run::bigint[]``), and is handed over as text: an array of a thousand rows is one string,
which costs Python and PostgreSQL a fraction of what a thousand values cost.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from typing import Any, Final, NamedTuple, TypeAlias

import msgspec
from psycopg import DataError

from kallista.store.sql_files import Named, read_migrations, read_statements

_PACKAGE: Final = "kallista.store.postgres"

_encode = msgspec.json.Encoder().encode

_VALUE = re.compile(r"(?<![:\w]):([a-z_]+)::(\w+(?:\[\])?)")

Text: TypeAlias = str | None
"""A value as PostgreSQL reads it."""

Values: TypeAlias = Sequence[Any] | Mapping[str, Any]
"""The values of a statement: by name, or in the order in which they first appear in it."""


class Statement(NamedTuple):
    """A statement as it stands in its file.

    Args:
        reason: The comment lines below its name.
        sql: The statement alone.
        query: The same with ``$1`` for the first value, as PostgreSQL wants it.
        names: Its values in order.
        writers: What turns each value into text.
    """

    reason: str
    sql: str
    query: bytes
    names: tuple[str, ...]
    writers: tuple[Callable[[Any], Text], ...]

    def texts(self, values: Values) -> list[Text]:
        """The values as PostgreSQL reads them."""
        if isinstance(values, Mapping):
            values = [values[name] for name in self.names]
        return [write(value) for write, value in zip(self.writers, values, strict=True)]


def _array(values: Iterable[int | bool | None] | None) -> Text:
    # An array in JSON differs by its brackets only, and is made without a call for each number.
    return None if values is None else "{" + _encode(list(values))[1:-1].decode() + "}"


def _floats(values: Iterable[float | None] | None) -> Text:
    if values is None:
        return None
    return "{" + ",".join(["NULL" if value is None else str(value) for value in values]) + "}"


def _texts(values: Iterable[str | None] | None) -> Text:
    if values is None:
        return None
    given = list(values)
    nulls = given.count(None)
    if nulls == len(given):
        return "{" + ",".join(["NULL"] * nulls) + "}"
    # Marked by what no text may hold, all of them are quoted in one go.
    joined = _NEXT.join([_NULL if value is None else value for value in given])
    if joined.count("\0") > nulls + len(given) - 1:
        raise DataError("PostgreSQL text fields cannot contain NUL (0x00) bytes")
    quoted = joined.replace("\\", "\\\\").replace('"', '\\"').replace(_NEXT, '","')
    array = '{"' + quoted + '"}'
    return array.replace(f'"{_NULL}"', "NULL") if nulls else array


_NEXT: Final = "\0,"
_NULL: Final = "\0N"


def _integer(value: int | None) -> Text:
    return None if value is None else str(value)


def _boolean(value: bool | None) -> Text:
    return None if value is None else "t" if value else "f"


def _text(value: str | None) -> Text:
    return None if value is None else str(value)


_WRITERS: Mapping[str, Callable[[Any], Text]] = {
    "bigint": _integer,
    "integer": _integer,
    "boolean": _boolean,
    "text": _text,
    "bigint[]": _array,
    "float8[]": _floats,
    "boolean[]": _array,
    "text[]": _texts,
}


@cache
def all_statements() -> Mapping[str, Statement]:
    """Every statement by its name."""
    return {name: _parsed(named) for name, named in read_statements(_PACKAGE).items()}


def _parsed(named: Named) -> Statement:
    sql = named.sql.removesuffix(";")
    types = dict(_VALUE.findall(sql))
    names = tuple(dict.fromkeys(name for name, _ in _VALUE.findall(sql)))
    query = _VALUE.sub(lambda value: f"${names.index(value[1]) + 1}::{value[2]}", sql)
    writers = tuple(_WRITERS[types[name]] for name in names)
    return Statement(named.reason, sql, query.encode(), names, writers)


def statement(name: str) -> Statement:
    """One statement.

    Raises:
        KeyError: No file has it.
    """
    return all_statements()[name]


@cache
def migrations() -> Sequence[str]:
    """The scripts that lead from an empty database to the newest version, one a version."""
    return read_migrations(_PACKAGE)
