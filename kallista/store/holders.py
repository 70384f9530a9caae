"""Says where a line of the queue lies: each has a holder, and a worker looks with three of them."""

from __future__ import annotations

from typing import Final

from kallista.core.plan import WAKE, is_alone
from kallista.core.states import RunKind
from kallista.core.types import TaskType, WorkerKey

NOBODY: Final = 0
"""The holder of lines whose run nobody drives."""

EVERYBODY: Final = -1
"""The holder of the tasks of processes, which any worker may execute (but for the suspects)."""


def holder(kind: str, owner: WorkerKey | None, type: TaskType) -> int:
    """With whom a line lies: with its run's owner, unless others may borrow what it asks for.

    Args:
        kind: What the run is a run of.
        owner: Who drives it.
        type: What is to be done.
    """
    if kind == RunKind.PROCESS and type != WAKE and not is_alone(type):
        return EVERYBODY
    return NOBODY if owner is None else owner
