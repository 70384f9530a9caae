"""What running attempts say of themselves: gathered in memory, and written once a second."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from threading import Lock
from typing import Final, TypeAlias

from kallista.core.events import Heartbeat
from kallista.core.states import TaskStatus
from kallista.core.types import JsonText, Micros, RunKey
from kallista.engine.active import ActiveRun
from kallista.engine.clock import Clock, Timer
from kallista.engine.heart import Heart
from kallista.store.port import Heard, RunRecord, Store

EVERY: Final = Micros(1_000_000)
"""How often what attempts say is written."""

_Place: TypeAlias = tuple[ActiveRun, int]

_log = logging.getLogger("kallista.engine")


class Heartbeats:
    """The attempts that run here and say something of themselves.

    Args:
        store: Where it is written, so that every program sees it and the next attempt gets it.
        clock: What time it is.
    """

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._loop: asyncio.AbstractEventLoop | None = None
        self._news: dict[Heart, _Place] = {}
        self._timer: Timer | None = None
        self._writing: asyncio.Future[None] | None = None
        self._making = Lock()

    def heart(self, active: ActiveRun, position: int) -> Heart:
        """The heart of a step's running attempt, made when it is first asked for."""
        with self._making:
            hearts = active.hearts
            if hearts is None:
                hearts = active.hearts = {}
            heart, attempt = hearts.get(position), active.run.steps[position].attempt
            if heart is None or heart.attempt != attempt:
                heart = Heart(attempt, self._clock, partial(self._on_news, active, position))
                hearts[position] = heart
            return heart

    def open(self) -> None:
        """From now on attempts may run, on this event loop."""
        self._loop = asyncio.get_running_loop()

    def end(self, active: ActiveRun, position: int, *, again: bool) -> None:
        """A step's attempt has ended; it is about to be reported.

        Args:
            active: Its run.
            position: The step.
            again: Whether there may be another attempt: it gets the details, however new, since
                they are written before the report is.
        """
        if active.hearts is None:
            return
        heart = active.hearts.pop(position, None)
        if heart is None:
            return
        heart.is_over = True
        self._news.pop(heart, None)
        if again and heart.news and heart.details is not None:
            self._write({heart: (active, position)}).add_done_callback(_lost)

    async def details(self, run: RunKey, position: int) -> JsonText | None:
        """What attempts of a step before this one have left for it."""
        for heard in await self._store.heartbeats([run]):
            if heard.step == position:
                return heard.heartbeat.details
        return None

    def _on_news(self, active: ActiveRun, position: int, heart: Heart) -> None:
        assert self._loop is not None, "an attempt has begun"
        try:
            here = asyncio.get_running_loop() is self._loop
        except RuntimeError:
            here = False
        if here:
            self._gather(heart, (active, position))
        else:
            self._loop.call_soon_threadsafe(self._gather, heart, (active, position))

    def _gather(self, heart: Heart, place: _Place) -> None:
        if not heart.is_over:
            self._news[heart] = place
            self._set_timer()

    def _set_timer(self) -> None:
        if self._timer is None and self._writing is None:
            self._timer = self._clock.call_at(Micros(self._clock.now() + EVERY), self._write_news)

    def _write_news(self) -> None:
        self._timer = None
        hearts, self._news = self._news, {}
        if hearts:
            self._writing = self._write(hearts)
            self._writing.add_done_callback(partial(self._written, hearts))

    def _write(self, hearts: Mapping[Heart, _Place]) -> asyncio.Future[None]:
        heard: list[Heard] = []
        for heart, (active, position) in hearts.items():
            heart.news = False  # before it is read: what is said meanwhile is news again
            active.heard |= {position}
            heard.append(Heard(active.key, position, heart.said()))
        return self._store.hear(heard)

    def _written(self, hearts: Mapping[Heart, _Place], written: asyncio.Future[None]) -> None:
        self._writing = None
        if written.cancelled() or written.exception() is not None:
            _lost(written)
            for heart, place in hearts.items():
                heart.news = True
                if not heart.is_over:
                    self._news[heart] = place
        if self._news:
            self._set_timer()

    def close(self) -> None:
        """Nothing runs here any more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


class Hearing:
    """What is known of the attempts of runs, wherever they are executed.

    Args:
        store: Where other programs write it.
        here: The newest of what attempts say that run in this program.
    """

    def __init__(self, store: Store, here: Callable[[RunKey], Mapping[int, Heartbeat]]) -> None:
        self._store = store
        self._here = here

    async def of(self, records: Sequence[RunRecord]) -> Mapping[tuple[RunKey, int], Heartbeat]:
        """What running attempts say, by run and step; who has none in flight is not asked for."""
        runs = [record.key for record in records if record.head.in_flight]
        if not runs:
            return {}
        found = {
            (heard.run, heard.step): heard.heartbeat for heard in await self._store.heartbeats(runs)
        }
        for run in runs:
            found.update({(run, step): said for step, said in self._here(run).items()})
        steps = {record.key: record.steps for record in records}
        return {
            (run, step): said
            for (run, step), said in found.items()
            if steps[run][step].status is TaskStatus.RUNNING
        }


def _lost(written: asyncio.Future[None]) -> None:
    """What an attempt said was not written; it says more, or has ended."""
    error = None if written.cancelled() else written.exception()
    if error is not None:
        _log.info("what attempts say could not be written: %s", error)
