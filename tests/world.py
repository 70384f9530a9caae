"""Worlds to test in: apps on one store and one clock that stands still.

When a world ends, the laws are checked that hold for every store after any story: no place for an
attempt is left taken, each history folds to the state that is stored, and no unfinished run lacks
what will move it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures import Future
from contextlib import AsyncExitStack
from datetime import timedelta
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

from audit import audit

from kallista.app import Kallista
from kallista.core.types import Micros
from kallista.engine.embedded import Options
from kallista.engine.threads import ThreadPool
from kallista.store.memory import MemoryState, MemoryStore
from kallista.store.port import Store
from kallista.store.postgres import PostgresStore
from kallista.store.sqlite import SqliteStore
from kallista.testing.clock import FakeClock
from kallista.testing.running import InlineThreads

ResultT = TypeVar("ResultT")
Handler = Callable[..., object]

NEVER = Micros(10**17)


class HeldThreads:
    """Threads that come to an end when they are told to."""

    def __init__(self) -> None:
        self.calls: list[Callable[[], None]] = []

    def submit(self, call: Callable[[], ResultT]) -> Future[ResultT]:
        """Begin a call that ends later."""
        future: Future[ResultT] = Future()
        future.set_running_or_notify_cancel()

        def end() -> None:
            try:
                future.set_result(call())
            except Exception as error:
                future.set_exception(error)

        self.calls.append(end)
        return future

    def end(self) -> None:
        """Let the oldest call end."""
        self.calls.pop(0)()

    def close(self) -> None:
        """Nothing is open."""


class World:
    """Apps that share a store, as programs share a file, and a clock."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.apps: list[Kallista] = []
        self._left: list[Kallista] = []
        self._stack = AsyncExitStack()

    def store(self) -> Store:
        """Another way to what this world remembers."""
        raise NotImplementedError

    async def app(
        self,
        *tasks: Handler,
        worker: bool = True,
        max_concurrency: int = 100,
        grace: float = 0,
        threads: ThreadPool | None = None,
        alert: bool = False,
        store: Store | None = None,
        queues: Sequence[str] = ("default",),
        dies: bool = False,
        options: Options | None = None,
    ) -> Kallista:
        """A program of this world, open until the world ends.

        Args:
            tasks: Handlers.
            worker: Whether it executes anything.
            max_concurrency: How many attempts at once.
            grace: Seconds that attempts in flight may go on when it closes.
            threads: What calls blocking handlers; at once by default.
            alert: Whether it looks by the clock for what other programs do.
            store: Its store; another one on the same memory by default.
            queues: The queues that it serves.
            dies: Whether it is dead when the world ends, and so cannot be closed.
            options: How it works, whatever else is said here.
        """
        app = Kallista.assembled(
            store or self.store(),
            self.clock,
            tasks=tasks,
            threads=threads or InlineThreads(),
            options=options
            or Options(
                worker=worker,
                max_concurrency=max_concurrency,
                queues=tuple(queues),
                grace=Micros(int(grace * 1e6)),
                look_every=Micros(50_000) if alert else NEVER,
                take_over_every=Micros(500_000) if alert else NEVER,
            ),
        )
        await app.__aenter__()
        if not dies:
            self._stack.push_async_callback(self._close, app)
            self.apps.append(app)
        return app

    async def _close(self, app: Kallista) -> None:
        if app not in self._left:
            await app.__aexit__(None, None, None)

    async def leave(self, app: Kallista) -> None:
        """Let a program close."""
        self._left.append(app)
        closing = asyncio.ensure_future(app.__aexit__(None, None, None))
        await self.settle()
        await closing

    async def settle(self) -> None:
        """Let everything happen that can happen without time passing."""
        await self.clock.settle()

    async def passes(self, length: float | str | timedelta) -> None:
        """Let time pass, and let everything happen that follows."""
        await self.clock.advance(length)

    async def after(self, work: Coroutine[Any, Any, ResultT]) -> ResultT:
        """The result of something that needs no time."""
        task = asyncio.ensure_future(work)
        await self.settle()
        assert task.done(), "it needs time, or something else to happen first"
        return await task

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is None:
            await self.settle()
            await self.check()
            await self._check_as_users_do()
        await self._stack.aclose()
        if error is None:
            for app in self.apps:
                assert places_taken(app) == 0, "a place for an attempt was never given back"

    async def check(self) -> None:
        """Whether what is remembered is sound."""

    async def _check_as_users_do(self) -> None:
        """The check that users have finds nothing wrong after any story, on any store."""
        for app in self.apps:
            if app not in self._left:
                checking = asyncio.ensure_future(app.store.check())
                while not checking.done():
                    await self.settle()
                    await asyncio.sleep(0)
                assert (await checking).problems == ()
                return


