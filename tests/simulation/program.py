"""A simulated program: an app on an event loop, a clock, threads and a store of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple, TypeVar

from kallista import Cancel, Snooze, TaskContext
from kallista.app import Kallista
from kallista.core.types import Micros, WorkerKey
from kallista.engine.embedded import Options
from kallista.errors import StoreError
from kallista.store.memory import MemoryState
from kallista.tasks.handler import FunctionHandler

from .ledger import Attempt, Ledger
from .loop import SECOND, Machine, ProgramLoop
from .store import SimulatedStore, Weather
from .workload import COINS

_T = TypeVar("_T")


class Handled(NamedTuple):
    """A task type that a program has, and how many attempts of it at once."""

    type: str
    limit: int | None


@dataclass(slots=True)
class Surroundings:
    """What all programs of a simulation share."""

    machine: Machine
    state: MemoryState
    ledger: Ledger
    weather: Weather


class Clock:
    """The clock of one program.

    Args:
        around: Where the wall clock hangs.
        loop: Where calls are made.
        skew: By how much this machine's clock differs, in microseconds.
    """

    def __init__(self, around: Surroundings, loop: ProgramLoop, skew: int) -> None:
        self._around = around
        self._loop = loop
        self._skew = skew

    def now(self) -> Micros:
        """The wall clock."""
        return Micros(self._around.ledger.wall + self._skew)

    def monotonic(self) -> Micros:
        """The machine's uptime."""
        return Micros(self._around.machine.now)

    def call_at(self, moment: Micros, callback: Callable[[], None]) -> asyncio.TimerHandle:
        """Call back when the wall clock should show the moment, if nobody sets it."""
        return self._loop.call_after(moment - self.now(), callback)


