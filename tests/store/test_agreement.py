"""SQLite does what the model does: random operations on both at once, every answer compared."""

import asyncio
import tempfile
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from msgspec.structs import replace

from kallista.core.events import Event, Heartbeat, StepState
from kallista.core.plan import WAKE, WHOLE_RUN, Entry, Fence, Grant, NewRun, Ownership, Plan
from kallista.core.schedules import Firing
from kallista.core.states import EventKind, ProcessStatus, RunKind, ScheduleStatus, TaskStatus
from kallista.core.types import JsonText, Micros, RunId, RunKey, ScheduleId, TaskType, WorkerKey
from kallista.errors import KallistaError
from kallista.store.memory import MemoryState, MemoryStore
from kallista.store.port import ClaimRequest, Heard, RunFilter, RunRecord, Store
from kallista.store.sqlite import SqliteStore
from kallista.testing.store_contract import BUILD, DEPLOY, NOW, new_run, new_schedule

IDS = st.sampled_from(["a", "b", "c", "d"])
NO_PARENT = st.none()
KEYS = st.integers(1, 6).map(RunKey)
MOMENTS = st.integers(-2, 3).map(lambda offset: Micros(NOW + offset))
WORKERS = st.integers(1, 4).map(WorkerKey)
ANY_OWNER = st.none() | WORKERS
PRIORITIES = st.integers(-1, 1)
STEPS = st.integers(0, 1)
TEXTS = st.sampled_from([None, '"x"', '{"a":"\U0001f600"}']).map(
    lambda text: None if text is None else JsonText(text)
)
ENTRIES = st.builds(
    Entry, st.sampled_from([WAKE, BUILD, DEPLOY]), PRIORITIES, MOMENTS, st.integers(WHOLE_RUN, 1)
)
STATES = st.builds(
    StepState,
    status=st.sampled_from([TaskStatus.SCHEDULED, TaskStatus.RUNNING, TaskStatus.FAILED]),
    failures=st.just(0),
    crashes=st.just(0),
    since=st.none(),
    started_at=st.none(),
    ended_at=st.none(),
    worker=st.none(),
    attempt=st.integers(0, 2),
    ready_at=st.none() | MOMENTS,
    outcome=st.none() | st.integers(0, 3),
    passed=st.booleans(),
)
STATUSES = st.sampled_from(
    ["RUNNING", "PAUSED", "COMPLETED", "FAILED", "SCHEDULED", "READY", "WAITING"]
)

Question = Callable[[Store], Awaitable[Any]]


def few(what: st.SearchStrategy[Any]) -> st.SearchStrategy[tuple[Any, ...]]:
    """None, one or two of them."""
    return st.lists(what, max_size=2).map(tuple)


@st.composite
def runs(
    draw: st.DrawFn,
    parents: st.SearchStrategy[Any] = NO_PARENT,
    owners: st.SearchStrategy[WorkerKey | None] = ANY_OWNER,
) -> NewRun:
    """A run with anything in it, under one of a few ids."""
    kind = draw(st.sampled_from(RunKind))
    first = draw(STATES)
    return new_run(
        draw(IDS),
        kind=kind,
        name=draw(st.sampled_from(["n", "m"])),
        content=draw(st.sampled_from(["same", "same", "other"])),
        definition=(definition := draw(st.sampled_from(["d1", "d2"]))),
        definition_content=f'"{definition}"',
        parent=draw(parents),
        schedule=draw(st.sampled_from([None, "s1"])),
        priority=draw(PRIORITIES),
        tags=draw(few(st.sampled_from(["t", "u"]))),
        created_at=draw(MOMENTS),
        waits_for=draw(few(IDS)),
        owner=draw(owners),
        steps=[first] if kind is RunKind.TASK else [first, StepState()],
        events=[Event(0, NOW, EventKind.RUN_STARTED, None, 0, draw(TEXTS))],
        enqueue=draw(few(ENTRIES)),
    )


