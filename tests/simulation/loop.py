"""Virtual time, and event loops that live in it: one for each simulated program.

A machine makes all luck of one simulation from one seed and does what is due in order of time; time
passes only by going on to what is due next. Each program has an event loop of its own, as it has in
life: within a program callbacks keep their order, between programs the seed decides by what each
callback costs. So a seed is one interleaving, the same each time.
"""

from __future__ import annotations

import asyncio
import heapq
from collections import deque
from collections.abc import Callable, Coroutine
from contextlib import suppress
from contextvars import Context
from hashlib import blake2b
from random import Random
from typing import Any, TypeVar
from warnings import catch_warnings

_T = TypeVar("_T")

SECOND = 1_000_000


class BrokenPromiseError(AssertionError):
    """What happened must not happen."""


class Machine:
    """Time in microseconds, what is due, and what has happened.

    Args:
        seed: All luck comes from it.
    """

    def __init__(self, seed: int) -> None:
        self.luck = Random(seed)
        self.now = 0
        self.trace: list[str] = []
        self.turns = 0
        self.broken: list[str] = []
        self._due: list[tuple[int, int, Callable[[], None]]] = []
        self._order = 0

    def at(self, moment: int, action: Callable[[], None]) -> None:
        """Do something at a moment; what is due at the same one keeps its order."""
        self._order += 1
        heapq.heappush(self._due, (moment, self._order, action))

    def after(self, length: int, action: Callable[[], None]) -> None:
        """Do something after a while."""
        self.at(self.now + length, action)

    def run(self, until: int) -> None:
        """Do all that is due up to a moment."""
        due = self._due
        while due and due[0][0] <= until:
            self.now, _, action = heapq.heappop(due)
            action()
            if self.broken:
                raise BrokenPromiseError("; ".join(self.broken))
        self.now = until

    def chance(self, part: float) -> bool:
        """True as often as this part says; a part of nothing costs no luck."""
        return part > 0 and self.luck.random() < part

    def note(self, who: str, what: str) -> None:
        """Remember what happened."""
        self.trace.append(f"{self.now / SECOND:12.6f} {who:>4}  {what}")

    def accuse(self, what: str) -> None:
        """A promise is broken: the simulation ends here."""
        self.note("!!!", what)
        self.broken.append(what)

    def digest(self) -> str:
        """A hash of all that happened and of all luck that was used."""
        told = "\n".join(self.trace)
        state = f"{told}\n{self.turns} {self._order} {self.now} {self.luck.random()}"
        return blake2b(state.encode(), digest_size=8).hexdigest()