class Threads:
    """Threads of a simulated program: a call takes effect at once and returns after a while."""

    def __init__(self, program: Program) -> None:
        self._program = program
        self.begun: list[tuple[Attempt, int]] = []

    def submit(self, call: Callable[[], _T]) -> Future[_T]:
        """Make the call."""
        future: Future[_T] = Future()
        future.set_running_or_notify_cancel()
        self.begun = []
        try:
            result = _told(call)
        except Exception as error:
            end = _raising(future, error)
        else:
            end = _returning(future, result)
        begun, self.begun = self.begun, []
        length = sum(length for _, length in begun)
        self._program.machine.after(100 + length, lambda: self._finish(begun, end))
        return future

    def _finish(self, begun: list[tuple[Attempt, int]], end: Callable[[], None]) -> None:
        program = self._program
        if program.loop.is_frozen:
            program.machine.after(SECOND // 10, lambda: self._finish(begun, end))
        elif program.alive:
            for attempt, _ in begun:
                program.around.ledger.end(attempt)
            end()

    def close(self) -> None:
        """Nothing is open."""


_schemas: dict[str, Any] = {}


def _told(call: Callable[[], _T]) -> _T:
    """What a call returns; the schema of a handler is made once for all simulations."""
    if getattr(call, "__name__", "") != "schema":
        return call()
    type = call.__self__.type  # type: ignore[attr-defined]
    if type not in _schemas:
        _schemas[type] = call()
    schema: _T = _schemas[type]
    return schema


def _raising(future: Future[_T], error: Exception) -> Callable[[], None]:
    return lambda: future.set_exception(error)


def _returning(future: Future[_T], result: _T) -> Callable[[], None]:
    return lambda: future.set_result(result)


@dataclass(frozen=True, slots=True)
class Setting:
    """How a program is set up.

    Args:
        handled: Its task types.
        queues: The queues it serves.
        max_concurrency: Attempts at once.
        worker: Whether it executes anything.
        look_every: In microseconds, as in ``Options``; so are the next two.
        take_over_every: See ``Options``.
        lease: See ``Options``.
        grace: See ``Options``.
        skew: By how much its wall clock differs, in microseconds.
        seen_dead: Whether others see at once that it is gone when it is.
    """

    handled: tuple[Handled, ...]
    queues: tuple[str, ...]
    max_concurrency: int
    worker: bool
    look_every: int
    take_over_every: int
    lease: int
    grace: int
    skew: int
    seen_dead: bool


class Program:
    """One program.

    Args:
        name: What a trace calls it.
        around: What it shares with the others.
        setting: How it is set up.
        on_death: Called when it is gone.
    """

    def __init__(
        self,
        name: str,
        around: Surroundings,
        setting: Setting,
        on_death: Callable[[Program], None],
    ) -> None:
        self.name = name
        self.around = around
        self.machine = around.machine
        self.weather = around.weather
        self.setting = setting
        self.max_concurrency = setting.max_concurrency
        self.alive = True
        self.up = False
        self.leaving = False
        self._limits = {handled.type: handled.limit for handled in setting.handled}
        self._on_death = on_death
        luck = around.machine.luck
        self.loop = ProgramLoop(  # type: ignore[abstract]  # what no program here uses is left out
            around.machine, lambda: luck.choice((5, 20, 20, 60, 500))
        )
        self.loop.home = self
        self.store = SimulatedStore(around.state, self)
        self.clock = Clock(around, self.loop, setting.skew)
        self.threads = Threads(self)
        self.app = Kallista.assembled(
            self.store,
            self.clock,
            tasks=[_handler(handled) for handled in setting.handled],
            threads=self.threads,
            options=Options(
                worker=setting.worker,
                max_concurrency=setting.max_concurrency,
                queues=setting.queues,
                grace=Micros(setting.grace),
                look_every=Micros(setting.look_every),
                take_over_every=Micros(setting.take_over_every),
                lease=Micros(setting.lease),
            ),
        )
        self.app._engine._entropy = luck.randbytes

    def start(self) -> None:
        """Open the app."""
        self.machine.note(self.name, "starts")
        self.do(self._open())

    async def _open(self) -> None:
        try:
            await self.app.__aenter__()
        except StoreError:
            self.die("when it could not be opened")
            return
        self.up = True
        self.around.ledger.busy_at[self.name] = self.machine.now
        self.machine.note(self.name, f"works as {self.known_as}")

    def do(self, work: Coroutine[Any, Any, _T]) -> asyncio.Task[_T]:
        """Let it do something."""
        return self.loop.create_task(work)

    def die(self, why: str) -> None:
        """It is gone, as by ``kill -9``."""
        if not self.alive:
            return
        self.machine.note(self.name, f"dies {why}")
        self.alive = self.up = False
        self.loop.stop_for_ever()
        self.around.ledger.abandon(self)
        self.store.die(seen=self.setting.seen_dead)
        self._on_death(self)

    def leave(self) -> None:
        """It ends in good order."""
        if self.up and not self.leaving:
            self.machine.note(self.name, "leaves")
            self.leaving = True
            self.do(self._leave())

    async def _leave(self) -> None:
        try:
            await self.app.__aexit__(None, None, None)
        except StoreError:
            self.die("because it could not leave in good order")
            return
        self.machine.note(self.name, "has left")
        self.alive = self.up = False
        self.around.ledger.abandon(self)
        if self.places_taken:
            self.machine.accuse(f"{self.name} has never given back {self.places_taken} places")
        self.accuse_of_unheard()
        self.loop.stop_for_ever()
        self._on_death(self)

    def accuse_of_unheard(self) -> None:
        for error in self.loop.unheard():
            self.machine.accuse(f"{self.name} has lost an error: {error}")

    def wrote(self) -> None:
        """Something of it is durable now."""
        self.around.ledger.wrote(self)

    @property
    def known_as(self) -> WorkerKey:
        """The key that it believes to have."""
        return self.app._engine._slots.worker

    @property
    def writes_as(self) -> WorkerKey | None:
        """The key that the store knows it by."""
        return self.store.worker

    @property
    def does_everything(self) -> bool:
        """Whether it executes all task types of all queues."""
        setting = self.setting
        return setting.worker and len(setting.handled) == 4 and len(setting.queues) == 2

    @property
    def places_taken(self) -> int:
        """Places for attempts that are in use.

        Left out are wishes that no driver has answered, and threads that nobody can stop.
        """
        engine = self.app._engine
        wishes = engine._borrower._wishes.values()
        held = sum(place is not None for place in wishes) + len(engine._executor._outliving)
        return engine._slots.in_use - held

    def limit_of(self, type: str) -> int | None:
        """How many attempts of a type it may execute at once."""
        return self._limits.get(type)


def _here() -> Program:
    home: Program = asyncio.get_running_loop().home  # type: ignore[attr-defined]
    return home


def _begin(ctx: TaskContext, reads: object, *, blocking: bool) -> tuple[Program, Attempt]:
    program = _here()
    attempt = Attempt(
        program, program.known_as, ctx.run_id, ctx.task_id, ctx.attempt, ctx.idempotency_key,
        ctx.type, blocking,
    )  # fmt: skip
    try:
        program.around.ledger.begin(attempt, ctx.results, ctx.heartbeat_details, reads)
    except Exception as error:
        program.machine.accuse(f"the model itself has failed: {error!r}")
        raise
    return program, attempt


async def work(
    ctx: TaskContext,
    length: int = 0,
    fails: int = 0,
    kills: int = 0,
    stubborn: bool = False,
    reads: object = None,
    snoozes: int = 0,
    calls_off: int = 0,
    spends: int = 0,
    beats: int = 0,
) -> dict[str, object] | Snooze | Cancel:
    """A task on the event loop.

    Args:
        length: How long it takes, in milliseconds.
        fails: How many attempts fail.
        kills: How many attempts kill their program.
        stubborn: It takes its time to stop.
        reads: What it is given of an earlier result.
        snoozes: How many attempts put it off.
        calls_off: How many attempts call it off.
        spends: How many coins each attempt spends.
        beats: How often it says, meanwhile, how it is.
    """
    program, attempt = _begin(ctx, reads, blocking=False)
    ledger = program.around.ledger
    try:
        if spends:
            spending = ctx.spend(spends, COINS)
            ledger.spends[attempt] = spends
            await spending
            ledger.spent[attempt] = spends
        if ledger.killed[attempt.key] < kills:
            ledger.killed[attempt.key] += 1
            program.die(f"of {attempt.run} {attempt.task}")
            await asyncio.get_running_loop().create_future()
        for beat in range(beats):
            await asyncio.sleep(length / 1000 / (beats + 1))
            _speak(ctx, attempt, beat, beats)
        if length:
            await asyncio.sleep(length / 1000 / (beats + 1))
        if ledger.snoozed[attempt.key] < snoozes:
            ledger.snoozed[attempt.key] += 1
            return Snooze(0.5)
        if ledger.called_off[attempt.key] < calls_off:
            ledger.called_off[attempt.key] += 1
            return Cancel("nobody wants it")
        _fail(ledger, attempt, fails)
        attempt.returned = True
    except asyncio.CancelledError:
        if stubborn and program.alive:
            await asyncio.sleep(0.3)
        raise
    finally:
        ledger.end(attempt)
    return {"attempt": attempt.number, "by": program.name}


def _speak(ctx: TaskContext, attempt: Attempt, beat: int, beats: int) -> None:
    attempt.heard_at = attempt.by.machine.now
    ctx.heartbeat([attempt.number, beat])
    ctx.progress(beat / beats, attempt.by.name)


def grind(
    ctx: TaskContext,
    length: int = 0,
    fails: int = 0,
    reads: object = None,
    spends: int = 0,
    beats: int = 0,
) -> dict[str, object]:
    """A task on a thread; arguments as for ``work``."""
    program, attempt = _begin(ctx, reads, blocking=True)
    if spends:
        ctx.spend(spends, COINS)
        program.around.ledger.spends[attempt] = spends
    program.threads.begun.append((attempt, length * 1000))
    for beat in range(beats):
        _speak(ctx, attempt, beat, beats)
    _fail(program.around.ledger, attempt, fails)
    attempt.returned = True
    return {"attempt": attempt.number, "by": program.name}


def _fail(ledger: Ledger, attempt: Attempt, fails: int) -> None:
    if ledger.failed[attempt.key] < fails:
        ledger.failed[attempt.key] += 1
        raise ValueError("bad luck")


@lru_cache
def _handler(handled: Handled) -> Callable[..., object]:
    function: Callable[..., object] = grind if handled.type == "grind" else work
    made: Any = FunctionHandler(handled.type, function, max_concurrency=handled.limit)
    return made  # type: ignore[no-any-return]  # an app takes handlers as it takes functions


def living(programs: Sequence[Program]) -> list[Program]:
    """Those that can be asked for something."""
    return [program for program in programs if program.up and not program.leaving]
