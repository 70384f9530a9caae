"""What a handler sees of the run it works for."""

from __future__ import annotations

from collections.abc import Awaitable, Generator, Mapping
from decimal import Decimal
from typing import TYPE_CHECKING

from kallista.core.amounts import read_amount
from kallista.core.handlers import Invocation
from kallista.core.ids import check_id
from kallista.core.json_text import from_json
from kallista.core.types import Json, RunId, StepId, TaskType
from kallista.errors import UsageError
from kallista.tasks.encoding import encode

if TYPE_CHECKING:
    from structlog.stdlib import BoundLogger


class _Nothing:
    """What is awaited where nothing is written down, as in a test of a handler alone."""

    def __await__(self) -> Generator[object, None, None]:
        yield from ()


_nothing = _Nothing()


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

        Raises:
            UsageError: The fraction is no number.
        """
        told = None if message is None else str(message)
        self._invocation.progress(_within_bounds(fraction), told)

    def spend(self, amount: float | str | Decimal, unit: str) -> Awaitable[None]:
        """Tell what the task has just spent: money, tokens, or what else has a budget.

        It is written down at once, and counts whatever becomes of the attempt. The attempt's end
        waits until that is durable; what was told in the very last moment before a crash may be
        lost, unless it was awaited.

        Args:
            amount: How much: a number, or a text like ``"0.12"``. Nine digits behind the point
                count, exactly as they are written.
            unit: Of what, such as ``usd``.

        Returns:
            Something to await (not on a thread), until it is durable; nobody has to.

        Raises:
            UsageError: The amount or the unit is none.
        """
        billionths, named = read_amount(amount), check_id(unit, "unit")
        if self._invocation.spend is None:
            return _nothing
        return self._invocation.spend(billionths, named)

    def heartbeat(self, details: object = None) -> None:
        """Tell that the attempt goes on; so does ``progress``.

        It may be called as often as you like, from any thread: what is said is written about once a
        second. A task with a ``heartbeat_timeout`` is stopped when it is silent for longer.

        Args:
            details: What the next attempt should know if this one does not come to its end, as
                plain data; it replaces what was given before. None: what was given stays.

        Raises:
            UsageError: They are no plain data, or too large.
        """
        invocation = self._invocation
        text = None
        if details is not None:
            limit = invocation.max_result_bytes
            text = encode(details, invocation.task_id, limit, "the heartbeat")
        invocation.heartbeat(text)

    @property
    def heartbeat_details(self) -> Json:
        """The last details that an attempt before this one has given by ``heartbeat``, or None."""
        text = self._invocation.heartbeat_details
        return None if text is None else from_json(text)

    def __repr__(self) -> str:
        return f"TaskContext({self.run_id!r}, {self.task_id!r}, attempt={self.attempt})"


def _within_bounds(fraction: object) -> float:
    try:
        return min(1.0, max(0.0, float(fraction)))  # type: ignore[arg-type]  # that is the question
    except (TypeError, ValueError, OverflowError):
        raise UsageError(f"progress is a fraction from 0 to 1, not {fraction!r}") from None
