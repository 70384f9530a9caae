"""Answers questions, each from one snapshot of the file."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from heapq import merge
from itertools import islice
from typing import Any, Final, cast

import apsw

from kallista.core.events import Event
from kallista.core.inbox import Inbox
from kallista.core.limits import Limit
from kallista.core.plan import WHOLE_RUN, Entry, Failing, SameKey
from kallista.core.schedules import Schedule
from kallista.core.states import ProcessStatus, RunKind, ScheduleStatus, TaskStatus
from kallista.core.types import JsonText, Micros, RunId, RunKey, ScheduleId, TaskType, WorkerKey
from kallista.store import rows
from kallista.store.port import (
    COUNTED,
    ApprovalFilter,
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
    RunFilter,
    RunRecord,
    SpendingFilter,
    Sum,
    Tombstone,
    Waiting,
    WorkerRecord,
)
from kallista.store.rows import Row
from kallista.store.sqlite.creation import waiting_for
from kallista.store.sqlite.records import (
    DefinitionCache,
    bare_record,
    full_record,
    key_list,
    text_list,
)
from kallista.store.sqlite.statements import statement

_RECORDS_BY_KEY = statement("records_by_key")
_RECORD_BY_ID = statement("record_by_id")
_RECORDS_BY_ID = statement("records_by_id")
_HISTORY = statement("history")
_STEP_OUTCOMES = statement("step_outcomes")
_RUN_OUTCOME = statement("run_outcome")
_KEYS = statement("keys")
_KEYS_BY_STATUS = statement("keys_by_status")
_KEYS_BY_NAME = statement("keys_by_name")
_KEYS_BY_TAG = statement("keys_by_tag")
_KEYS_BY_SCHEDULE = statement("keys_by_schedule")
_KEYS_BY_ERROR = statement("keys_by_error")
_FAILURES_OF_RUN = statement("failures_of_run")
_BUDGETS_OF_RUN = statement("budgets_of_run")
_SPENT_BELOW = statement("spent_below")
_SPENDING: Final = {by: statement(f"spending_by_{by}") for by in ("run", "type", "tag", "unit")}
_SAME_OF_RUN = statement("same_of_run")
_FAILURE_GROUPS = statement("failure_groups")
_KEYS_BY_PARENT = statement("keys_by_parent")
_MATCHING_RECORDS = statement("matching_records")
_COUNT_RUNS = statement("count_runs")
_QUEUED_TYPES = statement("queued_types")
_HEARTBEATS_OF_RUNS = statement("heartbeats_of_runs")
_TOMBSTONE = statement("tombstone")
_DEFINITION_BY_NAME = statement("definition_by_name")
_DEFINITION_NAMES = statement("definition_names")
_SCHEDULE = statement("schedule")
_DUE_SCHEDULES = statement("due_schedules")
_NEXT_SCHEDULE_AT = statement("next_schedule_at")
_LIST_SCHEDULES = statement("list_schedules")
_SIGNALS_OF = statement("signals_of")
_QUESTIONS_OF = statement("questions_of")
_OPEN_APPROVALS = statement("open_approvals")
_OPEN_APPROVALS_OF_TREE = statement("open_approvals_of_tree")
_LOANS_OF_RUN = statement("loans_of_run")
_RUNS_OF_OWNER = statement("runs_of_owner")
_LOANS_OF_WORKER = statement("loans_of_worker")
_WORKERS = statement("workers")
_TYPE_SCHEMAS = statement("type_schemas")
_ROW_COUNTS = statement("row_counts")
_OLDEST_BY_STATUS = statement("oldest_by_status")
_LINES_OF_RUN = statement("lines_of_run")
_PURGEABLE_RUNS = statement("purgeable_runs")
_AWAITED_BY = statement("awaited_by")
_BROKEN_LINKS = statement("broken_links")

_GATES_OF_RUN = statement("gates_of_run")
_HOLDERS = statement("holders")
_AHEAD = statement("ahead")
_NEXT_LIMIT = statement("next_limit")
_LIMIT_FIGURES = statement("limit_figures")
_LIMIT_OF_HELD = statement("limit_of_held")
_LIMIT_OF_WAITING = statement("limit_of_waiting")
_HELD_TYPES = statement("held_types")

_LAST_KEY: Final = (1 << 63) - 1
_KEYS_AT_ONCE: Final = 500
_ALL_STATUSES: Final = (*ProcessStatus, *TaskStatus)


class Reading:
    """The questions of the port, asked on one connection.

    Args:
        db: A connection of its own; every call runs inside a read transaction.
    """

    def __init__(self, db: apsw.Connection) -> None:
        self._db = db
        self._definitions = DefinitionCache(db)

    def load(self, run: RunId | RunKey) -> RunRecord | None:
        """One run with its steps."""
        if isinstance(run, int):
            row = self._row(_RECORDS_BY_KEY, (key_list([run]),))
        else:
            row = self._row(_RECORD_BY_ID, (run,))
        return None if row is None else full_record(self._db, self._definitions, row)

    def heads(self, runs: Sequence[RunId]) -> Mapping[RunId, RunRecord]:
        """Those runs that exist, without steps."""
        found = self._db.execute(_RECORDS_BY_ID, (text_list(runs),))
        records = (bare_record(self._definitions, row) for row in found.fetchall())
        return {record.id: record for record in records}

    def outcomes(self, run: RunKey, steps: Sequence[int] | None) -> Mapping[int, JsonText]:
        """What the outcome events hold, by position."""
        wanted = None if steps is None else json.dumps(list(steps))
        found = {
            cast(int, step): JsonText(str(data))
            for step, data in self._db.execute(_STEP_OUTCOMES, (run, wanted))
        }
        if steps is None or WHOLE_RUN in steps:
            row = self._row(_RUN_OUTCOME, (run,))
            if row is not None:
                found[WHOLE_RUN] = JsonText(row[0])
        return found

    def history(self, run: RunKey, from_seq: int, limit: int) -> Sequence[Event]:
        """A page of a run's events."""
        return [rows.event(row) for row in self._db.execute(_HISTORY, (run, from_seq, limit))]

    def list_runs(self, wanted: RunFilter) -> Sequence[RunRecord]:
        """A page of runs, newest first."""
        return list(islice(self._matching(wanted), max(wanted.limit, 0)))

    def _matching(self, wanted: RunFilter) -> Iterator[RunRecord]:
        keys = _candidates(self._db, wanted)
        values = _filter_values(wanted)
        while chunk := list(islice(keys, _KEYS_AT_ONCE)):
            values["keys"] = key_list(chunk)
            for row in self._db.execute(_MATCHING_RECORDS, values).fetchall():
                task = row[2] == RunKind.TASK
                yield (
                    full_record(self._db, self._definitions, row)
                    if task
                    else bare_record(self._definitions, row)
                )

    def failures(self, run: RunKey) -> Mapping[int, Failing]:
        """What of a run has failed."""
        return dict(map(rows.failing, self._db.execute(_FAILURES_OF_RUN, (run,))))

    def budgets(self, run: RunKey) -> Sequence[BudgetLine]:
        """The budgets that hold for a run."""
        return [rows.budget_line(row) for row in self._db.execute(_BUDGETS_OF_RUN, (run,))]

    def spent(self, run: RunKey) -> Mapping[str, int]:
        """What a run has spent with all below it."""
        sums = (rows.spending_sum(row) for row in self._db.execute(_SPENT_BELOW, (run,)))
        return {sum.unit: sum.amount for sum in sums}

    def spending(self, wanted: SpendingFilter) -> Sequence[Sum]:
        """Sums of what was spent."""
        found = self._db.execute(_SPENDING[wanted.by], rows.spending_filter(wanted))
        return [rows.spending_sum(row) for row in found]

    def same_key(self, run: RunKey) -> SameKey | None:
        """What makes other requests the same as a run's."""
        return next((SameKey(*row) for row in self._db.execute(_SAME_OF_RUN, (run,))), None)

    def failure_groups(self, wanted: FailureFilter) -> Sequence[FailedStep]:
        """The newest failures of each error and task type."""
        found = self._db.execute(_FAILURE_GROUPS, rows.failure_filter(wanted))
        return [rows.failed_step(row) for row in found]

    def count_runs(self) -> Mapping[tuple[RunKind, str], int]:
        """How many runs there are of each kind and status."""
        found = self._db.execute(_COUNT_RUNS)
        return {(RunKind(kind), str(status)): cast(int, count) for kind, status, count in found}

    def queued_types(self) -> Mapping[TaskType, int]:
        """How many entries of each type wait."""
        counts: Counter[TaskType] = Counter()
        for sql in (_QUEUED_TYPES, _HELD_TYPES):
            for type, count in self._db.execute(sql):
                counts[TaskType(str(type))] += cast(int, count)
        return counts

    def tombstone(self, run: RunId) -> Tombstone | None:
        """What stayed of a deleted run."""
        row = self._row(_TOMBSTONE, (run,))
        return None if row is None else rows.tombstone(row)

    def definition(self, kind: RunKind, name: str) -> JsonText | None:
        """What a name means."""
        row = self._row(_DEFINITION_BY_NAME, (kind, name))
        return None if row is None else JsonText(row[0])

    def definition_names(self, kind: RunKind) -> Sequence[str]:
        """All names of a kind."""
        return [str(name) for (name,) in self._db.execute(_DEFINITION_NAMES, (kind,))]

    def schedule(self, schedule: ScheduleId) -> Schedule | None:
        """One schedule."""
        row = self._row(_SCHEDULE, (schedule,))
        return None if row is None else rows.schedule(row)

    def due_schedules(self, now: Micros, limit: int) -> Sequence[tuple[Schedule, bool]]:
        """Schedules that are due, with whether their last firing is unfinished."""
        return [
            (rows.schedule(row), bool(unfinished))
            for *row, unfinished in self._db.execute(_DUE_SCHEDULES, (now, limit))
        ]

    def next_schedule_at(self, after: Micros) -> Micros | None:
        """When the next schedule has to be looked at."""
        moment = self._db.execute(_NEXT_SCHEDULE_AT, (after,)).get
        return None if moment is None else Micros(cast(int, moment))

    def list_schedules(
        self, status: ScheduleStatus | None, after: ScheduleId | None, limit: int
    ) -> Sequence[Schedule]:
        """A page of schedules."""
        found = self._db.execute(_LIST_SCHEDULES, (after or "", status, limit))
        return [rows.schedule(row) for row in found]

    def inbox(self, run: RunKey) -> Inbox:
        """What was sent to a run, and what its steps wait for."""
        signals: list[Row] = self._db.execute(_SIGNALS_OF, (run,)).fetchall()
        questions: list[Row] = self._db.execute(_QUESTIONS_OF, (run,)).fetchall()
        return rows.inbox(signals, questions)

    def approvals(self, wanted: ApprovalFilter) -> Sequence[OpenApproval]:
        """What waits for a person."""
        values = (*wanted.after, wanted.limit)
        found = (
            self._db.execute(_OPEN_APPROVALS, values)
            if wanted.within is None
            else self._db.execute(_OPEN_APPROVALS_OF_TREE, (wanted.within, *values))
        )
        return [rows.open_approval(row) for row in found]

    def loans(self, run: RunKey) -> Sequence[Loan]:
        """All loans of a run's steps."""
        return [rows.loan(row) for row in self._db.execute(_LOANS_OF_RUN, (run,))]

    def driven(self, worker: WorkerKey) -> Sequence[RunKey]:
        """What a worker drives."""
        return [RunKey(cast(int, key)) for (key,) in self._db.execute(_RUNS_OF_OWNER, (worker,))]

    def heartbeats(self, runs: Sequence[RunKey]) -> Sequence[Heard]:
        """What is known of attempts of the runs' steps."""
        found = self._db.execute(_HEARTBEATS_OF_RUNS, (key_list(runs),))
        return [rows.heard(row) for row in found]

    def borrowed(self, worker: WorkerKey) -> Sequence[Loan]:
        """All that a worker has borrowed."""
        return [rows.loan(row) for row in self._db.execute(_LOANS_OF_WORKER, (worker,))]

    def workers(self, alive: Callable[[WorkerKey], bool]) -> Sequence[WorkerRecord]:
        """All workers known."""
        found = self._db.execute(_WORKERS).fetchall()
        return [rows.worker(row, alive=alive(WorkerKey(cast(int, row[0])))) for row in found]

    def type_schemas(self) -> Mapping[TaskType, JsonText]:
        """The schemas of all types."""
        return {
            TaskType(str(type)): JsonText(str(schema))
            for type, schema in self._db.execute(_TYPE_SCHEMAS)
        }

    def figures(self) -> tuple[Mapping[str, int], int]:
        """How many rows there are of everything, and how many bytes are free inside the file."""
        counts = cast("tuple[int, ...]", self._db.execute(_ROW_COUNTS).fetchone())
        free = cast(int, self._db.pragma("freelist_count")) * cast(
            int, self._db.pragma("page_size")
        )
        return dict(zip(COUNTED, counts, strict=True)), free

    def oldest_runs(
        self, kind: RunKind, status: str, after: RunKey, limit: int
    ) -> Sequence[OldRun]:
        """The oldest runs in one status."""
        found = self._db.execute(_OLDEST_BY_STATUS, (kind, status, after, limit))
        return [rows.old_run(row) for row in found]

    def lines(self, run: RunKey) -> Sequence[Entry]:
        """What waits in the queue of a run."""
        return [rows.entry(row) for row in self._db.execute(_LINES_OF_RUN, (run,))]

    def gates(self, run: RunKey) -> Sequence[GateState]:
        """The limits that steps of a run are subject to."""
        return [rows.gate_state(row) for row in self._db.execute(_GATES_OF_RUN, (run,))]

    def holders(self, name: str, limit: int) -> Sequence[Holder]:
        """Whose attempts are counted under a limit."""
        return [rows.holder(row) for row in self._db.execute(_HOLDERS, (name, limit))]

    def ahead(self, run: RunKey, step: int) -> int:
        """How many come before a step that is held back."""
        return cast(int, self._db.execute(_AHEAD, (run, step)).get)

    def limits(self, after: str, limit: int) -> Sequence[LimitFigures]:
        """A page of the limits that anything is subject to."""
        found: list[LimitFigures] = []
        name: Any = after
        while len(found) < limit and (name := self._db.execute(_NEXT_LIMIT, (name,)).get):
            held, waiting = self._row(_LIMIT_FIGURES, (name,)) or (0, 0)
            of = _LIMIT_OF_HELD if held else _LIMIT_OF_WAITING
            number, spacing = self._row(of, (name,)) or (0, 0)
            found.append(LimitFigures(Limit(name, number, spacing), held, waiting))
        return found

    def awaited(self, run: RunKey) -> Sequence[RunId]:
        """Whose ends wake a run."""
        return [RunId(str(id)) for (id,) in self._db.execute(_AWAITED_BY, (run,))]

    def purgeable(self, runs: Sequence[RunKey], ended_before: Micros) -> int:
        """How many runs a purge would remove."""
        return len(self._db.execute(_PURGEABLE_RUNS, (key_list(runs), ended_before)).fetchall())

    def waiting_for(self, runs: Sequence[RunId]) -> Sequence[Waiting]:
        """Who waits for some runs, by itself or through others."""
        return waiting_for(self._db, runs)

    def broken_links(self, limit: int) -> Sequence[BrokenLink]:
        """What points to nothing."""
        return [rows.broken_link(row) for row in self._db.execute(_BROKEN_LINKS, (limit,))]

    def _row(self, sql: str, values: tuple[object, ...]) -> Row | None:
        return self._db.execute(sql, values).fetchone()


