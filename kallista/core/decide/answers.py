"""What comes to a run from outside: signals, the answers of people, or that none came in time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Final, TypeAlias

from msgspec import UNSET

from kallista.core.commands import Answer, Send
from kallista.core.decide.asking import answered, complete, hand_over
from kallista.core.decide.attempts import attempt_failed, call_off
from kallista.core.decide.capacity import Capacity
from kallista.core.decide.failures import too_late
from kallista.core.decide.lines import deadline_of, task_at
from kallista.core.decide.turns import fail_step
from kallista.core.definitions import ChildSpec, Definition, StepSpec, TaskSpec
from kallista.core.ids import child_id, content_hash
from kallista.core.inbox import MOST_KEPT, answer_id
from kallista.core.json_text import from_json, to_json
from kallista.core.outcomes import Failed, Failure
from kallista.core.payloads import payload_problems
from kallista.core.questions import APPROVAL, WAIT_FOR_SIGNAL, Asked, OnReject, Question
from kallista.core.run import Draft
from kallista.core.states import FINISHED_RUN, EventKind, RunKind
from kallista.core.types import Json, Micros, RunId, StepId
from kallista.errors import ConflictError, NotFoundError, StateError, UsageError


def on_send(draft: Draft, sent: Send, now: Micros, capacity: Capacity) -> None:
    """A signal has come: it is kept, and the first step that waits for one of its name has it."""
    payload: Json = from_json(sent.payload)
    known = draft.inbox.find(sent.id)
    if known is not None:
        if (known.name, known.digest) != (sent.name, content_hash(payload)):
            raise ConflictError(
                f"another signal was sent to {draft.run.id!r} under the id {sent.id!r}; give this"
                " one an id of its own"
            )
        return
    _check_takes(draft, sent.name, payload)
    data: Json = {"name": sent.name, "id": sent.id, "payload": payload}
    draft.record(EventKind.SIGNAL_RECEIVED, now, data=to_json(data))
    waiting = draft.inbox.waiting_for(sent.name)
    signal = draft.inbox.first(sent.name)
    if waiting and signal is not None:
        hand_over(draft, waiting[0], signal, now, capacity)


def _check_takes(draft: Draft, name: str, payload: Json) -> None:
    """Whether a run can take a signal, now or later.

    Raises:
        StateError: It has finished, or has too many that nobody has taken.
        UsageError: None of its steps waits for a signal of this name, or the payload is none that
            they take.
    """
    run, what = draft.run, f"{draft.run.kind} {draft.run.id!r}"
    if draft.state in FINISHED_RUN:
        raise StateError(f"{what} is {draft.state}, so it takes no signal {name!r} any more")
    schemas = _schemas(draft)
    if name not in schemas:
        there = f"it waits for {', '.join(map(repr, sorted(schemas)))}" if schemas else ""
        below = [f"its child {id!r} does" for id in _takers(run.definition, run.id, name)]
        hint = "; ".join([*below, there] if there else below) or "it waits for none"
        raise UsageError(f"no step of {what} ever waits for a signal {name!r}; {hint}")
    problems = [
        problem
        for schema in schemas[name]
        if schema is not None
        for problem in payload_problems(payload, schema, "payload")
    ]
    if problems:
        raise UsageError(f"the payload is none that {run.id!r} takes as {name!r}", problems)
    if len(draft.inbox.now.kept) >= MOST_KEPT:
        raise StateError(
            f"{what} has {MOST_KEPT:,} signals that no step has taken; send this one later"
        )


def _schemas(draft: Draft) -> Mapping[str, list[Mapping[str, Json] | None]]:
    """The signals that steps of a run take, each with the schemas of its payload."""
    found: dict[str, list[Mapping[str, Json] | None]] = {}
    for position, spec in enumerate(draft.run.definition.steps):
        if isinstance(spec.work, TaskSpec) and spec.work.type == WAIT_FOR_SIGNAL:
            config = draft.run.config(position)
            schema = config.get("schema")
            name = str(config.get("signal") or draft.run.step_id(position))
            found.setdefault(name, []).append(schema if isinstance(schema, dict) else None)
    return found


def _takers(definition: Definition, id: RunId, name: str) -> Iterator[RunId]:
    """The child runs that take a signal which their parent does not take."""
    for spec in definition.steps:
        if isinstance(spec.work, ChildSpec):
            child = RunId(child_id(id, spec.id, 0))
            if any(_takes(step, name) for step in spec.work.definition.steps):
                yield child
            yield from _takers(spec.work.definition, child, name)


def _takes(spec: StepSpec, name: str) -> bool:
    work = spec.work
    if not isinstance(work, TaskSpec) or work.type != WAIT_FOR_SIGNAL:
        return False
    return name == (work.config.get("signal") or spec.id)


def on_answer(draft: Draft, given: Answer, now: Micros, capacity: Capacity) -> None:
    """A person has answered: the approval ends, or it was the same answer once more."""
    position = _approval(draft, given.step)
    answer: dict[str, Json] = from_json(given.answer)
    asked = draft.inbox.question(position)
    if asked is None:
        _check_repeated(draft, position, answer)
        return
    schema = asked.question.schema
    if schema is not None and (answer["approved"] or answer["form"]):
        problems = list(payload_problems(answer["form"], schema, "form"))
        if problems:
            raise UsageError(f"the form of {given.step!r} is not filled in well", problems)
    answered(draft, position, {"answer": answer}, now)
    _conclude(draft, position, asked.question, answer, now, capacity)


def _approval(draft: Draft, id: StepId) -> int:
    """The position of an approval.

    Raises:
        NotFoundError: No step has this id.
        UsageError: It is none.
    """
    run = draft.run
    position = 0 if run.kind is RunKind.TASK else run.definition.position.get(id)
    if position is None or run.step_id(position) != id:
        raise NotFoundError(f"{run.kind} {run.id!r} has no step {id!r}")
    work = run.definition.steps[position].work
    if not isinstance(work, TaskSpec) or work.type != APPROVAL:
        raise UsageError(f"{id!r} of {run.id!r} is no approval, so there is nothing to answer")
    return position


def _check_repeated(draft: Draft, position: int, answer: Mapping[str, Json]) -> None:
    """Whether the same answer was given before.

    Raises:
        ConflictError: It was answered otherwise.
        StateError: It does not ask now.
    """
    run, step = draft.run, draft.step(position)
    id = run.step_id(position)
    known = draft.inbox.find(answer_id(id, step.attempt))
    if known is None:
        raise StateError(
            f"{id!r} of {run.id!r} asks nothing now: it is {step.status}; explain says what"
            f" {run.id!r} waits for"
        )
    if known.digest != content_hash(answer):
        raise ConflictError(
            f"{id!r} of {run.id!r} was answered already, otherwise or by somebody else; its"
            " history says how"
        )


def time_is_over(
    draft: Draft, position: int, asked: Asked, now: Micros, capacity: Capacity
) -> None:
    """No answer has come in time: the default counts, or the attempt has failed."""
    question, task, step = asked.question, task_at(draft, position), draft.step(position)
    answered(draft, position, {"timed_out": True}, now)
    default = question.default
    ends_at = deadline_of(task, step.since)
    if default is UNSET:
        if ends_at is not None and ends_at <= now:
            fail_step(draft, position, too_late(task, None), now, capacity)
        else:
            failed = Failed(_not_in_time(question, task.timeout or 0))
            attempt_failed(draft, position, failed, now, capacity)
    elif question.is_approval and isinstance(default, dict):
        _conclude(draft, position, question, default, now, capacity)
    else:
        complete(draft, position, to_json(default), now, capacity)


def _not_in_time(question: Question, length: int) -> Failure:
    what = "nobody answered" if question.is_approval else f"no signal {question.signal!r} came"
    return Failure("TimeoutError", f"{what} within {length / 1e6:g} s", None, _TIMEOUT)


_TIMEOUT: Final = ("TimeoutError", "OSError", "Exception", "BaseException")


def _conclude(
    draft: Draft,
    position: int,
    question: Question,
    answer: Mapping[str, Json],
    now: Micros,
    capacity: Capacity,
) -> None:
    if answer["approved"]:
        complete(draft, position, to_json(dict(answer)), now, capacity)
    else:
        _REJECTED[question.on_reject](draft, position, answer, now, capacity)


_End: TypeAlias = Callable[[Draft, int, Mapping[str, Json], Micros, Capacity], None]


def _fails(
    draft: Draft, position: int, answer: Mapping[str, Json], now: Micros, capacity: Capacity
) -> None:
    failure = Failure("Rejected", _rejection(answer), None, ("Rejected",))
    fail_step(draft, position, failure, now, capacity)


def _completes(
    draft: Draft, position: int, answer: Mapping[str, Json], now: Micros, capacity: Capacity
) -> None:
    complete(draft, position, to_json(dict(answer)), now, capacity)


def _is_cancelled(
    draft: Draft, position: int, answer: Mapping[str, Json], now: Micros, capacity: Capacity
) -> None:
    call_off(draft, position, _rejection(answer), now, capacity)


_REJECTED: Final[Mapping[OnReject, _End]] = {
    OnReject.FAIL: _fails,
    OnReject.COMPLETE: _completes,
    OnReject.CANCEL: _is_cancelled,
}
"""What becomes of an approval that is rejected."""


def _rejection(answer: Mapping[str, Json]) -> str:
    by, comment = answer.get("by"), answer.get("comment")
    who = f" by {by}" if by else ""
    return f"rejected{who}" + (f": {comment}" if comment else "")
