"""Threads for handlers that block, which outlive neither the program nor anybody's patience.

``concurrent.futures`` joins its threads when the interpreter exits, so one hanging handler would
keep the program from ending; these threads are daemons.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Protocol, TypeVar

ResultT = TypeVar("ResultT")


class ThreadPool(Protocol):
    """What calls blocking handlers."""

    def submit(self, call: Callable[[], ResultT]) -> Future[ResultT]:
        """Make the call elsewhere; the future holds what it returns or raises."""
        ...

    def close(self) -> None:
        """Take no more calls."""
        ...


class Threads:
    """A pool that grows to what is needed at once, up to a limit.

    Args:
        limit: Threads at most.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._work: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._idle = threading.Semaphore(0)
        self._count = 0

    def submit(self, call: Callable[[], ResultT]) -> Future[ResultT]:
        """Let a thread make the call; the future holds what it returns or raises."""
        future: Future[ResultT] = Future()

        def work() -> None:
            if not future.set_running_or_notify_cancel():
                return
            try:
                result = call()
            except BaseException as error:  # a thread has nobody else to tell
                future.set_exception(error)
            else:
                future.set_result(result)

        self._work.put(work)
        if not self._idle.acquire(blocking=False) and self._count < self._limit:
            self._count += 1
            name = f"kallista-handler-{self._count}"
            threading.Thread(target=self._serve, name=name, daemon=True).start()
        return future

    def close(self) -> None:
        """Let every thread end after what it does now."""
        for _ in range(self._count):
            self._work.put(None)

    def _serve(self) -> None:
        while (work := self._work.get()) is not None:
            work()
            self._idle.release()
