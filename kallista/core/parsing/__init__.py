"""From what users write to definitions: everything is checked here, all problems at once."""

from __future__ import annotations

from kallista.core.parsing.changing import with_changes
from kallista.core.parsing.documents import (
    Document,
    named_definitions,
    parse_document,
    parse_process,
    parse_task,
    parse_workflow,
)
from kallista.core.parsing.known import KnownDefinitions
from kallista.core.parsing.limits import CheckTask, Limits, Lookup
from kallista.core.parsing.single import SingleTask, SingleTasks, divided

__all__ = [
    "CheckTask",
    "Document",
    "KnownDefinitions",
    "Limits",
    "Lookup",
    "SingleTask",
    "SingleTasks",
    "divided",
    "named_definitions",
    "parse_document",
    "parse_process",
    "parse_task",
    "parse_workflow",
    "with_changes",
]
