"""What a step may wait for that comes from outside: a signal, or the answer of a person."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Final

from msgspec import UNSET, Struct, UnsetType
from msgspec.structs import asdict

from kallista.core.types import Json, Micros, TaskType

APPROVAL: Final = TaskType("approval")
"""The task type that asks a person."""

WAIT_FOR_SIGNAL: Final = TaskType("wait_for_signal")
"""The task type that waits for a signal."""

ASKING: Final = frozenset({APPROVAL, WAIT_FOR_SIGNAL})
"""The task types that wait for what comes from outside."""


class OnReject(StrEnum):
    """What becomes of an approval that is rejected."""

    FAIL = "fail"
    COMPLETE = "complete"
    CANCEL = "cancel"


class Question(Struct, frozen=True, gc=False):
    """What a step waits for.

    Args:
        step: The step's id; empty until it is asked.
        signal: The name of the signal; None: a person is asked. Empty until it is asked: the
            step's id.
        schema: The JSON Schema of the signal's payload, or of the form that a person fills in;
            None: anything.
        default: What counts once the time is over: a payload, or an answer; left out: nothing
            does, the attempt fails.
        title: Of an approval: what it is called.
        prompt: Of an approval: what is to be decided.
        approvers: Of an approval: who is asked, for people to read.
        on_reject: Of an approval: what becomes of it when it is rejected.
    """

    step: str = ""
    signal: str | None = None
    schema: Mapping[str, Json] | None = None
    default: Json | UnsetType = UNSET
    title: str = ""
    prompt: str = ""
    approvers: tuple[str, ...] = ()
    on_reject: OnReject = OnReject.FAIL

    @property
    def is_approval(self) -> bool:
        """Whether a person is asked."""
        return self.signal is None


class Asked(Struct, frozen=True, gc=False):
    """A question that waits for its answer.

    Args:
        seq: Of the event that asked it.
        at: When.
        question: What it is.
    """

    seq: int
    at: Micros
    question: Question


_NOTHING: Final = asdict(Question())


def question_data(question: Question) -> dict[str, Json]:
    """A question as it stands in history; what it does not say is left out."""
    return {
        name: list(value) if isinstance(value, tuple) else value
        for name, value in asdict(question).items()
        if value != _NOTHING[name]
    }


def question_of(data: Mapping[str, Json]) -> Question:
    """The question that ``question_data`` has made this of."""
    said: dict[str, object] = {**data}
    approvers = data.get("approvers")
    if isinstance(approvers, list):
        said["approvers"] = tuple(map(str, approvers))
    if "on_reject" in data:
        said["on_reject"] = OnReject(str(data["on_reject"]))
    return Question(**said)  # type: ignore[arg-type]  # it was made of one
