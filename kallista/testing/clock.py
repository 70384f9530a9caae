"""A clock that a test holds in its hand."""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import count

from kallista.core.durations import parse_duration, to_datetime, to_micros
from kallista.core.types import Micros

_TURNS = 100_000


class _FakeTimer:
    """A call that a fake clock will make."""

    def __init__(self, callback: Callable[[], None]) -> None:
        self.callback: Callable[[], None] | None = callback

    def cancel(self) -> None:
        """Let it not come."""
        self.callback = None


class FakeClock:
    """Time that stands still until it is told to go on.

    Args:
        start: Where it stands first; 2026-01-01 00:00 UTC by default.
    """

    def __init__(self, start: datetime = datetime(2026, 1, 1, tzinfo=UTC)) -> None:
        self._now = to_micros(start)
        self._passed = Micros(0)
        self._timers: list[tuple[Micros, int, _FakeTimer]] = []
        self._order = count()

    def now(self) -> Micros:
        """This moment."""
        return self._now

    def monotonic(self) -> Micros:
        """How much time has passed, jumps of the clock left out."""
        return self._passed

    def time(self) -> datetime:
        """This moment as a datetime in UTC."""
        return to_datetime(self._now)

    def call_at(self, moment: Micros, callback: Callable[[], None]) -> _FakeTimer:
        """Call back once the clock has reached the moment; at once when it has."""
        timer = _FakeTimer(callback)
        if moment <= self._now:
            asyncio.get_running_loop().call_soon(self._fire, timer)
        else:
            heapq.heappush(self._timers, (moment, next(self._order), timer))
        return timer

    async def advance(self, length: float | str | timedelta) -> None:
        """Let time pass; every timer on the way fires at its own moment.

        Args:
            length: Seconds, "1m30s", ISO 8601 or a timedelta.
        """
        end = Micros(self._now + parse_duration(length))
        await self.settle()
        while (moment := self.next_timer()) is not None and moment <= end:
            await self.advance_to(moment)
        await self.advance_to(end)

    async def advance_to(self, moment: Micros) -> None:
        """Let time jump to a moment, and let everything happen that follows from it."""
        self._passed = Micros(self._passed + max(0, moment - self._now))
        self._now = max(self._now, moment)
        while self._timers and self._timers[0][0] <= self._now:
            _, _, timer = heapq.heappop(self._timers)
            self._fire(timer)
        await self.settle()

    async def settle(self) -> None:
        """Let everything happen that can happen without time passing.

        Raises:
            RuntimeError: It never comes to rest.
        """
        await settle()

    def jump(self, length: float | str | timedelta, *, back: bool = False) -> None:
        """Set the clock forward or back without anything happening, as an administrator might."""
        change = parse_duration(length)
        self._now = Micros(self._now - change if back else self._now + change)

    def next_timer(self) -> Micros | None:
        """When the next timer fires; None when none is set."""
        while self._timers and self._timers[0][2].callback is None:
            heapq.heappop(self._timers)
        return self._timers[0][0] if self._timers else None

    def _fire(self, timer: _FakeTimer) -> None:
        callback, timer.callback = timer.callback, None
        if callback is not None:
            callback()


async def settle() -> None:
    """Let everything happen on the event loop that can happen without time passing.

    Raises:
        RuntimeError: It never comes to rest.
    """
    loop = asyncio.get_running_loop()
    ready = getattr(loop, "_ready", None)  # the loop offers no public way to ask
    if ready is None:
        raise RuntimeError("time can be faked on asyncio's own event loop only")
    for _ in range(_TURNS):
        await asyncio.sleep(0)
        if not ready:
            return
    raise RuntimeError("the event loop does not come to rest; does a handler spin?")
