"""Turns rows into what the port speaks of, and back; columns are the same in every SQL store."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, TypeAlias

import msgspec
from msgspec.structs import astuple

from kallista.core.amounts import ONE, Share
from kallista.core.events import Event, Heartbeat, RunHead, StepState
from kallista.core.inbox import Inbox, InboxChanges, Signal
from kallista.core.json_text import from_json, to_json
from kallista.core.limits import Limit
from kallista.core.plan import Entry, Failing, Failures, NewRun
from kallista.core.questions import Asked, question_of
from kallista.core.schedules import Backfill, FiringRules, Schedule
from kallista.core.states import (
    Ending,
    EventKind,
    ProcessStatus,
    RunKind,
    ScheduleStatus,
    TaskStatus,
)
from kallista.core.types import (
    JsonText,
    Micros,
    RunId,
    RunKey,
    ScheduleId,
    StepId,
    TaskType,
    WorkerKey,
)
from kallista.store.port import (
    NEW_EPOCH,
    NEW_VERSION,
    BrokenLink,
    BudgetLine,
    FailedStep,
    FailureFilter,
    GateState,
    Heard,
    Holder,
    LimitFigures,
    Loan,
    OldRun,
    OpenApproval,
    RunRecord,
    SpendingFilter,
    Sum,
    Tombstone,
    WorkerRecord,
)

Row: TypeAlias = tuple[Any, ...]

NEW_STEP: Final = StepState()
"""What a step without a row is."""

_read_rules: Final = msgspec.json.Decoder(FiringRules).decode
_read_backfill: Final = msgspec.json.Decoder(Backfill).decode
_write_json: Final = msgspec.json.Encoder().encode

_HEAD: Final = len(RunHead.__struct_fields__)

_TASK: Final = 22 + _HEAD
"""Where the step of a single task begins in a row of ``run_records``; its status is the run's."""

LASTING: Final = 5 + _HEAD
"""Where what never changes begins in a row of ``insert_run``: id, kind, name, and so on."""

NO_TASK: Final[Row] = (None,) * 10
"""What stands there for other runs."""

# Called with a value, an enumeration takes five times as long.
_STATUSES: Final = {status.value: status for status in TaskStatus}
_STATES: Final = {state.value: state for state in ProcessStatus}
_KINDS: Final = {kind.value: kind for kind in RunKind}


def run_record(row: Row, content: JsonText, steps: tuple[StepState, ...]) -> RunRecord:
    """A row of ``run_records``."""
    (
        key, id, kind, name, status, _, definition, request, inputs, parent, parent_step,
        parent_id, root, schedule, priority, tags, created_at, owner, epoch, version, _,
        forked_from, state, seq, in_flight, started_at, ended_at, deadline_at, driven, held,
        outcome, ending, still_since, stood_still,
    ) = row[:_TASK]  # fmt: skip
    head = RunHead(
        _STATES[state], seq, in_flight, started_at, ended_at, deadline_at, driven, bool(held),
        outcome, None if ending is None else Ending(ending), still_since, stood_still,
    )  # fmt: skip
    return RunRecord(
        key, id, _KINDS[kind], name, status, definition, content, request, inputs,
        None if parent is None else (parent, parent_step), parent_id, root, schedule, priority,
        tags_of(tags), created_at, owner, epoch, version, head, steps,
        None if forked_from is None else forked_from_of(forked_from),
    )  # fmt: skip


def task_step(row: Row) -> StepState | None:
    """The step of a single task, from a row of ``run_records``; None: it is another kind of run."""
    return None if row[_TASK] is None else step_state((row[4], *row[_TASK:]))


def step_state(row: Sequence[Any]) -> StepState:
    """The columns of a step, from its status on."""
    (
        status, attempt, failures, crashes, ready_at, since, started_at, ended_at, worker, outcome,
        passed,
    ) = row  # fmt: skip
    return StepState(
        _STATUSES[status], attempt, failures, crashes, ready_at, since, started_at, ended_at,
        worker, outcome, bool(passed),
    )  # fmt: skip


def new_run_row(run: NewRun, key: RunKey, root: RunKey | None) -> Row:
    """The values of ``insert_run``."""
    parent, parent_step = (None, None) if run.parent is None else run.parent
    return (
        key,
        *astuple(run.head),
        NEW_VERSION,
        run.owner,
        0 if run.owner is None else NEW_EPOCH,
        first_status(run),
        run.id,
        run.kind,
        run.name,
        parent,
        parent_step,
        root,
        run.schedule,
        run.priority,
        run.created_at,
        len(run.steps),
    )


def first_status(run: NewRun) -> str:
    """The word that users see: a single task's is its step's."""
    return run.steps[0].status if run.kind is RunKind.TASK and run.steps else run.head.state


