"""Writes down what handlers spend, as soon as they say so, whatever becomes of their attempts."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Generator
from itertools import count

from kallista.core.amounts import Spent
from kallista.core.types import RunKey, TaskType
from kallista.engine.alarm import TRY_AGAIN_AFTER
from kallista.engine.clock import Clock, pass_by
from kallista.errors import StoreError
from kallista.store.port import Store

_log = logging.getLogger("kallista.engine")


class Ledger:
    """What was spent here; what is told while a commit is under way goes into the next together.

    Args:
        store: Where it is written.
        clock: For a pause after the store has failed.
        on_woken: Called when runs are to be looked at, for nothing is left of a budget.
    """

    def __init__(self, store: Store, clock: Clock, on_woken: Callable[[], None]) -> None:
        self._on_woken = on_woken
        self._store = store
        self._clock = clock
        self._lines: list[Spent] = []
        self._written: asyncio.Future[None] | None = None
        self._writer: asyncio.Task[None] | None = None
        self._closed = False

    def close(self) -> None:
        """The store is closed: what a thread that cannot be stopped still spends is not written."""
        self._closed = True

    def spend(self, line: Spent) -> asyncio.Future[None]:
        """Write a line; the future is done once that is durable."""
        if self._written is None:
            self._written = asyncio.get_running_loop().create_future()
        self._lines.append(line)
        if self._writer is None:
            self._writer = asyncio.get_running_loop().create_task(self._write())
        return self._written

    async def _write(self) -> None:
        while self._written is not None:
            lines, written = self._lines, self._written
            self._lines, self._written = [], None
            await self._write_surely(lines)
            written.set_result(None)
        self._writer = None

    async def _write_surely(self, lines: list[Spent]) -> None:
        """Write lines, however often the store fails; a line that is there already stays."""
        while True:
            try:
                woken = await self._store.spend(lines)
            except StoreError as error:
                if self._closed:
                    _log.error("%d amounts that were spent are not written: %s", len(lines), error)
                    return
                _log.warning("what was spent could not be written and is tried again: %s", error)
                await pass_by(self._clock, TRY_AGAIN_AFTER)
            else:
                if woken:
                    self._on_woken()
                return


class Spending:
    """What one attempt spends; also told from its thread.

    Args:
        ledger: Where it is written down.
        loop: The event loop of the engine.
        run: Whose attempt it is.
        step: Of which step.
        attempt: Which attempt.
        type: Its task type.
        clock: What time it is.
    """

    def __init__(
        self,
        ledger: Ledger,
        loop: asyncio.AbstractEventLoop,
        run: RunKey,
        step: int,
        attempt: int,
        type: TaskType,
        clock: Clock,
    ) -> None:
        self._ledger = ledger
        self._loop = loop
        self._run = run
        self._step = step
        self._attempt = attempt
        self._type = type
        self._clock = clock
        self._numbers = count()
        self._last: asyncio.Future[None] | None = None

    def add(self, amount: int, unit: str) -> Awaitable[None]:
        """Write an amount down; the answer is awaited until that is durable."""
        line = Spent(
            self._run, self._step, self._attempt, next(self._numbers), unit, amount, self._type,
            self._clock.now(),
        )  # fmt: skip
        if _is_here(self._loop):
            self._add(line)
        else:
            self._loop.call_soon_threadsafe(self._add, line)
        return _Durable(self)

    def _add(self, line: Spent) -> None:
        self._last = self._ledger.spend(line)

    async def settled(self) -> None:
        """Wait until all of it is durable."""
        last = self._last
        if last is not None:
            await asyncio.shield(last)


class _Durable:
    """Awaited, it waits until what was spent is durable; nobody has to."""

    def __init__(self, spending: Spending) -> None:
        self._spending = spending

    def __await__(self) -> Generator[object, None, None]:
        return self._spending.settled().__await__()


def _is_here(loop: asyncio.AbstractEventLoop) -> bool:
    try:
        return asyncio.get_running_loop() is loop
    except RuntimeError:
        return False
