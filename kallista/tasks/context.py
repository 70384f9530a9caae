"""What a handler sees of the run it works for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from kallista.core.handlers import Invocation
from kallista.core.types import Json, RunId, StepId, TaskType

if TYPE_CHECKING:
    from structlog.stdlib import BoundLogger


class TaskContext:
    """The attempt that is under way; a handler gets it as its first parameter if it wants it.

    Args:
        invocation: The attempt.
    """

    __slots__ = ("_invocation", "_logger")

    def __init__(self, invocation: Invocation) -> None:
        self._invocation = invocation
        self._logger: BoundLogger | None = None

    @property
    def run_id(self) -> RunId:
        """The run that the task belongs to."""
        return self._invocation.run_id

    @property
    def task_id(self) -> StepId:
        """The task's id in that run."""
        return self._invocation.task_id

    @property
    def type(self) -> TaskType:
        """The task type."""
        return self._invocation.type

    @property
    def attempt(self) -> int:
        """1 for the first attempt; also an interrupted one raises it."""
        return self._invocation.attempt

    @property
    def idempotency_key(self) -> str:
        """The same for every attempt of this task of this run: hand it to other systems."""
        return self._invocation.idempotency_key

    @property
    def results(self) -> Mapping[str, Json]:
        """The results of the tasks or steps before this one, by id, in their order."""
        return self._invocation.results

    @property
    def cancelled(self) -> bool:
        """Whether the attempt should stop: a handler on a thread has to look by itself."""
        return self._invocation.cancelled()

    @property
    def max_result_bytes(self) -> int:
        """How long the result may be, as JSON."""
        return self._invocation.max_result_bytes

    @property
    def logger(self) -> BoundLogger:
        """A structlog logger whose every line carries the run, the task and the attempt."""
        if self._logger is None:
            from kallista.logs import task_logger

            invocation = self._invocation
            self._logger = task_logger(
                run=invocation.run_id, task=invocation.task_id, attempt=invocation.attempt
            )
        return self._logger

    def progress(self, fraction: float, message: str | None = None) -> None:
        """Tell how far the task is.

        Args:
            fraction: From 0 to 1.
            message: What it is doing.
        """
        self._invocation.progress(fraction, message)

    def __repr__(self) -> str:
        return f"TaskContext({self.run_id!r}, {self.task_id!r}, attempt={self.attempt})"
