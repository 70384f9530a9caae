"""Pages of lists: how long, of which states, and where the next one begins."""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping, Sequence
from typing import Final, TypeVar

from kallista.core.states import ProcessStatus, RunKind, TaskStatus, WorkflowStatus
from kallista.errors import UsageError

MOST_ITEMS: Final = 1000

CursorT = TypeVar("CursorT", int, str)


def checked_limit(limit: int) -> int:
    """The limit, if a page may be so long. Raises ``UsageError``."""
    if not 1 <= limit <= MOST_ITEMS:
        raise UsageError(f"limit must be from 1 to {MOST_ITEMS:,}, not {limit}")
    return limit


_STATUSES: Mapping[RunKind, Sequence[str]] = {
    RunKind.WORKFLOW: tuple(WorkflowStatus),
    RunKind.PROCESS: tuple(ProcessStatus),
    RunKind.TASK: tuple(TaskStatus),
}


def checked_statuses(kind: RunKind, given: Sequence[str] | None) -> tuple[str, ...] | None:
    """The words in capitals, if all are statuses of the kind. Raises ``UsageError``."""
    if given is None:
        return None
    words = tuple(word.upper() for word in given)
    unknown = [word for word in words if word not in _STATUSES[kind]]
    if unknown:
        known = ", ".join(_STATUSES[kind])
        raise UsageError(f"{unknown[0]!r} is no status of a {kind}; there are {known}")
    return words


def cursor_of(value: int | str) -> str:
    """Where the page after this one begins, as users hand it back."""
    return base64.urlsafe_b64encode(str(value).encode()).decode()


def read_cursor(cursor: str, read: Callable[[str], CursorT]) -> CursorT:
    """What a cursor stands for. Raises ``UsageError`` when it is none."""
    try:
        text = base64.urlsafe_b64decode(cursor.encode()).decode()
        value = read(text)
    except ValueError:
        raise _no_cursor(cursor) from None
    if not text.isprintable() or (isinstance(value, int) and value.bit_length() >= 64):
        raise _no_cursor(cursor)
    return value


def _no_cursor(cursor: str) -> UsageError:
    return UsageError(f"{cursor!r} is no cursor; give the one of the page before")
