"""The small services beside dispatching: firing schedules, and taking over from the dead."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from kallista.core.birth import Wanted, newborn, started
from kallista.core.ids import firing_id
from kallista.core.plan import NewRun
from kallista.core.schedules import Firing, Schedule, fire
from kallista.core.types import Micros, RunId
from kallista.engine.active import DefinitionCache
from kallista.engine.clock import Clock
from kallista.store.port import Store

FIRINGS_AT_ONCE = 500


class Firings:
    """Fires schedules whose moment has come.

    Any number of programs may do so: a firing is named by its moment, and whoever is second
    finds the schedule changed.

    Args:
        store: Where schedules are.
        clock: What time it is.
        definitions: Definitions already read.
        on_fired: Called when tasks were queued, with their moment and priority.
    """

    def __init__(
        self,
        store: Store,
        clock: Clock,
        definitions: DefinitionCache,
        on_fired: Callable[[Micros, int], None],
    ) -> None:
        self._store = store
        self._clock = clock
        self._definitions = definitions
        self._on_fired = on_fired

    async def once(self) -> Micros | None:
        """Fire all that is due; returns when the next one is."""
        while due := await self._store.due_schedules(self._clock.now(), FIRINGS_AT_ONCE):
            await self._fire(due)
        return await self._store.next_schedule_at()

    async def _fire(self, due: Sequence[tuple[Schedule, bool]]) -> None:
        now = self._clock.now()
        firings = [self.firing(schedule, busy, now) for schedule, busy in due]
        written = await self._store.fire(firings)
        for firing, done in zip(firings, written, strict=True):
            if done and firing.run is not None:
                self._on_fired(now, firing.run.priority)

    def firing(self, schedule: Schedule, busy: bool, now: Micros) -> Firing:
        """What one due schedule writes."""
        after, task = fire(schedule, now, busy=busy)
        return Firing(after, None if task is None else self._task(schedule, task, now))

    def by_hand(self, schedule: Schedule, now: Micros) -> Firing:
        """What a firing writes that a user asks for; the schedule's rhythm stays."""
        task = RunId(firing_id(schedule.id, now))
        after = replace(schedule, fired=schedule.fired + 1, last_at=now, last_run=task)
        return Firing(after, self._task(schedule, task, now))

    def _task(self, schedule: Schedule, id: RunId, now: Micros) -> NewRun:
        wanted = Wanted(
            id=id,
            definition=self._definitions.get(schedule.definition, schedule.definition_content),
            inputs={},
            priority=schedule.priority,
            tags=schedule.tags,
            schedule=schedule.id,
        )
        return newborn(wanted, started(wanted, now), now)


class TakeOver:
    """Frees the runs of workers that have died, so that somebody goes on with them.

    Args:
        store: Whose workers they are.
        clock: What time it is.
        every: How often to look.
        on_freed: Called when runs were freed.
    """

    def __init__(
        self, store: Store, clock: Clock, every: Micros, on_freed: Callable[[], None]
    ) -> None:
        self._store = store
        self._clock = clock
        self._every = every
        self._on_freed = on_freed
        self._looked = False

    async def once(self) -> Micros:
        """Look for the dead; returns when to look again.

        Freeing is a write, so after the first time it is left out while everybody lives.
        """
        dead = [worker for worker in await self._store.workers() if not worker.alive]
        if dead or not self._looked:
            if await self._store.release_dead(self._clock.now()):
                self._on_freed()
            self._looked = True
        return Micros(self._clock.now() + self._every)
