"""Reads files of SQL: statements with a name and a reason each, and the scripts of migrations."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from importlib.resources import files
from typing import NamedTuple

_NAME = re.compile(r"^-- name: (\w+)\n", re.MULTILINE)


class Named(NamedTuple):
    """A statement as it stands in its file.

    Args:
        name: What it is asked for by.
        reason: The comment lines below its name.
        sql: The statement alone.
    """

    name: str
    reason: str
    sql: str


def read_statements(package: str) -> dict[str, Named]:
    """Every statement in the ``.sql`` files of a package's folder ``sql``, by its name.

    Raises:
        ValueError: Two statements have one name.
    """
    found: dict[str, Named] = {}
    for file, text in _texts(package, "sql"):
        _, *blocks = _NAME.split(text)
        for name, block in zip(blocks[::2], blocks[1::2], strict=True):
            if name in found:
                raise ValueError(f"two statements are named {name}; the second is in {file}")
            lines = block.strip().splitlines()
            reason = [line for line in lines if line.startswith("--")]
            found[name] = Named(name, "\n".join(reason), "\n".join(lines[len(reason) :]))
    return found


def read_migrations(package: str) -> Sequence[str]:
    """The scripts in a package's folder ``schema``, from nothing to the newest version."""
    return [text for _, text in _texts(package, "schema")]


def _texts(package: str, folder: str) -> Iterator[tuple[str, str]]:
    there = sorted((file.name, file) for file in (files(package) / folder).iterdir())
    for name, file in there:
        if name.endswith(".sql"):
            yield name, file.read_text("utf-8")
