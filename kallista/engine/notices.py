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
        self._events: dict[RunKey, set[asyncio.Event]] = {}

    def __bool__(self) -> bool:
        return bool(self._events)

    @contextmanager
    def subscribed(self, run: RunKey) -> Iterator[asyncio.Event]:
        """An event that is set at each piece of news, for as long as the block lasts."""
        event = asyncio.Event()
        self._events.setdefault(run, set()).add(event)
        try:
            yield event
        finally:
            events = self._events[run]
            events.discard(event)
            if not events:
                del self._events[run]

    def tell(self, run: RunKey) -> None:
        """The run has changed."""
        for event in self._events.get(run, ()):
            event.set()

    def tell_all(self) -> None:
        """Any run may have changed: another program has written."""
        for events in self._events.values():
            for event in events:
                event.set()
