"""The store in a PostgreSQL database: each method of the port, handed to writer or readers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Final

from kallista.core.amounts import Spent
from kallista.core.events import Event
from kallista.core.inbox import Inbox
from kallista.core.plan import Entry, Failing, NewRun, Plan, SameKey
from kallista.core.schedules import Firing, Schedule
from kallista.core.states import RunKind, ScheduleStatus
from kallista.core.types import JsonText, Micros, RunId, RunKey, ScheduleId, TaskType, WorkerKey
from kallista.errors import StoreError
from kallista.store.births import Creation
from kallista.store.port import (
    ApprovalFilter,
    Begin,
    BrokenLink,
    BudgetLine,
    Claim,
    ClaimRequest,
    Committed,
    Created,
    FailedStep,
    FailureFilter,
    Figures,
    GateState,
    Heard,
    Holder,
    LimitFigures,
    Loan,
    OldRun,
    OpenApproval,
    RunFilter,
    RunRecord,
    SpendingFilter,
    Sum,
    Tombstone,
    Waiting,
    WorkerRecord,
)
from kallista.store.postgres import changes, creation, spending
from kallista.store.postgres.addresses import read_url
from kallista.store.postgres.care import back_up
from kallista.store.postgres.claims import claim
from kallista.store.postgres.reader import Readers
from kallista.store.postgres.reading import Reading
from kallista.store.postgres.watching import Watch
from kallista.store.postgres.writer import Writer
from kallista.store.postgres.writing import Writing
from kallista.store.pulse import Pulse

PATIENCE: Final = 60.0


class PostgresStore:
    """Keeps everything in the schema ``kallista`` of one database, which many programs share.

    It has up to four sessions: one writes, two read, one listens and shows that its worker lives.
    They need direct connections, without a pooler that hands one session to several programs.

    Args:
        url: The database; several hosts are tried in their order, and the one that can be written
            to is taken: ``postgresql://user:password@first,second/database``.
        patience: Seconds for which a server that does not answer is waited for, before those who
            read or write are told.

    Raises:
        StoreError: It is no URL of a PostgreSQL database.
    """

    def __init__(self, url: str, *, patience: float = PATIENCE) -> None:
        self._address = read_url(url)
        self._patience = patience
        self._writer: Writer | None = None
        self._readers: Readers | None = None
        self._watch: Watch | None = None

    async def open(self) -> None:
        """Open the store, creating or migrating it; see the port."""
        try:
            self._writer = Writer(self._address, self._patience)
            await self._writer.start()
            self._watch = Watch(self._address, self._patience, str(self._writer.key))
            self._readers = Readers(self._address, self._patience)
            await asyncio.gather(self._watch.start(), self._readers.start())
        except BaseException:
            await self.close()
            raise

    def hurry(self) -> None:
        """Wait for the server only shortly from now on; see the port."""
        self._writing.hurry()
        self._reading.hurry()

    async def close(self) -> None:
        """Write what was submitted, then close; see the port."""
        if self._readers is not None:
            await self._readers.stop()
        if self._writer is not None:
            await self._writer.stop()
        if self._watch is not None:
            await self._watch.stop()

    @property
    def _reading(self) -> Readers:
        if self._readers is None:
            raise StoreError(f"{self._address.place} is not open; open the store first")
        return self._readers

    @property
    def _writing(self) -> Writer:
        if self._writer is None:
            raise StoreError(f"{self._address.place} is not open; open the store first")
        return self._writer

    @property
    def _watching(self) -> Watch:
        if self._watch is None:
            raise StoreError(f"{self._address.place} is not open; open the store first")
        return self._watch

    # runs

    def create(self, run: NewRun) -> asyncio.Future[Created]:
        """See the port."""
        return self._writing.submit_creation(Creation((run,), alone=True))

    def create_all(self, runs: Sequence[NewRun]) -> asyncio.Future[Sequence[Created]]:
        """See the port."""
        return self._writing.submit_creation(Creation(tuple(runs)))

    def commit(self, plan: Plan) -> asyncio.Future[Committed]:
        """See the port."""
        return self._writing.submit_plan(plan)

    def claim(self, request: ClaimRequest, begin: Begin | None = None) -> asyncio.Future[Claim]:
        """See the port."""
        return self._writing.submit(lambda writing: claim(writing, request, begin))

    # loans

    async def inbox(self, run: RunKey) -> Inbox:
        """What was sent to a run, and what its steps wait for."""
        return await self._reading.ask(lambda reading: reading.inbox(run), snapshot=True)

    async def approvals(self, wanted: ApprovalFilter) -> Sequence[OpenApproval]:
        """Approvals that wait for an answer."""
        return await self._reading.ask(lambda reading: reading.approvals(wanted), snapshot=True)

    async def loans(self, run: RunKey) -> Sequence[Loan]:
        """See the port."""
        return await self._reading.ask(lambda reading: reading.loans(run))

    async def borrowed(self, worker: WorkerKey) -> Sequence[Loan]:
        """See the port."""
        return await self._reading.ask(lambda reading: reading.borrowed(worker))

    def report(
        self, run: RunKey, step: int, worker: WorkerKey, attempt: int, report: JsonText
    ) -> asyncio.Future[None]:
        """See the port."""
        return self._writing.submit(
            lambda writing: changes.report(writing, run, step, worker, attempt, report)
        )

    # runs and their histories

    # heartbeats

    def hear(self, heard: Sequence[Heard]) -> asyncio.Future[None]:
        """See the port."""
        return self._writing.submit(lambda writing: changes.hear(writing, heard))

    async def heartbeats(self, runs: Sequence[RunKey]) -> Sequence[Heard]:
        """See the port."""
        return await self._reading.ask(lambda reading: reading.heartbeats(runs))

    async def driven(self, worker: WorkerKey) -> Sequence[RunKey]:
        """See the port."""
        return await self._reading.ask(lambda reading: reading.driven(worker))

    async def load(self, run: RunId | RunKey) -> RunRecord | None:
        """See the port."""
        return await self._reading.ask_jointly(Reading.load_all, run)

    async def heads(self, runs: Sequence[RunId]) -> Mapping[RunId, RunRecord]:
        """See the port."""
        return await self._reading.ask(lambda reading: reading.heads(runs), snapshot=True)

    async def outcomes(
        self, run: RunKey, steps: Sequence[int] | None = None
    ) -> Mapping[int, JsonText]:
        """See the port."""
        if steps is None:
            return await self._reading.ask_jointly(Reading.outcomes, run) or {}
        found = await self._reading.ask(
            lambda reading: reading.outcomes([run], steps), snapshot=True
        )
        return found[run]

    async def history(self, run: RunKey, from_seq: int = 0, limit: int = 1000) -> Sequence[Event]:
        """See the port."""
        return await self._reading.ask(lambda reading: reading.history(run, from_seq, limit))

    async def list_runs(self, wanted: RunFilter) -> Sequence[RunRecord]:
        """See the port."""
        return await self._reading.ask(lambda reading: reading.list_runs(wanted), snapshot=True)

    # spending

    def spend(self, lines: Sequence[Spent]) -> asyncio.Future[bool]:
        """See the port."""
        return self._writing.submit(lambda writing: spending.spend(writing, lines))

    async def budgets(self, run: RunKey) -> Sequence[BudgetLine]:
        """See the port."""
        return await self._reading.ask(lambda reading: reading.budgets(run))

    async def spent(self, run: RunKey) -> Mapping[str, int]:
        """See the port."""
        return await self._reading.ask(lambda reading: reading.spent(run))

    async def spending(self, wanted: SpendingFilter) -> Sequence[Sum]:
        """See the port."""
        return await self._reading.ask(lambda reading: reading.spending(wanted))

    async def same_key(self, run: RunKey) -> SameKey | None:
        """See the port."""
        return await self._reading.ask(lambda reading: reading.same_key(run))

    async def failures(self, run: RunKey) -> Mapping[int, Failing]:
        """See the port."""
        return await self._reading.ask(lambda reading: reading.failures(run))

    async def failure_groups(self, wanted: FailureFilter) -> Sequence[FailedStep]:
        """See the port."""
        return await self._reading.ask(lambda reading: reading.failure_groups(wanted))

    async def count_runs(self) -> Mapping[tuple[RunKind, str], int]:
        """See the port."""
        return await self._reading.ask(lambda reading: reading.count_runs())

    async def queued_types(self) -> Mapping[TaskType, int]:
        """See the port."""
        return await self._reading.ask(lambda reading: reading.queued_types())

    def delete_run(self, run: RunKey, version: int, now: Micros) -> asyncio.Future[None]:
        """See the port."""
        return self._writing.submit(lambda writing: changes.delete_run(writing, run, version, now))

    def purge(
        self, runs: Sequence[RunKey], ended_before: Micros, now: Micros
    ) -> asyncio.Future[int]:
        """See the port."""
        return self._writing.submit(lambda writing: changes.purge(writing, runs, ended_before, now))

    async def purgeable(self, runs: Sequence[RunKey], ended_before: Micros) -> int:
        """See the port."""
        return await self._reading.ask(lambda reading: reading.purgeable(runs, ended_before))

    async def tombstone(self, run: RunId) -> Tombstone | None:
        """See the port."""
        return await self._reading.ask(lambda reading: reading.tombstone(run))

    # named definitions

    def define(
        self, kind: RunKind, name: str, definition: str, content: JsonText, now: Micros
    ) -> asyncio.Future[None]:
        """See the port."""
        return self._writing.submit(
            lambda writing: creation.name_definition(writing, kind, name, definition, content, now)
        )

    async def definition(self, kind: RunKind, name: str) -> JsonText | None:
        """See the port."""
        return await self._reading.ask(lambda reading: reading.definition(kind, name))

    async def definition_names(self, kind: RunKind) -> Sequence[str]:
        """See the port."""
        return await self._reading.ask(lambda reading: reading.definition_names(kind))

    # schedules

    def create_schedule(self, schedule: Schedule) -> asyncio.Future[bool]:
        """See the port."""
        return self._writing.submit(lambda writing: creation.create_schedule(writing, schedule))

    def fire(self, firings: Sequence[Firing]) -> asyncio.Future[Sequence[bool]]:
        """See the port."""
        return self._writing.submit(lambda writing: changes.fire(writing, firings))

    async def schedule(self, schedule: ScheduleId) -> Schedule | None:
        """See the port."""
        return await self._reading.ask(lambda reading: reading.schedule(schedule))

    async def due_schedules(self, now: Micros, limit: int) -> Sequence[tuple[Schedule, bool]]:
        """See the port."""
        return await self._reading.ask(lambda reading: reading.due_schedules(now, limit))

    async def next_schedule_at(self, after: Micros) -> Micros | None:
        """See the port."""
        return await self._reading.ask(lambda reading: reading.next_schedule_at(after))

    async def list_schedules(
        self, status: ScheduleStatus | None, after: ScheduleId | None, limit: int
    ) -> Sequence[Schedule]:
        """See the port."""
        return await self._reading.ask(lambda reading: reading.list_schedules(status, after, limit))

    def delete_schedule(self, schedule: ScheduleId) -> asyncio.Future[bool]:
        """See the port."""
        return self._writing.submit(lambda writing: changes.delete_schedule(writing, schedule))

    # workers

    def register_worker(
        self, name: str, types: Mapping[TaskType, JsonText], now: Micros
    ) -> asyncio.Future[WorkerKey]:
        """See the port."""
        watch = self._watching
        return self._writing.submit(
            lambda writing: changes.register_worker(writing, watch, name, types, now)
        )

    def beat(self) -> asyncio.Future[bool]:
        """See the port."""
        self._writing.asked_to_renew()
        return self._writing.submit(self._beat)

    def _beat(self, writing: Writing) -> bool:
        return changes.beat(writing, self._watching)

    def keep_lease(self, every: Micros, longest: Micros) -> None:
        """See the port."""
        self._writing.keep_lease(Pulse(every / 1e6, longest / 1e6), self._beat)

    def release_dead(
        self,
        now: Micros,
        silent: Sequence[tuple[WorkerKey, int]] = (),
        spared: Collection[WorkerKey] = (),
    ) -> asyncio.Future[int]:
        """See the port."""
        watch = self._watching
        return self._writing.submit(
            lambda writing: changes.release_dead(writing, watch, now, silent, spared)
        )

    def retire_worker(self, now: Micros) -> asyncio.Future[None]:
        """See the port."""
        watch = self._watching
        return self._writing.submit(lambda writing: changes.retire_worker(writing, watch, now))

    async def workers(self) -> Sequence[WorkerRecord]:
        """See the port."""
        own = self._watching.worker
        return await self._reading.ask(lambda reading: reading.workers(own))

    async def type_schemas(self) -> Mapping[TaskType, JsonText]:
        """See the port."""
        return await self._reading.ask(lambda reading: reading.type_schemas())

    async def describe(self) -> Mapping[str, str]:
        """What there is to know of the database; see the port."""
        known = await self._reading.ask(lambda reading: reading.describe())
        return {"kind": "postgresql", "database": self._address.place, **known}

    # care

    async def figures(self) -> Figures:
        """See the port."""
        return await self._reading.ask(lambda reading: reading.figures(), snapshot=True)

    async def oldest_runs(
        self, kind: RunKind, status: str, after: RunKey, limit: int
    ) -> Sequence[OldRun]:
        """See the port."""
        return await self._reading.ask(
            lambda reading: reading.oldest_runs(kind, status, after, limit)
        )

    async def lines(self, run: RunKey) -> Sequence[Entry]:
        """See the port."""
        return await self._reading.ask(lambda reading: reading.lines(run))

    async def gates(self, run: RunKey) -> Sequence[GateState]:
        """See the port."""
        return await self._reading.ask(lambda reading: reading.gates(run))

    async def holders(self, name: str, limit: int) -> Sequence[Holder]:
        """See the port."""
        return await self._reading.ask(lambda reading: reading.holders(name, limit))

    async def ahead(self, run: RunKey, step: int) -> int:
        """See the port."""
        return await self._reading.ask(lambda reading: reading.ahead(run, step))

    async def limits(self, after: str, limit: int) -> Sequence[LimitFigures]:
        """See the port."""
        return await self._reading.ask(lambda reading: reading.limits(after, limit))

    async def awaited(self, run: RunKey) -> Sequence[RunId]:
        """See the port."""
        return await self._reading.ask(lambda reading: reading.awaited(run))

    async def waiting_for(self, runs: Sequence[RunId]) -> Sequence[Waiting]:
        """See the port."""
        return await self._reading.ask(lambda reading: reading.waiting_for(runs))

    async def broken_links(self, limit: int) -> Sequence[BrokenLink]:
        """See the port."""
        return await self._reading.ask(lambda reading: reading.broken_links(limit))

    async def damage(self, *, quick: bool) -> Sequence[str]:
        """See the port."""
        return await self._reading.ask(lambda reading: reading.damage())

    async def back_up(self, target: Path) -> None:
        """See the port."""
        self._reading  # noqa: B018  # only an open store is cared for
        await back_up(self._address, target)

    # changes by others

    def changed(self) -> bool:
        """See the port."""
        return self._watch is not None and self._watch.changed()

    def listen(self, ring: Callable[[], None]) -> None:
        """See the port."""
        self._watching.listen(ring)