def new_task_step(run: NewRun) -> Row:
    """The step of a single task as it stands in the run's row, its status apart."""
    return astuple(run.steps[0])[1:] if run.kind is RunKind.TASK and run.steps else NO_TASK


def changed_steps(run: NewRun) -> list[Row]:
    """The rows of the steps to which creation itself did something; a single task has none."""
    if run.kind is RunKind.TASK:
        return []
    return [
        (position, *astuple(step)) for position, step in enumerate(run.steps) if step != NEW_STEP
    ]


def failure_row(run: RunKey, step: int, failing: Failing) -> Row:
    """The values of ``put_failure``."""
    return (run, step, short_name(failing.error), *astuple(failing))


def short_name(error: str) -> str:
    """The name of an exception's class without that of its module."""
    return error.rpartition(".")[2]


def divided(run: RunKey, failures: Failures) -> tuple[list[Row], list[Row]]:
    """The rows of ``drop_failure``, and those of ``put_failure``."""
    mended = [(run, step) for step, failing in failures if failing is None]
    failed = [failure_row(run, step, failing) for step, failing in failures if failing is not None]
    return mended, failed


def failing(row: Row) -> tuple[int, Failing]:
    """A row of ``failures_of_run``."""
    step, *rest = row
    return step, Failing(*rest)


def failure_filter(wanted: FailureFilter) -> dict[str, object]:
    """The values of ``failure_groups``."""
    return {
        "type": wanted.type,
        "since": wanted.since,
        "until": wanted.until,
        "examples": wanted.examples,
        **error_filter(wanted.error),
    }


def spending_filter(wanted: SpendingFilter) -> dict[str, object]:
    """The values of ``spending_by_run`` and its like."""
    return {
        "unit": wanted.unit,
        "since": wanted.since,
        "until": wanted.until,
    }


def spending_sum(row: Row) -> Sum:
    """A row of ``spending_by_run`` and its like: in two parts, so that no sum is too large."""
    of, unit, whole, rest = row
    return Sum(of, unit, int(whole) * ONE + int(rest))


def budget_line(row: Row) -> BudgetLine:
    """A row of ``budgets_of_run``."""
    run, unit, spent, limit = row
    return BudgetLine(RunId(run), unit, Share(int(spent), limit))


def error_filter(error: str | None) -> dict[str, object]:
    """By which names failures are looked for; a name without a module stands for all modules."""
    return {
        "short": None if error is None else short_name(error),
        "error": error if error is not None and "." in error else None,
    }


def failed_step(row: Row) -> FailedStep:
    """A row of ``failure_groups``."""
    error, type, alike, step, at, run, root, root_kind, data = row
    return FailedStep(
        error, type, int(alike), step, at, RunId(run), RunId(root), RunKind(root_kind), data
    )


def event(row: Row) -> Event:
    """A row of ``history``."""
    seq, at, kind, step, attempt, data = row
    return Event(seq, at, EventKind(kind), step, attempt, data)


def tags_text(tags: Iterable[str]) -> str:
    """Tags as they are stored."""
    return json.dumps(list(tags), ensure_ascii=False) if tags else "[]"


def tags_of(text: str) -> tuple[str, ...]:
    """Tags as they are given."""
    return () if text == "[]" else tuple(json.loads(text))


def forked_from_text(forked_from: tuple[RunId, StepId]) -> str:
    """Where a fork comes from, as it is stored."""
    return json.dumps(forked_from)


def forked_from_of(text: str) -> tuple[RunId, StepId]:
    """Where a fork comes from."""
    run, step = json.loads(text)
    return RunId(run), StepId(step)


def schedule(row: Row) -> Schedule:
    """A row of ``schedule`` and its like."""
    (
        id, status, trigger, definition, definition_content, content, priority, tags, max_runs,
        until, fired, skipped, next_at, last_at, last_run, created_at, rules, look_at, note, since,
        inputs, backfill, *rest
    ) = row  # fmt: skip
    return Schedule(
        ScheduleId(id), ScheduleStatus(status), trigger, definition, definition_content, content,
        priority, tags_of(tags), max_runs, until, fired, skipped, next_at, last_at, last_run,
        created_at, _read_rules(rules), look_at, note, since, inputs,
        None if backfill is None else _read_backfill(backfill), *rest,
    )  # fmt: skip


