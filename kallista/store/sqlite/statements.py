"""Finds the SQL: every statement stands in a ``.sql`` file, with a name and a reason."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any, Final

import apsw

from kallista.store.sql_files import Named, read_migrations, read_statements

_PACKAGE: Final = "kallista.store.sqlite"

_ROWS_AT_ONCE: Final = (64, 32, 16, 8, 4, 2, 1)
"""Few sizes, so that all of them stay prepared."""


@cache
def all_statements() -> Mapping[str, Named]:
    """Every statement by its name."""
    return read_statements(_PACKAGE)


def statement(name: str) -> str:
    """The SQL of one statement.

    Raises:
        KeyError: No file has it.
    """
    return all_statements()[name].sql


class Insertion:
    """A statement that inserts a row, made to insert many with one call.

    Args:
        name: The statement; it ends with the values of its row.
    """

    def __init__(self, name: str) -> None:
        head, values, row = re.sub(r":\w+", "?", statement(name)).partition("VALUES ")
        row = row.rstrip().rstrip(";")
        width = row.count("?")
        self._ways = tuple(
            (size * width, head + values + ", ".join([row] * size)) for size in _ROWS_AT_ONCE
        )

    def write(self, db: apsw.Connection, values: list[Any]) -> None:
        """Insert rows.

        Args:
            db: The connection.
            values: All values of the first row, of the second, and so on.
        """
        at, end = 0, len(values)
        for count, sql in self._ways:
            while at + count <= end:
                db.execute(sql, values[at : at + count])
                at += count


@cache
def migrations() -> Sequence[str]:
    """The scripts that lead from an empty file to the newest version, one a version."""
    return read_migrations(_PACKAGE)
