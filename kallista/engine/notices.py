"""Who waits for news of a run in this program, and how they are told."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from kallista.core.types import RunKey


class Notices:
    """Subscriptions to single runs.

    A subscriber gets an event that is set whenever the run may have changed, also when another
    program may have changed it; it then looks for itself.
    """

    def __init__(self) -> None:
        self._events: dict[RunKey, dict[asyncio.Event, bool]] = {}

    @contextmanager
    def subscribed(self, run: RunKey, *, to_its_end: bool = False) -> Iterator[asyncio.Event]:
        """An event that is set at each piece of news, for as long as the block lasts.

        Args:
            run: Whose news.
            to_its_end: Only its end, or its loss, is news.
        """
        event = asyncio.Event()
        self._events.setdefault(run, {})[event] = to_its_end
        try:
            yield event
        finally:
            events = self._events[run]
            del events[event]
            if not events:
                del self._events[run]

    def tell(self, run: RunKey, *, over: bool) -> None:
        """The run has changed.

        Args:
            run: Which one.
            over: Whether it has ended, or may have ended where this program does not see it.
        """
        for event, to_its_end in self._events.get(run, {}).items():
            if over or not to_its_end:
                event.set()

    def tell_all(self) -> None:
        """Any run may have changed: another program has written."""
        for events in self._events.values():
            for event in events:
                event.set()
