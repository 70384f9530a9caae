"""Builds what users see of runs and schedules from what is stored."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import TypedDict

from kallista.core.definitions import ChildSpec, Definition, TaskSpec
from kallista.core.durations import format_duration, to_datetime
from kallista.core.events import Event, StepState
from kallista.core.ids import child_id
from kallista.core.plan import WHOLE_RUN
from kallista.core.run import Run
from kallista.core.schedules import Schedule
from kallista.core.snapshots import (
    AnySnapshot,
    HistoryEvent,
    ProcessSnapshot,
    RunError,
    RunSummary,
    ScheduleSnapshot,
    StepSnapshot,
    TaskSnapshot,
    WorkflowSnapshot,
)
from kallista.core.states import ProcessStatus, RunKind, TaskStatus, WorkflowStatus
from kallista.core.types import Json, JsonText, Micros, RunId, RunKey, StepId
from kallista.engine.active import ActiveRun, DefinitionCache, Progress, run_of
from kallista.engine.facts import Facts
from kallista.store.port import RunRecord, Store


class SnapshotBuilder:
    """Turns records into snapshots.

    Args:
        store: Where results are.
        definitions: Definitions already read.
        facts: What child runs returned.
        progress: What the attempts of a run report that run in this program, by step.
        now: What time it is.
    """

    def __init__(
        self,
        store: Store,
        definitions: DefinitionCache,
        facts: Facts,
        progress: Callable[[RunKey], Mapping[int, Progress]],
        now: Callable[[], Micros],
    ) -> None:
        self._store = store
        self._definitions = definitions
        self._facts = facts
        self._progress = progress
        self._now = now

    def definition(self, record: RunRecord) -> Definition:
        """What the run runs."""
        return self._definitions.get(record.definition, record.definition_content)

    async def run(self, record: RunRecord) -> AnySnapshot:
        """The run with all its steps and results."""
        return await self._built(record, await self._store.outcomes(record.key))

    async def final(self, active: ActiveRun) -> AnySnapshot:
        """A run that has ended in this program, of which everything is known."""
        record = active.record()
        assert record is not None, "what ends here was found or made here"
        return await self._built(record, active.results)

    async def _built(self, record: RunRecord, outcomes: Mapping[int, JsonText]) -> AnySnapshot:
        definition = self.definition(record)
        run = run_of(record, definition)
        progress = self._progress(record.key)
        steps = tuple(
            [
                await self._step(run, position, outcomes.get(position), progress.get(position))
                for position in range(len(definition.steps))
            ]
        )
        failed = sorted(
            (step for step in steps if step.error is not None),
            key=lambda step: step.ended_at or to_datetime(record.created_at),
        )
        errors = tuple(step.error for step in failed if step.error is not None)
        own = outcomes.get(WHOLE_RUN)
        if own is not None:
            errors += _errors_of(own, None, 0, record.head.ended_at)
        if record.kind is RunKind.TASK:
            return self._task(record, definition, run, steps[0], errors)
        if record.kind is RunKind.WORKFLOW:
            return WorkflowSnapshot(
                **_common(record, run, errors),
                status=WorkflowStatus(record.head.state.value),
                tasks=steps,
            )
        return ProcessSnapshot(
            **_common(record, run, errors),
            status=ProcessStatus(record.head.state.value),
            steps=steps,
            dependencies=definition.dependencies,
        )

    def _task(
        self,
        record: RunRecord,
        definition: Definition,
        run: Run,
        step: StepSnapshot,
        errors: tuple[RunError, ...],
    ) -> TaskSnapshot:
        work = definition.steps[0].work
        assert isinstance(work, TaskSpec), "a single task is a task"
        scheduled = run.steps[0].since
        return TaskSnapshot(
            **_common(record, run, errors),
            status=step.status,
            type=work.type,
            config=run.config(0),
            attempt=step.attempt,
            result=step.result,
            error=step.error,
            note=step.note,
            schedule_id=record.schedule,
            scheduled_time=None if scheduled is None else to_datetime(scheduled),
        )

    async def _step(
        self, run: Run, position: int, outcome: JsonText | None, progress: Progress | None
    ) -> StepSnapshot:
        spec, state = run.definition.steps[position], run.steps[position]
        id = run.step_id(position)
        result: Json = None
        error = note = None
        if state.status is TaskStatus.COMPLETED and outcome is not None:
            result = await self._facts.result(run, position, outcome)
        elif state.status is TaskStatus.FAILED and outcome is not None:
            error = next(iter(_errors_of(outcome, id, state.attempt, state.ended_at)), None)
        elif outcome is not None:
            note = _note(json.loads(outcome))
        child = spec.work if isinstance(spec.work, ChildSpec) else None
        started = child is not None and state.attempt > 0
        return StepSnapshot(
            id=id,
            name=spec.name or id,
            kind=RunKind.TASK if child is None else child.definition.kind,
            type=spec.work.type if isinstance(spec.work, TaskSpec) else None,
            status=shown(state, self._now()),
            attempt=state.attempt,
            depends_on=tuple(run.definition.steps[before].id for before in spec.depends_on),
            result=result,
            error=error,
            note=note,
            child_id=RunId(child_id(run.id, spec.id, 0)) if started else None,
            ready_at=_moment(state.ready_at),
            started_at=_moment(state.started_at),
            ended_at=_moment(state.ended_at),
            progress=None if progress is None else progress.fraction,
            progress_message=None if progress is None else progress.message,
        )

    def summary(self, record: RunRecord) -> RunSummary:
        """A line of a list."""
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
        work = definition.steps[0].work
        assert isinstance(work, TaskSpec), "a schedule starts a task"
        return ScheduleSnapshot(
            id=schedule.id,
            status=schedule.status,
            trigger=_in_words(json.loads(schedule.trigger)),
            type=work.type,
            config=work.config,
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
        )


def shown(step: StepState, now: Micros) -> TaskStatus:
    """The status that users see: a SCHEDULED step whose moment has come is READY."""
    due = step.ready_at is not None and step.ready_at <= now
    return TaskStatus.READY if step.status is TaskStatus.SCHEDULED and due else step.status


def _in_words(trigger: Mapping[str, Json]) -> str:
    """What a stored trigger says, also on a machine that does not know its zone."""
    match trigger:
        case {"type": "cron", "expression": str(expression), "timezone": str() | None as timezone}:
            return f"cron {expression} ({timezone or 'UTC'})"
        case {"type": "every", "interval": int(interval)}:
            return f"every {format_duration(interval)}"
        case {"type": "at", "moment": int(moment)}:
            return f"at {to_datetime(moment)}"
        case _:
            return json.dumps(trigger)


class _Common(TypedDict):
    """The fields that the snapshots of all kinds share."""

    id: RunId
    kind: RunKind
    name: str
    inputs: Mapping[str, Json]
    errors: tuple[RunError, ...]
    in_flight: int
    priority: int
    tags: tuple[str, ...]
    parent_id: RunId | None
    created_at: datetime
    started_at: datetime | None
    ended_at: datetime | None


def _common(record: RunRecord, run: Run, errors: tuple[RunError, ...]) -> _Common:
    return _Common(
        id=record.id,
        kind=record.kind,
        name=record.name,
        inputs={} if record.kind is RunKind.TASK else run.inputs,
        errors=errors,
        in_flight=record.head.in_flight,
        priority=record.priority,
        tags=record.tags,
        parent_id=record.parent_id,
        created_at=to_datetime(record.created_at),
        started_at=_moment(record.head.started_at),
        ended_at=_moment(record.head.ended_at),
    )


def _errors_of(
    outcome: JsonText, task_id: StepId | None, attempt: int, at: Micros | None
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
            at=_moment(at),
        ),
    )


def _note(data: Json) -> str | None:
    if isinstance(data, dict):
        reason = data.get("reason")
        return None if reason is None else str(reason)
    return None if data is None else str(data)


def _moment(at: Micros | None) -> datetime | None:
    return None if at is None else to_datetime(at)