class ProgramLoop(asyncio.AbstractEventLoop):
    """The event loop of one simulated program.

    Args:
        machine: Whose time it lives in.
        cost: Gives how long the next callbacks keep the program busy, in microseconds.
    """

    def __init__(self, machine: Machine, cost: Callable[[], int]) -> None:
        self._machine = machine
        self._cost = cost
        self._ready: deque[asyncio.Handle] = deque()
        self._turn_is_due = False
        self._asleep_until = 0
        self.stopped = False
        self.home: Any = None
        self.tasks: list[asyncio.Task[Any]] = []
        self.complaints: list[str] = []

    # what a simulation does with it

    def stop_for_ever(self) -> None:
        """No callback runs any more, as after ``kill -9``."""
        self.stopped = True
        self._ready.clear()

    def freeze(self, until: int) -> None:
        """No callback runs until a moment, as after SIGSTOP."""
        self._asleep_until = max(self._asleep_until, until)

    def thaw(self) -> None:
        """Go on at once."""
        if self._asleep_until > self._machine.now:
            self._asleep_until = 0
            self._machine.at(self._machine.now, self._turn)

    @property
    def is_frozen(self) -> bool:
        """Whether it does not run now."""
        return self._asleep_until > self._machine.now

    def bury(self) -> None:
        """Take apart what is left when the simulation is over, without any noise."""
        self.stop_for_ever()
        with catch_warnings(action="ignore"):
            for task in self.tasks:
                task._log_destroy_pending = False  # type: ignore[attr-defined]
                task._log_traceback = False
                coroutine = task.get_coro()
                if not task.done() and isinstance(coroutine, Coroutine):
                    with suppress(BaseException):
                        coroutine.close()
        self.tasks.clear()

    def unheard(self) -> list[str]:
        """Errors that nobody has looked at."""
        found = [
            repr(task.exception())
            for task in self.tasks
            if task.done() and not task.cancelled() and task._log_traceback
        ]
        return [*self.complaints, *found]

    def _turn(self) -> None:
        self._turn_is_due = False
        machine = self._machine
        if self.stopped or not self._ready:
            return
        if self._asleep_until > machine.now:
            self._turn_is_due = True
            machine.at(self._asleep_until, self._turn)
            return
        burst = 1 if len(self._ready) == 1 else machine.luck.choice((1, 1, 2, 5))
        asyncio._set_running_loop(self)
        try:
            while burst and self._ready:
                burst -= 1
                machine.turns += 1
                handle = self._ready.popleft()
                if not handle.cancelled():
                    handle._run()
        finally:
            asyncio._set_running_loop(None)
        if self._ready:
            self._want_turn()

    def _want_turn(self) -> None:
        if not self._turn_is_due:
            self._turn_is_due = True
            self._machine.at(self._machine.now + self._cost(), self._turn)

    # what asyncio and the program do with it

    def call_soon(  # type: ignore[override]  # variadic types add nothing here
        self, callback: Callable[..., Any], *args: Any, context: Context | None = None
    ) -> asyncio.Handle:
        handle = asyncio.Handle(callback, args, self, context)
        if not self.stopped:
            self._ready.append(handle)
            self._want_turn()
        return handle

    def call_soon_threadsafe(  # type: ignore[override]  # variadic types add nothing here
        self, callback: Callable[..., Any], *args: Any, context: Context | None = None
    ) -> asyncio.Handle:
        return self.call_soon(callback, *args, context=context)

    def call_later(  # type: ignore[override]  # variadic types add nothing here
        self, delay: float, callback: Callable[..., Any], *args: Any, context: Context | None = None
    ) -> asyncio.TimerHandle:
        return self.call_after(int(delay * SECOND), callback, *args, context=context)

    def call_at(  # type: ignore[override]  # variadic types add nothing here
        self, when: float, callback: Callable[..., Any], *args: Any, context: Context | None = None
    ) -> asyncio.TimerHandle:
        return self.call_later(when - self.time(), callback, *args, context=context)

    def call_after(
        self, length: int, callback: Callable[..., Any], *args: Any, context: Context | None = None
    ) -> asyncio.TimerHandle:
        """Call back after so many microseconds."""
        moment = self._machine.now + max(length, 0)
        handle = asyncio.TimerHandle(moment / SECOND, callback, args, self, context)
        self._machine.at(moment, lambda: self._ring(handle))
        return handle

    def _ring(self, handle: asyncio.TimerHandle) -> None:
        if not handle.cancelled() and not self.stopped:
            self._ready.append(handle)
            self._want_turn()

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        """Nothing to do: a timer that rings looks whether it still matters."""

    def time(self) -> float:
        return self._machine.now / SECOND

    def create_future(self) -> asyncio.Future[Any]:
        return asyncio.Future(loop=self)

    def create_task(  # type: ignore[override]
        self,
        coro: Coroutine[Any, Any, _T],
        *,
        name: str | None = None,
        context: Context | None = None,
    ) -> asyncio.Task[_T]:
        task = asyncio.Task(coro, loop=self, name=name, context=context)
        self.tasks.append(task)
        return task

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        if not self.stopped:
            self.complaints.append(f"{context.get('message')}: {context.get('exception')!r}")

    def get_debug(self) -> bool:
        return False

    def is_running(self) -> bool:
        return True

    def is_closed(self) -> bool:
        return False
