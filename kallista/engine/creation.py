"""Creates runs, and begins them in the same commit when there is room for them here."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence

from kallista.core.birth import Wanted, created, newborn, newborn_all, started
from kallista.core.commands import Command, Verb
from kallista.core.ids import uuid7
from kallista.core.plan import NewRun
from kallista.core.states import RunKind
from kallista.core.types import Micros, RunId, RunKey, ScheduleId, TaskType
from kallista.engine.active import DefinitionCache
from kallista.engine.awaited import Awaited
from kallista.engine.clock import Clock
from kallista.engine.driver import Driver
from kallista.engine.knowledge import Knowledge
from kallista.engine.port import RunRequest
from kallista.engine.slots import Slots
from kallista.errors import (
    ConflictError,
    DefinitionError,
    KallistaError,
    LeaseLost,
    NotFoundError,
    StoreUncertainError,
)
from kallista.store.port import Created, Store

_log = logging.getLogger("kallista.engine")


class Creator:
    """Where runs that users ask for come from.

    Args:
        store: Where they are written.
        clock: What time it is.
        entropy: Gives that many random bytes, for ids.
        slots: What may start at once.
        driver: Who drives what has begun.
        definitions: Definitions already read.
        knowledge: What need not be asked.
        awaited: Looks at what processes wait for.
        on_queued: Called when something was queued, with its moment and priority.
        on_refused: Registers this worker anew, which counted as dead.
        on_created: Called for each run that is there now.
    """

    def __init__(
        self,
        store: Store,
        clock: Clock,
        entropy: Callable[[int], bytes],
        slots: Slots,
        driver: Driver,
        definitions: DefinitionCache,
        knowledge: Knowledge,
        awaited: Awaited,
        on_queued: Callable[[Micros, int], None],
        on_refused: Callable[[], Awaitable[object]],
        on_created: Callable[[RunId, RunKey], None],
    ) -> None:
        self._store = store
        self._clock = clock
        self._entropy = entropy
        self._slots = slots
        self._driver = driver
        self._definitions = definitions
        self._knowledge = knowledge
        self._awaited = awaited
        self._on_queued = on_queued
        self._on_refused = on_refused
        self._on_created = on_created

    async def create(self, request: RunRequest, *, start: bool) -> RunId:
        """Create a run, and start it in the same breath if asked to.

        Raises:
            ConflictError: Another run or a schedule has this id.
            DefinitionError: It would wait for itself, or reads what will not be there.
        """
        if not self._knowledge.has_no_schedules:
            await self._refuse_schedule_ids([request])
        if request.definition.dependencies:
            await self._refuse_unknown_steps([request])
        wanted = self._wanted(request)
        made = await self._made(wanted, start=start)
        if not made.new and start:
            await self._start(made.key)
        return made.id or wanted.id

    async def _made(self, wanted: Wanted, *, start: bool) -> Created:
        """Create a run, with its first attempts when there is room for them here."""
        now = self._clock.now()
        capacity = self._slots.capacity(going_on=False)
        draft = started(wanted, now, capacity) if start else created(wanted, now)
        run = newborn(wanted, draft, now, self._slots.worker if draft.launched else None)
        taken = capacity.taken
        if taken and not draft.launched:  # its children come first, so it only opens
            self._give_back(taken)
            taken = []
        try:
            with self._driver.creating(wanted.id):
                made = await self._store.create(run)
                if made.new and draft.launched:
                    self._driver.begin(made.key, draft, run)
        except BaseException as error:
            self._give_back(taken)
            if isinstance(error, StoreUncertainError):
                self._on_queued(now, wanted.priority)  # it may be there, and wait for a worker
                self._driver.in_background(self._driver.look_after(wanted.id))
            if isinstance(error, asyncio.CancelledError):
                self._on_queued(now, wanted.priority)
                self._driver.in_background(self._create_unheard(run))
            if isinstance(error, LeaseLost):  # taken for dead, so it was not created
                await self._on_refused()
                return await self._made(wanted, start=start)
            raise
        self._on_created(made.id or wanted.id, made.key)
        if made.new:
            self._definitions.put(run.definition, wanted.definition)
            if run.head.ended_at is None:
                self._knowledge.created(wanted.id, run.kind, made.key)
            for entry in draft.enqueue:
                self._on_queued(entry.ready_at, entry.priority)
        else:
            self._give_back(taken)
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
        """Create runs together, or none of them; and start them in the same breath if asked to.

        What starts is queued, whatever is free here: so it is served by priority.
        """
        now = self._clock.now()
        if not self._knowledge.has_no_schedules:
            await self._refuse_schedule_ids(requests)
        await self._refuse_unknown_steps(requests)
        all_wanted = [self._wanted(request) for request in requests]
        runs = newborn_all(all_wanted, now, start=start)
        try:
            all_made = await self._store.create_all(runs)
        except (StoreUncertainError, asyncio.CancelledError):
            self._on_queued(now, max((wanted.priority for wanted in all_wanted), default=0))
            raise
        for due in {(entry.ready_at, entry.priority) for run in runs for entry in run.enqueue}:
            self._on_queued(*due)
        for run, made in zip(runs, all_made, strict=True):
            if made.new and run.head.ended_at is None:
                self._knowledge.created(run.id, run.kind, made.key)
            self._on_created(made.id or run.id, made.key)
            if start and not made.new:
                await self._start(made.key)
        return [made.id or run.id for run, made in zip(runs, all_made, strict=True)]

    async def _start(self, key: RunKey) -> None:
        """Start a run that was there already, unless somebody has."""
        try:
            await self._driver.command(key, Command(Verb.START))
        except NotFoundError:
            _log.debug("the run with key %d was finished, and deleted before it was started", key)

    def _wanted(self, request: RunRequest) -> Wanted:
        id = request.id or RunId(uuid7(self._clock.now(), self._entropy(10)))
        return Wanted(
            id, request.definition, request.inputs, request.priority, request.tags,
            request.ready_at, deduplicate=request.deduplicate, fork=request.fork,
        )  # fmt: skip

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

    async def _refuse_unknown_steps(self, requests: Sequence[RunRequest]) -> None:
        """What a process reads of another one has to be there, as far as that is known by now."""
        reading = [request for request in requests if request.definition.dependencies]
        if not reading:
            return
        made = {request.id: request.definition for request in requests if request.id is not None}
        for request in reading:
            definition = request.definition
            problems = await self._awaited.problems(definition, made)
            if problems:
                raise DefinitionError(f"the process {definition.name!r} has a problem", problems)

    async def _are_no_schedules(self) -> bool:
        if not self._knowledge.has_no_schedules:
            first = await self._store.list_schedules(None, None, 1)
            self._knowledge.has_no_schedules = not first
        return self._knowledge.has_no_schedules

    def _give_back(self, taken: Sequence[TaskType]) -> None:
        for type in taken:
            self._slots.give_back(type)
