"""Finds the SQL: every statement stands in a ``.sql`` file, with a name and a reason."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import files
from typing import NamedTuple

_NAME = re.compile(r"^-- name: (\w+)\n", re.MULTILINE)


class Statement(NamedTuple):
    """A statement as it stands in its file.

    Args:
        reason: The comment lines below its name.
        sql: The statement alone.
    """

    reason: str
    sql: str


@cache
def all_statements() -> Mapping[str, Statement]:
    """Every statement by its name.

    Raises:
        ValueError: Two statements have one name.
    """
    found: dict[str, Statement] = {}
    for file in (files(__package__) / "sql").iterdir():
        if not file.name.endswith(".sql"):
            continue
        _, *blocks = _NAME.split(file.read_text("utf-8"))
        for name, block in zip(blocks[::2], blocks[1::2], strict=True):
            if name in found:
                raise ValueError(f"two statements are named {name}; the second is in {file.name}")
            lines = block.strip().splitlines()
            reason = [line for line in lines if line.startswith("--")]
            found[name] = Statement("\n".join(reason), "\n".join(lines[len(reason) :]))
    return found


def statement(name: str) -> str:
    """The SQL of one statement.

    Raises:
        KeyError: No file has it.
    """
    return all_statements()[name].sql


@cache
def migrations() -> Sequence[str]:
    """The scripts that lead from an empty file to the newest version, one a version."""
    scripts = sorted(
        (file.name, file.read_text("utf-8"))
        for file in (files(__package__) / "schema").iterdir()
        if file.name.endswith(".sql")
    )
    return [script for _, script in scripts]
