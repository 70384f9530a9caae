"""What keeps a service going: an alarm to sleep by, and the loop around its ``once``."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from kallista.core.types import Micros
from kallista.engine.clock import Clock, Timer
from kallista.errors import StoreError

_log = logging.getLogger("kallista.engine")

TRY_AGAIN_AFTER = Micros(1_000_000)
"""How long a service waits after the store has failed it."""


class Alarm:
    """Waits for a moment, or for being called earlier.

    Args:
        clock: Whose moments they are.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._rang = asyncio.Event()
        self._timer: Timer | None = None
        self._moment: Micros | None = None

    def ring(self) -> None:
        """Wake the waiter now."""
        self._rang.set()

    def set(self, moment: Micros) -> None:
        """Wake the waiter at a moment, unless an earlier one is set.

        An earlier one that is past by now was missed: the clock has been set forward, and its timer
        would ring only when as much time has gone by as had been left then.
        """
        if self._timer is not None and self._moment is not None and self._moment <= moment:
            if self._moment > self._clock.now():
                return
            self.ring()
        self.clear()
        self._moment = moment
        self._timer = self._clock.call_at(moment, self._on_time)

    def clear(self) -> None:
        """Forget the moment."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None

    async def wait(self) -> None:
        """Wait until it rings."""
        await self._rang.wait()
        self._rang.clear()

    def _on_time(self) -> None:
        self._timer = None
        self._rang.set()


async def repeat(
    once: Callable[[], Awaitable[Micros | None]], alarm: Alarm, clock: Clock, name: str
) -> None:
    """Do a service's work at every ring of its alarm, until cancelled, whatever fails in it.

    Args:
        once: Does the work; returns when it is due next, None for never by itself.
        alarm: What wakes it.
        clock: What time it is.
        name: What people read when it fails.
    """
    while True:
        await alarm.wait()
        try:
            due = await once()
        except StoreError as error:
            _log.warning("%s failed and is tried again: %s", name, error)
            due = Micros(clock.now() + TRY_AGAIN_AFTER)
        except Exception:
            _log.exception("%s failed, which is a mistake in Kallista; it is tried again", name)
            due = Micros(clock.now() + TRY_AGAIN_AFTER)
        if due is not None:
            alarm.set(due)
