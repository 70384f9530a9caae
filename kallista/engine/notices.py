"""Who waits for news of a run in this program, and how they are told."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Self, TypeAlias

from kallista.core.types import RunId
from kallista.engine.active import ActiveRun

_Subscribers: TypeAlias = "dict[RunId, dict[News, None]]"


class News:
    """What one subscriber is told, for as long as the block lasts; one may wait at a time.

    Args:
        all_subscribers: Where it is entered.
        run: Whose news.
        to_its_end: Only the run's end, or its loss, is news.
    """

    __slots__ = ("_all", "_run", "_told", "_waiting", "final", "to_its_end")

    def __init__(self, all_subscribers: _Subscribers, run: RunId, *, to_its_end: bool) -> None:
        self._all = all_subscribers
        self._run = run
        self._told = False
        self._waiting: asyncio.Future[None] | None = None
        self.to_its_end = to_its_end
        self.final: ActiveRun | None = None
        """The run as it ended in this program, when nothing more has to be read of it."""

    def __enter__(self) -> Self:
        self._all.setdefault(self._run, {})[self] = None
        return self

    def __exit__(self, *error: object) -> None:
        subscribers = self._all[self._run]
        del subscribers[self]
        if not subscribers:
            del self._all[self._run]

    def tell(self) -> None:
        """There is something new."""
        self._told = True
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(None)

    async def wait(self) -> None:
        """Wait for something new."""
        if not self._told:
            self._waiting = asyncio.get_running_loop().create_future()
            await self._waiting
        self._told = False


class Notices:
    """Subscriptions to single runs.

    A subscriber is told whenever the run may have changed, also when another program may have
    changed it; it then looks for itself.
    """

    def __init__(self) -> None:
        # told in the order of asking: what a set's order follows differs from one time to the next
        self._subscribers: _Subscribers = {}
        self.on_over: Callable[[ActiveRun | None], None] | None = None
        """Called when a run has ended, with what is known of it, or may have ended elsewhere."""

    def subscribed(self, run: RunId, *, to_its_end: bool = False) -> News:
        """News for as long as the block lasts.

        Args:
            run: Whose news.
            to_its_end: Only its end, or its loss, is news.
        """
        return News(self._subscribers, run, to_its_end=to_its_end)

    def tell(self, run: RunId, *, over: bool, final: ActiveRun | None = None) -> None:
        """The run has changed.

        Args:
            run: Which one.
            over: Whether it has ended, or may have ended where this program does not see it.
            final: It has ended here, and this is what is known of it.
        """
        if over and self.on_over is not None:
            self.on_over(final)
        for news in self._subscribers.get(run, ()):
            if over or not news.to_its_end:
                news.final = final
                news.tell()

    def tell_all(self) -> None:
        """Any run may have changed: another program has written."""
        for subscribers in self._subscribers.values():
            for news in subscribers:
                news.tell()
