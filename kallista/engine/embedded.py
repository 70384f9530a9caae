"""The engine that lives in the program itself: it puts the parts together and answers the port."""

from __future__ import annotations

import asyncio
import base64
import json
import logging
import os
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

from msgspec.structs import replace

from kallista.core.birth import Wanted, created, newborn, newborn_all, started
from kallista.core.commands import AttemptEnded, Command, Verb
from kallista.core.durations import to_datetime
from kallista.core.encoding import definition_hash, definition_text
from kallista.core.handlers import Handlers
from kallista.core.ids import content_hash, uuid7
from kallista.core.plan import DEFAULT_QUEUE, NewRun, type_of_lane
from kallista.core.schedules import Firing, Schedule, next_moments
from kallista.core.snapshots import (
    AnySnapshot,
    Explanation,
    HistoryEvent,
    Page,
    RunSummary,
    ScheduleSnapshot,
)
from kallista.core.states import (
    FINISHED_RUN,
    ProcessStatus,
    RunKind,
    ScheduleStatus,
    TaskStatus,
    WorkflowStatus,
)
from kallista.core.triggers import Every
from kallista.core.types import (
    MAX_PAYLOAD_BYTES,
    JsonText,
    Micros,
    RunId,
    RunKey,
    ScheduleId,
    TaskType,
)
from kallista.engine.active import ActiveRun, DefinitionCache, Progress
from kallista.engine.alarm import Alarm, repeat
from kallista.engine.borrower import Borrower
from kallista.engine.clock import Clock
from kallista.engine.dispatcher import Dispatcher
from kallista.engine.driver import Driver
from kallista.engine.executor import Executor
from kallista.engine.explaining import Explainer
from kallista.engine.facts import Facts
from kallista.engine.knowledge import Knowledge
from kallista.engine.notices import Notices
from kallista.engine.port import ListRequest, RunRequest, ScheduleRequest
from kallista.engine.services import Firings, TakeOver
from kallista.engine.slots import Slots
from kallista.engine.snapshots import SnapshotBuilder
from kallista.engine.threads import ThreadPool, Threads
from kallista.errors import (
    ConflictError,
    KallistaError,
    LeaseLost,
    NotFoundError,
    StateError,
    StoreUncertainError,
    UsageError,
    WaitTimeoutError,
)
from kallista.store.port import Created, RunFilter, RunRecord, Store

_log = logging.getLogger("kallista.engine")

UNDESCRIBED: Final = JsonText("{}")
"""The schema of a task type about which nothing is known yet: anything fits."""

DESCRIBE_AFTER = Micros(10_000_000)
JUMP = Micros(2_000_000)
"""Looks further apart than this mean that time has jumped."""

CHECK_EVERY = Micros(10_000_000)
"""How often it looks into the queue although nobody rang: a call may have been lost."""

DRAIN = Micros(10_000_000)
"""How long a store may take for the last writes when the program closes."""

HISTORY_PAGE = 1000
MOST_ITEMS = 1000


@dataclass(frozen=True, slots=True)
class Options:
    """How an engine works.

    Args:
        worker: Whether it executes anything; else it only commands and looks.
        max_concurrency: How many attempts at once.
        queues: The queues whose tasks it executes.
        grace: How long attempts in flight may go on when it closes.
        within: The only run, with its tree, that it works on; None: all.
        look_every: How often it looks whether another program has written, in case nobody rang.
        take_over_every: How often it looks for workers that have died.
        lease: How long a worker may be silent before others take over its work; it renews its
            own three times as often.
        max_payload_bytes: How long an encoded result may be.
    """

    worker: bool = True
    max_concurrency: int = 100
    queues: tuple[str, ...] = (DEFAULT_QUEUE,)
    grace: Micros = Micros(10_000_000)
    within: RunId | None = None
    look_every: Micros = Micros(200_000)
    take_over_every: Micros = Micros(700_000)
    lease: Micros = Micros(30_000_000)
    max_payload_bytes: int = MAX_PAYLOAD_BYTES