class MemoryWorld(World):
    """A world that is forgotten."""

    def __init__(self) -> None:
        super().__init__()
        self.state = MemoryState()

    def store(self) -> Store:
        """Another way to the same memory."""
        return MemoryStore(self.state)

    async def check(self) -> None:
        """Whether what is remembered is sound."""
        audit(self.state)


class SqliteWorld(World):
    """A world on a file."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path
        self.clock = self._busy = _BusyClock()

    def store(self) -> Store:
        """Another connection to the same file."""
        store = SqliteStore(self._path)
        return self._busy.watched(store)


class PostgresWorld(World):
    """A world in a database."""

    def __init__(self, url: str) -> None:
        super().__init__()
        self._url = url
        self.clock = self._hearing = _HearingClock()

    def store(self) -> Store:
        """More sessions with the same database."""
        return self._hearing.heard(PostgresStore(self._url))


class _BusyClock(FakeClock):
    """A clock for stores that work on threads: all is at rest only when they have answered."""

    def __init__(self) -> None:
        super().__init__()
        self._pending: set[asyncio.Future[Any]] = set()

    def watched(self, store: Store) -> Store:
        """The same store; whatever it is asked is known to this clock until it is answered."""
        return _Watched(store, self._pending)

    async def settle(self) -> None:
        """Let everything happen that can happen without time passing."""
        await super().settle()
        while self._pending:
            await asyncio.wait(list(self._pending), return_when=asyncio.FIRST_COMPLETED)
            await super().settle()


class _Watched:
    """A store, with a note of each question that is not answered yet."""

    def __init__(self, store: Store, pending: set[asyncio.Future[Any]]) -> None:
        self._store = store
        self._pending = pending

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._store, name)
        if name in ("changed", "listen", "hurry", "keep_lease"):
            return method

        def asked(*args: Any, **kwargs: Any) -> asyncio.Future[Any]:
            answer: asyncio.Future[Any] = asyncio.ensure_future(method(*args, **kwargs))
            self._pending.add(answer)
            answer.add_done_callback(self._pending.discard)
            return answer

        return asked


class _HearingClock(_BusyClock):
    """A clock for stores that hear of each other: all is at rest only when all has been heard."""

    def __init__(self) -> None:
        super().__init__()
        self._stores: list[PostgresStore] = []
        self._rings = 0

    def heard(self, store: PostgresStore) -> Store:
        """The same store; this clock waits for what it is to hear."""
        self._stores.append(store)
        return _Hearing(store, self._pending, self._count)

    def _count(self) -> None:
        self._rings += 1

    async def settle(self) -> None:
        """Let everything happen that can happen without time passing."""
        await super().settle()
        while await self._is_anything_heard():
            await super().settle()

    async def _is_anything_heard(self) -> bool:
        before = self._rings
        # What was committed before a session is asked has reached it with the answer, and has been
        # passed on when it answers again.
        for _ in range(2):
            for store in self._stores:
                if store._watch is not None and not store._watch._closed:
                    await asyncio.wrap_future(store._watch._wish(lambda db: db.say(b"SELECT 1")))
        return self._rings != before


class _Hearing(_Watched):
    """A store, with a count of what it hears."""

    def __init__(
        self, store: Store, pending: set[asyncio.Future[Any]], count: Callable[[], None]
    ) -> None:
        super().__init__(store, pending)
        self._count = count

    def listen(self, ring: Callable[[], None]) -> None:
        """See the port."""

        def count_and_ring() -> None:
            self._count()
            ring()

        self._store.listen(count_and_ring)


def places_taken(app: Kallista) -> int:
    """How many attempts hold a place in a program."""
    return app._engine._slots.in_use


def ids(items: Sequence[Any]) -> list[str]:
    """The ids of a list's items."""
    return [str(item.id) for item in items]
