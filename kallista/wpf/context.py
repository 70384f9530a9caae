"""The little that designing and generating need to know of the run they belong to."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol


class Context(Protocol):
    """What a handler of this package looks at; a task's context has all of it."""

    @property
    def run_id(self) -> str:
        """The run that the task belongs to: it owns the files that the task writes."""
        ...

    @property
    def task_id(self) -> str:
        """The task's id in that run."""
        ...

    @property
    def results(self) -> Mapping[str, object]:
        """The results of the tasks or steps before this one, by id, in their order."""
        ...

    @property
    def cancelled(self) -> bool:
        """Whether the task should stop."""
        ...

    def progress(self, fraction: float, message: str) -> None:
        """Tell how far the task is, from 0 to 1, and what it is doing."""
        ...
