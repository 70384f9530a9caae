"""Executes attempts: on the event loop, on threads or in processes, with their time limits."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator, Mapping
from concurrent.futures import Future
from contextlib import suppress
from inspect import isawaitable
from threading import current_thread, main_thread
from typing import Final, TypeAlias, TypeVar, cast

from msgspec.structs import replace

from kallista.core import raising
from kallista.core.commands import AttemptEnded
from kallista.core.definitions import Definition, Phase, TaskSpec
from kallista.core.handlers import Handler, Handlers, Invocation
from kallista.core.outcomes import (
    Completed,
    Failed,
    Failure,
    HandedBack,
    Outcome,
    Stopped,
)
from kallista.core.plan import WHOLE_RUN, lane
from kallista.core.raising import asked_pause, kinds
from kallista.core.run import Run
from kallista.core.states import UNDOING, ProcessStatus, RunKind, TaskStatus
from kallista.core.types import Json, JsonText, Micros, RunKey, TaskType
from kallista.core.wiring import evaluate, reads, wiring
from kallista.engine.active import ActiveRun
from kallista.engine.alarm import TRY_AGAIN_AFTER
from kallista.engine.clock import Clock, Timer, pass_by
from kallista.engine.facts import Facts
from kallista.engine.heart import Heart, Silence
from kallista.engine.heartbeats import Heartbeats
from kallista.engine.processes import ProcessPool
from kallista.engine.slots import CLAIM_AHEAD, Slots
from kallista.engine.spending import Ledger, Spending
from kallista.engine.threads import ThreadPool
from kallista.errors import HeartbeatTimeout, StoreError
from kallista.logs import mask_text, secret_values
from kallista.store.port import Store

ResultT = TypeVar("ResultT")

_Answering: TypeAlias = "Awaitable[JsonText | Outcome]"

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
        processes: For handlers that have a process of their own.
        heartbeats: Where attempts say how they are.
        max_result_bytes: How long an encoded result may be.
        ledger: Where what handlers spend is written down.
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
        processes: ProcessPool,
        heartbeats: Heartbeats,
        max_result_bytes: int,
        ledger: Ledger,
    ) -> None:
        self._handlers = handlers
        self._report = report
        self._store = store
        self._clock = clock
        self._slots = slots
        self._facts = facts
        self._threads = threads
        self._processes = processes
        self._heartbeats = heartbeats
        self._max_result_bytes = max_result_bytes
        self._ledger = ledger
        self._attempts: dict[asyncio.Task[None], _Attempt] = {}
        self._closed = False
        self._outliving: dict[tuple[RunKey, int], Future[object]] = {}

    @property
    def running(self) -> int:
        """How many attempts run here."""
        return len(self._attempts)

    def launch(self, active: ActiveRun, position: int) -> None:
        """Execute the step's running attempt; its place is taken already."""
        outcome = HandedBack() if self._closed else None
        attempt = _Attempt(active, position, self._heartbeats, outcome)
        task = asyncio.get_running_loop().create_task(self._execute(attempt))
        self._attempts[task] = attempt
        active.attempts[position] = task

    def stop(self, active: ActiveRun, position: int, *, lost: bool = False) -> None:
        """Tell the step's attempt to stop; it reports ``Stopped``.

        What runs on a thread goes on nevertheless. Where it would be undone, it is waited for: who
        does not know whether it has completed cannot undo it.
        """
        task = active.attempts.get(position)
        if task is None:
            return
        attempt = self._attempts.get(task)
        call = None if attempt is None else attempt.call
        is_called = not lost and call is not None and (call.running() or call.done())
        # Who executes it on loan does not know how the run will end.
        is_undone = active.lent or active.run.head.ending in UNDOING
        if attempt and is_called and is_undone and active.run.can_undo(position):
            attempt.asked_to_stop = True
        else:
            self._end(task, Stopped())

    def close(self) -> None:
        """Begin nothing any more: what is launched from now on is handed back."""
        self._closed = True

    def hand_back(self) -> None:
        """Stop every attempt; each reports that another worker has to start it again."""
        for task in list(self._attempts):
            self._end(task, HandedBack())

    async def finished(self) -> None:
        """Wait until no attempt runs here."""
        while self._attempts:
            await asyncio.wait(list(self._attempts))

    def _end(self, task: asyncio.Task[None], outcome: Outcome) -> None:
        attempt = self._attempts.get(task)
        if attempt is None or attempt.outcome is not None:
            return
        attempt.outcome = outcome
        if attempt.begun:
            task.cancel()  # before its first step a task would be cancelled without a trace

    async def _execute(self, attempt: _Attempt) -> None:
        """Call the handler, and report; whatever it does, the attempt's outcome is a value."""
        active, position = attempt.active, attempt.position
        work = active.run.definition.steps[position].work
        assert isinstance(work, TaskSpec), "only tasks are attempted"
        number = active.run.steps[position].attempt
        outcome = attempt.outcome
        if outcome is None:
            attempt.begun = True
            config: Mapping[str, Json] = work.config
            on_thread = False
            timer = silence = None
            comes_too_late = False
            try:
                handler = self._handlers.get(work.type)
                begins_at = active.run.steps[position].started_at
                if begins_at is not None and begins_at > self._clock.now() and not active.lent:
                    await self._pass_until(begins_at)
                    paused = active.run.head.state is ProcessStatus.PAUSED
                    comes_too_late = paused or not self._slots.open
                if handler is None or comes_too_late:
                    outcome = HandedBack()
                else:
                    timer = self._timer(active, position, work)
                    config = self._config(active, position, work)
                    invocation = self._invocation(attempt, work, number, config)
                    if handler.wants_context:
                        await self._equip(invocation, attempt)
                    on_thread = handler.blocking
                    if on_thread and (active.key, position) in self._outliving:
                        await _over(self._outliving[active.key, position])
                    if work.heartbeat_timeout is not None:
                        silence = self._silence(attempt, work.heartbeat_timeout)
                    if on_thread:
                        answer = await self._on_thread(handler, invocation, attempt)
                    elif handler.in_process:
                        answer = await self._processes.call(handler, invocation)
                    else:
                        answer = await cast("_Answering", handler.call(invocation))
                    outcome = Completed(answer) if isinstance(answer, str) else answer
            except asyncio.CancelledError:
                outcome = self._with_note(attempt.outcome or _cancelled(attempt), active, position)
            except BaseException as error:
                on_main_thread = not on_thread and current_thread() is main_thread()
                if isinstance(error, KeyboardInterrupt) and on_main_thread:
                    # Ctrl-C, for all that is known here: it ends the program, but not this
                    # attempt's own task, whose end those who stop in good order wait for.
                    asyncio.get_running_loop().call_soon(_raise, error)
                    outcome = HandedBack()
                else:
                    failure = failure_of(error, config)
                    self._log_failure(active, position, failure)
                    outcome = Failed(failure, retry_after=asked_pause(error))
            finally:
                if timer is not None:
                    timer.cancel()
                if silence is not None:
                    silence.cancel()
            if attempt.spending is not None:
                with suppress(asyncio.CancelledError):  # then nothing begins after it here
                    await attempt.spending.settled()
        attempt.is_over = True
        del self._attempts[active.attempts.pop(position)]
        if active.hearts is not None:
            self._heartbeats.end(active, position, again=not isinstance(outcome, Completed))
        if attempt.left_behind is None:
            self._slots.give_back(lane(work.type, work.queue))
        else:
            self._leave_behind(attempt.left_behind, (active.key, position), work)
        self._report(active, AttemptEnded(position, number, outcome))

    async def _pass_until(self, begins_at: Micros) -> None:
        """Wait for the moment of an attempt that was taken from the queue a little early."""
        left = Micros(begins_at - self._clock.now())
        await pass_by(self._clock, min(left, CLAIM_AHEAD))

    def _timer(self, active: ActiveRun, position: int, work: TaskSpec) -> Timer | None:
        """What ends the attempt when its time is over; None: it has all the time it wants."""
        if work.timeout is None and work.deadline is None:
            return None
        limit = _limit(work, active, position, self._clock.now())
        if limit is None:
            return None
        timed_out = _timed_out(work)
        task = active.attempts[position]
        return self._clock.call_at(limit, lambda: self._end(task, timed_out))

    def _silence(self, attempt: _Attempt, limit: Micros) -> Silence:
        """What ends the attempt when it is silent for too long, from now on."""
        task = attempt.active.attempts[attempt.position]
        fell_silent = _fell_silent(limit)
        return Silence(
            self._clock, attempt.made_heart(), limit, lambda: self._end(task, fell_silent)
        )

    def _leave_behind(
        self, call: Future[object], place: tuple[RunKey, int], work: TaskSpec
    ) -> None:
        """A thread cannot be stopped: it keeps its place until it comes to its end."""
        loop = asyncio.get_running_loop()
        call.add_done_callback(
            lambda ended: loop.call_soon_threadsafe(self._outlived, place, ended, work)
        )

    def _outlived(self, place: tuple[RunKey, int], call: Future[object], work: TaskSpec) -> None:
        """A thread that nobody waited for any more has come to its end."""
        if self._outliving.get(place) is call:
            del self._outliving[place]
        self._slots.give_back(lane(work.type, work.queue))

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
                return replace(outcome, failure=replace(failure, message=message))
            case _:
                return outcome

    async def _on_thread(
        self, handler: Handler, invocation: Invocation, attempt: _Attempt
    ) -> JsonText | Outcome:
        """Call a blocking handler; earlier attempts of it that could not be stopped are over."""
        future = self._threads.submit(lambda: handler.call(invocation))
        attempt.call = cast("Future[object]", future)
        answer = asyncio.wrap_future(future)
        try:
            returned = await asyncio.shield(answer)
        except asyncio.CancelledError:
            answer.add_done_callback(_unheard)
            if not future.cancel() and not future.done():
                place = (attempt.active.key, attempt.position)
                attempt.left_behind = self._outliving[place] = attempt.call
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
        value = evaluate(
            compiled, run.definition, run.inputs, steps, run.head.ending, run.outputs.get(WHOLE_RUN)
        )
        assert isinstance(value, dict), "a config stays a mapping"
        return value

    def _invocation(
        self,
        attempt: _Attempt,
        work: TaskSpec,
        number: int,
        config: Mapping[str, Json],
    ) -> Invocation:
        run = attempt.active.run
        return Invocation(
            run.id,
            run.step_id(attempt.position),
            work.type,
            number,
            config,
            _NOTHING,
            attempt.progress,
            attempt.cancelled,
            self._max_result_bytes,
            _generation(run, attempt.position),
            attempt.heartbeat,
        )

    async def _equip(self, invocation: Invocation, attempt: _Attempt) -> None:
        """Give an attempt what it may see of its run, and what it tells what it spends by."""
        active, position = attempt.active, attempt.position
        invocation.results = await self._again(lambda: self._results(active, position))
        if invocation.attempt > 1:
            invocation.heartbeat_details = await self._again(
                lambda: self._heartbeats.details(active.key, position)
            )
        invocation.spend = attempt.spender(
            self._ledger, invocation.attempt, invocation.type, self._clock
        )

    async def _again(self, read: Callable[[], Awaitable[ResultT]]) -> ResultT:
        """What is read before an attempt begins, however often the store fails."""
        while True:
            try:
                return await read()
            except StoreError as error:
                _log.warning("a task's surroundings are read again: %s", error)
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
                    run.definition, earlier, active.results[earlier]
                )
        return found


