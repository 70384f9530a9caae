"""Executes attempts: on the event loop or on threads, with their time limits and endings."""

from __future__ import annotations

import asyncio
import logging
import traceback
from collections.abc import Awaitable, Callable, Iterator, Mapping
from concurrent.futures import Future
from inspect import isawaitable
from typing import Final, TypeVar, cast

from kallista.core.commands import AttemptEnded
from kallista.core.definitions import Definition, TaskSpec
from kallista.core.handlers import Handler, Handlers, Invocation
from kallista.core.outcomes import (
    Asleep,
    Completed,
    Failed,
    Failure,
    HandedBack,
    Outcome,
    Stopped,
)
from kallista.core.states import RunKind, TaskStatus
from kallista.core.types import Json, JsonText, Micros, RunKey
from kallista.core.wiring import evaluate, reads, wiring
from kallista.engine.active import ActiveRun, Progress
from kallista.engine.alarm import TRY_AGAIN_AFTER
from kallista.engine.clock import Clock, pass_by
from kallista.engine.facts import Facts
from kallista.engine.slots import Slots
from kallista.engine.threads import ThreadPool
from kallista.errors import StoreError
from kallista.logs import mask_text, secret_values
from kallista.store.port import Store

ResultT = TypeVar("ResultT")

_log = logging.getLogger("kallista.engine")

THREAD_RUNS_ON: Final = "its thread cannot be stopped and runs on; what it returns is dropped"


