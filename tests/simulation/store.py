"""The store as a simulated program meets it: far away, now and then slow, failing, or in doubt."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

from kallista.core.events import Event
from kallista.core.inbox import Inbox
from kallista.core.schedules import Schedule
from kallista.core.states import RunKind, ScheduleStatus
from kallista.core.types import JsonText, Micros, RunId, RunKey, ScheduleId, TaskType, WorkerKey
from kallista.errors import KallistaError, StoreError, StoreUncertainError
from kallista.store.memory import MemoryState, MemoryStore
from kallista.store.port import (
    ApprovalFilter,
    BudgetLine,
    Heard,
    Loan,
    OpenApproval,
    RunFilter,
    RunRecord,
    Tombstone,
    WorkerRecord,
)

from .loop import SECOND, Machine

_T = TypeVar("_T")


@dataclass(slots=True)
class Weather:
    """How the ways to the store are; every number is a part of what is asked of it.

    Args:
        failing: What fails.
        doubtful: Of the failing writes, those that leave open whether they took effect.
        slow: What takes seconds.
        deaf: The calls by which programs wake each other that get lost.
        crash_before: Commits before which the program dies.
        crash_after: Commits after which the program dies before it hears of them.
    """

    failing: float = 0.0
    doubtful: float = 0.0
    slow: float = 0.0
    deaf: float = 0.0
    crash_before: float = 0.0
    crash_after: float = 0.0


class Home(Protocol):
    """The program that a store belongs to."""

    machine: Machine
    weather: Weather
    loop: Any

    def die(self, why: str) -> None:
        """The program is gone, as by ``kill -9``."""
        ...

    def wrote(self) -> None:
        """Something of it is durable now."""
        ...


@dataclass(slots=True, eq=False)
class _Request(Generic[_T]):
    """A write on its way."""

    future: asyncio.Future[_T]
    change: Callable[[], _T]
    nothing: Callable[[_T], bool]


class SimulatedStore(MemoryStore):
    """A way to what all programs of a simulation share.

    Writes are carried out and answered in the order in which they were asked for, as those of one
    program are. A program that dies leaves some of its writes carried out and the others not.

    Args:
        state: What is remembered.
        home: The program that asks.
    """

    def __init__(self, state: MemoryState, home: Home) -> None:
        super().__init__(state)
        self._home = home
        self._machine = home.machine
        self._under_way: deque[_Request[Any]] = deque()
        self._written_at = 0
        self._answered_at = 0
        self._cut_off_until = 0
        self.slow_until = 0
        """Until when an answer may be late."""
        self.dead = False

    @property
    def worker(self) -> WorkerKey | None:
        """What the program is known as."""
        return self._worker

    def cut_off(self, until: int) -> None:
        """Nothing gets through until a moment."""
        self._cut_off_until = until

    def die(self, *, seen: bool) -> None:
        """The program is gone.

        Args:
            seen: Whether the others can see so; else only its silence tells.
        """
        self.dead = True
        left = self._machine.luck.randint(0, len(self._under_way))
        while left and self._under_way:
            left -= 1
            self._carry_out_quietly(self._under_way.popleft())
        self._under_way.clear()
        if self in self._state.handles:
            self._state.handles.remove(self)
        if seen and self._worker is not None:
            self._state.alive.discard(self._worker)

    # writes

    def _write(
        self, change: Callable[[], _T], nothing: Callable[[_T], bool] = lambda _: False
    ) -> asyncio.Future[_T]:
        request = _Request(self._home.loop.create_future(), change, nothing)
        if self.dead:
            return request.future
        self._under_way.append(request)
        self._written_at = max(self._written_at, self._machine.now + self._delay())
        self._machine.at(self._written_at, self._carry_out_next)
        return request.future

    def _carry_out_next(self) -> None:
        if self.dead:
            return
        weather = self._home.weather
        if self._machine.chance(weather.crash_before):
            self._home.die("before a commit")
            return
        request = self._under_way.popleft()
        failure = self._failure()
        result: Any = None
        refusal: KallistaError | None = None
        if failure is None or (
            isinstance(failure, StoreUncertainError) and self._machine.chance(0.5)
        ):
            try:
                result = self._carry_out(request.change, request.nothing)
            except KallistaError as told:
                refusal = told
        if self._machine.chance(weather.crash_after):
            self._home.die("after a commit")
            return
        answer: KallistaError | None = failure or refusal
        self._answer_later(lambda: _resolve(request.future, answer, result))

    def _carry_out(self, change: Callable[[], _T], nothing: Callable[[_T], bool]) -> _T:
        answer = super()._carry_out(change, nothing)
        self._home.wrote()
        return answer

    def _carry_out_quietly(self, request: _Request[Any]) -> None:
        try:
            self._carry_out(request.change, request.nothing)
        except KallistaError:
            pass  # nobody is left who could be told

    def _failure(self) -> StoreError | None:
        weather = self._home.weather
        if not self._machine.chance(weather.failing):
            return None
        if self._machine.chance(weather.doubtful):
            return StoreUncertainError("nobody knows whether it was written")
        return StoreError("it was not written")

    def _answer_later(self, answer: Callable[[], None]) -> None:
        self._answered_at = max(self._answered_at, self._machine.now + self._delay())
        self._machine.at(self._answered_at, lambda: self._home.loop.call_soon(answer))

    def _delay(self) -> int:
        luck = self._machine.luck
        length = luck.choice((50, 200, 200, 1_000))
        if self._machine.chance(self._home.weather.slow):
            length = luck.randint(SECOND // 10, 8 * SECOND)
        length += max(0, self._cut_off_until - self._machine.now)
        if length > SECOND // 10:
            self.slow_until = max(self.slow_until, self._machine.now + length)
        return length

    def _ring_others(self) -> None:
        for other in list(self._state.handles):
            if other is not self and isinstance(other, SimulatedStore):
                other._hear()

    def _hear(self) -> None:
        ring = self._ring
        if ring is not None and not self._machine.chance(self._home.weather.deaf):
            self._machine.after(self._delay(), lambda: self._home.loop.call_soon(ring))

    # reads

    async def _read_slowly(self, read: Awaitable[_T]) -> _T:
        try:
            await self._pass(self._delay())
        except BaseException:
            read.close()  # type: ignore[attr-defined]
            raise
        found = await read
        await self._pass(self._delay())
        if self._machine.chance(self._home.weather.failing):
            raise StoreError("it could not be read")
        return found

    async def _pass(self, length: int) -> None:
        passed = self._home.loop.create_future()
        if not self.dead:
            self._home.loop.call_after(length, _resolve, passed, None, None)
        await passed

    async def close(self) -> None:
        """See the port."""
        if self.dead:
            return
        while self._under_way:
            await self._pass(1_000)
        await self._pass(self._delay())
        await super().close()

    async def load(self, run: RunId | RunKey) -> RunRecord | None:
        """See the port."""
        return await self._read_slowly(super().load(run))

    async def heads(self, runs: Sequence[RunId]) -> Mapping[RunId, RunRecord]:
        """See the port."""
        return await self._read_slowly(super().heads(runs))

    async def outcomes(
        self, run: RunKey, steps: Sequence[int] | None = None
    ) -> Mapping[int, JsonText]:
        """See the port."""
        return await self._read_slowly(super().outcomes(run, steps))

    async def history(self, run: RunKey, from_seq: int = 0, limit: int = 1000) -> Sequence[Event]:
        """See the port."""
        return await self._read_slowly(super().history(run, from_seq, limit))

    async def list_runs(self, wanted: RunFilter) -> Sequence[RunRecord]:
        """See the port."""
        return await self._read_slowly(super().list_runs(wanted))

    async def inbox(self, run: RunKey) -> Inbox:
        """See the port."""
        return await self._read_slowly(super().inbox(run))

    async def approvals(self, wanted: ApprovalFilter) -> Sequence[OpenApproval]:
        """See the port."""
        return await self._read_slowly(super().approvals(wanted))

    async def loans(self, run: RunKey) -> Sequence[Loan]:
        """See the port."""
        return await self._read_slowly(super().loans(run))

    async def budgets(self, run: RunKey) -> Sequence[BudgetLine]:
        """See the port."""
        return await self._read_slowly(super().budgets(run))

    async def driven(self, worker: WorkerKey) -> Sequence[RunKey]:
        """See the port."""
        return await self._read_slowly(super().driven(worker))

    async def borrowed(self, worker: WorkerKey) -> Sequence[Loan]:
        """See the port."""
        return await self._read_slowly(super().borrowed(worker))

    async def heartbeats(self, runs: Sequence[RunKey]) -> Sequence[Heard]:
        """See the port."""
        return await self._read_slowly(super().heartbeats(runs))

    async def tombstone(self, run: RunId) -> Tombstone | None:
        """See the port."""
        return await self._read_slowly(super().tombstone(run))

    async def definition(self, kind: RunKind, name: str) -> JsonText | None:
        """See the port."""
        return await self._read_slowly(super().definition(kind, name))

    async def schedule(self, schedule: ScheduleId) -> Schedule | None:
        """See the port."""
        return await self._read_slowly(super().schedule(schedule))

    async def due_schedules(self, now: Micros, limit: int) -> Sequence[tuple[Schedule, bool]]:
        """See the port."""
        return await self._read_slowly(super().due_schedules(now, limit))

    async def next_schedule_at(self, after: Micros) -> Micros | None:
        """See the port."""
        return await self._read_slowly(super().next_schedule_at(after))

    async def list_schedules(
        self, status: ScheduleStatus | None, after: ScheduleId | None, limit: int
    ) -> Sequence[Schedule]:
        """See the port."""
        return await self._read_slowly(super().list_schedules(status, after, limit))

    async def workers(self) -> Sequence[WorkerRecord]:
        """See the port."""
        return await self._read_slowly(super().workers())

    async def type_schemas(self) -> Mapping[TaskType, JsonText]:
        """See the port."""
        return await self._read_slowly(super().type_schemas())


def _resolve(future: asyncio.Future[_T], error: KallistaError | None, result: _T) -> None:
    if future.done():
        return
    if error is not None:
        future.set_exception(error)
    else:
        future.set_result(result)