class _Attempt:
    """An attempt that runs here.

    Args:
        active: Its run.
        position: Its step.
        heartbeats: Where it says how it is.
        outcome: What somebody else decided about it; None: the handler decides.
    """

    __slots__ = (
        "_heartbeats", "active", "asked_to_stop", "begun", "call", "heart", "is_over",
        "left_behind", "outcome", "position",
        "spending",
    )  # fmt: skip

    def __init__(
        self, active: ActiveRun, position: int, heartbeats: Heartbeats, outcome: Outcome | None
    ) -> None:
        self._heartbeats = heartbeats
        self.active = active
        self.position = position
        self.outcome = outcome
        self.begun = False
        self.call: Future[object] | None = None
        self.asked_to_stop = False
        self.heart: Heart | None = None
        self.is_over = False
        self.left_behind: Future[object] | None = None
        """The call that could not be stopped when the attempt ended."""
        self.spending: Spending | None = None
        """What it has spent; None: nothing yet."""

    def spender(
        self, ledger: Ledger, number: int, type: TaskType, clock: Clock
    ) -> Callable[[int, str], Awaitable[None]]:
        """What its handler calls to spend something."""
        key, position = self.active.key, self.position
        loop = asyncio.get_running_loop()

        def spend(amount: int, unit: str) -> Awaitable[None]:
            if self.spending is None:
                self.spending = Spending(ledger, loop, key, position, number, type, clock)
            return self.spending.add(amount, unit)

        return spend

    def progress(self, fraction: float, message: str | None) -> None:
        """Show how far it is; a thread that is left behind shows nothing more."""
        if not self.is_over:
            self.made_heart().progress(fraction, message)

    def heartbeat(self, details: JsonText | None) -> None:
        """Show that it goes on."""
        if not self.is_over:
            self.made_heart().beat(details)

    def made_heart(self) -> Heart:
        """What it says of itself; made when it is first asked for."""
        if self.heart is None:
            self.heart = self._heartbeats.heart(self.active, self.position)
        return self.heart

    def cancelled(self) -> bool:
        """Whether it should stop."""
        return self.asked_to_stop or self.outcome is not None


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