class EmbeddedEngine:
    """Runs what is asked of it in this program, on its event loop and threads.

    Args:
        store: Where everything is kept.
        handlers: The code behind each task type.
        clock: What time it is.
        options: How it works.
        threads: What calls blocking handlers; a pool of its own by default.
        entropy: Gives as many random bytes as it is asked for; for generated ids.
    """

    def __init__(
        self,
        store: Store,
        handlers: Handlers,
        clock: Clock,
        options: Options,
        threads: ThreadPool | None = None,
        entropy: Callable[[int], bytes] = os.urandom,
    ) -> None:
        self._store = store
        self._handlers = handlers
        self._clock = clock
        self._options = options
        self._entropy = entropy
        self._definitions = DefinitionCache()
        self._notices = Notices()
        self._knowledge = Knowledge()
        self._facts = Facts(store, self._definitions)
        self._slots = Slots(handlers, options.max_concurrency, options.queues, self._place_is_free)
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
        self._threads = threads or Threads(options.max_concurrency)
        self._executor = Executor(
            handlers,
            self._ended,
            store,
            clock,
            self._slots,
            self._facts,
            self._threads,
            options.max_payload_bytes,
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
        )
        self._firings = Firings(store, clock, self._definitions, self._queued)
        self._fire_alarm = Alarm(clock)
        self._take_over = TakeOver(
            store, clock, options.take_over_every, options.lease, self._place_is_free
        )
        self._take_over_alarm = Alarm(clock)
        self._lease_alarm = Alarm(clock)
        self._look_alarm = Alarm(clock)
        self._describe_alarm = Alarm(clock)
        self._name = f"{socket.gethostname()}-{os.getpid()}-{entropy(3).hex()}"
        self._snapshots = SnapshotBuilder(
            store, self._definitions, self._facts, self._progress_of, clock.now
        )
        self._explainer = Explainer(store, self._definitions, clock.now)
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
        self._serve(self._look, self._look_alarm, "looking for other programs' work")
        self._look_alarm.ring()
        self._store.listen(self._look_alarm.ring)
        if self._options.worker:
            await self._start_working()

    async def _start_working(self) -> None:
        await self._register()
        self._slots.open = True
        self._serve(self._describe, self._describe_alarm, "describing task types")
        self._serve(self._renew, self._lease_alarm, "renewing the lease")
        self._lease_alarm.set(self._next_beat())
        self._serve(self._dispatcher.once, self._dispatcher.alarm, "claiming")
        self._serve(self._firings.once, self._fire_alarm, "firing schedules")
        self._serve(self._take_over.once, self._take_over_alarm, "taking over")
        self._serve(self._borrower.once, self._borrower.alarm, "looking after loans")
        await self._work_within()
        self._take_over_alarm.set(await self._take_over.once())
        self._dispatcher.alarm.ring()
        self._fire_alarm.ring()

    async def _register(self) -> None:
        """Become known as a worker, under a new key."""
        now = self._clock.now()
        self._is_known = False
        undescribed = dict.fromkeys(self._slots.lanes(), UNDESCRIBED)
        self._slots.worker = await self._store.register_worker(self._name, undescribed, now)
        self._is_known = True
        self._describe_alarm.set(Micros(now + DESCRIBE_AFTER))

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
                "this worker was silent for longer than its lease of %g s, so others go on with"
                " its work: what it was executing is stopped",
                self._options.lease / 1e6,
            )
            self._borrower.abandon()
            await self._register()
            self._driver.lose_all()
            self._dispatcher.alarm.ring()

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

    async def _describe(self) -> None:
        """Let clients without the code know what the task types here take.

        Not at once: the schemas take longer to make than a short program takes altogether.
        """
        handlers = {lane: self._handlers.get(type_of_lane(lane)) for lane in self._slots.lanes()}
        described = {
            lane: await asyncio.wrap_future(self._threads.submit(handler.schema))
            for lane, handler in handlers.items()
            if handler is not None
        }
        known_as = await self._store.register_worker(self._name, described, self._clock.now())
        if known_as != self._slots.worker:  # taken for dead meanwhile, and now known anew
            self._is_known = False
            self._lease_alarm.ring()

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
        await self._dispatcher.finished()
        for service in self._services:
            service.cancel()
        await asyncio.gather(*self._services, return_exceptions=True)
        for alarm in (
            self._dispatcher.alarm, self._fire_alarm, self._take_over_alarm, self._look_alarm,
            self._describe_alarm, self._lease_alarm, self._borrower.alarm,
        ):  # fmt: skip
            alarm.clear()
        if self._executor.running:
            await self._let_finish()
        self._executor.close()
        self._slots.give_up_alone()
        try:
            await self._driver.drain(DRAIN)
            if self._executor.running:  # launched by a plan that was on its way
                await self._executor.finished()
                await self._driver.drain(DRAIN)
            await self._borrower.drain(DRAIN)
            if self._options.worker:
                await self._store.retire_worker(self._clock.now())
        finally:
            self._threads.close()
            await self._store.close()

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
        return Micros(self._clock.now() + self._options.look_every)

    def _place_is_free(self) -> None:
        self._dispatcher.alarm.ring()

    def _queued(self, ready_at: Micros, priority: int) -> None:
        if self._options.worker:
            self._dispatcher.queued(ready_at, priority)

    def _progress_of(self, key: RunKey) -> Mapping[int, Progress]:
        active = self._driver.get(key)
        return {} if active is None else active.progress

    # runs

    def now(self) -> Micros:
        """The moment, by the engine's clock."""
        return self._clock.now()

    async def create(self, request: RunRequest, *, start: bool) -> RunId:
        """Create a run, and start it in the same breath if asked to."""
        await self._refuse_schedule_ids([request])
        wanted = self._wanted(request)
        made = await self._made(wanted, start=start)
        if not made.new and start:
            await self._driver.command(made.key, Command(Verb.START))
        return wanted.id

    async def _made(self, wanted: Wanted, *, start: bool) -> Created:
        """Create a run, with its first attempts when there is room for them here."""
        now = self._clock.now()
        capacity = self._slots.capacity(going_on=False)
        draft = started(wanted, now, capacity) if start else created(wanted)
        run = newborn(wanted, draft, now, self._slots.worker if draft.launched else None)
        try:
            with self._driver.creating(wanted.id):
                made = await self._store.create(run)
                if made.new and draft.launched:
                    self._driver.begin(made.key, draft, run)
        except BaseException as error:
            self._give_back(capacity.taken)
            if isinstance(error, StoreUncertainError):
                self._queued(now, wanted.priority)  # it may be there, and wait for a worker
                self._driver.in_background(self._driver.look_after(wanted.id))
            if isinstance(error, asyncio.CancelledError):
                self._queued(now, wanted.priority)
                self._driver.in_background(self._create_unheard(run))
            if isinstance(error, LeaseLost):  # taken for dead, so it was not created
                await self._renew()
                return await self._made(wanted, start=start)
            raise
        self._widen(wanted.id, made.key)
        if made.new:
            self._definitions.put(run.definition, wanted.definition)
            self._knowledge.created(wanted.id, run.kind, made.key)
            for entry in draft.enqueue:
                self._queued(entry.ready_at, entry.priority)
        else:
            self._give_back(capacity.taken)
        return made

    async def _create_unheard(self, run: NewRun) -> None:
        """Drive what was being created for a caller who has gone away.

        That cannot be called back. So the same is created once more: the answer comes after the
        first one's, and a run that is there already stays as it is.
        """
        try:
            await self._store.create(run)
        except KallistaError as error:
            _log.debug("run %s was given up by its caller, and then: %s", run.id, error)
        await self._driver.look_after(run.id)

    async def create_all(self, requests: Sequence[RunRequest], *, start: bool) -> Sequence[RunId]:
        """Create runs together, and start them in the same breath if asked to.

        What starts is queued, whatever is free here: so it is served by priority.
        """
        now = self._clock.now()
        await self._refuse_schedule_ids(requests)
        all_wanted = [self._wanted(request) for request in requests]
        runs = newborn_all(all_wanted, now, start=start)
        try:
            all_made = await self._store.create_all(runs)
        except (StoreUncertainError, asyncio.CancelledError):
            self._queued(now, max((wanted.priority for wanted in all_wanted), default=0))
            raise
        for due in {(entry.ready_at, entry.priority) for run in runs for entry in run.enqueue}:
            self._queued(*due)
        for run, made in zip(runs, all_made, strict=True):
            if made.new:
                self._knowledge.created(run.id, run.kind, made.key)
            self._widen(run.id, made.key)
            if start and not made.new:
                await self._driver.command(made.key, Command(Verb.START))
        return [run.id for run in runs]

    def _wanted(self, request: RunRequest) -> Wanted:
        id = request.id or RunId(uuid7(self._clock.now(), self._entropy(10)))
        return Wanted(
            id, request.definition, request.inputs, request.priority, request.tags, request.ready_at
        )

    def _widen(self, id: RunId, key: RunKey) -> None:
        """Begin to work, if this is the only tree that this program works on."""
        here = id == self._options.within and self._options.worker
        if here and self._dispatcher.within is None:
            self._restrict(key)

    async def _refuse_schedule_ids(self, requests: Sequence[RunRequest]) -> None:
        """An id that a user has given to a task may be taken by a schedule."""
        for request in requests:
            if request.id is None or request.definition.kind is not RunKind.TASK:
                continue
            if await self._are_no_schedules():
                return
            if await self._store.schedule(ScheduleId(request.id)) is not None:
                raise ConflictError(
                    f"{request.id!r} is the id of a schedule; choose another for a task"
                )

    async def _are_no_schedules(self) -> bool:
        if not self._knowledge.has_no_schedules:
            first = await self._store.list_schedules(None, None, 1)
            self._knowledge.has_no_schedules = not first
        return self._knowledge.has_no_schedules

    def _give_back(self, taken: Sequence[TaskType]) -> None:
        for type in taken:
            self._slots.give_back(type)

    async def command(self, kind: RunKind, id: RunId, verb: Verb, reason: str | None) -> bool:
        """Do what was asked; true when it changed something."""
        record = await self._record(kind, id)
        return await self._driver.command(record.key, Command(verb, reason), record)

    async def get(self, kind: RunKind, id: RunId) -> AnySnapshot:
        """The run as it is now."""
        return await self._snapshots.run(await self._record(kind, id))

    async def wait(self, kind: RunKind, id: RunId, timeout: float | None) -> AnySnapshot:
        """The run once it has finished and nothing of it is in flight."""
        deadline = None if timeout is None else Micros(self._clock.now() + int(timeout * 1e6))
        with self._notices.subscribed(id, to_its_end=True) as news:
            timer = None if deadline is None else self._clock.call_at(deadline, news.tell)
            try:
                while True:
                    if news.final is not None:
                        return await self._snapshots.final(news.final)
                    if not self._goes_on(kind, id):
                        record = await self._record(kind, id)
                        if _is_over(record):
                            return await self._snapshots.run(record)
                    if deadline is not None and self._clock.now() >= deadline:
                        status = (await self._record(kind, id)).status
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
        limit = _checked_limit(request.limit)
        after = None if request.cursor is None else RunKey(_read_cursor(request.cursor, int))
        records = await self._store.list_runs(
            RunFilter(
                now=self._clock.now(),
                kind=request.kind,
                statuses=_checked_statuses(request.kind, request.statuses),
                name=request.name,
                tag=request.tag,
                created_from=request.created_from,
                created_until=request.created_until,
                schedule=request.schedule,
                after=after,
                limit=limit + 1,
            )
        )
        shown = records[:limit]
        cursor = _cursor(shown[-1].key) if len(records) > limit else None
        return Page(tuple(self._snapshots.summary(record) for record in shown), cursor)

    async def delete(self, kind: RunKind, id: RunId) -> None:
        """Remove a finished run and its children."""
        while not await self._deleted(kind, id):
            pass  # it has changed since it was read

    async def _deleted(self, kind: RunKind, id: RunId) -> bool:
        """Remove a run; false when it has changed since it was read."""
        record = await self._record(kind, id)
        if not _is_over(record):
            ended = record.head.state in FINISHED_RUN
            advice = "wait until what is in flight has ended" if ended else "cancel it first"
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
        record = await self._store.load(RunId(id))
        if record is not None:
            return await self._explainer.run(record)
        schedule = await self._store.schedule(ScheduleId(id))
        if schedule is not None:
            return await self._explainer.schedule(schedule)
        raise await self._nothing("run or schedule", id)

    async def kind_of(self, id: str) -> RunKind | None:
        """Which kind of run has this id, or None."""
        record = await self._store.load(RunId(id))
        return None if record is None else record.kind

    async def _record(self, kind: RunKind, id: RunId) -> RunRecord:
        record = await self._store.load(id)
        if record is None:
            raise await self._nothing(kind.value, id)
        if record.kind is not kind:
            raise NotFoundError(f"no {kind} has the id {id!r}; it belongs to a {record.kind}")
        return record

    async def _nothing(self, what: str, id: str) -> NotFoundError:
        tombstone = await self._store.tombstone(RunId(id))
        if tombstone is not None:
            at = to_datetime(tombstone.deleted_at)
            return NotFoundError(
                f"{tombstone.kind} {id!r} was deleted at {at:%Y-%m-%d %H:%M:%S} UTC;"
                f" it was {tombstone.status}"
            )
        return NotFoundError(f"no {what} has the id {id!r}; list shows those that exist")

    # schedules

    async def create_schedule(self, request: ScheduleRequest) -> ScheduleId:
        """Create a schedule."""
        now = self._clock.now()
        if await self._store.load(RunId(request.id)) is not None:
            raise ConflictError(f"{request.id!r} is the id of a run; choose another for a schedule")
        self._knowledge.has_no_schedules = False
        schedule = _schedule(request, now)
        if await self._store.create_schedule(schedule) and self._options.worker:
            self._fire_alarm.ring()
        return request.id

    async def get_schedule(self, id: ScheduleId) -> ScheduleSnapshot:
        """The schedule as it is now."""
        return self._snapshots.schedule(await self._schedule(id))

    async def set_schedule(self, id: ScheduleId, status: ScheduleStatus) -> bool:
        """Pause, resume or end it; false for a repeat."""
        while True:
            schedule = await self._schedule(id)
            if schedule.status is status:
                return False
            if schedule.status is ScheduleStatus.FINISHED:
                raise StateError(f"schedule {id!r} is over; schedule it anew under another id")
            if await self._write_schedule(_with_status(schedule, status), None):
                self._fire_alarm.ring()
                return True

    async def trigger_schedule(self, id: ScheduleId) -> RunId:
        """Fire it once, now."""
        while True:
            schedule = await self._schedule(id)
            now = self._clock.now()
            firing = self._firings.by_hand(schedule, now)
            assert firing.run is not None, "by hand it always fires"
            if await self._write_schedule(firing.schedule, firing):
                self._queued(now, schedule.priority)
                return firing.run.id

    async def delete_schedule(self, id: ScheduleId) -> None:
        """Remove it; the tasks it has started stay."""
        if not await self._store.delete_schedule(id):
            raise NotFoundError(f"no schedule has the id {id!r}; list shows those that exist")

    async def list_schedules(
        self, status: ScheduleStatus | None, cursor: str | None, limit: int
    ) -> Page[ScheduleSnapshot]:
        """Schedules in the order of their ids."""
        limit = _checked_limit(limit)
        after = None if cursor is None else ScheduleId(_read_cursor(cursor, str))
        found = await self._store.list_schedules(status, after, limit + 1)
        shown = found[:limit]
        next_cursor = _cursor(shown[-1].id) if len(found) > limit else None
        return Page(tuple(self._snapshots.schedule(schedule) for schedule in shown), next_cursor)

    async def next_fire_times(self, id: ScheduleId, count: int) -> Sequence[Micros]:
        """When it will fire next, if nothing changes."""
        return next_moments(await self._schedule(id), _checked_limit(count))

    async def _schedule(self, id: ScheduleId) -> Schedule:
        schedule = await self._store.schedule(id)
        if schedule is None:
            raise NotFoundError(f"no schedule has the id {id!r}; list shows those that exist")
        return schedule

    async def _write_schedule(self, schedule: Schedule, firing: Firing | None) -> bool:
        [written] = await self._store.fire([firing or Firing(schedule, None)])
        return written


