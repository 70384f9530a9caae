"""Answers questions, each from one snapshot of the database."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from heapq import merge
from itertools import islice
from typing import Final

from kallista.core.events import Event
from kallista.core.inbox import Inbox
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
    Figures,
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
from kallista.store.postgres.connection import Connection
from kallista.store.postgres.records import (
    DefinitionCache,
    bare_records,
    with_steps,
)
from kallista.store.postgres.statements import Statement, statement
from kallista.store.postgres.watching import WORKING
from kallista.store.rows import Row

_RECORDS_BY_KEY = statement("records_by_key")
_STEPS_OF_RUNS = statement("steps_of_runs")
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
_SIGNALS_OF = statement("signals_of")
_QUESTIONS_OF = statement("questions_of")
_OPEN_APPROVALS = statement("open_approvals")
_OPEN_APPROVALS_OF_TREE = statement("open_approvals_of_tree")
_GATES_OF_RUN = statement("gates_of_run")
_HOLDERS = statement("holders")
_AHEAD = statement("ahead")
_LIMITS = statement("limits")
_HELD_TYPES = statement("held_types")
_LOANS_OF_RUN = statement("loans_of_run")
_RUNS_OF_OWNER = statement("runs_of_owner")
_LOANS_OF_WORKER = statement("loans_of_worker")
_HEARTBEATS_OF_RUNS = statement("heartbeats_of_runs")
_TOMBSTONE = statement("tombstone")
_DEFINITION_BY_NAME = statement("definition_by_name")
_DEFINITION_NAMES = statement("definition_names")
_SCHEDULE = statement("schedule")
_DUE_SCHEDULES = statement("due_schedules")
_NEXT_SCHEDULE_AT = statement("next_schedule_at")
_LIST_SCHEDULES = statement("list_schedules")
_WORKERS = statement("workers")
_TYPE_SCHEMAS = statement("type_schemas")
_SIZE = statement("size")
_ROW_COUNTS = statement("row_counts")
_OLDEST_BY_STATUS = statement("oldest_by_status")
_LINES_OF_RUN = statement("lines_of_run")
_PURGEABLE_RUNS = statement("purgeable_runs")
_AWAITED_BY = statement("awaited_by")
_WAITING_FOR = statement("waiting_for")
_BROKEN_LINKS = statement("broken_links")
_UNSOUND = statement("unsound")
_COMPATIBLE_FROM = statement("compatible_from")

_LAST_KEY: Final = (1 << 63) - 1
_KEYS_AT_ONCE: Final = 500
_ALL_STATUSES: Final = (*ProcessStatus, *TaskStatus)


class Reading:
    """The questions of the port, asked in one session.

    Args:
        db: A session of its own; every call runs inside a transaction that only reads.
        definitions: Definitions read before.
    """

    def __init__(self, db: Connection, definitions: DefinitionCache) -> None:
        self._db = db
        self._definitions = definitions

    def load_all(self, runs: Sequence[RunId | RunKey]) -> dict[RunId | RunKey, RunRecord]:
        """Those runs that exist, with their steps."""
        by_key = self._db.later(_RECORDS_BY_KEY, ([run for run in runs if isinstance(run, int)],))
        by_id = self._db.later(_RECORDS_BY_ID, ([run for run in runs if isinstance(run, str)],))
        found = {row[0]: row for row in (*by_key(), *by_id())}
        records = self._with_steps(list(found.values()))
        return {name: record for record in records for name in (record.key, record.id)}

    def _with_steps(self, found: Sequence[Row]) -> list[RunRecord]:
        if not found:
            return []
        steps = self._db.ask(_STEPS_OF_RUNS, ([row[0] for row in found],))
        return with_steps(self._db, self._definitions, found, steps)

    def heads(self, runs: Sequence[RunId]) -> Mapping[RunId, RunRecord]:
        """Those runs that exist, without steps."""
        found = self._db.ask(_RECORDS_BY_ID, (runs,))
        return {record.id: record for record in bare_records(self._db, self._definitions, found)}

    def outcomes(
        self, runs: Sequence[RunKey], steps: Sequence[int] | None = None
    ) -> dict[RunKey, dict[int, JsonText]]:
        """What the outcome events of each run hold, by position."""
        of_steps = self._db.later(_STEP_OUTCOMES, (runs, steps))
        whole = self._db.later(_RUN_OUTCOME, (runs,))
        found: dict[RunKey, dict[int, JsonText]] = {run: {} for run in runs}
        for run, step, data in of_steps():
            found[run][int(step)] = JsonText(data)
        if steps is None or WHOLE_RUN in steps:
            for run, data in whole():
                found[run][WHOLE_RUN] = JsonText(data)
        return found

    def history(self, run: RunKey, from_seq: int, limit: int) -> Sequence[Event]:
        """A page of a run's events."""
        return [rows.event(row) for row in self._db.ask(_HISTORY, (run, from_seq, limit))]

    def list_runs(self, wanted: RunFilter) -> Sequence[RunRecord]:
        """A page of runs, newest first."""
        return list(islice(self._matching(wanted), max(wanted.limit, 0)))

    def _matching(self, wanted: RunFilter) -> Iterator[RunRecord]:
        keys = _candidates(self._db, wanted)
        values = _filter_values(wanted)
        while chunk := list(islice(keys, _KEYS_AT_ONCE)):
            found = self._db.ask(_MATCHING_RECORDS, values | {"keys": chunk})
            tasks = [row for row in found if row[2] == RunKind.TASK]
            others = [row for row in found if row[2] != RunKind.TASK]
            records = [
                *self._with_steps(tasks),
                *bare_records(self._db, self._definitions, others),
            ]
            yield from sorted(records, key=_by_key, reverse=True)

    def failures(self, run: RunKey) -> Mapping[int, Failing]:
        """What of a run has failed."""
        return dict(map(rows.failing, self._db.ask(_FAILURES_OF_RUN, (run,))))

    def budgets(self, run: RunKey) -> Sequence[BudgetLine]:
        """The budgets that hold for a run."""
        return [rows.budget_line(row) for row in self._db.ask(_BUDGETS_OF_RUN, (run,))]

    def spent(self, run: RunKey) -> Mapping[str, int]:
        """What a run has spent with all below it."""
        sums = (rows.spending_sum(row) for row in self._db.ask(_SPENT_BELOW, (run,)))
        return {sum.unit: sum.amount for sum in sums}

    def spending(self, wanted: SpendingFilter) -> Sequence[Sum]:
        """Sums of what was spent."""
        found = self._db.ask(_SPENDING[wanted.by], rows.spending_filter(wanted))
        return [rows.spending_sum(row) for row in found]

    def same_key(self, run: RunKey) -> SameKey | None:
        """What makes other requests the same as a run's."""
        return next((SameKey(*row) for row in self._db.ask(_SAME_OF_RUN, (run,))), None)

    def failure_groups(self, wanted: FailureFilter) -> Sequence[FailedStep]:
        """The newest failures of each error and task type."""
        found = self._db.ask(_FAILURE_GROUPS, rows.failure_filter(wanted))
        return [rows.failed_step(row) for row in found]

    def count_runs(self) -> Mapping[tuple[RunKind, str], int]:
        """How many runs there are of each kind and status."""
        return {
            (RunKind(kind), str(status)): int(count)
            for kind, status, count in self._db.ask(_COUNT_RUNS)
        }

    def queued_types(self) -> Mapping[TaskType, int]:
        """How many entries of each type wait."""
        counts: Counter[TaskType] = Counter()
        for type, count in [*self._db.ask(_QUEUED_TYPES), *self._db.ask(_HELD_TYPES)]:
            counts[TaskType(type)] += int(count)
        return counts

    def inbox(self, run: RunKey) -> Inbox:
        """What was sent to a run, and what its steps wait for."""
        signals = self._db.later(_SIGNALS_OF, (run,))
        questions = self._db.later(_QUESTIONS_OF, (run,))
        return rows.inbox(signals(), questions())

    def approvals(self, wanted: ApprovalFilter) -> Sequence[OpenApproval]:
        """What waits for a person."""
        values = (*wanted.after, wanted.limit)
        found = (
            self._db.ask(_OPEN_APPROVALS, values)
            if wanted.within is None
            else self._db.ask(_OPEN_APPROVALS_OF_TREE, (wanted.within, *values))
        )
        return [rows.open_approval(row) for row in found]

    def loans(self, run: RunKey) -> Sequence[Loan]:
        """What is lent of a run."""
        return [rows.loan(row) for row in self._db.ask(_LOANS_OF_RUN, (run,))]

    def driven(self, worker: WorkerKey) -> Sequence[RunKey]:
        """What a worker drives."""
        return [RunKey(key) for (key,) in self._db.ask(_RUNS_OF_OWNER, (worker,))]

    def heartbeats(self, runs: Sequence[RunKey]) -> Sequence[Heard]:
        """What is known of attempts of the runs' steps."""
        return [rows.heard(row) for row in self._db.ask(_HEARTBEATS_OF_RUNS, (runs,))]

    def borrowed(self, worker: WorkerKey) -> Sequence[Loan]:
        """What a worker has borrowed."""
        return [rows.loan(row) for row in self._db.ask(_LOANS_OF_WORKER, (worker,))]

    def tombstone(self, run: RunId) -> Tombstone | None:
        """What stayed of a deleted run."""
        return next((rows.tombstone(row) for row in self._db.ask(_TOMBSTONE, (run,))), None)

    def definition(self, kind: RunKind, name: str) -> JsonText | None:
        """What a name means."""
        found = self._db.ask(_DEFINITION_BY_NAME, (kind, name))
        return JsonText(found[0][0]) if found else None

    def definition_names(self, kind: RunKind) -> Sequence[str]:
        """All names of a kind."""
        return [str(name) for (name,) in self._db.ask(_DEFINITION_NAMES, (kind,))]

    def schedule(self, schedule: ScheduleId) -> Schedule | None:
        """One schedule."""
        return next((rows.schedule(row) for row in self._db.ask(_SCHEDULE, (schedule,))), None)

    def due_schedules(self, now: Micros, limit: int) -> Sequence[tuple[Schedule, bool]]:
        """Schedules that are due, with whether their last firing is unfinished."""
        return [
            (rows.schedule(row[:-1]), bool(row[-1]))
            for row in self._db.ask(_DUE_SCHEDULES, (now, limit))
        ]

    def next_schedule_at(self, after: Micros) -> Micros | None:
        """When the next schedule has to be looked at."""
        moment = self._db.ask(_NEXT_SCHEDULE_AT, (after,))[0][0]
        return None if moment is None else Micros(moment)

    def list_schedules(
        self, status: ScheduleStatus | None, after: ScheduleId | None, limit: int
    ) -> Sequence[Schedule]:
        """A page of schedules."""
        found = self._db.ask(_LIST_SCHEDULES, (after or "", status, limit))
        return [rows.schedule(row) for row in found]

    def workers(self, own: WorkerKey | None) -> Sequence[WorkerRecord]:
        """All workers known; the own one lives."""
        return [
            rows.worker(row[:5], alive=alive, may_return=not alive)
            for row in self._db.ask(_WORKERS, (WORKING,))
            for alive in (row[5] or row[0] == own,)
        ]

    def type_schemas(self) -> Mapping[TaskType, JsonText]:
        """The schemas of all types."""
        return {TaskType(type): JsonText(schema) for type, schema in self._db.ask(_TYPE_SCHEMAS)}

    def figures(self) -> Figures:
        """How much there is; what is free inside of the tables cannot be told."""
        counts = self._db.later(_ROW_COUNTS)
        size = self._db.ask(_SIZE)[0][0]
        return Figures(dict(zip(COUNTED, map(int, counts()[0]), strict=True)), int(size), None)

    def oldest_runs(
        self, kind: RunKind, status: str, after: RunKey, limit: int
    ) -> Sequence[OldRun]:
        """The oldest runs in one status."""
        found = self._db.ask(_OLDEST_BY_STATUS, (kind, status, after, limit))
        return [rows.old_run(row) for row in found]

    def lines(self, run: RunKey) -> Sequence[Entry]:
        """What waits in the queue of a run."""
        return [rows.entry(row) for row in self._db.ask(_LINES_OF_RUN, (run,))]

    def gates(self, run: RunKey) -> Sequence[GateState]:
        """The limits that steps of a run are subject to."""
        return [rows.gate_state(row) for row in self._db.ask(_GATES_OF_RUN, (run,))]

    def holders(self, name: str, limit: int) -> Sequence[Holder]:
        """Whose attempts are counted under a limit."""
        return [rows.holder(row) for row in self._db.ask(_HOLDERS, (name, limit))]

    def ahead(self, run: RunKey, step: int) -> int:
        """How many come before a step that is held back."""
        return int(self._db.ask(_AHEAD, (run, step))[0][0])

    def limits(self, after: str, limit: int) -> Sequence[LimitFigures]:
        """A page of the limits that anything is subject to."""
        return [rows.limit_figures(row) for row in self._db.ask(_LIMITS, (after, limit))]

    def awaited(self, run: RunKey) -> Sequence[RunId]:
        """Whose ends wake a run."""
        return [RunId(id) for (id,) in self._db.ask(_AWAITED_BY, (run,))]

    def purgeable(self, runs: Sequence[RunKey], ended_before: Micros) -> int:
        """How many runs a purge would remove."""
        values = {"keys": runs, "ended_before": ended_before}
        return len(self._db.ask(_PURGEABLE_RUNS, values))

    def waiting_for(self, runs: Sequence[RunId]) -> Sequence[Waiting]:
        """Who waits for some runs, by itself or through others."""
        found = self._db.ask(_WAITING_FOR, (runs,))
        return [Waiting(RunId(awaited), RunId(run)) for awaited, run in found]

    def broken_links(self, limit: int) -> Sequence[BrokenLink]:
        """What points to nothing."""
        return [rows.broken_link(row) for row in self._db.ask(_BROKEN_LINKS, (limit,))]

    def damage(self) -> Sequence[str]:
        """What the server knows to be wrong."""
        return [str(told) for (told,) in self._db.ask(_UNSOUND)]

    def describe(self) -> Mapping[str, str]:
        """Versions and size."""
        version, _ = self._db.ask(_COMPATIBLE_FROM)[0]
        server = self._db.db.info.parameter_status("server_version") or ""
        return {
            "size_bytes": str(self._db.ask(_SIZE)[0][0]),
            "server_version": server,
            "schema_version": str(version),
        }


def _by_key(record: RunRecord) -> int:
    return record.key


def _candidates(db: Connection, wanted: RunFilter) -> Iterator[RunKey]:
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


def _keys_by_status(db: Connection, wanted: RunFilter) -> Iterator[RunKey]:
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
    db: Connection, wanted: RunFilter, what: Statement, values: dict[str, object]
) -> Iterator[RunKey]:
    before = _LAST_KEY if wanted.after is None else wanted.after
    while True:
        found = db.ask(what, values | {"before": before, "limit": _KEYS_AT_ONCE})
        for (key,) in found:
            yield RunKey(key)
        if len(found) < _KEYS_AT_ONCE:
            return
        before = RunKey(found[-1][0])


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
        "statuses": wanted.statuses,
        "now": wanted.now,
        **rows.error_filter(wanted.error),
    }