class Executor:
    """The attempts that run in this program.

    Args:
        handlers: The code behind each task type.
        report: Who is told how an attempt has ended.
        store: Where results of earlier steps are, when they are no longer in memory.
        clock: For time limits.
        slots: Where places are given back.
        facts: What earlier steps returned.
        threads: For handlers that block.
        max_result_bytes: How long an encoded result may be.
    """

    def __init__(
        self,
        handlers: Handlers,
        report: Callable[[ActiveRun, AttemptEnded], None],
        store: Store,
        clock: Clock,
        slots: Slots,
        facts: Facts,
        threads: ThreadPool,
        max_result_bytes: int,
    ) -> None:
        self._handlers = handlers
        self._report = report
        self._store = store
        self._clock = clock
        self._slots = slots
        self._facts = facts
        self._threads = threads
        self._max_result_bytes = max_result_bytes
        self._ends: dict[asyncio.Task[None], _End] = {}
        self._closed = False
        self._outliving: dict[tuple[RunKey, int], Future[object]] = {}

    @property
    def running(self) -> int:
        """How many attempts run here."""
        return len(self._ends)

    def launch(self, active: ActiveRun, position: int) -> None:
        """Execute the step's running attempt; its place is taken already."""
        end = _End()
        if self._closed:
            end.outcome = HandedBack()
        work = self._attempt(active, position, end)
        task = asyncio.get_running_loop().create_task(work)
        self._ends[task] = end
        active.attempts[position] = task

    def stop(self, active: ActiveRun, position: int) -> None:
        """Tell the step's attempt to stop; it reports ``Stopped``."""
        task = active.attempts.get(position)
        if task is not None:
            self._end(task, Stopped())

    def close(self) -> None:
        """Begin nothing any more: what is launched from now on is handed back."""
        self._closed = True

    def hand_back(self) -> None:
        """Stop every attempt; each reports that another worker has to start it again."""
        for task in list(self._ends):
            self._end(task, HandedBack())

    async def finished(self) -> None:
        """Wait until no attempt runs here."""
        while self._ends:
            await asyncio.wait(list(self._ends))

    def _end(self, task: asyncio.Task[None], outcome: Outcome) -> None:
        end = self._ends.get(task)
        if end is None or end.outcome is not None:
            return
        end.outcome = outcome
        if end.begun:
            task.cancel()  # before its first step a task would be cancelled without a trace

    async def _attempt(self, active: ActiveRun, position: int, end: _End) -> None:
        spec = active.run.definition.steps[position]
        work = spec.work
        assert isinstance(work, TaskSpec), "only tasks are attempted"
        attempt = active.run.steps[position].attempt
        outcome = await self._outcome(active, position, work, end)
        task = active.attempts.pop(position)
        del self._ends[task]
        active.progress.pop(position, None)
        call = end.left_behind
        if call is None:
            self._slots.give_back(work.type)
        else:
            loop = asyncio.get_running_loop()
            place = (active.key, position)
            call.add_done_callback(
                lambda ended: loop.call_soon_threadsafe(self._outlived, place, ended, work)
            )
        self._report(active, AttemptEnded(position, attempt, outcome))

    def _outlived(self, place: tuple[RunKey, int], call: Future[object], work: TaskSpec) -> None:
        """A thread that nobody waited for any more has come to its end."""
        if self._outliving.get(place) is call:
            del self._outliving[place]
        self._slots.give_back(work.type)

    async def _outcome(
        self, active: ActiveRun, position: int, work: TaskSpec, end: _End
    ) -> Outcome:
        """How the attempt ends; whatever the handler does, this is a value."""
        timer = None
        config: Mapping[str, Json] = work.config
        if end.outcome is not None:
            return end.outcome
        end.begun = True
        try:
            limit = _limit(work, active, position, self._clock.now())
            if limit is not None:
                timed_out = _timed_out(work)
                task = active.attempts[position]
                timer = self._clock.call_at(limit, lambda: self._end(task, timed_out))
            handler = self._handlers.get(work.type)
            if handler is None:
                return HandedBack()
            config = self._config(active, position, work)
            results = _NOTHING
            if handler.wants_context:
                results = await self._read_results(active, position)
            invocation = self._invocation(active, position, work, config, results, end)
            if handler.blocking:
                answer = await self._on_thread(handler, invocation, (active.key, position), end)
            else:
                answer = await cast("Awaitable[JsonText | Asleep]", handler.call(invocation))
        except asyncio.CancelledError:
            return self._with_note(end.outcome or _cancelled(), active, position)
        except BaseException as error:
            if isinstance(error, (KeyboardInterrupt, SystemExit)) and not _from_handler(error):
                raise
            failure = failure_of(error, config)
            self._log_failure(active, position, failure)
            return Failed(failure)
        finally:
            if timer is not None:
                timer.cancel()
        return answer if isinstance(answer, Asleep) else Completed(answer)

    def _log_failure(self, active: ActiveRun, position: int, failure: Failure) -> None:
        run = active.run
        where = {
            "run": run.id,
            "task": run.step_id(position),
            "attempt": run.steps[position].attempt,
        }
        _log.warning(
            "attempt failed: %s: %s", failure.type, failure.message, extra={"kallista": where}
        )

    def _with_note(self, outcome: Outcome, active: ActiveRun, position: int) -> Outcome:
        if (active.key, position) not in self._outliving:
            return outcome
        match outcome:
            case Stopped():
                return Stopped(THREAD_RUNS_ON)
            case Failed(failure):
                message = f"{failure.message}; {THREAD_RUNS_ON}"
                return Failed(Failure(failure.type, message, failure.traceback, failure.kinds))
            case _:
                return outcome

    async def _on_thread(
        self, handler: Handler, invocation: Invocation, place: tuple[RunKey, int], end: _End
    ) -> JsonText | Asleep:
        """Call a blocking handler, after an earlier attempt of it that could not be stopped."""
        earlier = self._outliving.get(place)
        if earlier is not None:
            await _over(earlier)
        future = self._threads.submit(lambda: handler.call(invocation))
        answer = asyncio.wrap_future(future)
        try:
            returned = await asyncio.shield(answer)
        except asyncio.CancelledError:
            answer.add_done_callback(_unheard)
            if not future.cancel() and not future.done():
                end.left_behind = self._outliving[place] = cast("Future[object]", future)
            raise
        return await returned if isawaitable(returned) else returned

    def _config(self, active: ActiveRun, position: int, work: TaskSpec) -> Mapping[str, Json]:
        run = active.run
        compiled = wiring(run.definition).steps[position].values
        if compiled is None:
            return run.config(position)
        steps = {
            before: (run.steps[before].status, run.outputs.get(before))
            for before in reads(compiled, run.definition)
        }
        value = evaluate(compiled, run.definition, run.inputs, steps)
        assert isinstance(value, dict), "a config stays a mapping"
        return value

    def _invocation(
        self,
        active: ActiveRun,
        position: int,
        work: TaskSpec,
        config: Mapping[str, Json],
        results: Mapping[str, Json],
        end: _End,
    ) -> Invocation:
        run = active.run
        return Invocation(
            run_id=run.id,
            task_id=run.step_id(position),
            type=work.type,
            attempt=run.steps[position].attempt,
            config=config,
            results=results,
            progress=lambda fraction, message: self._progress(active, position, fraction, message),
            cancelled=lambda: end.outcome is not None,
            max_result_bytes=self._max_result_bytes,
        )

    async def _read_results(self, active: ActiveRun, position: int) -> Mapping[str, Json]:
        """The results of the steps before this one, however often the store fails."""
        while True:
            try:
                return await self._results(active, position)
            except StoreError as error:
                _log.warning("results could not be read and are read again: %s", error)
                await pass_by(self._clock, TRY_AGAIN_AFTER)

    async def _results(self, active: ActiveRun, position: int) -> Mapping[str, Json]:
        """The results of the steps before this one."""
        run = active.run
        if not active.all_results:
            stored = await self._store.outcomes(active.key)
            active.results = {**stored, **active.results}
            active.all_results = True
        before = _before(run.definition, position)
        found: dict[str, Json] = {}
        for earlier in before:
            if run.steps[earlier].status is TaskStatus.COMPLETED and earlier in active.results:
                found[run.definition.steps[earlier].id] = await self._facts.result(
                    run, earlier, active.results[earlier]
                )
        return found

    def _progress(
        self, active: ActiveRun, position: int, fraction: float, message: str | None
    ) -> None:
        active.progress[position] = Progress(min(1.0, max(0.0, fraction)), message)