def _is_over(record: RunRecord) -> bool:
    return record.head.state in FINISHED_RUN and record.head.in_flight == 0


def _with_status(schedule: Schedule, status: ScheduleStatus) -> Schedule:
    over = status is ScheduleStatus.FINISHED
    return replace(schedule, status=status, next_at=None if over else schedule.next_at)


def _schedule(request: ScheduleRequest, now: Micros) -> Schedule:
    first = request.first
    trigger = request.trigger
    if isinstance(trigger, Every):
        trigger = trigger.anchored(now if first is None else first)
    if first is None:
        first = trigger.next_after_us(now - 1)
    if first is None or (request.until is not None and first > request.until):
        raise UsageError(f"schedule {request.id!r} would never fire: its time is over already")
    data = json.dumps(trigger.to_data(), sort_keys=True)
    content = [
        definition_hash(request.definition), request.trigger.to_data(), request.priority,
        list(request.tags), request.max_runs, request.until,
    ]  # fmt: skip
    return Schedule(
        id=request.id,
        status=ScheduleStatus.ACTIVE,
        trigger=JsonText(data),
        definition=definition_hash(request.definition),
        definition_content=definition_text(request.definition),
        content=content_hash(content),
        priority=request.priority,
        tags=request.tags,
        max_runs=request.max_runs,
        until=request.until,
        fired=0,
        skipped=0,
        next_at=first,
        last_at=None,
        last_run=None,
        created_at=now,
    )


