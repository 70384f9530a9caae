"""When a writer renews its program's lease by itself, because the event loop is too busy to ask."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any


class Pulse:
    """Tells a writer's thread for how long it may go on waiting for something to write.

    A handler that blocks the event loop keeps its program from renewing the lease. The program must
    not look dead for that, unless it is blocked for ever: so there is an end to it.

    Args:
        every: Seconds after the last renewal until the writer renews by itself.
        longest: Seconds after the program's own last renewal until the writer gives it up.
        now: The monotonic clock, in seconds.
    """

    def __init__(
        self, every: float, longest: float, now: Callable[[], float] = time.monotonic
    ) -> None:
        self._every = every
        self._longest = longest
        self._now = now
        self._asked_at = self._renewed_at = now()

    def asked(self) -> None:
        """The program itself renews its lease."""
        self._asked_at = self._renewed_at = self._now()

    def renewed(self) -> None:
        """The writer does it."""
        self._renewed_at = self._now()

    @property
    def wait(self) -> float | None:
        """Seconds until the writer is to renew; None: not before the program does itself."""
        now = self._now()
        if now - self._asked_at >= self._longest:
            return None
        return max(0.0, self._renewed_at + self._every - now)


def unheard(loop: asyncio.AbstractEventLoop) -> asyncio.Future[Any]:
    """The future of a request that nobody waits for."""
    future: asyncio.Future[Any] = loop.create_future()
    future.cancel()
    return future