def _candidates(db: apsw.Connection, wanted: RunFilter) -> Iterator[RunKey]:
    """The keys of runs that could match, newest first, by the index that narrows most."""
    if wanted.parent is not None:
        return _keys(db, wanted, _KEYS_BY_PARENT, {"parent": wanted.parent})
    if wanted.schedule is not None:
        return _keys(db, wanted, _KEYS_BY_SCHEDULE, {"schedule": wanted.schedule})
    if wanted.error is not None:
        return _keys(db, wanted, _KEYS_BY_ERROR, rows.error_filter(wanted.error))
    if wanted.tag is not None:
        return _keys(db, wanted, _KEYS_BY_TAG, {"tag": wanted.tag})
    if wanted.name is not None:
        return _keys(db, wanted, _KEYS_BY_NAME, {"name": wanted.name})
    if wanted.statuses is not None or wanted.kind is not None:
        return _keys_by_status(db, wanted)
    return _keys(db, wanted, _KEYS, {})


def _keys_by_status(db: apsw.Connection, wanted: RunFilter) -> Iterator[RunKey]:
    kinds = list(RunKind) if wanted.kind is None else [wanted.kind]
    statuses = _ALL_STATUSES if wanted.statuses is None else wanted.statuses
    stored = {TaskStatus.SCHEDULED if status == TaskStatus.READY else status for status in statuses}
    streams = [
        _keys(db, wanted, _KEYS_BY_STATUS, {"kind": kind, "status": status})
        for kind in kinds
        for status in stored
    ]
    return merge(*streams, reverse=True)


def _keys(
    db: apsw.Connection, wanted: RunFilter, sql: str, values: dict[str, object]
) -> Iterator[RunKey]:
    before = _LAST_KEY if wanted.after is None else wanted.after
    while True:
        found = db.execute(sql, values | {"before": before, "limit": _KEYS_AT_ONCE}).fetchall()
        for (key,) in found:
            yield RunKey(cast(int, key))
        if len(found) < _KEYS_AT_ONCE:
            return
        before = RunKey(cast(int, found[-1][0]))


def _filter_values(wanted: RunFilter) -> dict[str, object]:
    return {
        "kind": wanted.kind,
        "name": wanted.name,
        "created_from": wanted.created_from,
        "created_until": wanted.created_until,
        "schedule": wanted.schedule,
        "parent": wanted.parent,
        "roots": wanted.roots,
        "tag": wanted.tag,
        "statuses": None if wanted.statuses is None else json.dumps(wanted.statuses),
        "now": wanted.now,
        **rows.error_filter(wanted.error),
    }