def _checked_limit(limit: int) -> int:
    if not 1 <= limit <= MOST_ITEMS:
        raise UsageError(f"limit must be from 1 to {MOST_ITEMS:,}, not {limit}")
    return limit


_STATUSES: Mapping[RunKind, Sequence[str]] = {
    RunKind.WORKFLOW: tuple(WorkflowStatus),
    RunKind.PROCESS: tuple(ProcessStatus),
    RunKind.TASK: tuple(TaskStatus),
}


def _checked_statuses(kind: RunKind, given: Sequence[str] | None) -> tuple[str, ...] | None:
    if given is None:
        return None
    words = tuple(word.upper() for word in given)
    unknown = [word for word in words if word not in _STATUSES[kind]]
    if unknown:
        known = ", ".join(_STATUSES[kind])
        raise UsageError(f"{unknown[0]!r} is no status of a {kind}; there are {known}")
    return words


def _cursor(value: int | str) -> str:
    return base64.urlsafe_b64encode(str(value).encode()).decode()


CursorT = TypeVar("CursorT", int, str)


def _read_cursor(cursor: str, read: Callable[[str], CursorT]) -> CursorT:
    try:
        return read(base64.urlsafe_b64decode(cursor.encode()).decode())
    except ValueError:
        raise UsageError(f"{cursor!r} is no cursor; give the one of the page before") from None
