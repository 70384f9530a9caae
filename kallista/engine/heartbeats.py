"""What running attempts say of themselves: gathered in memory, and written once a second."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from threading import Lock
from typing import Final

from kallista.core.events import Heartbeat
from kallista.core.states import TaskStatus
from kallista.core.types import JsonText, Micros, RunKey
from kallista.engine.active import ActiveRun
from kallista.engine.clock import Clock, Timer
from kallista.store.port import Heard, RunRecord, Store

EVERY: Final = Micros(1_000_000)
"""How often what attempts say is written."""

LATE: Final = Micros(1_000_000)
"""A timer that rings so much too late tells of a program that stood still, not of an attempt."""

LONGEST_MESSAGE: Final = 1_000

_log = logging.getLogger("kallista.engine")


class Heart:
    """What one attempt says of itself, from whichever thread; that is all that a call costs.

    Args:
        active: Its run.
        position: Its step.
        attempt: Its number.
        clock: What time it is.
        on_news: Called, on the thread that speaks, when there is something that is not written yet.
    """

    __slots__ = (
        "_clock", "_fraction", "_message", "_on_news", "active", "attempt", "details", "heard_at",
        "is_over", "news", "position",
    )  # fmt: skip

    def __init__(
        self,
        active: ActiveRun,
        position: int,
        attempt: int,
        clock: Clock,
        on_news: Callable[[Heart], None],
    ) -> None:
        self.active = active
        self.position = position
        self.attempt = attempt
        self._clock = clock
        self._on_news = on_news
        self._fraction: float | None = None
        self._message: str | None = None
        self.details: JsonText | None = None
        self.heard_at = clock.monotonic()
        """When it last spoke, or else began, on the monotonic clock."""
        self.news = False
        """Whether it has said something that is not on its way to the store."""
        self.is_over = False

    def progress(self, fraction: float, message: str | None) -> None:
        """It tells how far it is."""
        self._fraction, self._message = fraction, message
        self._spoke()

    def beat(self, details: JsonText | None) -> None:
        """It tells that it goes on, and perhaps what the next attempt should know."""
        if details is not None:
            self.details = details
        self._spoke()

    def _spoke(self) -> None:
        self.heard_at = self._clock.monotonic()
        if not self.news:
            self.news = True
            self._on_news(self)

    def said(self) -> Heartbeat:
        """All of it, as others see it."""
        at = Micros(self._clock.now() - (self._clock.monotonic() - self.heard_at))
        message = None if self._message is None else _kept(self._message)
        return Heartbeat(self.attempt, at, self._fraction, message, self.details)


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
        self._news: dict[Heart, None] = {}
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
                heart = Heart(active, position, attempt, self._clock, self._on_news)
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
            self._write([heart]).add_done_callback(_lost)

    async def details(self, run: RunKey, position: int) -> JsonText | None:
        """What attempts of a step before this one have left for it."""
        for heard in await self._store.heartbeats([run]):
            if heard.step == position:
                return heard.heartbeat.details
        return None

    def _on_news(self, heart: Heart) -> None:
        assert self._loop is not None, "an attempt has begun"
        try:
            here = asyncio.get_running_loop() is self._loop
        except RuntimeError:
            here = False
        if here:
            self._gather(heart)
        else:
            self._loop.call_soon_threadsafe(self._gather, heart)

    def _gather(self, heart: Heart) -> None:
        if not heart.is_over:
            self._news[heart] = None
            self._set_timer()

    def _set_timer(self) -> None:
        if self._timer is None and self._writing is None:
            self._timer = self._clock.call_at(Micros(self._clock.now() + EVERY), self._write_news)

    def _write_news(self) -> None:
        self._timer = None
        hearts = list(self._news)
        self._news.clear()
        if hearts:
            self._writing = self._write(hearts)
            self._writing.add_done_callback(partial(self._written, hearts))

    def _write(self, hearts: Sequence[Heart]) -> asyncio.Future[None]:
        heard: list[Heard] = []
        for heart in hearts:
            heart.news = False  # before it is read: what is said meanwhile is news again
            heart.active.heard |= {heart.position}
            heard.append(Heard(heart.active.key, heart.position, heart.said()))
        return self._store.hear(heard)

    def _written(self, hearts: Sequence[Heart], written: asyncio.Future[None]) -> None:
        self._writing = None
        if written.cancelled() or written.exception() is not None:
            _lost(written)
            for heart in hearts:
                heart.news = True
                if not heart.is_over:
                    self._news[heart] = None
        if self._news:
            self._set_timer()

    def close(self) -> None:
        """Nothing runs here any more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


class Silence:
    """Ends an attempt that has not been heard of for too long.

    It goes by the monotonic clock of the program that executes the attempt: neither a store that
    is slow nor a wall clock that is set ends anything.

    Args:
        clock: What time it is.
        heart: The attempt's.
        limit: How long it may be silent.
        end: Called when it has been.
    """

    def __init__(self, clock: Clock, heart: Heart, limit: Micros, end: Callable[[], None]) -> None:
        self._clock = clock
        self._heart = heart
        self._limit = limit
        self._end = end
        self._set(limit)

    def cancel(self) -> None:
        """The attempt has ended."""
        self._timer.cancel()

    def _set(self, length: Micros) -> None:
        self._due = self._clock.monotonic() + length
        self._timer = self._clock.call_at(Micros(self._clock.now() + length), self._look)

    def _look(self) -> None:
        now = self._clock.monotonic()
        left = Micros(self._heart.heard_at + self._limit - now)
        if left > 0:
            self._set(left)
        elif now > self._due + LATE:
            self._set(self._limit)
        else:
            self._end()


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


def _kept(message: str) -> str:
    """A message that every store can keep."""
    return message[:LONGEST_MESSAGE].replace("\0", "").encode("utf-8", "replace").decode()


def _lost(written: asyncio.Future[None]) -> None:
    """What an attempt said was not written; it says more, or has ended."""
    error = None if written.cancelled() else written.exception()
    if error is not None:
        _log.info("what attempts say could not be written: %s", error)
