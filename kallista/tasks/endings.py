"""How a handler may end other than by a result or an exception: values that it returns."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from kallista.core.durations import parse_duration
from kallista.core.outcomes import CalledOff, Failed, Failure, Outcome, Snoozed


@dataclass(frozen=True, slots=True)
class Snooze:
    """Not yet: the task is tried again after a while, and holds no worker meanwhile.

    It is no failure, so it uses up none of the ``max_attempts``; the task's ``deadline`` counts on.

    Args:
        delay: How long: seconds, "1m30s", ISO 8601 or a timedelta.
    """

    delay: float | str | timedelta


@dataclass(frozen=True, slots=True)
class Cancel:
    """There is nothing to do any more: the task ends as CANCELLED, and is not tried again.

    What depends on it is skipped. A run in which nothing has failed ends as CANCELLED too.

    Args:
        reason: Why, for whoever looks at it.
    """

    reason: str


@dataclass(frozen=True, slots=True)
class FailForGood:
    """It failed, and would fail again: it is not tried again, whatever its retry policy says.

    Args:
        reason: Why, for whoever looks at it.
    """

    reason: str


Ending = Snooze | Cancel | FailForGood


def outcome_of_ending(ending: Ending) -> Outcome:
    """What an ending means to the engine.

    Raises:
        UsageError: The delay cannot be read.
    """
    match ending:
        case Snooze(delay):
            return Snoozed(parse_duration(delay))
        case Cancel(reason):
            return CalledOff(str(reason))
        case FailForGood(reason):
            kinds = ("FailForGood",)
            return Failed(Failure("FailForGood", str(reason), None, kinds), for_good=True)
