"""Reads lists of requests: every item holds the arguments of the method that makes one."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping
from typing import TypeAlias

from kallista.core import fields
from kallista.core.problems import Problems
from kallista.engine.port import RunRequest
from kallista.errors import NotFoundError, UsageError

Arguments: TypeAlias = Mapping[str, object]


async def read_all(
    items: object, what: str, read: Callable[[object], Awaitable[RunRequest]]
) -> list[RunRequest]:
    """The requests of a list, in its order.

    Args:
        items: The list.
        what: What it is a list of, for the problems (``tasks``).
        read: Reads one item. Raises ``UsageError`` or ``NotFoundError`` for one that is wrong.

    Raises:
        DefinitionError: ``problems`` lists what is wrong with all items, each with its index.
    """
    problems = Problems()
    requests: list[RunRequest] = []
    for index, item in enumerate(fields.sequence(items, what, problems)):
        try:
            requests.append(await read(item))
        except UsageError as error:
            problems.at(f"{what}[{index}]").add_error(error)
        except NotFoundError as error:
            problems.at(f"{what}[{index}]").add(str(error))
    problems.raise_if_any(f"the list of {what}")
    return requests


def arguments(item: object, known: Collection[str], required: str) -> Arguments:
    """An item as the arguments of a method.

    Args:
        item: What was given.
        known: The names of the arguments.
        required: The one that must be there.

    Raises:
        DefinitionError: It is no mapping, or has other keys.
    """
    problems = Problems()
    given = fields.mapping(item, "it", problems)
    fields.known_keys(given, known, problems)
    if not problems and required not in given:
        problems.add(f"the key {required!r} is missing")
    problems.raise_if_any("the item")
    return given