class Agreement(RuleBasedStateMachine):
    """Two handles on the model, two on one file; each operation goes to the same one of both."""

    @initialize()
    def open(self) -> None:
        self.runner = asyncio.Runner()
        self.folder = tempfile.TemporaryDirectory()
        path = Path(self.folder.name) / "kallista.db"
        state = MemoryState()
        self.pairs: list[tuple[Store, Store]] = [
            (MemoryStore(state), SqliteStore(path)) for _ in range(2)
        ]
        for number in (0, 1):
            self.ask(number, lambda store: store.open())
            self.ask(number, lambda store: store.register_worker("w", {}, NOW))

    def teardown(self) -> None:
        for number in (0, 1):
            self.ask(number, lambda store: store.close())
        self.runner.close()
        self.folder.cleanup()

    def ask(self, number: int, what: Question) -> Any:
        """Do it on both, and compare what comes back or is raised."""
        return self.runner.run(self.same(number, what))

    async def same(self, number: int, what: Question) -> Any:
        model, real = [await outcome(store, what) for store in self.pairs[number]]
        assert real == model, f"{real}\n!=\n{model}"
        return real

    def record(self, key: RunKey) -> RunRecord | None:
        found: RunRecord | None = self.ask(0, lambda store: store.load(key))
        return found

    @rule(on=STEPS, run=runs())
    def create(self, on: int, run: NewRun) -> None:
        self.ask(on, lambda store: store.create(run))

    @rule(on=STEPS, run=runs(st.tuples(KEYS, STEPS)))
    def create_child(self, on: int, run: NewRun) -> None:
        self.ask(on, lambda store: store.create(run))

    @rule(
        on=STEPS,
        key=KEYS,
        state=st.sampled_from(["RUNNING", "PAUSED", "COMPLETED", "FAILED"]).map(ProcessStatus),
        stale=st.integers(0, 9),
        owned=st.booleans(),
        ownership=st.none() | st.tuples(st.none() | WORKERS, st.integers(2, 9)),
        data=TEXTS,
        steps=st.dictionaries(STEPS, STATES).map(lambda found: tuple(found.items())),
        enqueue=few(ENTRIES),
        dequeue=few(ENTRIES),
        create=few(runs()),
        wake=few(IDS),
        flags=st.tuples(st.booleans(), st.booleans(), st.booleans()),
        lend=st.just(()) | few(st.tuples(STEPS, WORKERS, st.integers(1, 2))),
        recall=few(STEPS),
        settle=few(STEPS),
        forget=few(STEPS),
    )
    def commit(
        self,
        on: int,
        key: RunKey,
        state: ProcessStatus,
        stale: int,
        owned: bool,
        ownership: tuple[WorkerKey | None, int] | None,
        data: JsonText | None,
        steps: tuple[tuple[int, StepState], ...],
        enqueue: tuple[Entry, ...],
        dequeue: tuple[Entry, ...],
        create: tuple[NewRun, ...],
        wake: tuple[RunId, ...],
        flags: tuple[bool, bool, bool],
        lend: tuple[tuple[int, WorkerKey, int], ...],
        recall: tuple[int, ...],
        settle: tuple[int, ...],
        forget: tuple[int, ...],
    ) -> None:
        record = self.record(key)
        if record is None:
            return
        seq = record.head.seq
        over = state in (ProcessStatus.COMPLETED, ProcessStatus.FAILED)
        plan = Plan(
            run=key,
            fence=Fence(record.version - (stale == 0), record.epoch if owned else None),
            head=replace(
                record.head, state=state, seq=seq + 1, ended_at=NOW if over else None, outcome=seq
            ),
            ownership=None if ownership is None else Ownership(*ownership),
            events=(Event(seq, NOW, EventKind.TASK_READY, 0, 0, data),),
            steps=tuple(step for step in steps if step[0] < len(record.steps)),
            enqueue=enqueue,
            dequeue=dequeue,
            create=tuple(
                new_run(run.id, parent=(key, 1), enqueue=run.enqueue, priority=run.priority)
                for run in create
            ),
            wake=tuple(RunId(id) for id in wake),
            wake_parent=flags[0],
            announce=flags[1],
            tell_owner=flags[2],
            lend=tuple(Grant(step, worker, attempt) for step, worker, attempt in lend),
            recall=recall,
            settle=settle,
            forget=forget,
        )
        self.ask(on, lambda store: store.commit(plan))

    @rule(on=STEPS, key=KEYS, lend=st.booleans(), recall=few(STEPS), settle=few(STEPS))
    def lend(self, on: int, key: RunKey, lend: bool, recall: Any, settle: Any) -> None:
        """Grant what is wished for."""
        record = self.record(key)
        if record is None:
            return
        wishes = [
            Grant(loan.step, loan.worker, 1)
            for loan in self.ask(on, lambda store: store.loans(key))
            if loan.attempt is None
        ]
        plan = Plan(
            run=key,
            fence=Fence(record.version, None),
            head=record.head,
            lend=tuple(wishes) if lend else (),
            recall=recall,
            settle=settle,
        )
        self.ask(on, lambda store: store.commit(plan))

    @rule(on=STEPS, key=KEYS, step=STEPS, worker=WORKERS, attempt=st.integers(0, 2), data=TEXTS)
    def report(
        self, on: int, key: RunKey, step: int, worker: WorkerKey, attempt: int, data: JsonText
    ) -> None:
        self.ask(on, lambda store: store.report(key, step, worker, attempt, data or JsonText("1")))

    @rule(on=STEPS, data=st.data())
    def report_on_loan(self, on: int, data: Any) -> None:
        loans = [
            loan
            for worker in range(1, 4)
            for loan in self.ask(on, lambda store, w=worker: store.borrowed(WorkerKey(w)))
            if loan.attempt is not None
        ]
        if loans:
            run, step, worker, attempt, *_ = data.draw(st.sampled_from(loans))
            text = JsonText("2")
            self.ask(on, lambda store: store.report(run, step, worker, attempt, text))

    @rule(on=STEPS, key=KEYS, step=STEPS, attempt=st.integers(1, 2), details=TEXTS)
    def hear(self, on: int, key: RunKey, step: int, attempt: int, details: JsonText | None) -> None:
        record = self.record(key)
        if record is not None and step < len(record.steps):
            said = Heartbeat(attempt, NOW, 0.25, "a quarter", details)
            self.ask(on, lambda store: store.hear([Heard(key, step, said)]))

    @rule(on=STEPS)
    def beat(self, on: int) -> None:
        self.ask(on, lambda store: store.beat())

    @rule(on=STEPS, runs=st.lists(runs(), max_size=4))
    def create_all(self, on: int, runs: list[NewRun]) -> None:
        runs = [replace(run, owner=None) for run in runs]
        self.ask(on, lambda store: store.create_all(runs))

    @rule(on=STEPS, silent=few(st.tuples(WORKERS, st.integers(0, 2))))
    def release_silent(self, on: int, silent: Any) -> None:
        self.ask(on, lambda store: store.release_dead(NOW, silent))

    @rule(
        on=STEPS,
        worker=WORKERS,
        now=MOMENTS,
        slots=st.integers(0, 3),
        limits=st.dictionaries(st.sampled_from([BUILD, DEPLOY]), st.integers(0, 3)),
        within=st.none() | KEYS,
    )
    def claim(
        self,
        on: int,
        worker: WorkerKey,
        now: Micros,
        slots: int,
        limits: dict[TaskType, int],
        within: RunKey | None,
    ) -> None:
        request = ClaimRequest(worker, now, slots, limits, within)
        self.ask(on, lambda store: store.claim(request))

    @rule(on=STEPS, key=KEYS, stale=st.integers(0, 9))
    def delete(self, on: int, key: RunKey, stale: int) -> None:
        record = self.record(key)
        version = 1 if record is None else record.version - (stale == 0)
        self.ask(on, lambda store: store.delete_run(key, version, NOW))

    @rule(on=STEPS, name=st.sampled_from(["w1", "w2"]))
    def register(self, on: int, name: str) -> None:
        types = {BUILD: JsonText(f'"{name}"')}
        self.ask(on, lambda store: store.register_worker(name, types, NOW))

    @rule(on=STEPS)
    def retire(self, on: int) -> None:
        self.ask(on, lambda store: store.retire_worker(NOW))

    @rule(on=STEPS)
    def die(self, on: int) -> None:
        self.ask(on, lambda store: store.close())
        self.ask(on, lambda store: store.open())

    @rule(on=STEPS)
    def release(self, on: int) -> None:
        self.ask(on, lambda store: store.release_dead(NOW))

    @rule(on=STEPS, id=st.sampled_from(["s1", "s2"]), content=st.sampled_from(["x", "x", "y"]))
    def create_schedule(self, on: int, id: str, content: str) -> None:
        schedule = new_schedule(id, content=content)
        self.ask(on, lambda store: store.create_schedule(schedule))

    @rule(
        on=STEPS,
        id=st.sampled_from(["s1", "s2"]),
        version=st.integers(0, 3),
        next_at=st.none() | MOMENTS,
        status=st.sampled_from(ScheduleStatus),
        run=st.none() | runs(owners=st.none()),
    )
    def fire(
        self,
        on: int,
        id: str,
        version: int,
        next_at: Micros | None,
        status: ScheduleStatus,
        run: NewRun | None,
    ) -> None:
        schedule = replace(
            new_schedule(id, status=status, next_at=next_at),
            version=version,
            last_run=None if run is None else run.id,
        )
        self.ask(on, lambda store: store.fire([Firing(schedule, run)]))

    @rule(on=STEPS, id=st.sampled_from(["s1", "s2"]))
    def delete_schedule(self, on: int, id: str) -> None:
        self.ask(on, lambda store: store.delete_schedule(ScheduleId(id)))

    @rule(on=STEPS, definition=st.sampled_from(["d1", "d2"]), kind=st.sampled_from(RunKind))
    def define(self, on: int, definition: str, kind: RunKind) -> None:
        content = JsonText(f'"{definition}"')
        self.ask(on, lambda store: store.define(kind, "name", definition, content, NOW))

    @rule(
        wanted=st.builds(
            RunFilter,
            now=MOMENTS,
            kind=st.none() | st.sampled_from(RunKind),
            statuses=st.none() | few(STATUSES),
            name=st.sampled_from([None, None, "n"]),
            tag=st.sampled_from([None, None, "t"]),
            created_from=st.none() | MOMENTS,
            created_until=st.none() | MOMENTS,
            schedule=st.sampled_from([None, None, "s1"]),
            parent=st.none() | KEYS,
            roots=st.booleans(),
            after=st.none() | KEYS,
            limit=st.integers(0, 3),
        )
    )
    def list_runs(self, wanted: RunFilter) -> None:
        self.ask(0, lambda store: store.list_runs(wanted))

    @invariant()
    def both_hold_the_same(self) -> None:
        self.runner.run(self.compare())

    async def compare(self) -> None:
        for run in await self.same(0, lambda store: store.list_runs(RunFilter(now=NOW))):
            for question in questions_about(run.key):
                await self.same(0, question)
        for question in QUESTIONS:
            await self.same(1, question)


def questions_about(run: RunKey) -> Sequence[Question]:
    """All that can be asked of one run."""
    return (
        lambda store: store.load(run),
        lambda store: store.history(run),
        lambda store: store.outcomes(run),
        lambda store: store.loans(run),
        lambda store: store.heartbeats([run]),
    )


QUESTIONS: Sequence[Question] = (
    lambda store: store.heads([RunId(id) for id in "abcd"]),
    lambda store: store.count_runs(),
    lambda store: store.queued_types(),
    lambda store: store.tombstone(RunId("a")),
    lambda store: store.due_schedules(NOW, 9),
    lambda store: store.next_schedule_at(Micros(0)),
    lambda store: store.list_schedules(None, None, 9),
    lambda store: store.definition(RunKind.TASK, "name"),
    lambda store: store.workers(),
    lambda store: store.borrowed(WorkerKey(1)),
    lambda store: store.borrowed(WorkerKey(2)),
    lambda store: store.type_schemas(),
)


async def outcome(store: Store, what: Question) -> Any:
    """What comes back, or the kind of error."""
    try:
        return await what(store)
    except KallistaError as error:
        return type(error)


TestAgreement = Agreement.TestCase
TestAgreement.settings = settings(
    max_examples=20,
    stateful_step_count=30,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
