"""What one running attempt says of itself, and whether it has been silent for too long."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from kallista.core.events import Heartbeat
from kallista.core.types import JsonText, Micros
from kallista.engine.clock import Clock

LATE: Final = Micros(1_000_000)
"""A timer that rings so much too late tells of a program that stood still, not of an attempt."""

LONGEST_MESSAGE: Final = 1_000


class Heart:
    """What one attempt says of itself, from whichever thread; that is all that a call costs.

    Args:
        attempt: Its number.
        clock: What time it is.
        on_news: Called, on the thread that speaks, when there is something that is not written yet.
    """

    __slots__ = (
        "_clock", "_fraction", "_message", "_on_news", "attempt", "details", "heard_at", "is_over",
        "news",
    )  # fmt: skip

    def __init__(self, attempt: int, clock: Clock, on_news: Callable[[Heart], None]) -> None:
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


def _kept(message: str) -> str:
    """A message that every store can keep."""
    return message[:LONGEST_MESSAGE].replace("\0", "").encode("utf-8", "replace").decode()
