"""Time as the engine knows it: a port, so that a test can hold it still."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Protocol

from kallista.core.types import Micros


class Timer(Protocol):
    """A call that is still to come."""

    def cancel(self) -> None:
        """Let it not come; no harm once it has."""
        ...


class Clock(Protocol):
    """What time it is, and calls at a later time."""

    def now(self) -> Micros:
        """This moment."""
        ...

    def monotonic(self) -> Micros:
        """Time that only ever goes on, whatever the wall clock is set to."""
        ...

    def call_at(self, moment: Micros, callback: Callable[[], None]) -> Timer:
        """Call back on the event loop once the moment has come; at once when it is past."""
        ...


async def pass_by(clock: Clock, length: Micros) -> None:
    """Wait until some time has passed."""
    passed = asyncio.Event()
    timer = clock.call_at(Micros(clock.now() + length), passed.set)
    try:
        await passed.wait()
    finally:
        timer.cancel()


class SystemClock:
    """The machine's clock."""

    def now(self) -> Micros:
        """This moment, by the machine's wall clock."""
        return Micros(time.time_ns() // 1000)

    def monotonic(self) -> Micros:
        """The machine's monotonic clock."""
        return Micros(time.monotonic_ns() // 1000)

    def call_at(self, moment: Micros, callback: Callable[[], None]) -> Timer:
        """Call back when the wall clock should show the moment.

        The loop counts on its monotonic clock; who is called looks at the wall clock again.
        """
        delay = max(0, moment - self.now()) / 1e6
        return asyncio.get_running_loop().call_later(delay, callback)
