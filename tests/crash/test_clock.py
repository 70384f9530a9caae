"""A wall clock that is set back at an unlucky moment."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from kallista import Kallista
from kallista.core.schedules import Schedule
from kallista.core.types import Micros
from kallista.engine.embedded import Options
from kallista.store.memory import MemoryStore
from kallista.testing.clock import FakeClock

HOUR = 3_600_000_000


class Clock(FakeClock):
    """A clock that somebody sets."""

    def set_back(self, length: int) -> None:
        """Show an earlier time from now on."""
        self._now = Micros(self._now - length)


class Unlucky(MemoryStore):
    """A store during whose answers the clock is set back.

    Args:
        clock: That clock.
    """

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self._clock = clock

    async def due_schedules(self, now: Micros, limit: int) -> Sequence[tuple[Schedule, bool]]:
        """What is due; by the time that it is told, the clock shows an hour less."""
        due = await super().due_schedules(now, limit)
        if due:
            self._clock.set_back(HOUR)
        return due


@pytest.mark.anyio
async def test_a_schedule_fires_although_the_clock_was_set_back_at_that_moment() -> None:
    """It was due when it was found, so it fires; no program hangs looking for its moment."""
    clock = Clock()
    app = Kallista.assembled(Unlucky(clock), clock, tasks=[], options=Options())
    async with app:
        await app.scheduler.schedule_task("often", {"type": "sleep", "seconds": 0}, interval=60)
        await clock.settle()
        schedule = await app.scheduler.get_schedule("often")
    assert schedule.fired == 1
