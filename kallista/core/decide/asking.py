"""How a step begins to wait for what comes from outside, and how it gets it."""

from __future__ import annotations

from msgspec.structs import replace

from kallista.core.decide.capacity import Capacity
from kallista.core.decide.lines import deadline_of, task_at, wake_entry_of
from kallista.core.decide.turns import end_step, settle_after
from kallista.core.inbox import Signal
from kallista.core.json_text import from_json, to_json
from kallista.core.questions import Question, question_data
from kallista.core.run import Draft
from kallista.core.states import EventKind
from kallista.core.types import Json, JsonText, Micros
from kallista.core.wiring import wiring


def ask(draft: Draft, position: int, question: Question, now: Micros, capacity: Capacity) -> None:
    """Let a running step wait; a signal that came early ends that at once."""
    step, id = draft.step(position), draft.run.step_id(position)
    signal = None if question.signal is None else question.signal or id
    question = replace(question, step=id, signal=signal)
    until = _until(draft, position, now)
    data: dict[str, Json] = {"question": question_data(question)}
    if until is not None:
        data["until"] = until
    draft.record(EventKind.TASK_WAITING, now, position, step.attempt, to_json(data))
    if until is not None:
        draft.queue(wake_entry_of(draft, position, until))
    there = None if signal is None else draft.inbox.first(signal)
    if there is not None:
        hand_over(draft, position, there, now, capacity)


def _until(draft: Draft, position: int, now: Micros) -> Micros | None:
    """When the time for an answer is over: that of this attempt, or that of all."""
    task = task_at(draft, position)
    own = None if task.timeout is None else Micros(now + task.timeout)
    all = deadline_of(task, draft.step(position).since)
    return min((moment for moment in (own, all) if moment is not None), default=None)


def hand_over(draft: Draft, position: int, signal: Signal, now: Micros, capacity: Capacity) -> None:
    """Let a waiting step have a signal, which is its result."""
    answered(draft, position, {"signal": signal.seq}, now)
    assert signal.payload is not None, "nobody has had it"
    complete(draft, position, signal.payload, now, capacity)


def answered(draft: Draft, position: int, by: dict[str, Json], now: Micros) -> None:
    """The waiting of a step is over: by a signal, an answer, or because its time is."""
    step = draft.step(position)
    if step.ready_at is not None:
        draft.unqueue(wake_entry_of(draft, position, step.ready_at))
    draft.record(EventKind.TASK_ANSWERED, now, position, step.attempt, to_json(by))


def complete(
    draft: Draft, position: int, result: JsonText, now: Micros, capacity: Capacity
) -> None:
    """End a step that has what it waited for."""
    if position in wiring(draft.run.definition).read:
        draft.keep_output(position, from_json(result))
    end_step(draft, EventKind.TASK_COMPLETED, position, now, result)
    settle_after(draft, position, now, capacity)
