"""Finds the SQL: every statement stands in a ``.sql`` file, with a name and a reason."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Final

from kallista.store.sql_files import Named, read_migrations, read_statements

_PACKAGE: Final = "kallista.store.sqlite"


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


@cache
def migrations() -> Sequence[str]:
    """The scripts that lead from an empty file to the newest version, one a version."""
    return read_migrations(_PACKAGE)
