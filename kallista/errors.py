"""Everything Kallista raises on purpose, by whose turn it is to act."""

from __future__ import annotations

from collections.abc import Sequence


class KallistaError(Exception):
    """The root of every error that Kallista raises on purpose."""


class UsageError(KallistaError):
    """The request itself is wrong: change it and ask again.

    Args:
        message: One sentence that says what to change.
        problems: Every problem found, one line each; the message alone when there is but one.
    """

    def __init__(self, message: str, problems: Sequence[str] = ()) -> None:
        self.problems: tuple[str, ...] = tuple(problems) or (message,)
        lines = [message, *(f"  - {problem}" for problem in problems)]
        super().__init__("\n".join(lines))


class DefinitionError(UsageError):
    """A workflow, process, task or schedule was described wrongly; ``problems`` lists all of it."""


class ExpressionError(UsageError):
    """An expression ``${...}`` cannot be read, or failed on the values it was given."""


class NotFoundError(KallistaError):
    """No run, schedule, definition or file has this name."""


class ConflictError(KallistaError):
    """Something else already stands under this id."""


class StateError(KallistaError):
    """The operation does not fit the state the run is in."""


class StoreError(KallistaError):
    """The store could not be opened, read or written; nothing acknowledged is lost."""


class StoreUnavailableError(StoreError):
    """The store did not answer in time, or somebody else has held it for too long."""


class StoreUncertainError(StoreError):
    """A commit failed and it could not be learned whether it took effect: look, then decide."""


class LeaseLost(KallistaError):
    """Another worker drives this run now; whatever was reported here changed nothing."""


class WaitTimeoutError(KallistaError, TimeoutError):
    """A ``wait_…`` ran out of time; the run itself goes on."""


class HeartbeatTimeout(KallistaError, TimeoutError):
    """An attempt was silent for longer than its ``heartbeat_timeout``, and was stopped."""


class ProcessDiedError(KallistaError):
    """The process that executed a handler ended before it: it crashed, or was killed."""


class RunFailedError(KallistaError):
    """Raised by ``raise_for_status()`` on a run that did not complete."""
