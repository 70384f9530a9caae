"""How an attempt ends: a value, so that deciding on it reads as a match."""

from __future__ import annotations

import json
from typing import Any, TypeAlias

from msgspec import Struct

from kallista.core.questions import Question, question_data, question_of
from kallista.core.types import JsonText, Micros


class Failure(Struct, frozen=True, gc=False):
    """Why something failed; kept in history as it is.

    Args:
        type: The qualified name of the exception's class.
        message: Its text, secrets masked.
        traceback: Where it happened, secrets masked; None where there is no Python behind it.
        kinds: Short and qualified names of its class and of all its bases, for ``retry_on`` and
            ``give_up_on``.
    """

    type: str
    message: str
    traceback: str | None = None
    kinds: tuple[str, ...] = ()


class Completed(Struct, frozen=True, gc=False):
    """It returned; the result is encoded already."""

    result: JsonText


class Failed(Struct, frozen=True, gc=False):
    """It raised, or ran out of its time.

    Args:
        failure: Why.
        for_good: Whether it is not to be tried again.
        retry_after: If it is tried again, then not before this time has passed.
    """

    failure: Failure
    for_good: bool = False
    retry_after: Micros = Micros(0)


class Asleep(Struct, frozen=True, gc=False):
    """It asks to be completed after a while, with no worker held meanwhile."""

    length: Micros


class Asks(Struct, frozen=True, gc=False):
    """It waits for what comes from outside, with no worker held meanwhile."""

    question: Question


class Snoozed(Struct, frozen=True, gc=False):
    """It asks to be tried again after a while, with no worker held meanwhile."""

    length: Micros


class CalledOff(Struct, frozen=True, gc=False):
    """It says that there is nothing to do any more, and why."""

    reason: str


class Stopped(Struct, frozen=True, gc=False):
    """It was cancelled; the note says what could not be stopped, if anything."""

    note: str | None = None


class HandedBack(Struct, frozen=True, gc=False):
    """Its worker closed down before it finished; the next worker starts it again."""


Outcome: TypeAlias = Completed | Failed | Asleep | Asks | Snoozed | CalledOff | Stopped | HandedBack


def outcome_text(outcome: Outcome) -> JsonText:
    """An ending as JSON, for a worker that has to tell another one."""
    data: dict[str, Any]
    match outcome:
        case Completed(result):
            data = {"completed": result}
        case Failed(failure, for_good, retry_after):
            told = {
                "type": failure.type,
                "message": failure.message,
                "traceback": failure.traceback,
                "kinds": failure.kinds,
                "retry_after": retry_after,
            }
            data = {"failed_for_good" if for_good else "failed": told}
        case Asleep(length):
            data = {"asleep": length}
        case Asks(question):
            data = {"asks": question_data(question)}
        case Snoozed(length):
            data = {"snoozed": length}
        case CalledOff(reason):
            data = {"called_off": reason}
        case Stopped(note):
            data = {"stopped": note}
        case HandedBack():
            data = {"handed_back": None}
    return JsonText(json.dumps(data, ensure_ascii=False, separators=(",", ":")))


def outcome_of(text: JsonText) -> Outcome:
    """The ending that ``outcome_text`` has made this JSON of."""
    ((kind, data),) = json.loads(text).items()
    match kind:
        case "completed":
            return Completed(JsonText(data))
        case "failed" | "failed_for_good":
            retry_after = Micros(data.pop("retry_after", 0))
            failure = Failure(**{**data, "kinds": tuple(data["kinds"])})
            return Failed(failure, kind == "failed_for_good", retry_after)
        case "asleep":
            return Asleep(Micros(data))
        case "asks":
            return Asks(question_of(data))
        case "snoozed":
            return Snoozed(Micros(data))
        case "called_off":
            return CalledOff(data)
        case "stopped":
            return Stopped(data)
        case _:
            return HandedBack()
