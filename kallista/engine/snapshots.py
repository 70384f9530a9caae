"""Builds what users see of runs and schedules from what is stored."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import NamedTuple, TypeAlias

from msgspec.structs import replace

from kallista.core.change_overs import offset_text, told
from kallista.core.definitions import (
    SWITCH,
    ChildSpec,
    Definition,
    MapSpec,
    Phase,
    TaskSpec,
    Work,
    type_of,
)
from kallista.core.durations import format_duration, to_datetime
from kallista.core.events import Event, Heartbeat, StepState
from kallista.core.firing import Upcoming
from kallista.core.ids import child_id, item_id
from kallista.core.items import items_in
from kallista.core.json_text import from_json
from kallista.core.plain import own
from kallista.core.plan import WHOLE_RUN
from kallista.core.schedules import Backfill, Schedule
from kallista.core.snapshots import (
    AnySnapshot,
    BackfillSnapshot,
    ChangeOverSnapshot,
    HistoryEvent,
    ItemsSnapshot,
    NextFiring,
    ProcessSnapshot,
    RunError,
    RunSummary,
    ScheduleSnapshot,
    StepSnapshot,
    TaskSnapshot,
    WorkflowSnapshot,
)
from kallista.core.states import ProcessStatus, RunKind, TaskStatus, WorkflowStatus
from kallista.core.trigger_words import in_short, in_words
from kallista.core.types import Json, JsonText, Micros, RunId, RunKey, StepId, TaskType
from kallista.core.wall_clock import zone_named
from kallista.engine.active import ActiveRun, DefinitionCache
from kallista.engine.facts import Facts
from kallista.engine.heartbeats import Hearing
from kallista.engine.slots import CLAIM_AHEAD
from kallista.store.port import RunRecord, Store

_UNDO = Phase.UNDO


class SnapshotBuilder:
    """Turns records into snapshots.

    Args:
        store: Where results are.
        definitions: Definitions already read.
        facts: What child runs returned.
        hearing: What running attempts say.
        now: What time it is.
    """

    def __init__(
        self,
        store: Store,
        definitions: DefinitionCache,
        facts: Facts,
        hearing: Hearing,
        now: Callable[[], Micros],
    ) -> None:
        self._store = store
        self._definitions = definitions
        self._facts = facts
        self._hearing = hearing
        self._now = now

    def definition(self, record: RunRecord) -> Definition:
        """What the run runs."""
        return self._definitions.get(record.definition, record.definition_content)

    async def run(self, record: RunRecord) -> AnySnapshot:
        """The run with all its steps and results."""
        return await self._built(record, await self._store.outcomes(record.key))

    async def final(self, active: ActiveRun) -> AnySnapshot | None:
        """A run that has ended in this program; what others have brought to an end is asked for.

        None: that is not there any more, for the run has been retried or deleted since.
        """
        record, results = active.record(), active.results
        assert record is not None, "what ends here was found or made here"
        if not active.all_results:
            results = {**await self._store.outcomes(record.key), **results}
            if any(step.outcome is not None for step in _without(record.steps, results)):
                return None
        return await self._built(record, results)

    async def _built(self, record: RunRecord, outcomes: Mapping[int, JsonText]) -> AnySnapshot:
        record = as_seen(record, self._now())
        definition = self.definition(record)
        results = {
            position: await self._facts.result(definition, position, outcomes[position])
            for position in _child_steps(definition)
            if record.steps[position].status is TaskStatus.COMPLETED and position in outcomes
        }
        heard = await self._hearing.of([record])
        moments = _Moments()
        now = self._now() if record.head.still_since is None else record.head.still_since
        steps = tuple(
            [
                _step(record, always, state, outcomes.get(position), results, heard, moments, now)
                for position, (always, state) in enumerate(
                    zip(_outline(definition), record.steps, strict=True)
                )
                if always.phase is not _UNDO or state.since is not None or state.attempt
            ]
        )
        errors = _errors(record, steps, outcomes.get(WHOLE_RUN), moments)
        if record.kind is RunKind.TASK:
            why = outcomes.get(WHOLE_RUN)
            reason = None if why is None else _note(json.loads(why))
            return _task(record, definition, steps[0], errors, reason, moments)
        if record.kind is RunKind.WORKFLOW:
            return WorkflowSnapshot(
                *_common(record, definition, from_json(record.inputs), errors, moments),
                WorkflowStatus(record.head.state.value),
                steps,
            )
        return ProcessSnapshot(
            *_common(record, definition, from_json(record.inputs), errors, moments),
            ProcessStatus(record.head.state.value),
            steps,
            definition.dependencies,
            {id: definition.policy_on(id) for id in definition.dependencies},
        )

    async def summaries(self, records: Sequence[RunRecord]) -> tuple[RunSummary, ...]:
        """The lines of a list."""
        tasks = [record for record in records if record.kind is RunKind.TASK]
        heard = await self._hearing.of(tasks)
        return tuple([self._summary(record, heard.get((record.key, 0))) for record in records])

    def _summary(self, record: RunRecord, said: Heartbeat | None) -> RunSummary:
        record = as_seen(record, self._now())
        first = record.steps[0] if record.steps else None
        status = record.status
        scheduled = None
        if record.kind is RunKind.TASK and first is not None:
            status = shown(first, self._now()).value
            scheduled = first.since
        return RunSummary(
            id=record.id,
            kind=record.kind,
            name=record.name,
            status=status,
            priority=record.priority,
            tags=record.tags,
            in_flight=record.head.in_flight,
            parent_id=record.parent_id,
            schedule_id=record.schedule,
            scheduled_time=_moment(scheduled),
            created_at=to_datetime(record.created_at),
            started_at=_moment(record.head.started_at),
            ended_at=_moment(record.head.ended_at),
            progress=None if said is None else said.fraction,
            progress_message=None if said is None else said.message,
        )

    def event(self, record: RunRecord, event: Event) -> HistoryEvent:
        """A line of a history."""
        task_id: StepId | None = None
        if event.step is not None:
            task_id = self.definition(record).steps[event.step].id or StepId(record.id)
        return HistoryEvent(
            run_id=record.id,
            seq=event.seq,
            at=to_datetime(event.at),
            kind=event.kind.value,
            task_id=task_id,
            attempt=event.attempt,
            data=None if event.data is None else json.loads(event.data),
        )

    def schedule(self, schedule: Schedule) -> ScheduleSnapshot:
        """A schedule."""
        definition = self._definitions.get(schedule.definition, schedule.definition_content)
        is_task = definition.kind is RunKind.TASK
        work = definition.steps[0].work if is_task else None
        task = work if isinstance(work, TaskSpec) else None
        inputs = from_json(schedule.inputs)
        trigger = json.loads(schedule.trigger)
        return ScheduleSnapshot(
            id=schedule.id,
            status=schedule.status,
            trigger=in_short(trigger),
            in_words=in_words(trigger),
            kind=definition.kind,
            name=definition.name or (task.type if task else schedule.id),
            type=task.type if task else None,
            config=_own(task.config if task and task.config else inputs if task else {}),
            inputs={} if task else inputs,
            priority=schedule.priority,
            tags=schedule.tags,
            max_runs=schedule.max_runs,
            until=_moment(schedule.until),
            fired=schedule.fired,
            skipped=schedule.skipped,
            next_fire_time=_moment(schedule.next_at),
            last_fire_time=_moment(schedule.last_at),
            last_run_id=schedule.last_run,
            created_at=to_datetime(schedule.created_at),
            jitter=_length_text(schedule.rules.jitter),
            catch_up=_length_text(schedule.rules.within) or schedule.rules.catch_up.value,
            overlap=schedule.rules.overlap.value,
            pause_on_failure=schedule.rules.pause_on_failure or None,
            note=schedule.note,
            since=to_datetime(schedule.since),
            backfill=None if schedule.backfill is None else _backfill(schedule.backfill),
            backfilled=schedule.backfilled,
        )


def _backfill(backfill: Backfill) -> BackfillSnapshot:
    return BackfillSnapshot(
        start=to_datetime(backfill.start),
        until=to_datetime(backfill.until),
        next_fire_time=_moment(backfill.at),
        priority=backfill.priority,
    )


def _length_text(length: Micros) -> str | None:
    return format_duration(length) if length else None


def next_firing(firing: Upcoming) -> NextFiring:
    """A firing that lies ahead."""
    zone = UTC if firing.zone is None else zone_named(firing.zone)
    change = firing.change
    return NextFiring(
        moment=to_datetime(firing.moment).astimezone(zone),
        starts_at=to_datetime(firing.starts_at).astimezone(zone),
        fires=firing.fires,
        change_over=None
        if change is None
        else ChangeOverSnapshot(
            effect=change.effect.value,
            wall_times=tuple(wall.isoformat() for wall in change.walls),
            offset_before=offset_text(change.before),
            offset_after=offset_text(change.after),
            sentence=told(change),
        ),
    )


def _without(steps: Sequence[StepState], results: Mapping[int, JsonText]) -> Iterator[StepState]:
    """The steps whose results are not there."""
    return (step for position, step in enumerate(steps) if position not in results)


def as_seen(record: RunRecord, now: Micros) -> RunRecord:
    """The run as users see it: a step that was taken ahead of its moment still waits for that.

    What was cancelled before that moment has not been attempted.
    """
    if not any(_is_ahead(step, now) for step in record.steps):
        return record
    steps = [_not_begun(step) if _is_ahead(step, now) else step for step in record.steps]
    return replace(record, steps=tuple(steps))


def _is_ahead(step: StepState, now: Micros) -> bool:
    if step.started_at is None:
        return False
    if step.status is TaskStatus.RUNNING:
        return now < step.started_at <= now + CLAIM_AHEAD
    if step.status is TaskStatus.CANCELLED and step.ended_at is not None:
        return step.ended_at < step.started_at <= step.ended_at + CLAIM_AHEAD
    return False


def _not_begun(step: StepState) -> StepState:
    before = replace(step, attempt=step.attempt - 1, started_at=None)
    if step.status is TaskStatus.CANCELLED:
        return before
    return replace(before, status=TaskStatus.SCHEDULED, ready_at=step.started_at)


def shown(step: StepState, now: Micros) -> TaskStatus:
    """The status that users see: a SCHEDULED step whose moment has come is READY."""
    due = step.ready_at is not None and step.ready_at <= now
    return TaskStatus.READY if step.status is TaskStatus.SCHEDULED and due else step.status


class _Always(NamedTuple):
    """What a snapshot says of a step in every run of its definition.

    Args:
        position: Where it stands.
        id: Its id; empty in a single task's.
        name: What people read; empty when that is the id.
        kind: What it is.
        type: The task type; None for a child run.
        depends_on: The ids of the steps before it.
        phase: In which part of a run it runs.
        is_map: Whether it goes through a list.
    """

    position: int
    id: StepId
    name: str
    kind: RunKind
    type: TaskType | None
    depends_on: tuple[StepId, ...]
    phase: Phase
    is_map: bool


@lru_cache(maxsize=1024)
def _outline(definition: Definition) -> tuple[_Always, ...]:
    """What is the same of the steps in all runs; found out once per definition object."""
    steps = definition.steps
    return tuple(
        _Always(
            position=position,
            id=spec.id,
            name=spec.name,
            kind=_kind(spec.work),
            type=_type(spec.work),
            depends_on=tuple(steps[before].id for before in spec.depends_on),
            phase=spec.phase,
            is_map=isinstance(spec.work, MapSpec),
        )
        for position, spec in enumerate(steps)
    )


def _kind(work: Work) -> RunKind:
    """A task, or the kind of the runs that it starts."""
    match work:
        case TaskSpec():
            return RunKind.TASK
        case ChildSpec(definition=definition) | MapSpec(child=ChildSpec(definition=definition)):
            return definition.kind
        case _:
            return RunKind.TASK


def _type(work: Work) -> TaskType | None:
    """What a handler executes, or a switch; None where it is child runs of other kinds."""
    if isinstance(work, TaskSpec):
        return work.type
    return type_of(work) if _kind(work) is RunKind.TASK else None


@lru_cache(maxsize=1024)
def _child_steps(definition: Definition) -> tuple[int, ...]:
    """The steps whose results are those of child runs."""
    return tuple(
        position
        for position, spec in enumerate(definition.steps)
        if isinstance(spec.work, ChildSpec | MapSpec)
    )


class _Moments(dict[Micros | None, datetime | None]):
    """The moments of one snapshot: a step often begins when the one before it ends."""

    def __missing__(self, at: Micros | None) -> datetime | None:
        moment = self[at] = _moment(at)
        return moment


def _step(
    record: RunRecord,
    always: _Always,
    state: StepState,
    outcome: JsonText | None,
    results: Mapping[int, Json],
    heard: Mapping[tuple[RunKey, int], Heartbeat],
    moments: _Moments,
    now: Micros,
) -> StepSnapshot:
    position, own_id, name, kind, type, depends_on, phase, is_map = always
    id = own_id or StepId(record.id)
    result: Json = None
    error = note = None
    if outcome is None:
        pass
    elif state.status is TaskStatus.COMPLETED:
        result = results[position] if position in results else from_json(outcome)
        note = choice_told(result) if type is SWITCH else None
    elif state.status is TaskStatus.FAILED:
        error = next(iter(_errors_of(outcome, id, state.attempt, moments[state.ended_at])), None)
    else:
        note = _note(json.loads(outcome))
    has_child = type is None and state.attempt > 0 and not is_map
    said = heard.get((record.key, position)) if heard else None
    mine = None if said is None or said.attempt != state.attempt else said
    return StepSnapshot(
        id,
        name or id,
        kind,
        type,
        state.status if state.ready_at is None else shown(state, now),
        state.attempt,
        depends_on,
        result,
        error,
        note,
        RunId(child_id(record.id, id, 0)) if has_child else None,
        moments[state.ready_at],
        moments[state.started_at],
        moments[state.ended_at],
        None if mine is None else mine.fraction,
        None if mine is None else mine.message,
        phase,
        items_snapshot(record.id, id, outcome) if is_map else None,
        None if mine is None else moments[mine.at],
        None if said is None or said.details is None else from_json(said.details),
    )


def items_snapshot(run: RunId, step: StepId, outcome: JsonText | None) -> ItemsSnapshot | None:
    """How far a step is that goes through a list, as its last event tells."""
    items = items_in(outcome)
    if items is None:
        return None
    return ItemsSnapshot(
        count=items.count,
        completed=items.completed,
        failed=len(items.failed) + items.passed,
        under_way=len(items.open),
        under_way_ids=tuple(RunId(item_id(run, step, index)) for index in items.open),
        failed_ids=tuple(RunId(item_id(run, step, index)) for index in items.failed),
    )


def _task(
    record: RunRecord,
    definition: Definition,
    step: StepSnapshot,
    errors: tuple[RunError, ...],
    reason: str | None,
    moments: _Moments,
) -> TaskSnapshot:
    work = definition.steps[0].work
    assert isinstance(work, TaskSpec), "a single task is a task"
    return TaskSnapshot(
        *_common(record, definition, {}, errors, moments),
        status=step.status,
        type=work.type,
        config={**_own(work.config), **from_json(record.inputs)},
        attempt=step.attempt,
        result=step.result,
        error=step.error,
        note=step.note or reason,
        schedule_id=record.schedule,
        scheduled_time=moments[record.steps[0].since],
        progress=step.progress,
        progress_message=step.progress_message,
        heartbeat_at=step.heartbeat_at,
        heartbeat_details=step.heartbeat_details,
    )


def _own(config: Mapping[str, Json]) -> Mapping[str, Json]:
    """Runs share the config of a definition, and users may change what they get."""
    return {key: own(value) for key, value in config.items()}


def _errors(
    record: RunRecord,
    steps: tuple[StepSnapshot, ...],
    own: JsonText | None,
    moments: _Moments,
) -> tuple[RunError, ...]:
    """Everything that failed, in the order it failed, and at last the run itself."""
    failed = [step for step in steps if step.error is not None]
    failed.sort(key=lambda step: step.ended_at or to_datetime(record.created_at))
    errors = tuple([step.error for step in failed if step.error is not None])
    return (
        errors if own is None else errors + _errors_of(own, None, 0, moments[record.head.ended_at])
    )


_Common: TypeAlias = tuple[
    RunId, RunKind, str, Mapping[str, Json], tuple[RunError, ...], int, int, tuple[str, ...],
    RunId | None, datetime, datetime | None, datetime | None, datetime | None, datetime | None,
    RunId | None, StepId | None,
]  # fmt: skip
"""The fields that the snapshots of all kinds share, in their order."""


def _common(
    record: RunRecord,
    definition: Definition,
    inputs: Mapping[str, Json],
    errors: tuple[RunError, ...],
    moments: _Moments,
) -> _Common:
    """What the snapshots of all kinds share."""
    head, expires = record.head, definition.expires
    forked_from, forked_at = record.forked_from or (None, None)
    return (
        record.id, record.kind, record.name, inputs, errors, head.in_flight, record.priority,
        record.tags, record.parent_id, to_datetime(record.created_at), moments[head.started_at],
        moments[head.ended_at],
        None if expires is None else to_datetime(expires.moment(record.created_at)),
        moments[head.still_since],
        forked_from, forked_at,
    )  # fmt: skip


def _errors_of(
    outcome: JsonText, task_id: StepId | None, attempt: int, at: datetime | None
) -> tuple[RunError, ...]:
    data = json.loads(outcome)
    if not isinstance(data, dict) or "message" not in data:
        return ()
    return (
        RunError(
            task_id=task_id,
            type=data["type"],
            message=data["message"],
            traceback=data["traceback"],
            attempt=attempt,
            at=at,
        ),
    )


def choice_told(chosen: Json) -> str:
    """What a switch has chosen and why, in a few words."""
    assert isinstance(chosen, dict), "a choice says what it chose, and when"
    then = chosen["then"]
    assert isinstance(then, list), "it chose some steps, or none"
    branch = ", ".join(map(repr, then)) or "nothing"
    why = "no condition holds" if chosen["when"] is None else f"{chosen['when']} holds"
    return f"chose {branch}: {why}"


def _note(data: Json) -> str | None:
    if isinstance(data, dict):
        reason = data.get("reason")
        return None if reason is None else str(reason)
    return None if data is None else str(data)


def _moment(at: Micros | None) -> datetime | None:
    return None if at is None else to_datetime(at)