class _End:
    """What somebody else decided about a running attempt, and the call that it left behind."""

    __slots__ = ("begun", "left_behind", "outcome")

    def __init__(self) -> None:
        self.outcome: Outcome | None = None
        self.begun = False
        self.left_behind: Future[object] | None = None


async def _over(call: Future[object]) -> None:
    """Wait until a call on a thread is over, whatever came of it."""
    ending = asyncio.wrap_future(call)
    ending.add_done_callback(_unheard)
    await asyncio.wait([ending])


def _unheard(answer: asyncio.Future[ResultT]) -> None:
    """Nobody waits for this answer, so its error is none that asyncio should complain about."""
    if not answer.cancelled():
        answer.exception()


_NOTHING: Final[Mapping[str, Json]] = {}


def _before(definition: Definition, position: int) -> Iterator[int]:
    """The steps that a step comes after, directly or not, in the order of the definition."""
    if definition.kind is RunKind.WORKFLOW:
        yield from range(position)
        return
    seen: set[int] = set()
    waiting = list(definition.steps[position].depends_on)
    while waiting:
        earlier = waiting.pop()
        if earlier not in seen:
            seen.add(earlier)
            waiting.extend(definition.steps[earlier].depends_on)
    yield from sorted(seen)


def _limit(work: TaskSpec, active: ActiveRun, position: int, now: Micros) -> Micros | None:
    """When the attempt's time is over: by its own time-out or by the task's deadline."""
    if work.timeout is None and work.deadline is None:
        return None
    since = active.run.steps[position].since
    moments = [
        None if work.timeout is None else Micros(now + work.timeout),
        None if work.deadline is None or since is None else Micros(since + work.deadline),
    ]
    return min((moment for moment in moments if moment is not None), default=None)


def _timed_out(work: TaskSpec) -> Failed:
    length = work.timeout if work.timeout is not None else work.deadline or 0
    message = f"the attempt did not finish within {length / 1e6:g} s"
    return Failed(Failure("TimeoutError", message, None, _kinds(TimeoutError)))


def failure_of(error: BaseException, config: Mapping[str, Json]) -> Failure:
    """What history keeps of an exception: secrets of the config are masked.

    Args:
        error: What the handler raised.
        config: The handler's arguments, to know their secrets.
    """
    secrets = secret_values(config)
    return Failure(
        type=_qualified(type(error)),
        message=mask_text(_told(lambda: str(error)), secrets) or type(error).__name__,
        traceback=mask_text(_told(lambda: "".join(traceback.format_exception(error))), secrets),
        kinds=_kinds(type(error)),
    )


def _told(tell: Callable[[], str]) -> str:
    """What an exception says of itself; its own code may fail at that."""
    try:
        return tell()
    except Exception as error:
        return f"(it could not be told: {type(error).__name__})"


def _kinds(type: type[BaseException]) -> tuple[str, ...]:
    names: dict[str, None] = {}
    for kind in type.__mro__:
        if kind is not object:
            names[kind.__name__] = None
            names[_qualified(kind)] = None
    return tuple(names)


def _qualified(type: type) -> str:
    if type.__module__ == "builtins":
        return type.__qualname__
    return f"{type.__module__}.{type.__qualname__}"


def _cancelled() -> Outcome:
    """Nobody here asked for it: the program is being torn down, or the handler did it itself."""
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        return HandedBack()
    message = "the handler raised CancelledError although nobody cancelled it"
    return Failed(Failure("CancelledError", message, None, _kinds(asyncio.CancelledError)))


def _from_handler(error: BaseException) -> bool:
    """Whether a handler raised it itself, as ``sys.exit()`` in its code does."""
    return isinstance(error, SystemExit)
