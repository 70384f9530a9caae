"""Task types: how programs register handlers, what handlers see, and the types for everybody."""

from __future__ import annotations

from kallista.tasks.checking import TaskChecker
from kallista.tasks.context import TaskContext
from kallista.tasks.endings import Cancel, FailForGood, Snooze
from kallista.tasks.general import general_handlers, http_handler
from kallista.tasks.handler import FunctionHandler
from kallista.tasks.loading import load_module, load_plugins, refuse_in_child
from kallista.tasks.registry import Registry, program_registry, task

__all__ = [
    "Cancel",
    "FailForGood",
    "FunctionHandler",
    "Registry",
    "Snooze",
    "TaskChecker",
    "TaskContext",
    "general_handlers",
    "http_handler",
    "load_module",
    "load_plugins",
    "program_registry",
    "refuse_in_child",
    "task",
]
