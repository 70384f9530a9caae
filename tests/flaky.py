"""A memory store that is slow and sometimes fails, in every way a real one may."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from random import Random
from typing import TypeVar

from kallista.core.types import JsonText, RunId, RunKey
from kallista.errors import KallistaError, StoreError, StoreUncertainError
from kallista.store.memory import MemoryState, MemoryStore
from kallista.store.port import RunRecord

_T = TypeVar("_T")


class FlakyStore(MemoryStore):
    """Answers late, and to some questions not at all.

    Writes keep their order, as those of one program do; between two of them the other programs may
    write. A failing write fails in one of three ways: known not to have happened, unknown but
    done, unknown and not done.

    Args:
        state: What other stores see too.
        luck: Decides how late, and what fails.
    """

    def __init__(self, state: MemoryState, luck: Random) -> None:
        super().__init__(state)
        self._luck = luck
        self._queued: deque[Callable[[], None]] = deque()
        self._writing = False
        self.slowness = 0
        """How many turns of the event loop an answer may take."""
        self.failing = 0.0
        """Which part of what it is asked fails."""
        self.doubtful = 0.0
        """Which part of the failures leaves open whether the write took effect."""
        self.dead = False

    def die(self) -> None:
        """The program is gone as by ``kill -9``: nothing is answered any more."""
        self.dead = True
        if self._worker is not None:
            self._state.alive.discard(self._worker)

    def fault(self) -> None:
        """From now on slow and unreliable."""
        self.slowness, self.failing, self.doubtful = 6, 0.1, 0.3

    def heal(self) -> None:
        """From now on slow and reliable."""
        self.failing = 0.0

    def _write(
        self, change: Callable[[], _T], nothing: Callable[[_T], bool] = lambda _: False
    ) -> asyncio.Future[_T]:
        future: asyncio.Future[_T] = asyncio.get_running_loop().create_future()
        self._queued.append(lambda: self._answer(future, lambda: self._carry_out(change, nothing)))
        if not self._writing:
            self._writing = True
            self._later(self._write_next)
        return future

    def _write_next(self) -> None:
        if self.dead:
            return
        self._queued.popleft()()
        if self._queued:
            self._later(self._write_next)
        else:
            self._writing = False

    def _answer(self, future: asyncio.Future[_T], change: Callable[[], _T]) -> None:
        failure = self._failure()
        result: _T | None = None
        refusal: KallistaError | None = None
        if failure is None or (isinstance(failure, StoreUncertainError) and self._chance(0.5)):
            try:
                result = change()
            except KallistaError as error:
                refusal = error
        if self.dead:
            return
        self._later(lambda: _resolve(future, failure or refusal, result), self._chance(0.3))

    def _failure(self) -> StoreError | None:
        if not self._chance(self.failing):
            return None
        if self._chance(self.doubtful):
            return StoreUncertainError("nobody knows whether it was written")
        return StoreError("it was not written")

    def _chance(self, part: float) -> bool:
        return self._luck.random() < part

    def _later(self, call: Callable[[], None], late: bool = True) -> None:
        turns = self._luck.randint(0, self.slowness) if late else 0
        loop = asyncio.get_running_loop()

        def turn(left: int) -> None:
            if left == 0:
                call()
            else:
                loop.call_soon(turn, left - 1)

        turn(turns) if not turns else loop.call_soon(turn, turns - 1)

    async def _slowly(self) -> None:
        for _ in range(self._luck.randint(0, self.slowness)):
            await asyncio.sleep(0)
        if self.dead:
            await asyncio.get_running_loop().create_future()
        if self._chance(self.failing):
            raise StoreError("it could not be read")

    async def load(self, run: RunId | RunKey) -> RunRecord | None:
        """See the port."""
        await self._slowly()
        found = await super().load(run)
        await self._slowly()
        return found

    async def heads(self, runs: Sequence[RunId]) -> Mapping[RunId, RunRecord]:
        """See the port."""
        await self._slowly()
        found = await super().heads(runs)
        await self._slowly()
        return found

    async def outcomes(
        self, run: RunKey, steps: Sequence[int] | None = None
    ) -> Mapping[int, JsonText]:
        """See the port."""
        await self._slowly()
        found = await super().outcomes(run, steps)
        await self._slowly()
        return found


def _resolve(future: asyncio.Future[_T], error: KallistaError | None, result: _T | None) -> None:
    if future.done():
        return
    if error is not None:
        future.set_exception(error)
    else:
        future.set_result(result)  # type: ignore[arg-type]  # None is a result too
