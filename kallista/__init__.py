"""Durable workflows for Python, from one file to a cluster, with the same three objects."""

from __future__ import annotations

from typing import TYPE_CHECKING

__version__ = "0.1.0"

if TYPE_CHECKING:
    from kallista.app import Kallista
    from kallista.core.states import (
        ProcessStatus,
        RunKind,
        ScheduleStatus,
        TaskStatus,
        WorkflowStatus,
    )
    from kallista.core.triggers import AnyOf, At, Cron, Every
    from kallista.errors import (
        ConflictError,
        DefinitionError,
        ExpressionError,
        HeartbeatTimeout,
        KallistaError,
        LeaseLost,
        NotFoundError,
        ProcessDiedError,
        RunFailedError,
        StateError,
        StoreError,
        StoreUnavailableError,
        StoreUncertainError,
        UsageError,
        WaitTimeoutError,
    )
    from kallista.tasks import Cancel, FailForGood, Snooze, TaskContext, task

_HOMES = {
    "kallista.app": ("Kallista",),
    "kallista.core.states": (
        "ProcessStatus", "RunKind", "ScheduleStatus", "TaskStatus", "WorkflowStatus",
    ),
    "kallista.core.triggers": ("AnyOf", "At", "Cron", "Every"),
    "kallista.errors": (
        "ConflictError", "DefinitionError", "ExpressionError", "HeartbeatTimeout", "KallistaError",
        "LeaseLost", "NotFoundError", "ProcessDiedError", "RunFailedError", "StateError",
        "StoreError", "StoreUnavailableError", "StoreUncertainError", "UsageError",
        "WaitTimeoutError",
    ),
    "kallista.tasks": ("Cancel", "FailForGood", "Snooze", "TaskContext", "task"),
}  # fmt: skip
_HOME = {name: home for home, names in _HOMES.items() for name in names}

__all__ = [
    "AnyOf",
    "At",
    "Cancel",
    "ConflictError",
    "Cron",
    "DefinitionError",
    "Every",
    "ExpressionError",
    "FailForGood",
    "HeartbeatTimeout",
    "Kallista",
    "KallistaError",
    "LeaseLost",
    "NotFoundError",
    "ProcessDiedError",
    "ProcessStatus",
    "RunFailedError",
    "RunKind",
    "ScheduleStatus",
    "Snooze",
    "StateError",
    "StoreError",
    "StoreUnavailableError",
    "StoreUncertainError",
    "TaskContext",
    "TaskStatus",
    "UsageError",
    "WaitTimeoutError",
    "WorkflowStatus",
    "task",
]


def __getattr__(name: str) -> object:
    """Import a public name when it is first used, so that ``import kallista`` costs nothing."""
    home = _HOME.get(name)
    if home is None:
        raise AttributeError(f"module 'kallista' has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(home), name)
    globals()[name] = value
    return value
