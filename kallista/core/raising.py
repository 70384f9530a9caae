"""What is kept of an exception, in whichever process it was raised."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from datetime import timedelta

from kallista.core.durations import parse_duration
from kallista.core.outcomes import Failure
from kallista.core.retry import NO_DELAY
from kallista.core.types import Micros


class RaisedElsewhere(Exception):
    """A handler has raised in another process.

    Args:
        failure: What is kept of it.
        retry_after: What it asks to wait before another attempt.
    """

    def __init__(self, failure: Failure, retry_after: Micros = NO_DELAY) -> None:
        super().__init__(failure.message)
        self.failure = failure
        self.retry_after = timedelta(microseconds=retry_after)


def failure_of(error: BaseException) -> Failure:
    """What is kept of an exception, secrets and all."""
    if isinstance(error, RaisedElsewhere):
        return error.failure
    return Failure(
        type=qualified(type(error)),
        message=_told(lambda: str(error)) or type(error).__name__,
        traceback=_told(lambda: "".join(traceback.format_exception(error))),
        kinds=kinds(type(error)),
    )


def asked_pause(error: BaseException) -> Micros:
    """What an exception asks to wait before another attempt, by an attribute ``retry_after``.

    Args:
        error: What the handler raised. Several clients of services say in this way how many
            seconds (or which ``timedelta``) the service has asked for; anything else says nothing.
    """
    try:
        asked = getattr(error, "retry_after", None)
        return parse_duration(asked) if isinstance(asked, int | float | timedelta) else NO_DELAY
    except Exception:  # its own code may fail at that, or it asks for no length of time
        return NO_DELAY


def kinds(type: type[BaseException]) -> tuple[str, ...]:
    """Short and qualified names of a class and of all its bases, for retry policies."""
    names: dict[str, None] = {}
    for kind in type.__mro__:
        if kind is not object:
            names[kind.__name__] = None
            names[qualified(kind)] = None
    return tuple(names)


def qualified(type: type) -> str:
    """The name of a class, with its module unless that is Python itself."""
    if type.__module__ == "builtins":
        return type.__qualname__
    return f"{type.__module__}.{type.__qualname__}"


def _told(tell: Callable[[], str]) -> str:
    """What an exception says of itself; its own code may fail at that."""
    try:
        return tell()
    except Exception as error:
        return f"(it could not be told: {type(error).__name__})"
