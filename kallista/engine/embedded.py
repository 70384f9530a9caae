"""The engine that lives in the program itself: it puts the parts together and answers the port."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from msgspec import Struct

from kallista.core.commands import AttemptEnded, Command, Verb
from kallista.core.definitions import Definition, Phase
from kallista.core.encoding import definition_hash
from kallista.core.events import Heartbeat
from kallista.core.handlers import Handlers
from kallista.core.ids import may_exist
from kallista.core.json_text import from_json
from kallista.core.plan import DEFAULT_QUEUE, type_of_lane
from kallista.core.redefining import difference
from kallista.core.snapshots import (
    AnySnapshot,
    Explanation,
    Forked,
    HistoryEvent,
    Page,
    Redefined,
    Replay,
    RunSummary,
)
from kallista.core.states import (
    FINISHED_RUN,
    ProcessStatus,
    RunKind,
    TaskStatus,
)
from kallista.core.types import (
    MAX_PAYLOAD_BYTES,
    Json,
    Micros,
    RunId,
    RunKey,
    ScheduleId,
)
from kallista.engine.active import ActiveRun, DefinitionCache, run_of
from kallista.engine.alarm import Alarm, repeat
from kallista.engine.borrower import Borrower
from kallista.engine.clock import Clock
from kallista.engine.creation import Creator
from kallista.engine.dispatcher import Dispatcher
from kallista.engine.driver import Driver
from kallista.engine.executor import Executor
from kallista.engine.explaining import Explainer
from kallista.engine.facts import Facts
from kallista.engine.firings import Firings
from kallista.engine.heartbeats import Hearing, Heartbeats
from kallista.engine.knowledge import Knowledge
from kallista.engine.notices import Notices
from kallista.engine.nowhere import nothing
from kallista.engine.paging import checked_limit, checked_statuses, cursor_of, read_cursor
from kallista.engine.people import People
from kallista.engine.port import ForkRequest, ListRequest, Outside, RunRequest, Schedules
from kallista.engine.processes import ProcessPool
from kallista.engine.scheduling import StoredSchedules
from kallista.engine.slots import Slots
from kallista.engine.snapshots import SnapshotBuilder
from kallista.engine.spending import Ledger
from kallista.engine.take_over import TakeOver
from kallista.engine.threads import ThreadPool, Threads
from kallista.errors import (
    LeaseLost,
    NotFoundError,
    StateError,
    StoreError,
    StoreUnavailableError,
    UsageError,
    WaitTimeoutError,
)
from kallista.store.port import RunFilter, RunRecord, Store

if TYPE_CHECKING:
    from kallista.core.retention import Rule

_log = logging.getLogger("kallista.engine")

JUMP = Micros(2_000_000)
"""Looks further apart than this mean that time has jumped."""

CHECK_EVERY = Micros(30_000_000)
"""How often it looks into the queue although nobody rang: a call may have been lost."""

DRAIN = Micros(10_000_000)
"""How long a store may take for the last writes when the program closes."""

BUSY_LEASES: Final = 10
"""For how many leases an event loop that does not come to renew its own counts as busy."""

LONGEST_PATIENCE: Final = 1e9
"""Seconds that anybody may say that they wait."""

HISTORY_PAGE = 1000


class Options(Struct, frozen=True, gc=False):
    """How an engine works.

    Args:
        worker: Whether it executes anything; else it only commands and looks.
        max_concurrency: How many attempts at once.
        processes: How many of those may have a process of their own.
        queues: The queues whose tasks it executes.
        queue_limits: How many attempts of a queue at once; those that are not named have no limit.
        grace: How long attempts in flight may go on when it closes.
        within: The only run, with its tree, that it works on; None: all.
        look_every: How often it looks whether another program has written, in case nobody rang.
        take_over_every: How often it looks for workers that have died, while there are others.
        lease: How long a worker may be silent before others take over its work; it renews its
            own three times as often.
        ageing: For how long a task has to wait to be served before those of a priority higher by
            one that have become due by then; None: it never is.
        max_payload_bytes: How long an encoded result may be.
        retention: For how long runs are kept once they are over; those of which nothing is said
            are kept for ever.
    """

    worker: bool = True
    max_concurrency: int = 100
    processes: int = os.cpu_count() or 1
    queues: tuple[str, ...] = (DEFAULT_QUEUE,)
    queue_limits: Mapping[str, int] = {}
    grace: Micros = Micros(10_000_000)
    within: RunId | None = None
    look_every: Micros = Micros(200_000)
    take_over_every: Micros = Micros(750_000)
    lease: Micros = Micros(30_000_000)
    ageing: Micros | None = Micros(60_000_000)
    max_payload_bytes: int = MAX_PAYLOAD_BYTES
    retention: tuple[Rule, ...] = ()


class EmbeddedEngine:
    """Runs what is asked of it in this program, on its event loop and threads.

    Args:
        store: Where everything is kept.
        handlers: The code behind each task type.
        clock: What time it is.
        options: How it works.
        processes: What calls handlers that have a process of their own.
        threads: What calls blocking handlers; a pool of its own by default.
        entropy: Gives as many random bytes as it is asked for; for generated ids.
    """

    def __init__(
        self,
        store: Store,
        handlers: Handlers,
        clock: Clock,
        options: Options,
        processes: ProcessPool,
        threads: ThreadPool | None = None,
        entropy: Callable[[int], bytes] = os.urandom,
    ) -> None:
        self._store = store
        self._handlers = handlers
        self._clock = clock
        self._options = options
        self._definitions = DefinitionCache()
        self._notices = Notices()
        self._knowledge = Knowledge()
        self._facts = Facts(store, self._definitions, options.max_payload_bytes)
        self._slots = Slots(
            handlers,
            options.max_concurrency,
            options.queues,
            options.queue_limits,
            options.processes,
            self._place_is_free,
        )
        self._driver = Driver(
            store,
            clock,
            self._slots,
            self._facts,
            self._definitions,
            self._notices,
            self._knowledge,
            self._queued,
            self._refused,
            self._loans_changed,
        )
        self._borrower = Borrower(
            store, clock, self._slots, self._facts, self._definitions, self._place_is_free
        )
        self._processes = processes
        self._threads = threads or Threads(options.max_concurrency)
        self._ledger = Ledger(store, clock, self._place_is_free)
        self._heartbeats = Heartbeats(store, clock)
        self._executor = Executor(
            handlers,
            self._ended,
            store,
            clock,
            self._slots,
            self._facts,
            self._threads,
            processes,
            self._heartbeats,
            options.max_payload_bytes,
            self._ledger,
        )
        self._driver.attempts = self._borrower.attempts = self._executor
        self._dispatcher = Dispatcher(
            store,
            clock,
            self._slots,
            self._definitions,
            self._driver,
            self._borrower,
            self._refused,
            options.ageing,
        )
        self._firings = Firings(
            store, clock, self._definitions, self._queued, self._cancel_for_firing
        )
        self._notices.on_over = self._run_is_over
        self._fire_alarm = Alarm(clock)
        self._take_over = TakeOver(
            store,
            clock,
            options.take_over_every,
            options.lease,
            lambda: self._slots.worker,
            self._place_is_free,
        )
        self._take_over_alarm = Alarm(clock)
        self._retention_alarm = Alarm(clock)
        self._lease_alarm = Alarm(clock)
        self._look_alarm = Alarm(clock)
        self._name = f"{socket.gethostname()}-{os.getpid()}-{entropy(3).hex()}"
        hearing = Hearing(store, self._heard_here)
        self._snapshots = SnapshotBuilder(store, self._definitions, self._facts, hearing, clock.now)
        self._explainer = Explainer(
            store, self._definitions, self._facts.awaited, hearing, clock.now
        )
        self._creator = Creator(
            store,
            clock,
            entropy,
            self._slots,
            self._driver,
            self._definitions,
            self._knowledge,
            self._facts.awaited,
            self._queued,
            self._renew,
            self._widen,
        )
        self._schedules = StoredSchedules(
            store,
            clock,
            self._firings,
            self._snapshots,
            self._knowledge,
            self._queued,
            self._schedules_changed,
        )
        self._people = People(
            store,
            self._driver,
            self._definitions,
            self._any_record,
            clock.now,
            entropy,
            options.max_payload_bytes,
        )
        self._services: list[asyncio.Task[None]] = []
        self._is_known = False
        self._renewing = asyncio.Lock()
        self._looked_at: Micros | None = None
        self._checked_at = clock.now()

    # its life

    async def start(self) -> None:
        """Open the store and begin to work.

        Raises:
            StoreError: The store cannot be opened; the message says what to do.
        """
        await self._store.open()
        try:
            self._serve(self._look, self._look_alarm, "looking for other programs' work")
            self._look_alarm.ring()
            self._store.listen(self._look_alarm.ring)
            if self._options.worker:
                await self._start_working()
        except BaseException:
            # A worker that is half there would hold what it has claimed for as long as it lives.
            with suppress(StoreError):
                await self.stop()
            raise

    async def _start_working(self) -> None:
        await self._register()
        self._slots.open = True
        self._heartbeats.open()
        self._serve(self._renew, self._lease_alarm, "renewing the lease")
        self._lease_alarm.set(self._next_beat())
        self._serve(self._dispatcher.once, self._dispatcher.alarm, "claiming")
        self._serve(self._firings.once, self._fire_alarm, "firing schedules")
        self._serve(self._take_over.once, self._take_over_alarm, "taking over")
        self._serve(self._borrower.once, self._borrower.alarm, "looking after loans")
        if self._options.retention and self._options.within is None:
            from kallista.engine.retention import Retention

            retention = Retention(self._store, self._clock, self._options.retention)
            self._serve(retention.once, self._retention_alarm, "letting go of old runs")
            self._retention_alarm.ring()
        await self._work_within()
        look_again = await self._take_over.once()
        if look_again is not None:
            self._take_over_alarm.set(look_again)
        self._dispatcher.alarm.ring()
        self._fire_alarm.ring()

    async def _register(self) -> None:
        """Become known as a worker, under a new key."""
        now = self._clock.now()
        self._is_known = False
        handlers = {lane: self._handlers.get(type_of_lane(lane)) for lane in self._slots.lanes()}
        types = {
            lane: handler.outline() for lane, handler in handlers.items() if handler is not None
        }
        lease = self._options.lease
        self._store.keep_lease(Micros(lease // 2), Micros(lease * BUSY_LEASES))
        self._slots.worker = await self._store.register_worker(self._name, types, now)
        self._is_known = True

    async def _renew(self) -> Micros:
        """Renew the lease; who is too late for that stops all it has, and begins anew.

        One at a time: who is second must not stop what the first has begun anew.
        """
        async with self._renewing:
            await self._renew_alone()
        return self._next_beat()

    async def _renew_alone(self) -> None:
        if not (self._is_known and await self._store.beat()):
            _log.warning(
                "others took this worker for dead (its connection to the store was gone, or it was"
                " silent for longer than its lease of %g s) and go on with its work: what it was"
                " executing is stopped",
                self._options.lease / 1e6,
            )
            self._borrower.abandon()
            await self._register()
            self._driver.lose_all()
            self._dispatcher.alarm.ring()
            self._take_over_alarm.ring()

    def _next_beat(self) -> Micros:
        return Micros(self._clock.now() + self._options.lease // 3)

    def _loans_changed(self) -> None:
        if not self._borrower.is_idle:
            self._borrower.alarm.ring()

    def _refused(self) -> None:
        """The store gives this worker nothing, perhaps because it counts as dead."""
        self._lease_alarm.ring()

    def _ended(self, active: ActiveRun, ended: AttemptEnded) -> None:
        """An attempt that ran here is over."""
        if active.lent:
            self._borrower.ended(active, ended)
        elif not active.gone:
            self._driver.post(active, ended)

    async def _work_within(self) -> None:
        """Restrict claims to one tree; until its root exists, to none."""
        if self._options.within is None:
            return
        self._slots.open = False
        record = await self._store.load(self._options.within)
        if record is not None:
            self._restrict(record.key)

    def _restrict(self, root: RunKey) -> None:
        self._dispatcher.within = root
        self._slots.open = True
        self._dispatcher.alarm.ring()

    async def stop(self) -> None:
        """Stop claiming, let attempts in flight finish for the grace time, hand back the rest."""
        self._slots.open = False
        self._store.hurry()
        await self._dispatcher.finished()
        for service in self._services:
            service.cancel()
        await asyncio.gather(*self._services, return_exceptions=True)
        for alarm in (
            self._dispatcher.alarm, self._fire_alarm, self._take_over_alarm, self._look_alarm,
            self._lease_alarm, self._borrower.alarm, self._retention_alarm,
        ):  # fmt: skip
            alarm.clear()
        if self._executor.running:
            await self._let_finish()
        self._executor.close()
        self._heartbeats.close()
        self._slots.give_up_alone()
        try:
            await self._driver.drain(DRAIN)
            if self._executor.running:  # launched by a plan that was on its way
                await self._executor.finished()
                await self._driver.drain(DRAIN)
            await self._borrower.drain(DRAIN)
            if self._options.worker:
                await self._retire()
        finally:
            self._threads.close()
            await self._processes.close()
            self._ledger.close()
            await self._store.close()

    async def _retire(self) -> None:
        """Be no worker any more; once more if the store fails, for all else is recorded by now.

        Raises:
            StoreError: It failed again, or nobody could reach the store; others take over from
                this worker as from a dead one.
        """
        try:
            await self._store.retire_worker(self._clock.now())
        except StoreUnavailableError:
            raise  # it has been waited for
        except StoreError as error:
            _log.warning("leaving failed and is tried once more: %s", error)
            await self._store.retire_worker(self._clock.now())

    async def _let_finish(self) -> None:
        timer = self._clock.call_at(
            Micros(self._clock.now() + self._options.grace), self._executor.hand_back
        )
        try:
            await self._executor.finished()
        finally:
            timer.cancel()

    def _serve(self, once: Callable[[], Awaitable[Micros | None]], alarm: Alarm, name: str) -> None:
        service = repeat(once, alarm, self._clock, name)
        self._services.append(asyncio.get_running_loop().create_task(service))

    async def _look(self) -> Micros:
        """Whether another program has written something that matters here.

        Also whether the wall clock was set, or the machine slept: then no timer rings in time.
        """
        now, before = self._clock.now(), self._looked_at
        self._looked_at = now
        time_jumped = before is not None and abs(now - before) > JUMP
        is_check_due = now - self._checked_at >= CHECK_EVERY
        if self._store.changed() or time_jumped or is_check_due:
            self._checked_at = now
            self._knowledge.forget()
            self._notices.tell_all()
            self._dispatcher.alarm.ring()
            self._fire_alarm.ring()
            self._loans_changed()
            if self._take_over.is_alone:
                self._take_over_alarm.set(Micros(now + self._options.take_over_every))
        return Micros(self._clock.now() + self._options.look_every)

    def _place_is_free(self) -> None:
        self._dispatcher.alarm.ring()

    def _schedules_changed(self) -> None:
        if self._options.worker:
            self._fire_alarm.ring()

    def _run_is_over(self, ended: ActiveRun | None) -> None:
        origin = None if ended is None else ended.origin
        failed = ended is not None and ended.run.head.state is ProcessStatus.FAILED
        schedule = None if origin is None else origin.schedule
        if self._options.worker and self._firings.has_ended(schedule, failed=failed):
            self._fire_alarm.ring()

    async def _cancel_for_firing(self, id: RunId, reason: str) -> None:
        """Cancel a run that makes room; one that has ended or is gone has made room already."""
        record = await self._store.load(id)
        if record is not None:
            with suppress(StateError, NotFoundError):
                await self._driver.command(record.key, Command(Verb.CANCEL, reason), record)

    def _queued(self, ready_at: Micros, priority: int) -> None:
        if self._options.worker:
            self._dispatcher.queued(ready_at, priority)

    def _heard_here(self, key: RunKey) -> Mapping[int, Heartbeat]:
        active = self._driver.get(key)
        if active is None or active.hearts is None:
            return {}
        return {position: heart.said() for position, heart in active.hearts.items()}

    # runs

    @property
    def schedules(self) -> Schedules:
        """Its schedules."""
        return self._schedules

    @property
    def outside(self) -> Outside:
        """What comes to its runs from outside."""
        return self._people

    def now(self) -> Micros:
        """The moment, by the engine's clock."""
        return self._clock.now()

    def create(self, request: RunRequest, *, start: bool) -> Coroutine[Any, Any, RunId]:
        """Create a run, and start it in the same breath if asked to."""
        return self._creator.create(request, start=start)

    def create_all(
        self, requests: Sequence[RunRequest], *, start: bool
    ) -> Coroutine[Any, Any, Sequence[RunId]]:
        """Create runs together, and start them in the same breath if asked to."""
        return self._creator.create_all(requests, start=start)

    def _widen(self, id: RunId, key: RunKey) -> None:
        """Begin to work, if this is the only tree that this program works on."""
        here = id == self._options.within and self._options.worker
        if here and self._dispatcher.within is None:
            self._restrict(key)

    async def command(self, kind: RunKind, id: RunId, command: Command) -> bool:
        """Do what was asked; true when it changed something."""
        record = await self._record(kind, id)
        if command.verb is Verb.RETRY:
            await self._refuse_child(record)
        return await self._driver.command(record.key, command, record)

    async def _refuse_child(self, record: RunRecord) -> None:
        """A run that nobody waits for any more does not go on alone: it would end with its parent.

        What could not be undone of it may be tried again all the same. And only the run that goes
        through a list knows how many of its items may be under way.
        """
        if record.parent is None:
            return
        key, position = record.parent
        of, what = await self._store.load(key), f"{record.kind} {record.id!r}"
        definition = self._snapshots.definition(record)
        may_be_left = record.head.state is ProcessStatus.COMPLETED or _is_undone(record, definition)
        if of is None:
            if not may_be_left:
                raise StateError(f"{what} was part of a run that was deleted; fork it instead")
            return
        its = self._definitions.get(of.definition, of.definition_content)
        if position in its.maps:
            raise StateError(
                f"{what} is an item of {its.steps[position].id!r}: retry {of.id!r}, which runs what"
                " has failed there, once nothing of it is under way"
            )
        if of.steps[position].status is not TaskStatus.WAITING and not may_be_left:
            raise StateError(
                f"{what} is part of {of.id!r}, which does not wait for it any more: retry {of.id!r}"
                " once it has failed, and this goes on with it; or fork this one"
            )

    async def running(self, kind: RunKind, id: RunId) -> tuple[Definition, Mapping[str, Json]]:
        """What a run runs, and its arguments."""
        record = await self._record(kind, id)
        return self._snapshots.definition(record), from_json(record.inputs)

    async def retry_otherwise(
        self, kind: RunKind, id: RunId, command: Command, *, dry_run: bool
    ) -> Redefined:
        """Let a failed run go on with the definition that the command brings."""
        record = await self._record(kind, id)
        await self._refuse_child(record)
        before, after = self._snapshots.definition(record), command.definition
        assert after is not None, "the command brings one"
        await self._driver.retry_otherwise(id, command, dry_run=dry_run)
        differs = difference(run_of(record, before), after)
        return Redefined(
            id, record.definition, definition_hash(after), differs.changed, differs.added,
            differs.too_late, differs.again,
        )  # fmt: skip

    async def fork(self, kind: RunKind, request: ForkRequest) -> Forked:
        """Create and start a run that keeps what another one did before a step."""
        from kallista.engine.forking import Forker  # only who forks pays for it

        forker = Forker(self._store, self._definitions, self._facts, self._create_started)
        return await forker.fork(await self._record(kind, request.source), request)

    async def _create_started(self, request: RunRequest) -> RunId:
        [id] = await self._creator.create_all([request], start=True)
        return id

    async def get(self, kind: RunKind, id: RunId) -> AnySnapshot:
        """The run as it is now."""
        return await self._snapshots.run(await self._record(kind, id))

    async def wait(self, kind: RunKind, id: RunId, timeout: float | None) -> AnySnapshot:
        """The run once it has finished and nothing of it is in flight."""
        deadline = None if timeout is None else Micros(self._clock.now() + _patience(timeout))
        with self._notices.subscribed(id, to_its_end=True) as news:
            timer = None if deadline is None else self._clock.call_at(deadline, news.tell)
            try:
                while True:
                    if news.final is not None:
                        ended = await self._snapshots.final(news.final)
                        if ended is not None:
                            return ended
                        news.final = None
                    if not self._goes_on(kind, id):
                        record = await self._record(kind, id)
                        if _is_over(record):
                            return await self._snapshots.run(record)
                    if deadline is not None and self._clock.now() >= deadline:
                        status = (await self.get(kind, id)).status
                        raise WaitTimeoutError(
                            f"{kind} {id!r} is still {status} after {timeout:g} s; it goes on,"
                            " explain says what it waits for"
                        )
                    await news.wait()
            finally:
                if timer is not None:
                    timer.cancel()

    def _goes_on(self, kind: RunKind, id: RunId) -> bool:
        """Whether it is known without asking the store that a run has not ended."""
        active = self._driver.find(id)
        if active is not None:
            return active.run.kind is kind and not active.is_over
        return self._knowledge.unfinished(kind, id) is not None

    async def history(self, kind: RunKind, id: RunId) -> Sequence[HistoryEvent]:
        """All that happened to the run."""
        record = await self._record(kind, id)
        events: list[HistoryEvent] = []
        while page := await self._store.history(record.key, len(events), HISTORY_PAGE):
            events.extend(self._snapshots.event(record, event) for event in page)
        return events

    async def watch(self, kind: RunKind, id: RunId) -> AsyncIterator[HistoryEvent]:
        """What happened so far, then what happens, until the run has finished."""
        record = await self._record(kind, id)
        seq = 0
        with self._notices.subscribed(id) as news:
            while True:
                over = _is_over(await self._record(kind, id))
                while page := await self._store.history(record.key, seq, HISTORY_PAGE):
                    for event in page:
                        yield self._snapshots.event(record, event)
                    seq = page[-1].seq + 1
                if over:
                    return
                await news.wait()

    async def list_runs(self, request: ListRequest) -> Page[RunSummary]:
        """Runs that match, newest first."""
        limit = checked_limit(request.limit)
        after = None if request.cursor is None else RunKey(read_cursor(request.cursor, int))
        texts = (request.name, request.tag, request.schedule, request.error)
        if not all(text is None or text.isprintable() for text in texts):
            return Page((), None)  # nothing is called so, and not every store could compare it
        records = await self._store.list_runs(
            RunFilter(
                now=self._clock.now(),
                kind=request.kind,
                statuses=checked_statuses(request.kind, request.statuses),
                name=request.name,
                tag=request.tag,
                created_from=request.created_from,
                created_until=request.created_until,
                schedule=request.schedule,
                parent=None if request.part_of is None else await self._key_of(request.part_of),
                roots=request.kind is RunKind.TASK and request.part_of is None,
                error=request.error,
                after=after,
                limit=limit + 1,
            )
        )
        shown = records[:limit]
        cursor = cursor_of(shown[-1].key) if len(records) > limit else None
        return Page(await self._snapshots.summaries(shown), cursor)

    async def _key_of(self, id: RunId) -> RunKey:
        heads = await self._store.heads([id])
        if id not in heads:
            raise NotFoundError(f"no run has the id {id!r}, so nothing is part of it")
        return heads[id].key

    async def delete(self, kind: RunKind, id: RunId) -> None:
        """Remove a finished run and its children."""
        while not await self._deleted(kind, id):
            pass  # it has changed since it was read

    async def _deleted(self, kind: RunKind, id: RunId) -> bool:
        """Remove a run; false when it has changed since it was read."""
        record = await self._record(kind, id)
        if not _is_over(record):
            advice = "cancel it first"
            if record.head.state in FINISHED_RUN:
                advice = "wait until what is in flight has ended"
            elif record.head.state is ProcessStatus.COMPENSATING:
                advice = "wait until it has come to its end"
            raise StateError(f"{kind} {id!r} is {record.status} and cannot be deleted; {advice}")
        if record.parent_id is not None:
            raise StateError(f"{kind} {id!r} belongs to {record.parent_id!r}; delete that")
        try:
            await self._store.delete_run(record.key, record.version, self._clock.now())
        except LeaseLost:
            return False
        self._knowledge.ended(record.id)
        self._notices.tell(record.id, over=True)
        return True

    async def explain(self, id: str) -> Explanation:
        """Why the run or schedule is where it is."""
        record = await self._find(id)
        if record is not None:
            return await self._explainer.run(record)
        schedule = await self._store.schedule(ScheduleId(id)) if may_exist(id) else None
        if schedule is not None:
            return await self._explainer.schedule(schedule)
        raise await nothing(self._store, "run or schedule", id)

    async def replay(self, id: str) -> Replay:
        """What the history of a run leads to."""
        record = await self._any_record(id)
        from kallista.engine.promises import Promises  # only who replays pays for it

        return await Promises(self._store, self._definitions).replayed(record)

    async def kind_of(self, id: str) -> RunKind | None:
        """Which kind of run has this id, or None."""
        record = await self._find(id)
        return None if record is None else record.kind

    async def _find(self, id: str) -> RunRecord | None:
        return await self._store.load(RunId(id)) if may_exist(id) else None

    async def _any_record(self, id: str) -> RunRecord:
        record = await self._find(id)
        if record is None:
            raise await nothing(self._store, "run", id)
        return record

    async def _record(self, kind: RunKind, id: RunId) -> RunRecord:
        record = await self._find(id)
        if record is None:
            raise await nothing(self._store, kind.value, id)
        if record.kind is not kind:
            raise NotFoundError(f"no {kind} has the id {id!r}; it belongs to a {record.kind}")
        return record

    # schedules


def _patience(timeout: float) -> int:
    """A time-out in microseconds. Raises ``UsageError`` when it is none."""
    if not abs(timeout) <= LONGEST_PATIENCE:
        raise UsageError(f"timeout must be a number of seconds, or None, not {timeout!r}")
    return int(timeout * 1e6)


def _is_undone(record: RunRecord, definition: Definition) -> bool:
    """Whether a run was undone, or somebody has tried to."""
    steps = zip(definition.steps, record.steps, strict=True)
    return any(spec.phase is Phase.UNDO and step.attempt for spec, step in steps)


def _is_over(record: RunRecord) -> bool:
    return record.head.state in FINISHED_RUN and record.head.in_flight == 0