def schedule_values(schedule: Schedule) -> dict[str, Any]:
    """The values of ``insert_schedule`` and ``advance_schedule``, but for the definition's key."""
    return {
        "id": schedule.id,
        "status": schedule.status,
        "trigger": schedule.trigger,
        "content": schedule.content,
        "priority": schedule.priority,
        "tags": tags_text(schedule.tags),
        "max_runs": schedule.max_runs,
        "until": schedule.until,
        "fired": schedule.fired,
        "skipped": schedule.skipped,
        "next_at": schedule.next_at,
        "last_at": schedule.last_at,
        "last_run": schedule.last_run,
        "created_at": schedule.created_at,
        "rules": _write_json(schedule.rules).decode(),
        "look_at": schedule.look_at,
        "note": schedule.note,
        "since": schedule.since,
        "inputs": schedule.inputs,
        "backfill": None if schedule.backfill is None else _write_json(schedule.backfill).decode(),
        "backfilled": schedule.backfilled,
        "version": schedule.version,
    }


def tombstone(row: Row) -> Tombstone:
    """A row of ``tombstone``."""
    id, kind, status, deleted_at = row
    return Tombstone(RunId(id), RunKind(kind), status, deleted_at)


def worker(row: Row, *, alive: bool, may_return: bool = False) -> WorkerRecord:
    """A row of ``workers``."""
    key, name, types, started_at, beat = row
    return WorkerRecord(WorkerKey(key), name, types_of(types), started_at, alive, beat, may_return)


def loan(row: Row) -> Loan:
    """A row of ``loans_of_run`` and its like."""
    run, step, worker, attempt, stop, lost, report, ready_at = row
    return Loan(run, step, worker, attempt, bool(stop), bool(lost), report, ready_at)


def heard(row: Row) -> Heard:
    """A row of ``heartbeats_of_runs``."""
    run, step, *said = row
    return Heard(run, step, Heartbeat(*said))


def heard_row(heard: Heard) -> Row:
    """The values of ``hear``."""
    return (heard.run, heard.step, *astuple(heard.heartbeat))


def gate_state(row: Row) -> GateState:
    """A row of ``gates_of_run``."""
    step, name, number, spacing, ready_at, worker, held_back = row
    limit = Limit(name, number, spacing)
    return GateState(step, limit, ready_at, worker, bool(held_back))


def holder(row: Row) -> Holder:
    """A row of ``holders``."""
    return Holder(*row)


def limit_figures(row: Row) -> LimitFigures:
    """A row of ``limits``."""
    name, number, spacing, held, waiting = row
    return LimitFigures(Limit(name, number, spacing), held, waiting)


def entry(row: Row) -> Entry:
    """A row of ``lines_of_run``."""
    type, priority, ready_at, step = row
    return Entry(TaskType(type), priority, ready_at, step)


def inbox(signals: Iterable[Row], questions: Iterable[Row]) -> Inbox:
    """The rows of ``signals_of`` and ``questions_of``."""
    return Inbox(
        {row[0]: _signal(row) for row in signals},
        {step: asked(seq, at, data) for step, seq, at, data in questions},
    )


def _signal(row: Row) -> Signal:
    seq, name, id, digest, step, data = row
    payload = None if data is None else to_json(from_json(data)["payload"])
    return Signal(seq, name, id, digest, step, payload)


def asked(seq: int, at: int, data: str) -> Asked:
    """A question, from what the event says that asked it."""
    return Asked(seq, Micros(at), question_of(from_json(data)["question"]))


def open_approval(row: Row) -> OpenApproval:
    """A row of ``open_approvals``."""
    run, id, kind, name, step, until, seq, at, data = row
    return OpenApproval(
        RunKey(run), RunId(id), _KINDS[kind], name, step, until, asked(seq, at, data)
    )


def signal_rows(run: RunKey, changes: InboxChanges) -> Iterator[Row]:
    """The values of ``put_signal``."""
    for each in changes.signals:
        yield run, each.seq, each.name, each.id, each.digest, each.step


def question_rows(run: RunKey, changes: InboxChanges) -> Iterator[Row]:
    """The values of ``put_question``."""
    for step, asked in changes.asked:
        yield run, step, asked.seq, asked.at, asked.question.is_approval


def old_run(row: Row) -> OldRun:
    """A row of ``oldest_by_status``."""
    key, created_at, ended_at, has_parent = row
    return OldRun(RunKey(key), created_at, ended_at, bool(has_parent))


def broken_link(row: Row) -> BrokenLink:
    """A row of ``broken_links``."""
    what, run, step, about = row
    return BrokenLink(what, None if run is None else RunKey(run), step, about)


def types_text(types: Mapping[TaskType, JsonText]) -> str:
    """A worker's types as they are stored."""
    return json.dumps(types, ensure_ascii=False)


def types_of(text: str) -> Mapping[TaskType, JsonText]:
    """A worker's types as they were given."""
    return {TaskType(type): JsonText(schema) for type, schema in json.loads(text).items()}
