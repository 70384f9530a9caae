"""Answers what users ask of schedules; ``firings.py`` fires them."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence

from msgspec import to_builtins
from msgspec.structs import replace

from kallista.core.durations import to_datetime
from kallista.core.encoding import definition_hash, definition_text
from kallista.core.firing import (
    backfill_moments,
    ended,
    next_moments,
    upcoming,
    waiting_for,
    with_backfill,
    without_backfill,
)
from kallista.core.ids import content_hash, firing_id, may_exist
from kallista.core.json_text import to_json
from kallista.core.schedules import Firing, Schedule
from kallista.core.snapshots import BackfillMoment, NextFiring, Page, ScheduleSnapshot
from kallista.core.states import ScheduleStatus
from kallista.core.types import JsonText, Micros, RunId, ScheduleId
from kallista.engine.clock import Clock
from kallista.engine.firings import Firings, status_of
from kallista.engine.knowledge import Knowledge
from kallista.engine.paging import checked_limit, cursor_of, read_cursor
from kallista.engine.port import ScheduleRequest
from kallista.engine.snapshots import SnapshotBuilder, next_firing
from kallista.errors import ConflictError, NotFoundError, StateError, UsageError
from kallista.store.port import Store


class StoredSchedules:
    """The schedules of a store.

    Args:
        store: Where they are.
        clock: What time it is.
        firings: Makes what a firing writes.
        snapshots: Makes what users see.
        knowledge: What need not be asked.
        on_queued: Called when a task was queued, with its moment and priority.
        on_changed: Called when another moment may be the next one.
    """

    def __init__(
        self,
        store: Store,
        clock: Clock,
        firings: Firings,
        snapshots: SnapshotBuilder,
        knowledge: Knowledge,
        on_queued: Callable[[Micros, int], None],
        on_changed: Callable[[], None],
    ) -> None:
        self._store = store
        self._clock = clock
        self._firings = firings
        self._snapshots = snapshots
        self._knowledge = knowledge
        self._on_queued = on_queued
        self._on_changed = on_changed

    async def create(self, request: ScheduleRequest) -> ScheduleId:
        """Create a schedule."""
        now = self._clock.now()
        if await self._store.load(RunId(request.id)) is not None:
            raise ConflictError(f"{request.id!r} is the id of a run; choose another for a schedule")
        self._knowledge.has_no_schedules = False
        schedule = _schedule(request, now)
        if await self._store.create_schedule(schedule):
            self._on_changed()
        return request.id

    async def get(self, id: ScheduleId) -> ScheduleSnapshot:
        """The schedule as it is now."""
        return self._snapshots.schedule(await self._schedule(id))

    async def set(self, id: ScheduleId, status: ScheduleStatus, reason: str | None) -> bool:
        """Pause, resume or end it; false for a repeat."""
        while True:
            schedule = await self._schedule(id)
            if schedule.status is status:
                return False
            if schedule.status is ScheduleStatus.FINISHED:
                raise StateError(f"schedule {id!r} is over; schedule it anew under another id")
            changed = replace(schedule, status=status, note=reason, since=self._clock.now())
            changed = ended(changed) if status is ScheduleStatus.FINISHED else changed
            if await self._write_schedule(changed, None):
                self._on_changed()
                return True

    async def trigger(self, id: ScheduleId) -> RunId:
        """Fire it once, now."""
        while True:
            schedule = await self._schedule(id)
            now = self._clock.now()
            firing = self._firings.by_hand(schedule, now)
            assert firing.run is not None, "by hand it always fires"
            if await self._write_schedule(firing.schedule, firing):
                self._on_queued(now, schedule.priority)
                return firing.run.id

    async def backfill(
        self, id: ScheduleId, start: Micros, until: Micros, priority: int | None
    ) -> bool:
        """Fire for moments of the past; false for a repeat."""
        while True:
            schedule = await self._schedule(id)
            if schedule.status is ScheduleStatus.FINISHED:
                raise StateError(f"schedule {id!r} is over; schedule it anew under another id")
            lower = schedule.priority - 1 if priority is None else priority
            changed = with_backfill(schedule, start, self._past(until), lower)
            wanted, there = changed.backfill, schedule.backfill
            assert wanted is not None, "it was just given one"
            if there is not None:
                if there == replace(wanted, at=there.at, run=there.run):
                    return False
                raise StateError(
                    f"schedule {id!r} is still backfilling until {to_datetime(there.until)}; wait"
                    " for it, or cancel_backfill"
                )
            if await self._write_schedule(changed, None):
                self._on_changed()
                return True

    async def preview_backfill(
        self, id: ScheduleId, start: Micros, until: Micros, count: int
    ) -> Sequence[BackfillMoment]:
        """For which moments a backfill would fire."""
        schedule = await self._schedule(id)
        moments = backfill_moments(schedule, start, self._past(until), checked_limit(count))
        return [await self._backfill_moment(id, moment) for moment in moments]

    async def _backfill_moment(self, id: ScheduleId, moment: Micros) -> BackfillMoment:
        run = RunId(firing_id(id, moment))
        return BackfillMoment(to_datetime(moment), run, await status_of(self._store, run))

    async def cancel_backfill(self, id: ScheduleId) -> bool:
        """Leave out what a backfill has not started yet; false if there is none."""
        while True:
            schedule = await self._schedule(id)
            if schedule.backfill is None:
                return False
            if await self._write_schedule(without_backfill(schedule), None):
                self._on_changed()
                return True

    def _past(self, until: Micros) -> Micros:
        if until > self._clock.now():
            raise UsageError(
                f"a backfill is for moments of the past, and {to_datetime(until)} has not come yet;"
                " the schedule fires for those to come by itself"
            )
        return until

    async def delete(self, id: ScheduleId) -> None:
        """Remove it; the tasks it has started stay."""
        if not (may_exist(id) and await self._store.delete_schedule(id)):
            raise NotFoundError(f"no schedule has the id {id!r}; list shows those that exist")

    async def list(
        self, status: ScheduleStatus | None, cursor: str | None, limit: int
    ) -> Page[ScheduleSnapshot]:
        """Schedules in the order of their ids."""
        limit = checked_limit(limit)
        after = None if cursor is None else ScheduleId(read_cursor(cursor, str))
        found = await self._store.list_schedules(status, after, limit + 1)
        shown = found[:limit]
        next_cursor = cursor_of(shown[-1].id) if len(found) > limit else None
        return Page(tuple(self._snapshots.schedule(schedule) for schedule in shown), next_cursor)

    async def next_fire_times(self, id: ScheduleId, count: int) -> Sequence[Micros]:
        """When it will fire next, if nothing changes."""
        return next_moments(await self._schedule(id), checked_limit(count))

    async def next_firings(self, id: ScheduleId, count: int) -> Sequence[NextFiring]:
        """The same, with what changes of the clocks do to it."""
        firings = upcoming(await self._schedule(id), checked_limit(count), self._clock.now())
        return [next_firing(firing) for firing in firings]

    async def _schedule(self, id: ScheduleId) -> Schedule:
        schedule = await self._store.schedule(id) if may_exist(id) else None
        if schedule is None:
            raise NotFoundError(f"no schedule has the id {id!r}; list shows those that exist")
        return schedule

    async def _write_schedule(self, schedule: Schedule, firing: Firing | None) -> bool:
        [written] = await self._store.fire([firing or Firing(schedule, None)])
        return written


def _schedule(request: ScheduleRequest, now: Micros) -> Schedule:
    begin = _begin(request, now)
    trigger = request.trigger.anchored(begin)
    first = request.first
    if first is None:
        first = trigger.next_after_us(max(begin, now) - 1)
    data = json.dumps(trigger.to_data(), sort_keys=True)
    schedule = Schedule(
        id=request.id,
        status=ScheduleStatus.ACTIVE,
        trigger=JsonText(data),
        definition=definition_hash(request.definition),
        definition_content=definition_text(request.definition),
        content=content_hash(_content(request)),
        priority=request.priority,
        tags=request.tags,
        max_runs=request.max_runs,
        until=request.until,
        fired=0,
        skipped=0,
        next_at=None,
        last_at=None,
        last_run=None,
        created_at=now,
        rules=request.rules,
        look_at=None,
        note=None,
        since=now,
        inputs=to_json(dict(request.inputs)),
        backfill=None,
        backfilled=0,
    )
    schedule = waiting_for(schedule, trigger, first)
    if schedule.status is ScheduleStatus.FINISHED:
        raise UsageError(f"schedule {request.id!r} would never fire: its time is over already")
    return schedule


def _begin(request: ScheduleRequest, now: Micros) -> Micros:
    """From when on intervals count that have no start of their own."""
    given = [moment for moment in (request.first, request.start) if moment is not None]
    return given[0] if given else now


def _content(request: ScheduleRequest) -> list[object]:
    """What tells one request from another; what is usual goes without saying."""
    content: list[object] = [
        definition_hash(request.definition), request.trigger.to_data(), request.priority,
        list(request.tags), request.max_runs, request.until,
    ]  # fmt: skip
    unusual = to_builtins(request.rules)
    if request.start is not None:
        unusual |= {"start": request.start}
    if request.inputs:
        unusual |= {"inputs": request.inputs}
    return [*content, unusual] if unusual else content
