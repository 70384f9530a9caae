"""Who waits for news of a run in this program, and how they are told."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from kallista.core.types import RunId
from kallista.engine.active import ActiveRun


class News:
    """What one subscriber is told.

    Args:
        to_its_end: Only the run's end, or its loss, is news.
    """

    def __init__(self, *, to_its_end: bool) -> None:
        self.to_its_end = to_its_end
        self.final: ActiveRun | None = None
        """The run as it ended in this program, when nothing more has to be read of it."""
        self._told = asyncio.Event()

    def tell(self) -> None:
        """There is something new."""
        self._told.set()

    async def wait(self) -> None:
        """Wait for something new."""
        await self._told.wait()
        self._told.clear()


class Notices:
    """Subscriptions to single runs.

    A subscriber is told whenever the run may have changed, also when another program may have
    changed it; it then looks for itself.
    """

    def __init__(self) -> None:
        # told in the order of asking: what a set's order follows differs from one time to the next
        self._subscribers: dict[RunId, dict[News, None]] = {}

    @contextmanager
    def subscribed(self, run: RunId, *, to_its_end: bool = False) -> Iterator[News]:
        """News for as long as the block lasts.

        Args:
            run: Whose news.
            to_its_end: Only its end, or its loss, is news.
        """
        news = News(to_its_end=to_its_end)
        self._subscribers.setdefault(run, {})[news] = None
        try:
            yield news
        finally:
            subscribers = self._subscribers[run]
            del subscribers[news]
            if not subscribers:
                del self._subscribers[run]

    def tell(self, run: RunId, *, over: bool, final: ActiveRun | None = None) -> None:
        """The run has changed.

        Args:
            run: Which one.
            over: Whether it has ended, or may have ended where this program does not see it.
            final: It has ended here, and this is all there is to know of it.
        """
        for news in self._subscribers.get(run, ()):
            if over or not news.to_its_end:
                news.final = final
                news.tell()

    def tell_all(self) -> None:
        """Any run may have changed: another program has written."""
        for subscribers in self._subscribers.values():
            for news in subscribers:
                news.tell()
