"""Hands what is to be written from the event loop to a writer's thread, in groups."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from queue import Empty, SimpleQueue
from typing import Any, Final, Generic, NamedTuple, TypeVar

from kallista.store.answers import Answer, resolve_all
from kallista.store.pulse import Pulse

GROUP_SIZE: Final = 2_000
"""How many requests are written together at most."""


class LoopGone(Exception):
    """The program ended its event loop without closing the store: nobody waits any more."""


class Stop(NamedTuple):
    """That nothing comes any more, and who waits until all before it is written."""

    future: asyncio.Future[None]


_RequestT = TypeVar("_RequestT")


class Gathering(Generic[_RequestT]):
    """What is to be written next, and the way back for the answers.

    While a group is being written the next one gathers here.

    Args:
        loop: The event loop on which everybody waits.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._gathered: list[_RequestT] = []
        self._inbox: SimpleQueue[Sequence[_RequestT | Stop]] = SimpleQueue()
        self._renewing: tuple[Pulse, Callable[[], _RequestT]] | None = None

    # on the event loop

    def add(self, request: _RequestT) -> None:
        """Have something written with the next group."""
        if not self._gathered:
            # What the loop does in one turn goes into one group: a group of one costs as much as a
            # group of fifty.
            self._loop.call_soon(self._hand_over)
        self._gathered.append(request)

    def _hand_over(self) -> None:
        gathered, self._gathered = self._gathered, []
        self._inbox.put(gathered)

    def stop(self) -> asyncio.Future[None]:
        """Let the writer end once all before this is written; the future holds when it has."""
        stopped: asyncio.Future[None] = self._loop.create_future()
        self._hand_over()
        self._inbox.put([Stop(stopped)])
        return stopped

    def keep_lease(self, pulse: Pulse, renewal: Callable[[], _RequestT]) -> None:
        """Have the lease renewed without being asked whenever the event loop is late with it.

        Args:
            pulse: When that is.
            renewal: Makes the request that renews it; it is called on the writer's thread.
        """
        self._renewing = pulse, renewal

    def asked_to_renew(self) -> None:
        """The event loop is not late."""
        if self._renewing is not None:
            self._renewing[0].asked()

    # on the writer's thread

    def groups(self) -> Iterator[tuple[list[_RequestT], Stop | None]]:
        """Group after group as they are asked for, each with whether it is the last one."""
        waiting: deque[_RequestT | Stop] = deque()
        while True:
            if not waiting:
                waiting.extend(self._next())
            while len(waiting) < GROUP_SIZE and not self._inbox.empty():
                waiting.extend(self._inbox.get())
            group: list[_RequestT] = []
            stop: Stop | None = None
            while waiting and stop is None and len(group) < GROUP_SIZE:
                item = waiting.popleft()
                if isinstance(item, Stop):
                    stop = item
                else:
                    group.append(item)
            yield group, stop

    def _next(self) -> Sequence[_RequestT | Stop]:
        """What is asked next; the lease is renewed unasked while nothing is."""
        while True:
            renewing = self._renewing
            try:
                return self._inbox.get(timeout=None if renewing is None else renewing[0].wait)
            except Empty:
                if renewing is not None:
                    pulse, renewal = renewing
                    pulse.renewed()
                    return [renewal()]

    def answer(self, answers: list[tuple[asyncio.Future[Any], Answer]]) -> None:
        """Hand all answers to the event loop at once.

        Raises:
            LoopGone: There is none any more.
        """
        try:
            self._loop.call_soon_threadsafe(resolve_all, answers)
        except RuntimeError as error:
            raise LoopGone from error