def _generation(run: Run, position: int) -> int:
    """What runs at the end of a run is another thing at each end, should the run be retried.

    It stays the same when that moment is later by a pause.
    """
    if run.definition.steps[position].phase is not Phase.FINALLY:
        return 0
    return (run.steps[position].since or 0) - run.head.stood_still


def _before(definition: Definition, position: int) -> Iterator[int]:
    """The steps that a step comes after, directly or not, in the order of the definition."""
    spec = definition.steps[position]
    if spec.phase is Phase.FINALLY:
        yield from range(definition.main_count)
        return
    if spec.undoes is not None:
        yield from _before(definition, spec.undoes)
        yield spec.undoes
        return
    if definition.kind is RunKind.WORKFLOW:
        yield from range(position)
        return
    seen: set[int] = set()
    waiting = list(spec.depends_on)
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
    return Failed(Failure("TimeoutError", message, None, kinds(TimeoutError)))


def _fell_silent(length: Micros) -> Failed:
    message = (
        f"the attempt was not heard of for {length / 1e6:g} s (heartbeat_timeout): it has called"
        " neither ctx.heartbeat nor ctx.progress"
    )
    return Failed(Failure("HeartbeatTimeout", message, None, kinds(HeartbeatTimeout)))


def failure_of(error: BaseException, config: Mapping[str, Json]) -> Failure:
    """What history keeps of an exception: secrets of the config are masked.

    Args:
        error: What the handler raised.
        config: The handler's arguments, to know their secrets.
    """
    failure = raising.failure_of(error)
    secrets = secret_values(config)
    trace = None if failure.traceback is None else mask_text(failure.traceback, secrets)
    message = mask_text(failure.message, secrets)
    return Failure(failure.type, message, trace, failure.kinds)


def _cancelled(attempt: _Attempt) -> Outcome:
    """Nobody here asked for it: the program is being torn down, or the handler did it itself."""
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        return HandedBack()
    if attempt.asked_to_stop:
        return Stopped()
    message = "the handler raised CancelledError although nobody cancelled it"
    return Failed(Failure("CancelledError", message, None, kinds(asyncio.CancelledError)))


def _raise(error: BaseException) -> None:
    raise error
