"""Says what the steps of a run wait for that comes from outside, and how to give it to them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from kallista.core.durations import to_datetime
from kallista.core.inbox import Inbox
from kallista.core.questions import Asked
from kallista.core.states import RunKind
from kallista.core.types import Micros
from kallista.store.port import RunRecord

ANSWER: Final = "waits_for_answer"
SIGNAL: Final = "waits_for_signal"

_SHOWN_AT_MOST = 3


def told_questions(record: RunRecord, inbox: Inbox) -> tuple[str, str, Sequence[str]] | None:
    """What a run waits for, as the end of a sentence, in a word, and as ids.

    Args:
        record: The run with its steps.
        inbox: What was sent to it, and what its steps wait for.

    Returns:
        None when none of its steps waits for a signal or an answer.
    """
    open = sorted(inbox.asked.items(), key=lambda item: item[1].seq)
    if not open:
        return None
    told = [_told(record, step, asked) for step, asked in open[:_SHOWN_AT_MOST]]
    more = len(open) - len(told)
    sentence = " and ".join(told) + (f" and {more} more" if more else "")
    first = open[0][1].question
    names = [asked.question.signal or asked.question.step for _, asked in open]
    return sentence, ANSWER if first.is_approval else SIGNAL, names


def _told(record: RunRecord, step: int, asked: Asked) -> str:
    question, run = asked.question, record.id
    until = record.steps[step].ready_at
    since = f"since {_moment(asked.at)}" + ("" if until is None else f", until {_moment(until)}")
    if not question.is_approval:
        return (
            f"for the signal {question.signal!r} ({since};"
            f" kallista signal {run} {question.signal} sends it)"
        )
    where = run if record.kind is RunKind.TASK else f"{run} {question.step}"
    by = f" by {', '.join(question.approvers)}" if question.approvers else ""
    return (
        f"for an answer to {question.title or question.step!r}{by} ({since};"
        f" kallista approve {where}, or kallista reject {where}, answers it)"
    )


def _moment(at: Micros) -> str:
    return f"{to_datetime(at):%Y-%m-%d %H:%M:%S} UTC"
