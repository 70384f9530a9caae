"""Fires schedules whose moment has come; ``scheduling.py`` answers what users ask of them."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence

from kallista.core.birth import Wanted, newborn, started
from kallista.core.firing import (
    Others,
    Step,
    fire,
    fire_by_hand,
    next_start,
    paused_by_failures,
    trigger_of,
)
from kallista.core.firing_values import filled_in, scope_of
from kallista.core.ids import firing_id
from kallista.core.json_text import from_json
from kallista.core.plan import NewRun
from kallista.core.schedules import Firing, Schedule
from kallista.core.states import ScheduleStatus, TaskStatus
from kallista.core.types import Json, Micros, RunId, ScheduleId
from kallista.engine.active import DefinitionCache
from kallista.engine.alarm import TRY_AGAIN_AFTER
from kallista.engine.clock import Clock
from kallista.errors import StoreError
from kallista.store.port import RunFilter, Store

_log = logging.getLogger("kallista.engine")

FIRINGS_AT_ONCE = 500

ENDED_UNSEEN_AFTER = Micros(5_000_000)
"""When to look again after a firing that waits: its end is heard of at once, or nearly always."""

_FAILED = TaskStatus.FAILED.value
_COMPLETED = TaskStatus.COMPLETED.value
"""The words are the same for runs of every kind."""


async def status_of(store: Store, id: RunId) -> str | None:
    """The status of a run, or the last one of a deleted run; None if there never was one."""
    there = await store.load(id)
    if there is not None:
        return there.status
    gone = await store.tombstone(id)
    return None if gone is None else gone.status


class Firings:
    """Fires schedules whose moment has come.

    Any number of programs may do so: a firing is named by its moment, and whoever is second
    finds the schedule changed. One that cannot be fired here (its time zone is not known on this
    machine, say) is left to other programs, and holds up no other schedule. One that waits for the
    run of its last firing is looked at again when that ends.

    Args:
        store: Where schedules are.
        clock: What time it is.
        definitions: Definitions already read.
        on_fired: Called when tasks were queued, with their moment and priority.
        cancel: Cancels a run that is to make room for the next firing, for a reason.
    """

    def __init__(
        self,
        store: Store,
        clock: Clock,
        definitions: DefinitionCache,
        on_fired: Callable[[Micros, int], None],
        cancel: Callable[[RunId, str], Awaitable[None]],
    ) -> None:
        self._store = store
        self._clock = clock
        self._definitions = definitions
        self._on_fired = on_fired
        self._cancel = cancel
        self._failing: dict[ScheduleId, str] = {}
        self._waiting: dict[ScheduleId, Micros | None] = {}
        self._failed: set[ScheduleId] = set()
        self._some_ended = False

    def has_ended(self, schedule: ScheduleId | None, *, failed: bool) -> bool:
        """A run has ended; whether that makes it worth a look at the schedules.

        Args:
            schedule: Whose firing it was, if that is known.
            failed: Whether it has failed.
        """
        self._some_ended = True
        if failed and schedule is not None:
            self._failed.add(schedule)
        return bool(self._failed or self._waiting)

    async def once(self) -> Micros | None:
        """Fire all that is due; returns when to look again."""
        before, self._failing, self._waiting = self._failing, {}, {}
        self._some_ended = False
        await self._pause_failed()
        now = self._clock.now()
        while due := await self._due(now):
            await self._fire(due, now, before)
            now = self._clock.now()
        next_at = await self._store.next_schedule_at(now)
        later = [] if next_at is None else [next_at]
        later += [Micros(now + TRY_AGAIN_AFTER)] if self._failing else []
        later += [Micros(now + ENDED_UNSEEN_AFTER)] if self._waiting else []
        if self._waiting and self._some_ended:
            later.append(now)  # it may have ended after it was found to be under way
        later += [at for at in self._waiting.values() if at is not None and at > now]
        return min(later, default=None)

    async def _due(self, now: Micros) -> Sequence[tuple[Schedule, bool]]:
        """What is due and has neither failed just now nor been found to wait."""
        aside = self._failing.keys() | self._waiting.keys()
        found = await self._store.due_schedules(now, FIRINGS_AT_ONCE + len(aside))
        return [(schedule, busy) for schedule, busy in found if schedule.id not in aside]

    async def _pause_failed(self) -> None:
        """Pause those whose firings fail, as soon as the last one has."""
        failed, self._failed = self._failed, set()
        for id in sorted(failed):
            schedule = await self._store.schedule(id)
            if schedule is not None and schedule.status is ScheduleStatus.ACTIVE:
                paused = await self._paused(schedule, self._clock.now())
                if paused is not None:
                    await self._store.fire([Firing(paused, None)])

    async def _paused(self, schedule: Schedule, now: Micros) -> Schedule | None:
        """The schedule PAUSED, if as many of its firings have failed as may; None otherwise."""
        most = schedule.rules.pause_on_failure
        if not most:
            return None
        ended = RunFilter(
            now, statuses=(_FAILED, _COMPLETED), schedule=schedule.id,
            created_from=schedule.since, limit=most,
        )  # fmt: skip
        last = await self._store.list_runs(ended)
        if len(last) < most or any(run.status != _FAILED for run in last):
            return None
        return paused_by_failures(schedule, last[0].id, now)

    async def _fire(
        self,
        due: Sequence[tuple[Schedule, bool]],
        now: Micros,
        told: Mapping[ScheduleId, str],
    ) -> None:
        """Fire what was due at a moment, even if the clock shows an earlier one by now.

        Args:
            due: The schedules, and whether the last task of each is still under way.
            now: The moment.
            told: What was said before of those that cannot be fired; it is not said again.
        """
        firings = []
        for schedule, busy in due:
            try:
                firing = await self._looked_at(schedule, busy, now)
            except StoreError:
                raise
            except Exception as error:
                why = self._failing[schedule.id] = f"{type(error).__name__}: {error}"
                if told.get(schedule.id) != why:
                    _log.error("schedule %r cannot be fired here: %s", schedule.id, why)
            else:
                if firing is None:
                    self._waiting[schedule.id] = next_start(schedule)
                else:
                    firings.append(firing)
        if not firings:
            return  # an empty group is written, too, and makes other programs look
        written = await self._store.fire(firings)
        for firing, done in zip(firings, written, strict=True):
            if done and firing.run is not None:
                self._on_fired(now, firing.run.priority)

    async def _looked_at(self, schedule: Schedule, busy: bool, now: Micros) -> Firing | None:
        """What a due schedule writes; None: it waits for the run of its last firing."""
        others = await self._others(schedule, busy)
        # Asked afterwards, so that no run whose end is known by now is missing.
        paused = await self._paused(schedule, now)
        if paused is not None:
            return Firing(paused, None)
        look = fire(schedule, now, others)
        if look.step is Step.CANCEL and schedule.last_run is not None:
            await self._cancel(schedule.last_run, f"the next firing of {schedule.id!r} is due")
        if look.step in (Step.CANCEL, Step.WAIT):
            return None
        if look.run is None:
            return Firing(look.schedule, None)
        run = self._run(schedule, look.run, look.moment, now, look.priority)
        return Firing(look.schedule, run)

    async def _others(self, schedule: Schedule, busy: bool) -> Others:
        """What has become of the runs that a schedule has started before."""
        backfill = schedule.backfill
        if backfill is None:
            return Others(busy)
        last = None if backfill.run is None else await self._store.load(backfill.run)
        is_over = last is None or (last.head.ended_at is not None and not last.head.in_flight)
        at = None if backfill.at is None else RunId(firing_id(schedule.id, backfill.at))
        exists = at is not None and await status_of(self._store, at) is not None
        return Others(busy, not is_over, exists)

    def by_hand(self, schedule: Schedule, now: Micros) -> Firing:
        """What a firing writes that a user asks for; the schedule's rhythm stays."""
        after, run = fire_by_hand(schedule, now)
        return Firing(after, self._run(schedule, run, now, now, schedule.priority))

    def _run(
        self, schedule: Schedule, id: RunId, moment: Micros, now: Micros, priority: int
    ) -> NewRun:
        """The run that a firing starts.

        Args:
            schedule: Which schedule fires.
            id: The id of the run.
            moment: The moment of the firing.
            now: When it starts.
            priority: The priority of the run.
        """
        inputs: Mapping[str, Json] = from_json(schedule.inputs)
        if inputs:
            inputs = filled_in(inputs, scope_of(schedule.id, trigger_of(schedule), moment))
        wanted = Wanted(
            id=id,
            definition=self._definitions.get(schedule.definition, schedule.definition_content),
            inputs=inputs,
            priority=priority,
            tags=schedule.tags,
            schedule=schedule.id,
        )
        return newborn(wanted, started(wanted, now), now)
