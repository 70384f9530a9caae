"""What every store must do: subclass ``StoreContract``, say how a store is made, run pytest.

Behaviour is compared, never names: several handles are open on the same data at once, and what
they see and get is what counts. It needs pytest, and anyio's pytest plug-in to run the tests.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TypeAlias

import pytest
from msgspec.structs import replace

from kallista.core.amounts import Spent
from kallista.core.durations import LONGEST
from kallista.core.events import Event, Heartbeat, RunHead, StepState
from kallista.core.inbox import EMPTY_INBOX, InboxChanges, Signal
from kallista.core.limits import Gate, Limit
from kallista.core.plan import (
    WAKE,
    WHOLE_RUN,
    Entry,
    Failing,
    Fence,
    GateChanges,
    Grant,
    NewRun,
    Ownership,
    Plan,
    Redefinition,
    SameKey,
    alone,
)
from kallista.core.questions import Asked, Question
from kallista.core.schedules import Backfill, CatchUp, Firing, FiringRules, Overlap, Schedule
from kallista.core.states import (
    Ending,
    EventKind,
    ProcessStatus,
    RunKind,
    ScheduleStatus,
    TaskStatus,
)
from kallista.core.types import (
    JsonText,
    Micros,
    RunId,
    RunKey,
    ScheduleId,
    StepId,
    TaskType,
    WorkerKey,
)
from kallista.errors import (
    ConflictError,
    DefinitionError,
    LeaseLost,
    NotFoundError,
    StateError,
    StoreError,
)
from kallista.store.port import (
    COUNTED,
    NEW_EPOCH,
    NEW_VERSION,
    WAKES_AT_ONCE,
    ApprovalFilter,
    ClaimedEntry,
    ClaimRequest,
    Committed,
    Created,
    FailureFilter,
    GateState,
    Heard,
    Loan,
    RunFilter,
    RunRecord,
    SpendingFilter,
    Store,
)

NOW = Micros(1_700_000_000_123_457)
BUILD = TaskType("build")
DEPLOY = TaskType("deploy")
WAKE_UP = Entry(WAKE, 0, Micros(0))

OpenStore: TypeAlias = Callable[[], Store]
"""Makes one more handle, not yet open, on the same data."""


def new_run(
    id: str = "run",
    *,
    kind: RunKind = RunKind.WORKFLOW,
    name: str = "a run",
    content: str = "content",
    definition: str = "definition",
    definition_content: str = '{"steps":[]}',
    inputs: str = "{}",
    parent: tuple[RunKey, int] | None = None,
    schedule: str | None = None,
    priority: int = 0,
    tags: tuple[str, ...] = (),
    created_at: Micros = NOW,
    waits_for: Sequence[str] = (),
    owner: WorkerKey | None = None,
    head: RunHead | None = None,
    steps: Sequence[StepState] = (StepState(), StepState()),
    events: Sequence[Event] | None = None,
    enqueue: Sequence[Entry] = (),
    forked_from: tuple[RunId, StepId] | None = None,
    gates: Sequence[Gate] = (),
) -> NewRun:
    """A run that has started, with two steps to which nothing has happened."""
    started = Event(0, created_at, EventKind.RUN_STARTED, None, 0, None)
    return NewRun(
        id=RunId(id),
        kind=kind,
        name=name,
        definition=definition,
        definition_content=JsonText(definition_content),
        content=content,
        inputs=JsonText(inputs),
        parent=parent,
        schedule=None if schedule is None else ScheduleId(schedule),
        priority=priority,
        tags=tags,
        created_at=created_at,
        waits_for=tuple(RunId(awaited) for awaited in waits_for),
        owner=owner,
        head=head or RunHead(ProcessStatus.RUNNING, 1, 0, created_at),
        steps=tuple(steps),
        events=(started,) if events is None else tuple(events),
        enqueue=tuple(enqueue),
        forked_from=forked_from,
        gates=tuple(gates),
    )


def signal(seq: int, id: str, name: str = "go") -> Signal:
    """A signal that nobody has taken."""
    return Signal(seq, name, id, "digest", None, JsonText('{"n":1}'))


def received(seq: int, id: str) -> Event:
    """What history says of it."""
    text = JsonText(f'{{"name":"go","id":"{id}","payload":{{"n":1}}}}')
    return Event(seq, NOW, EventKind.SIGNAL_RECEIVED, None, 0, text)


def asked(seq: int, at: Micros = NOW, *, signal: str | None = None) -> Asked:
    """A question that waits for a signal, or for a person."""
    return Asked(seq, at, Question(step="s", signal=signal))


def asking(seq: int, at: Micros = NOW) -> Event:
    """What history says of a question."""
    signal = ',"signal":"go"' if seq == 3 else ""
    text = JsonText(f'{{"question":{{"step":"s"{signal}}}}}')
    return Event(seq, at, EventKind.TASK_WAITING, 0, 1, text)


def outside(run: RunRecord, seq: int, changes: InboxChanges, *events: Event) -> Plan:
    """A plan that changes what was sent to a run, or what its steps wait for."""
    head = replace(run.head, seq=seq + len(events))
    return Plan(run.key, fence(run), head, events=events, inbox=changes)


def new_task(
    id: str,
    type: TaskType = BUILD,
    *,
    priority: int = 0,
    ready_at: Micros = NOW,
    tags: tuple[str, ...] = (),
    schedule: str | None = None,
) -> NewRun:
    """A single task that waits in the queue for its moment."""
    return new_run(
        id,
        kind=RunKind.TASK,
        priority=priority,
        tags=tags,
        schedule=schedule,
        steps=[StepState(ready_at=ready_at, since=ready_at)],
        enqueue=[Entry(type, priority, ready_at, 0)],
    )


def limited_task(id: str, *limits: Limit, priority: int = 0, ready_at: Micros = NOW) -> NewRun:
    """A single task that is subject to limits."""
    task = new_task(id, priority=priority, ready_at=ready_at)
    return replace(task, gates=(Gate(0, ready_at, limits),))


def begins(record: RunRecord, worker: WorkerKey) -> Plan:
    """A plan that begins the step of a single task with limits."""
    step = StepState(TaskStatus.RUNNING, 1, since=NOW, started_at=NOW, worker=worker)
    return Plan(
        record.key,
        fence(record),
        replace(record.head, in_flight=1),
        steps=((0, step),),
        gates=GateChanges((), (), ((0, worker),), NOW),
    )


def counted_no_more(record: RunRecord) -> Plan:
    """A plan that ends the step of a single task with limits."""
    return replace(finished(record), gates=GateChanges((0,), (), (), NOW))


def new_schedule(
    id: str = "nightly",
    *,
    content: str = "content",
    status: ScheduleStatus = ScheduleStatus.ACTIVE,
    next_at: Micros | None = NOW,
) -> Schedule:
    """A schedule that is due."""
    return Schedule(
        id=ScheduleId(id),
        status=status,
        trigger=JsonText('{"every":60000000}'),
        definition="nightly build",
        definition_content=JsonText('{"steps":["build"]}'),
        content=content,
        priority=3,
        tags=("night",),
        max_runs=7,
        until=Micros(NOW + 1),
        fired=0,
        skipped=0,
        next_at=next_at,
        last_at=None,
        last_run=None,
        created_at=NOW,
        rules=FiringRules(Micros(5), CatchUp.WITHIN, Micros(9), Overlap.QUEUE, 3),
        look_at=next_at,
        note=None,
        since=NOW,
        inputs=JsonText('{"day":"${firing.date}"}'),
        backfill=None,
        backfilled=0,
    )


def fence(record: RunRecord) -> Fence:
    """The proof of who saw this record and drives the run."""
    return Fence(record.version, record.epoch)


def finished(record: RunRecord, state: ProcessStatus = ProcessStatus.COMPLETED) -> Plan:
    """The plan that ends a run."""
    head = replace(record.head, state=state, ended_at=NOW)
    return Plan(record.key, fence(record), head)


def happened(seq: int, data: str | None = None, step: int | None = 0) -> Event:
    """A line of history."""
    kind = EventKind.RUN_PAUSED if step is None else EventKind.TASK_COMPLETED
    return Event(seq, NOW, kind, step, 1, None if data is None else JsonText(data))


class StoreContract(ABC):
    """The tests; ``open_store`` is all that a store has to bring."""

    @abstractmethod
    def handles(self, folder: Path) -> OpenStore:
        """Say how handles on one set of data, new for each test, are made.

        Args:
            folder: An empty folder for this test alone.
        """

    @pytest.fixture
    def anyio_backend(self) -> str:
        """Stores live on asyncio."""
        return "asyncio"

    @pytest.fixture
    def handle(self, tmp_path: Path) -> OpenStore:
        """Makes handles on this test's data."""
        return self.handles(tmp_path)

    @pytest.fixture
    async def store(self, handle: OpenStore) -> AsyncIterator[Store]:
        """One open handle."""
        async with opened(handle) as store:
            yield store

    @pytest.fixture
    async def other(self, handle: OpenStore) -> AsyncIterator[Store]:
        """Another open handle on the same data."""
        async with opened(handle) as store:
            yield store

    # creation

    @pytest.mark.anyio
    async def test_a_created_run_is_found_as_it_was_given(self, store: Store) -> None:
        """Whatever is stored of a run comes back the same, by its id and by its key."""
        step = StepState(
            TaskStatus.WAITING, 3, 2, 1, NOW, Micros(1), Micros(2), Micros(3), WorkerKey(4), 0, True
        )
        head = RunHead(
            ProcessStatus.PAUSED,
            1,
            2,
            Micros(3),
            Micros(4),
            Micros(5),
            6,
            held=True,
            outcome=0,
            ending=Ending.FAILED,
            still_since=Micros(7),
            stood_still=Micros(8),
        )
        run = new_run(
            inputs='{"a":[1,2.5,"ü"]}',
            schedule="nightly",
            priority=-5,
            tags=("b", "a"),
            head=head,
            steps=[StepState(), step, StepState()],
            forked_from=(RunId("another/one"), StepId("a.step")),
        )
        key, new, _ = await store.create(run)
        record = await store.load(run.id)
        assert new
        assert record == await store.load(key)
        assert record == RunRecord(
            key=key,
            id=run.id,
            kind=run.kind,
            name=run.name,
            status="PAUSED",
            definition=run.definition,
            definition_content=run.definition_content,
            content=run.content,
            inputs=run.inputs,
            parent=None,
            parent_id=None,
            root=key,
            schedule=run.schedule,
            priority=-5,
            tags=("b", "a"),
            created_at=NOW,
            owner=None,
            epoch=0,
            version=NEW_VERSION,
            head=head,
            steps=run.steps,
            forked_from=run.forked_from,
        )
        assert await store.history(key) == list(run.events)

    @pytest.mark.anyio
    async def test_creating_the_same_twice_returns_the_first(
        self, store: Store, other: Store
    ) -> None:
        """An id is an idempotency key: the same content under it writes nothing, from anywhere."""
        first = await store.create(new_run(enqueue=[WAKE_UP]))
        again = await other.create(
            new_run(created_at=Micros(NOW + 1), enqueue=[replace(WAKE_UP, priority=9)])
        )
        assert again == Created(first.key, new=False)
        record = await found(store, "run")
        assert (record.created_at, record.version) == (NOW, NEW_VERSION)
        worker = await store.register_worker("w", {}, NOW)
        assert await taken(store, worker) == [(first.key, WAKE_UP)]

    @pytest.mark.anyio
    async def test_one_id_never_means_two_things(self, store: Store) -> None:
        """The same id with other content, or of another kind, is a conflict and writes nothing."""
        await store.create(new_run())
        before = await store.load(RunId("run"))
        for different in (new_run(content="other"), new_run(kind=RunKind.PROCESS)):
            with pytest.raises(ConflictError, match="run"):
                await store.create(different)
        assert await store.load(RunId("run")) == before

    @pytest.mark.anyio
    async def test_everything_may_be_empty(self, store: Store) -> None:
        """A run without steps, events, tags and words, and a plan without changes, are fine."""
        run = new_run(name="", inputs="", definition_content="", steps=[], events=[])
        key, *_ = await store.create(run)
        record = await found(store, "run")
        assert (record.name, record.inputs, record.steps) == ("", "", ())
        assert await store.commit(Plan(key, fence(record), record.head)) == Committed(
            NEW_VERSION + 1
        )
        assert await store.history(key) == []
        assert await store.outcomes(key) == {}
        assert await store.heads([]) == {}
        assert await store.fire([]) == []

    @pytest.mark.anyio
    async def test_an_empty_store_answers(self, store: Store) -> None:
        """Every question has an answer before anything was stored."""
        nobody = RunKey(99)
        assert await store.load(RunId("run")) is None
        assert await store.load(nobody) is None
        assert await store.heads([RunId("run")]) == {}
        assert await store.outcomes(nobody) == {}
        assert await store.history(nobody) == []
        assert await store.list_runs(RunFilter(now=NOW)) == []
        assert await store.count_runs() == {}
        assert await store.queued_types() == {}
        assert await store.tombstone(RunId("run")) is None
        assert await store.definition(RunKind.TASK, "name") is None
        assert await store.definition_names(RunKind.TASK) == []
        assert await store.schedule(ScheduleId("nightly")) is None
        assert await store.due_schedules(NOW, 10) == []
        assert await store.next_schedule_at(NOW) is None
        assert await store.list_schedules(None, None, 10) == []
        assert await store.workers() == []
        assert await store.type_schemas() == {}
        assert await store.delete_schedule(ScheduleId("nightly")) is False
        assert await store.release_dead(NOW) == 0
        assert await store.release_dead(NOW, [(WorkerKey(1), 0)]) == 0
        assert await store.create_all([]) == []
        assert await store.loans(RunKey(1)) == []
        assert await store.borrowed(WorkerKey(1)) == []
        assert await store.driven(WorkerKey(1)) == []
        assert await store.beat() is False
        worker = await store.register_worker("w", {}, NOW)
        assert await store.claim(request(worker)) == ([], None, None)

    @pytest.mark.anyio
    @pytest.mark.parametrize(
        "text",
        [
            '"nothing special"',
            '"a\\u0000b"',
            '"\'; DROP TABLE runs; -- %s :name ?1 {}"',
            '"\U0001d4a6allista ✓ \u202e \u0301 \ufeff"',
            '"' + "x" * 1_048_576 + '"',
        ],
        ids=["plain", "nul", "quotes", "unicode", "a mebibyte"],
    )
    async def test_payloads_come_back_byte_for_byte(self, store: Store, text: str) -> None:
        """Results, inputs, definitions and names are carried, never looked into."""
        name = text[:80]
        run = new_run(name=name, inputs=text, definition_content=text, tags=(name,))
        key, *_ = await store.create(run)
        record = await found(store, "run")
        await store.commit(
            Plan(
                key,
                fence(record),
                replace(record.head, seq=2),
                events=(happened(1, text),),
                steps=((0, StepState(TaskStatus.COMPLETED, outcome=1)),),
            )
        )
        listed = await store.list_runs(RunFilter(now=NOW, name=name, tag=name))
        assert [(found.name, found.inputs, found.tags) for found in listed] == [
            (name, text, (name,))
        ]
        assert record.definition_content == text
        assert await store.outcomes(key) == {0: text}

    # plans

    @pytest.mark.anyio
    async def test_a_plan_is_written_whole(self, store: Store) -> None:
        """Head, steps, history and queue change together, and the version rises by one."""
        key, *_ = await store.create(new_run(enqueue=[Entry(BUILD, 0, NOW, 0)]))
        record = await found(store, "run")
        head = RunHead(ProcessStatus.PAUSED, 3, 1, NOW, None, Micros(NOW + 9), 2, True, 2)
        done = StepState(TaskStatus.COMPLETED, 1, 0, 0, None, NOW, NOW, NOW, None, 1, True)
        next_entry = Entry(DEPLOY, 4, Micros(NOW + 1), 1)
        answer = await store.commit(
            Plan(
                key,
                fence(record),
                head,
                events=(happened(1, '"result"'), happened(2, '"why"', step=None)),
                steps=((0, done),),
                enqueue=(next_entry,),
                dequeue=(Entry(BUILD, 0, NOW, 0), Entry(BUILD, 0, NOW, 77)),
            )
        )
        after = await found(store, "run")
        assert answer.version == after.version == NEW_VERSION + 1
        assert after == replace(
            record, status="PAUSED", version=after.version, head=head, steps=(done, StepState())
        )
        assert [event.seq for event in await store.history(key)] == [0, 1, 2]
        assert await store.outcomes(key) == {0: '"result"', WHOLE_RUN: '"why"'}
        assert await store.outcomes(key, [0, 1]) == {0: '"result"'}
        assert await store.outcomes(key, [WHOLE_RUN]) == {WHOLE_RUN: '"why"'}
        assert await store.queued_types() == {DEPLOY: 1}

    @pytest.mark.anyio
    async def test_a_plan_may_give_a_run_another_definition(
        self, store: Store, other: Store
    ) -> None:
        """Of this run alone; it may have more steps, and what nobody uses any more is dropped."""
        run = await made(store, new_run(definition="h1", definition_content='{"v":1}'))
        same = await made(store, new_run("same", definition="h1", definition_content='{"v":1}'))
        begun = (await store.figures()).rows["definitions"]
        for version, hash in enumerate(("h2", "h3"), 1):
            record = await found(store, "run")
            what = Redefinition(hash, JsonText(f'{{"v":{hash[1]}}}'), 3)
            step = StepState(TaskStatus.SCHEDULED, version)
            plan = Plan(run.key, fence(record), run.head, steps=((2, step),), redefine=what)
            await store.commit(plan)
            after = await found(other, "run")
            assert after == replace(
                run,
                definition=hash,
                definition_content=what.content,
                version=run.version + version,
                steps=(StepState(), StepState(), step),
            )
        assert await found(other, "same") == same
        assert (await store.figures()).rows["definitions"] == begun + 1
        with pytest.raises(LeaseLost):
            await store.commit(Plan(run.key, fence(run), run.head, redefine=what))

    @pytest.mark.anyio
    async def test_a_stale_plan_changes_no_row(self, store: Store, other: Store) -> None:
        """Who decided on an older version, or in an older epoch, writes nothing at all."""
        worker = await store.register_worker("w", {}, NOW)
        key, *_ = await store.create(new_run(owner=worker))
        record = await found(store, "run")
        wrong = [Fence(0, NEW_EPOCH), Fence(2, NEW_EPOCH), Fence(1, 0), Fence(1, 2), Fence(2, None)]
        for proof in wrong:
            plan = Plan(
                key,
                proof,
                RunHead(ProcessStatus.FAILED, 9, 9),
                ownership=Ownership(None, 9),
                events=(happened(1),),
                steps=((0, StepState(TaskStatus.FAILED)),),
                enqueue=(WAKE_UP,),
                create=(new_run("child", parent=(key, 0)),),
                wake=(RunId("run"),),
                tell_owner=True,
            )
            with pytest.raises(LeaseLost, match="run"):
                await other.commit(plan)
        assert await found(other, "run") == record
        assert len(await store.history(key)) == 1
        assert await store.load(RunId("child")) is None
        assert await taken(store, worker) == []

    @pytest.mark.anyio
    async def test_a_command_needs_no_ownership(self, store: Store, other: Store) -> None:
        """A fence without an epoch holds whoever drives the run."""
        worker = await store.register_worker("w", {}, NOW)
        key, *_ = await store.create(new_run(owner=worker))
        record = await found(other, "run")
        assert await other.commit(Plan(key, Fence(record.version, None), record.head)) == Committed(
            2
        )

    @pytest.mark.anyio
    async def test_a_stale_plan_leaves_its_neighbours_alone(self, store: Store) -> None:
        """In one group the stale plan drops out, and the others are written."""
        records = [await made(store, new_run(f"run-{number}")) for number in range(9)]
        plans = [Plan(record.key, fence(record), record.head) for record in records]
        plans[4] = replace(plans[4], fence=Fence(7, None))
        plans.append(Plan(RunKey(99), Fence(1, None), RunHead()))
        answers = await asyncio.gather(
            *(store.commit(plan) for plan in plans), return_exceptions=True
        )
        assert isinstance(answers[4], LeaseLost)
        assert isinstance(answers[9], NotFoundError)
        assert [answer for answer in answers if not isinstance(answer, Exception)] == [
            Committed(2)
        ] * 8
        versions = [(await found(store, record.id)).version for record in records]
        assert versions == [2, 2, 2, 2, 1, 2, 2, 2, 2]

    @pytest.mark.anyio
    async def test_order_holds_inside_a_group(self, store: Store) -> None:
        """What one program asks for is done in the order it asked, also within one transaction."""
        worker = await store.register_worker("w", {}, NOW)
        record = await made(store, new_run())

        def step(version: int, status: TaskStatus) -> Plan:
            return Plan(
                record.key,
                Fence(version, None),
                replace(record.head, seq=version + 1),
                events=(happened(version, str(version)),),
                steps=((0, StepState(status, version)),),
                enqueue=(Entry(BUILD, 0, NOW, version),),
                dequeue=(Entry(BUILD, 0, NOW, version - 1),),
            )

        answers = await asyncio.gather(
            store.commit(step(1, TaskStatus.RUNNING)),
            store.commit(step(2, TaskStatus.FAILED)),
            store.commit(step(3, TaskStatus.SCHEDULED)),
            store.claim(request(worker)),
            store.create(new_run("second")),
            store.commit(step(4, TaskStatus.RUNNING)),
            return_exceptions=True,
        )
        claim, late = answers[3], answers[5]
        assert isinstance(claim, tuple)
        assert [entry.entry.step for entry in claim.entries] == [3]
        assert isinstance(late, LeaseLost), "the claim came before it and raised the version"
        after = await found(store, "run")
        assert (after.version, after.owner) == (5, worker)
        assert after.steps[0] == StepState(TaskStatus.SCHEDULED, 3)
        assert [event.data for event in await store.history(record.key)] == [None, "1", "2", "3"]

    @pytest.mark.anyio
    async def test_a_plan_hands_the_run_over(self, store: Store, other: Store) -> None:
        """After a plan that gives the run up, its entries are anybody's."""
        first = await store.register_worker("first", {}, NOW)
        second = await other.register_worker("second", {}, NOW)
        record = await made(store, new_run(owner=first, enqueue=[Entry(BUILD, 0, NOW, 0)]))
        assert await taken(other, second) == []
        release = Plan(
            record.key,
            fence(record),
            record.head,
            ownership=Ownership(None, record.epoch + 1),
            enqueue=(Entry(BUILD, 0, NOW, 1),),
        )
        await store.commit(release)
        claim = await other.claim(request(second))
        assert [entry.entry.step for entry in claim.entries] == [0, 1]
        assert (await found(store, "run")).epoch == record.epoch + 2

    @pytest.mark.anyio
    async def test_children_are_created_once_and_wake_each_other(self, store: Store) -> None:
        """A plan creates its children, a repeat leaves them as they are; parent and child wake."""
        worker = await store.register_worker("w", {}, NOW)
        parent = await made(store, new_run("parent", priority=4))
        child = new_run("child", parent=(parent.key, 1), priority=2)
        head = parent.head
        await store.commit(Plan(parent.key, Fence(1, None), head, create=(child,)))
        made_child = await found(store, "child")
        assert (made_child.parent, made_child.parent_id) == ((parent.key, 1), "parent")
        assert made_child.root == parent.key
        again = replace(child, content="other", enqueue=(WAKE_UP,))
        await store.commit(
            Plan(
                parent.key,
                Fence(2, None),
                head,
                create=(again,),
                wake=(RunId("child"), RunId("nobody")),
            )
        )
        assert await found(store, "child") == made_child
        wake_child = Entry(WAKE, 2, Micros(0), WHOLE_RUN)
        assert await taken(store, worker) == [(made_child.key, wake_child)]
        made_child = await found(store, "child")
        await store.commit(replace(finished(made_child), wake_parent=True))
        assert await taken(store, worker) == [(parent.key, Entry(WAKE, 4, Micros(0), 1))]

    @pytest.mark.anyio
    async def test_grandchildren_belong_to_the_tree(self, store: Store) -> None:
        """The root of a run is the run at the very top."""
        top = await made(store, new_run("top"))
        middle = await made(store, new_run("middle", parent=(top.key, 0)))
        leaf = await made(store, new_run("leaf", parent=(middle.key, 0)))
        assert (top.root, middle.root, leaf.root) == (top.key, top.key, top.key)

    @pytest.mark.anyio
    async def test_who_waits_is_woken_by_the_end(self, store: Store) -> None:
        """An announced end wakes every unfinished run that waits for the id, each time."""
        worker = await store.register_worker("w", {}, NOW)
        waiting = await made(store, new_run("waiting", waits_for=["setup", "other"], priority=1))
        over = await made(store, new_run("over", waits_for=["setup"]))
        await store.commit(finished(over))
        awaited = await made(store, new_run("setup"))
        assert await taken(store, worker) == [], "being created is no reason to wake anybody"
        await store.commit(replace(finished(awaited, ProcessStatus.FAILED), announce=True))
        woken = [(waiting.key, Entry(WAKE, 1, Micros(0)))]
        assert await taken(store, worker) == woken
        awaited = await found(store, "setup")
        await store.commit(replace(finished(awaited), announce=True))
        assert await taken(store, worker) == woken

    @pytest.mark.anyio
    async def test_the_owner_is_told_of_a_command(self, store: Store, other: Store) -> None:
        """A command from elsewhere wakes the worker that drives the run, and nobody else."""
        worker = await store.register_worker("w", {}, NOW)
        stranger = await other.register_worker("stranger", {}, NOW)
        driven = await made(store, new_run("driven", owner=worker))
        idle = await made(store, new_run("idle"))
        for record in (driven, idle):
            plan = Plan(record.key, Fence(record.version, None), record.head, tell_owner=True)
            await other.commit(plan)
        assert await taken(other, stranger) == []
        assert await taken(store, worker) == [(driven.key, WAKE_UP)]

    @pytest.mark.anyio
    async def test_a_task_is_called_by_the_state_of_its_step(self, store: Store) -> None:
        """Of a single task users see the step's word, of all others the run's."""
        record = await made(store, new_task("task"))
        assert record.status == "SCHEDULED"
        waiting = ((0, StepState(TaskStatus.WAITING)),)
        await store.commit(Plan(record.key, fence(record), record.head, steps=waiting))
        record = await found(store, "task")
        assert record.status == "WAITING"
        await store.commit(Plan(record.key, fence(record), replace(record.head, in_flight=1)))
        assert (await found(store, "task")).status == "WAITING"
        assert await store.count_runs() == {(RunKind.TASK, "WAITING"): 1}

    @pytest.mark.anyio
    async def test_moments_keep_their_microseconds(self, store: Store) -> None:
        """From 1970 to 9999, before 1970 too, a moment comes back exactly."""
        moments = [Micros(at) for at in (-1, 0, 1, NOW, 253_402_300_799_999_999)]
        record = await made(
            store,
            new_run(
                head=RunHead(ProcessStatus.RUNNING, 5),
                events=[
                    Event(seq, at, EventKind.TASK_READY, 0, 0, None)
                    for seq, at in enumerate(moments)
                ],
                steps=[StepState(since=at) for at in moments],
            ),
        )
        assert [event.at for event in await store.history(record.key)] == moments
        assert [step.since for step in record.steps] == moments

    @pytest.mark.anyio
    async def test_history_is_read_in_pages(self, store: Store) -> None:
        """Events come in order, from a seq on, and no more than wanted."""
        record = await made(store, new_run(events=[happened(seq) for seq in range(25)]))

        async def seqs(from_seq: int, limit: int) -> list[int]:
            return [event.seq for event in await store.history(record.key, from_seq, limit)]

        assert await seqs(0, 10) == list(range(10))
        assert await seqs(20, 10) == list(range(20, 25))
        assert await seqs(25, 10) == []
        assert await seqs(3, 0) == []

    # claims

    @pytest.mark.anyio
    async def test_claimers_at_once_get_everything_once(self, handle: OpenStore) -> None:
        """Eight workers, each on a handle of its own, share a queue without a gap or a double."""
        async with opened(handle) as store:
            keys = {
                answer.key
                for answer in await asyncio.gather(
                    *(store.create(new_task(f"task-{number}")) for number in range(240))
                )
            }

        async def work(number: int) -> list[RunKey]:
            got: list[RunKey] = []
            async with opened(handle) as store:
                worker = await store.register_worker(f"w-{number}", {}, NOW)
                while entries := await taken(store, worker, slots=7):
                    got += [key for key, _ in entries]
            return got

        shares = await asyncio.gather(*(work(number) for number in range(8)))
        everything = [key for share in shares for key in share]
        assert len(everything) == len(keys)
        assert set(everything) == keys

    @pytest.mark.anyio
    async def test_a_claim_makes_the_worker_the_owner(self, store: Store, other: Store) -> None:
        """The first entry of a run brings the run as it is after the claim, the next ones don't."""
        worker = await store.register_worker("w", {}, NOW)
        stranger = await other.register_worker("stranger", {}, NOW)
        later = Micros(NOW + 1)
        entries = [Entry(BUILD, 0, NOW, 1), Entry(BUILD, 0, NOW, 0), Entry(BUILD, 0, later, 2)]
        record = await made(store, new_run(enqueue=entries))
        claim = await store.claim(request(worker))
        after = replace(record, owner=worker, epoch=1, version=2)
        assert [(entry.entry.step, entry.record) for entry in claim.entries] == [
            (0, after),
            (1, None),
        ]
        assert claim.next_due == later
        assert await found(store, "run") == after
        assert await other.claim(request(stranger, now=later)) == ([], None, None)
        await store.commit(Plan(record.key, fence(after), record.head, enqueue=(WAKE_UP,)))
        claim = await store.claim(request(worker, now=later))
        assert [(entry.entry, entry.record) for entry in claim.entries] == [
            (WAKE_UP, None),
            (entries[2], None),
        ]
        assert (await found(store, "run")).version == 3, "a run that is mine already stays as it is"

    @pytest.mark.anyio
    async def test_entries_come_in_the_order_of_service(self, store: Store) -> None:
        """Wakes first; then by priority, moment, creation and position, over all types."""
        worker = await store.register_worker("w", {}, NOW)
        wanted = [
            (5, Entry(WAKE, -1, Micros(NOW - 1))),
            (4, Entry(DEPLOY, 9, NOW, 0)),
            (4, Entry(BUILD, 7, Micros(NOW - 2), 0)),
            (1, Entry(DEPLOY, 7, Micros(NOW - 1), 0)),
            (1, Entry(BUILD, 7, NOW, 0)),
            (1, Entry(DEPLOY, 7, NOW, 1)),
            (2, Entry(BUILD, 7, NOW, 0)),
            (3, Entry(BUILD, 0, Micros(1), 0)),
            (3, Entry(BUILD, -3, Micros(0), 0)),
        ]
        for number in range(1, 6):
            mine = [entry for run, entry in reversed(wanted) if run == number]
            await store.create(new_run(f"run-{number}", enqueue=mine))
        runs = {number: (await found(store, f"run-{number}")).key for number in range(1, 6)}
        expected = [(runs[number], entry) for number, entry in wanted]
        assert await taken(store, worker, slots=4) == expected[:5]
        assert await taken(store, worker) == expected[5:]

    @pytest.mark.anyio
    async def test_nothing_is_claimed_before_its_moment(self, store: Store) -> None:
        """An entry can be had from its moment on; the claim tells when the next one is due."""
        worker = await store.register_worker("w", {}, NOW)
        later, latest = Micros(NOW + 1), Micros(NOW + 50)
        record = await made(
            store, new_run(enqueue=[Entry(BUILD, 0, latest, 0), Entry(WAKE, 0, later)])
        )
        claim = await store.claim(request(worker))
        assert (claim.entries, claim.next_due) == ([], later)
        claim = await store.claim(request(worker, now=later))
        assert [entry.run for entry in claim.entries] == [record.key]
        assert claim.next_due == latest
        claim = await store.claim(request(worker, now=latest))
        assert [entry.run for entry in claim.entries] == [record.key]
        assert claim.next_due is None

    @pytest.mark.anyio
    async def test_tasks_can_be_claimed_ahead(self, store: Store) -> None:
        """Soon due tasks can be had a little early; looks, and what all workers share, cannot."""
        worker = await store.register_worker("w", {}, NOW)
        soon, late = Micros(NOW + 5), Micros(NOW + 6)
        lines = [Entry(BUILD, 0, soon, 0), Entry(DEPLOY, 3, late, 1), Entry(WAKE, 9, soon)]
        await store.create(new_run("workflow", enqueue=lines))
        process = new_run("process", kind=RunKind.PROCESS, enqueue=[Entry(BUILD, 5, soon, 0)])
        await store.create(process)
        punctual = request(worker)._replace(ahead=Micros(5), punctual={BUILD})
        claim = await store.claim(punctual)
        assert (claim.entries, claim.next_due, claim.waiting) == ([], soon, None)
        claim = await store.claim(request(worker)._replace(ahead=Micros(5)))
        assert [entry.entry for entry in claim.entries] == lines[:1]
        assert (claim.next_due, claim.waiting) == (soon, None)
        claim = await store.claim(request(worker)._replace(ahead=Micros(5)))
        assert (claim.entries, claim.next_due) == ([], soon)
        claim = await store.claim(request(worker, now=soon)._replace(ahead=Micros(5)))
        assert [entry.entry for entry in claim.entries] == [lines[2], *process.enqueue, lines[1]]
        assert claim.next_due is None

    @pytest.mark.anyio
    async def test_a_claim_begins_what_it_is_told_to(self, store: Store, other: Store) -> None:
        """What is decided on the claimed records is written with the claim: one commit, or none."""
        worker = await store.register_worker("w", {}, NOW)
        await store.create(new_task("a"))
        await store.create(new_task("b"))
        seen: list[RunRecord] = []

        def begin(entries: Sequence[ClaimedEntry]) -> Sequence[Plan]:
            records = [entry.record for entry in entries if entry.record is not None]
            seen.extend(records)
            return [
                Plan(
                    record.key,
                    fence(record),
                    replace(record.head, seq=record.head.seq + 1),
                    events=(happened(record.head.seq, "1"),),
                    steps=((0, StepState(TaskStatus.RUNNING, attempt=1, worker=worker)),),
                )
                for record in records
                if record.id == "a"
            ]

        claim = await store.claim(request(worker), begin)
        assert [entry.record for entry in claim.entries] == seen
        begun, untouched = seen
        assert (begun.owner, begun.steps[0].status) == (worker, TaskStatus.SCHEDULED)
        after = await found(other, "a")
        assert (after.version, after.epoch) == (begun.version + 1, begun.epoch)
        assert (after.steps[0].status, after.steps[0].worker) == (TaskStatus.RUNNING, worker)
        assert len(await other.history(begun.key, 0, 10)) == after.head.seq
        assert await found(other, "b") == untouched
        assert await store.commit(finished(after)) == Committed(after.version + 1)

    @pytest.mark.anyio
    async def test_limits_bind_each_type_and_slots_all(self, store: Store) -> None:
        """No more of a type than its limit, no more in all than slots, wakes on top."""
        worker = await store.register_worker("w", {}, NOW)
        for number in range(4):
            await store.create(new_task(f"build-{number}", BUILD, priority=5))
            await store.create(new_task(f"deploy-{number}", DEPLOY, priority=1))
        await store.create(new_run("woken", enqueue=[WAKE_UP]))

        async def types(slots: int, **limits: int) -> tuple[list[str], int | None]:
            room = {TaskType(type): limit for type, limit in limits.items()}
            claim = await store.claim(ClaimRequest(worker, NOW, slots, room))
            return [entry.entry.type for entry in claim.entries], claim.waiting

        assert await types(0, build=5, deploy=5) == ([WAKE], 5)
        assert await types(3, build=1, deploy=5) == (["build", "deploy", "deploy"], 1)
        assert await types(9, build=0, deploy=1) == (["deploy"], None)
        assert await types(1, build=9) == (["build"], 5)
        assert await types(9, other=9) == ([], None)
        assert await types(9, build=9, deploy=9) == (["build", "build", "deploy"], None)

    @pytest.mark.anyio
    async def test_no_more_are_handed_out_than_a_limit_says(
        self, store: Store, other: Store
    ) -> None:
        """Lines that find no room are held back, and follow one by one as places become free."""
        worker = await store.register_worker("w", {}, NOW)
        guest = await other.register_worker("guest", {}, NOW)
        for number in range(5):
            await store.create(limited_task(f"run-{number}", Limit("key:a", 2)))
        await store.create(limited_task("free", Limit("key:b", 1), priority=-1))
        assert await ids_taken(store, worker) == ["run-0", "run-1", "free"]
        assert await ids_taken(other, guest) == []
        (a, b) = await store.limits("", 10)
        assert (a.limit, a.held, a.waiting) == (Limit("key:a", 2), 2, 3)
        assert (b.limit.name, b.held, b.waiting) == ("key:b", 1, 0)
        assert [held.run for held in await store.holders("key:a", 1)] == ["run-0"]
        assert await store.queued_types() == {BUILD: 3}
        waiting = await found(store, "run-4")
        assert await store.ahead(waiting.key, 0) == 2
        assert [entry.ready_at for entry in await store.lines(waiting.key)] == [NOW]
        assert await store.gates(waiting.key) == [
            GateState(0, Limit("key:a", 2), NOW, None, held_back=True)
        ]
        await store.commit(counted_no_more(await found(store, "run-1")))
        (entry,) = (await other.claim(request(guest))).entries
        assert (entry.run, entry.entry) == (
            (await found(store, "run-2")).key, Entry(BUILD, 0, NOW, 0),
        )  # fmt: skip
        assert [it.held for it in await store.limits("key:", 1)] == [2]

    @pytest.mark.anyio
    async def test_a_line_needs_room_under_all_its_limits(self, store: Store) -> None:
        """It takes all or nothing; and who is held back by one limit keeps nobody off another."""
        worker = await store.register_worker("w", {}, NOW)
        both = (Limit("key:a", 1), Limit("key:b", 1))
        await store.create(limited_task("one", both[0]))
        await store.create(limited_task("two", *both))
        await store.create(limited_task("three", both[1]))
        assert await ids_taken(store, worker) == ["one", "three"]
        await store.commit(counted_no_more(await found(store, "one")))
        assert await ids_taken(store, worker) == []
        await store.commit(counted_no_more(await found(store, "three")))
        assert await ids_taken(store, worker) == ["two"]

    @pytest.mark.anyio
    async def test_who_works_on_one_tree_waits_for_no_other(self, store: Store) -> None:
        """The next line of a limit may be another tree's, which nobody there would take."""
        worker = await store.register_worker("w", {}, NOW)
        limit = Limit("key:k", 1)
        for id in ("a", "b", "mine"):
            await store.create(limited_task(id, limit))
        assert await ids_taken(store, worker) == ["a"]
        within = request(worker)._replace(within=(await found(store, "mine")).key)
        assert (await store.claim(within)).entries == []
        await store.commit(counted_no_more(await found(store, "a")))
        (entry,) = (await store.claim(within)).entries
        assert entry.record is not None
        assert entry.record.id == "mine"

    @pytest.mark.anyio
    async def test_who_works_on_one_tree_looks_only_at_what_there_is_room_for(
        self, store: Store
    ) -> None:
        """Else each claim would meet all that is held back, and have to come again at once."""
        worker = await store.register_worker("w", {}, NOW)
        key, rate = Limit("key:k", 1), Limit("rate:r", 1, Micros(1_000))
        await store.create(limited_task("a", key, rate))
        assert await ids_taken(store, worker) == ["a"]
        limits = [(key, rate), (key,), (key,)]
        mine = new_run(
            "mine",
            steps=[StepState(ready_at=NOW, since=NOW) for _ in limits],
            enqueue=[Entry(BUILD, 0, NOW, step) for step in range(len(limits))],
            gates=[Gate(step, NOW, limits[step]) for step in range(len(limits))],
        )
        within = request(worker)._replace(within=(await made(store, mine)).key)
        claims = [await store.claim(within) for _ in range(2)]
        assert [claim.entries for claim in claims] == [[], []]
        assert claims[1].next_due is None
        await store.commit(counted_no_more(await found(store, "a")))
        claims = [await store.claim(within) for _ in range(3)]
        assert [it.entry.step for claim in claims for it in claim.entries] == [1]
        assert claims[2].next_due == NOW + 1_000

    @pytest.mark.anyio
    async def test_each_line_keeps_to_its_own_number(self, store: Store) -> None:
        """Of one name, who allows more goes on while who allows less waits."""
        worker = await store.register_worker("w", {}, NOW)
        for id, number in (("a", 3), ("b", 1), ("c", 3), ("d", 3), ("e", 3)):
            await store.create(limited_task(id, Limit("key:k", number)))
        assert await ids_taken(store, worker) == ["a", "c", "d"]
        await store.commit(counted_no_more(await found(store, "a")))
        assert await ids_taken(store, worker) == ["e"]
        for id in ("c", "d", "e"):
            assert await ids_taken(store, worker) == []
            await store.commit(counted_no_more(await found(store, id)))
        assert await ids_taken(store, worker) == ["b"]

    @pytest.mark.anyio
    async def test_what_is_held_back_is_met_by_no_claim(self, store: Store) -> None:
        """Ten thousand lines of one key keep nobody waiting, and each follows in its order."""
        worker = await store.register_worker("w", {}, NOW)
        limit = Limit("key:a", 1)
        many = [limited_task(f"run-{number:05}", limit) for number in range(10_000)]
        await store.create_all(many)
        await store.create(new_task("other", DEPLOY, priority=-1))
        claim = await store.claim(request(worker))
        while len(claim.entries) < 2:
            assert claim.next_due is not None
            entries = claim.entries
            claim = await store.claim(request(worker))
            claim = claim._replace(entries=[*entries, *claim.entries])
        assert [it.waiting for it in await store.limits("", 1)] == [9_999]
        assert (await store.claim(request(worker))).entries == []
        for number in range(3):
            await store.commit(counted_no_more(await found(store, f"run-{number:05}")))
            assert await ids_taken(store, worker) == [f"run-{number + 1:05}"]

    @pytest.mark.anyio
    async def test_an_attempt_begins_only_with_what_it_needs(
        self, store: Store, other: Store
    ) -> None:
        """A plan that begins one for which nothing was taken, or not any more, is stale."""
        worker = await store.register_worker("w", {}, NOW)
        guest = await other.register_worker("guest", {}, NOW)
        run = await made(store, limited_task("run", Limit("key:a", 1)))
        with pytest.raises(LeaseLost):
            await store.commit(begins(run, worker))
        (entry,) = (await store.claim(request(worker))).entries
        assert entry.record is not None
        with pytest.raises(LeaseLost):
            await store.commit(begins(entry.record, guest))
        await store.commit(begins(entry.record, worker))
        assert (await found(store, "run")).head.in_flight == 1

    @pytest.mark.anyio
    async def test_places_that_become_free_together_are_all_taken_again(self, store: Store) -> None:
        """Else a limit of many would let through one at a time from then on."""
        worker = await store.register_worker("w", {}, NOW)
        await store.create_all([limited_task(f"run-{n}", Limit("key:a", 3)) for n in range(9)])
        for first in (0, 3):
            ids = [f"run-{number}" for number in range(first, first + 3)]
            assert await ids_taken(store, worker) == ids
            plans = [counted_no_more(await found(store, id)) for id in ids]
            await asyncio.gather(*(store.commit(plan) for plan in plans))
        assert len(await ids_taken(store, worker)) == 3

    @pytest.mark.anyio
    async def test_the_dead_hold_nothing(self, handle: OpenStore) -> None:
        """What was counted for a dead worker is free, and as many as are next in line follow."""
        async with opened(handle) as store:
            me = await store.register_worker("me", {}, NOW)
            async with opened(handle) as dying:
                dead = await dying.register_worker("dying", {}, NOW)
                for id in ("a", "b", "c", "d", "e"):
                    await store.create(limited_task(id, Limit("key:k", 2)))
                assert await ids_taken(dying, dead) == ["a", "b"]
                assert await ids_taken(store, me) == []
            await store.release_dead(NOW)
            claim = await store.claim(request(me))
            tasks = [entry for entry in claim.entries if entry.entry.type == BUILD]
            assert len(tasks) == 2
            assert [it.held for it in await store.limits("", 1)] == [2]

    @pytest.mark.anyio
    async def test_a_rate_hands_out_one_by_one(self, store: Store, other: Store) -> None:
        """The claim says when the next may begin; a clock that is set back waits one length."""
        worker = await store.register_worker("w", {}, NOW)
        guest = await other.register_worker("guest", {}, NOW)
        rate = Limit("rate:r", 1, Micros(1_000))
        for number in range(4):
            await store.create(limited_task(f"run-{number}", rate))
        claim = await store.claim(request(worker))
        assert len(claim.entries) == 1
        again = await other.claim(request(guest))
        assert again.entries == []
        assert again.next_due == NOW + 1_000
        for late, expected in ((999, 0), (1_000, 1), (1_500, 0), (2_500, 1), (3_499, 0)):
            claim = await other.claim(request(guest, now=Micros(NOW + late)))
            assert len(claim.entries) == expected, late
        await store.create(limited_task("set back", rate))
        day = 86_400_000_000
        assert await ids_taken(store, worker, now=Micros(NOW - day)) == []
        await store.create(limited_task("again", rate, ready_at=Micros(NOW - day)))
        assert await ids_taken(store, worker, now=Micros(NOW - day)) == []
        claim = await store.claim(request(worker, now=Micros(NOW - day + 1_000)))
        assert len(claim.entries) == 1

    @pytest.mark.anyio
    async def test_priority_ages(self, store: Store) -> None:
        """A line comes before those of a higher priority that became due long enough after it."""
        worker = await store.register_worker("w", {}, NOW)
        point = Micros(100)
        for id, priority, later in (
            ("old", 0, 0),
            ("mid", 2, 150),
            ("new", 2, 201),
            ("top", 9, 500),
        ):
            await store.create(new_task(id, priority=priority, ready_at=Micros(NOW + later)))
        ask = ClaimRequest(worker, Micros(NOW + 1_000), 1, {BUILD: 9}, ageing=point)
        order: list[str] = []
        waiting: list[int | None] = []
        for _ in range(4):
            claim = await store.claim(ask)
            waiting.append(claim.waiting)
            order += [entry.record.id for entry in claim.entries if entry.record is not None]
        assert order == ["top", "mid", "old", "new"]
        assert waiting == [10, 10, 9, None]

    @pytest.mark.anyio
    async def test_priority_decides_where_ageing_is_out_of_reach(self, store: Store) -> None:
        """The largest priorities and the slowest ageing: the higher comes first, however late."""
        worker = await store.register_worker("w", {}, NOW)
        most = 1_000_000_000
        for later, priority in enumerate((-most, 1, most - 1, most)):
            task = new_task(str(priority), priority=priority, ready_at=Micros(NOW + later))
            await store.create(task)
        ask = ClaimRequest(worker, Micros(NOW + 1_000), 2, {BUILD: 9}, ageing=LONGEST)
        order: list[str] = []
        for _ in range(2):
            claim = await store.claim(ask)
            order += [entry.record.id for entry in claim.entries if entry.record is not None]
        assert order == [str(priority) for priority in (most, most - 1, 1, -most)]

    @pytest.mark.anyio
    async def test_types_unknown_to_the_worker_stay(self, store: Store) -> None:
        """An entry waits for a worker that has its type, and is no reason to come back early."""
        worker = await store.register_worker("w", {}, NOW)
        await store.create(new_task("other", TaskType("other"), ready_at=Micros(NOW + 1)))
        claim = await store.claim(ClaimRequest(worker, NOW, 5, {BUILD: 5}))
        assert claim == ([], None, None)
        assert await store.queued_types() == {TaskType("other"): 1}

    @pytest.mark.anyio
    async def test_entries_of_other_owners_are_passed_over(
        self, store: Store, other: Store
    ) -> None:
        """However many entries of somebody else's run lie ahead, they hold nobody up."""
        mine = await store.register_worker("mine", {}, NOW)
        theirs = await other.register_worker("theirs", {}, NOW)
        many = [Entry(BUILD, 9, Micros(NOW - 1), step) for step in range(2_000)]
        await store.create(new_run("theirs", owner=theirs, enqueue=[*many, Entry(WAKE, 9, NOW)]))
        key, *_ = await store.create(new_task("free"))
        claim = await store.claim(request(mine, slots=2))
        assert [entry.run for entry in claim.entries] == [key]
        assert (claim.next_due, claim.waiting) == (None, None)
        assert len(await taken(other, theirs, slots=5_000)) == 2_001

    @pytest.mark.anyio
    async def test_a_claim_can_stay_within_one_tree(self, store: Store) -> None:
        """A program that executes one tree takes nothing else."""
        worker = await store.register_worker("w", {}, NOW)
        top = await made(store, new_run("top"))
        child = new_run("child", parent=(top.key, 0), enqueue=[Entry(BUILD, 0, NOW, 0)])
        inside, *_ = await store.create(child)
        await store.create(new_task("outside", priority=9))
        await store.create(new_task("later", ready_at=Micros(NOW + 1)))
        claim = await store.claim(request(worker)._replace(within=top.key))
        assert [entry.run for entry in claim.entries] == [inside]
        assert (claim.next_due, claim.waiting) == (None, None)

    @pytest.mark.anyio
    async def test_a_line_stands_in_the_queue_once(self, store: Store) -> None:
        """The same line twice is one line, and one that differs in anything is another."""
        worker = await store.register_worker("w", {}, NOW)
        lines = [
            Entry(BUILD, 1, NOW, 0),
            Entry(BUILD, 0, Micros(NOW - 1), 0),
            Entry(BUILD, 0, NOW, 0),
            Entry(BUILD, 0, NOW, 1),
        ]
        record = await made(store, new_run(enqueue=lines))
        await store.commit(Plan(record.key, fence(record), record.head, enqueue=(*lines, *lines)))
        assert await taken(store, worker) == [(record.key, line) for line in lines]

    @pytest.mark.anyio
    async def test_wakes_beyond_one_claim_are_due_at_once(self, store: Store) -> None:
        """A claim hands out so many wakes and says that there are more."""
        worker = await store.register_worker("w", {}, NOW)
        many = [Entry(WAKE, 0, Micros(step), step) for step in range(WAKES_AT_ONCE + 3)]
        await store.create(new_run(enqueue=many))
        claim = await store.claim(request(worker))
        assert (len(claim.entries), claim.next_due) == (WAKES_AT_ONCE, WAKES_AT_ONCE)
        claim = await store.claim(request(worker))
        assert (len(claim.entries), claim.next_due) == (3, None)

    @pytest.mark.anyio
    async def test_ten_thousand_steps_are_queued_and_claimed(self, store: Store) -> None:
        """A large run is stored, loaded and claimed whole."""
        worker = await store.register_worker("w", {}, NOW)
        many = 10_000
        record = await made(
            store,
            new_run(
                steps=[StepState(since=Micros(step)) for step in range(many)],
                enqueue=[Entry(BUILD, 0, NOW, step) for step in range(many)],
            ),
        )
        assert [step.since for step in record.steps] == list(range(many))
        entries = await taken(store, worker, slots=many)
        assert [entry.step for _, entry in entries] == list(range(many))

    # questions

    @pytest.mark.anyio
    async def test_heads_shows_what_exists(self, store: Store) -> None:
        """Those of the runs that exist, without steps, each once."""
        record = await made(store, new_run("a", steps=[StepState(TaskStatus.FAILED)]))
        ids = [RunId("a"), RunId("b"), RunId("a")]
        assert await store.heads(ids) == {"a": replace(record, steps=())}

    @pytest.mark.anyio
    async def test_lists_filter_by_everything(self, store: Store) -> None:
        """Each filter leaves what matches, all of them together what matches all."""
        top = await made(store, new_run("top", name="x", tags=("red", "blue")))
        await store.create(new_run("kid", parent=(top.key, 0), created_at=Micros(NOW + 5)))
        await store.create(new_run("process", kind=RunKind.PROCESS, tags=("red",), name="x"))
        await store.create(new_task("ready", tags=("red",)))
        await store.create(new_task("later", ready_at=Micros(NOW + 1), schedule="nightly"))
        failed = await made(store, new_run("failed", name="x"))
        await store.commit(finished(failed, ProcessStatus.FAILED))
        everything = RunFilter(now=NOW)

        async def ids(**wanted: object) -> str:
            runs = await store.list_runs(replace(everything, **wanted))
            return " ".join(run.id for run in runs)

        assert await ids() == "failed later ready process kid top"
        assert await ids(kind=RunKind.TASK) == "later ready"
        assert await ids(statuses=("READY",)) == "ready"
        assert await ids(statuses=("SCHEDULED",)) == "later"
        assert await ids(statuses=("SCHEDULED",), now=Micros(NOW + 1)) == ""
        assert await ids(statuses=("READY", "FAILED")) == "failed ready"
        assert await ids(statuses=("RUNNING",), kind=RunKind.WORKFLOW) == "kid top"
        assert await ids(statuses=()) == ""
        assert await ids(name="x") == "failed process top"
        assert await ids(name="X") == ""
        assert await ids(tag="red") == "ready process top"
        assert await ids(tag="re") == ""
        assert await ids(created_from=Micros(NOW + 1)) == "kid"
        assert await ids(created_until=Micros(NOW + 5)) == "failed later ready process top"
        assert await ids(schedule=ScheduleId("nightly")) == "later"
        assert await ids(parent=top.key) == "kid"
        assert await ids(roots=True) == "failed later ready process top"
        assert await ids(name="x", tag="red", kind=RunKind.WORKFLOW) == "top"
        assert await ids(limit=2) == "failed later"
        assert await ids(limit=0) == ""

    @pytest.mark.anyio
    async def test_lists_page_by_a_cursor(self, store: Store) -> None:
        """Pages join without a gap or a double, also while new runs arrive."""
        for number in range(25):
            await store.create(new_run(f"run-{number:02}", tags=("t",), name="n"))
        for narrowed in (RunFilter(now=NOW), RunFilter(now=NOW, tag="t", name="n")):
            seen: list[str] = []
            page = await store.list_runs(replace(narrowed, limit=10))
            while page:
                seen += [run.id for run in page]
                await store.create(new_run(f"new-{len(seen)}-{narrowed.tag}", tags=("t",)))
                page = await store.list_runs(replace(narrowed, limit=10, after=page[-1].key))
            assert [id for id in seen if id.startswith("run")] == [
                f"run-{number:02}" for number in reversed(range(25))
            ]
            assert len(seen) == len(set(seen))

    @pytest.mark.anyio
    async def test_lists_show_the_step_of_a_task_only(self, store: Store) -> None:
        """A list is light: of a task its one step, of others none."""
        task = await made(store, new_task("task"))
        run = await made(store, new_run("run"))
        listed = await store.list_runs(RunFilter(now=NOW))
        assert listed == [replace(run, steps=()), task]

    # deletion

    @pytest.mark.anyio
    async def test_a_deleted_run_leaves_a_tombstone(self, store: Store) -> None:
        """Who asks for a deleted run learns how it ended; nothing else of it stays."""
        worker = await store.register_worker("w", {}, NOW)
        record = await made(
            store, new_run(tags=("t",), waits_for=["x"], enqueue=[Entry(WAKE, 0, NOW)])
        )
        await store.commit(finished(record, ProcessStatus.FAILED))
        await store.delete_run(record.key, 2, Micros(NOW + 3))
        assert await store.tombstone(record.id) == ("run", RunKind.WORKFLOW, "FAILED", NOW + 3)
        assert await store.load(record.key) is None
        assert await store.load(record.id) is None
        assert await store.history(record.key) == []
        assert await store.list_runs(RunFilter(now=NOW, tag="t")) == []
        assert await taken(store, worker) == []
        with pytest.raises(NotFoundError):
            await store.commit(finished(record))
        with pytest.raises(NotFoundError):
            await store.delete_run(record.key, 2, NOW)

    @pytest.mark.anyio
    async def test_an_id_can_be_used_again_after_deletion(self, store: Store) -> None:
        """A new run under a deleted one's id is another run, and takes the tombstone's place."""
        record = await made(store, new_run())
        await store.commit(finished(record))
        await store.delete_run(record.key, 2, NOW)
        again = await made(store, new_run(content="other"))
        assert again.key != record.key
        assert await store.tombstone(record.id) is None
        assert len(await store.history(again.key)) == 1

    @pytest.mark.anyio
    async def test_only_what_is_over_and_unchanged_is_deleted(self, store: Store) -> None:
        """An unfinished run, and one that changed since the caller looked, stays."""
        record = await made(store, new_run())
        with pytest.raises(StateError, match="RUNNING"):
            await store.delete_run(record.key, 1, NOW)
        await store.commit(finished(record))
        with pytest.raises(LeaseLost):
            await store.delete_run(record.key, 1, NOW)
        assert (await found(store, "run")).version == 2

    @pytest.mark.anyio
    async def test_finished_children_go_with_their_parent(self, store: Store) -> None:
        """Deleting a run deletes the finished tree below it; what is not all over stays."""
        top = await made(store, new_run("top"))
        busy = await made(store, new_run("busy", parent=(top.key, 0)))
        over = finished(busy, ProcessStatus.CANCELLED)
        await store.commit(replace(over, head=replace(over.head, in_flight=1)))
        for name in ("over", "open"):
            child = await made(store, new_run(name, parent=(top.key, 0)))
            leaf = await made(store, new_run(f"{name}-leaf", parent=(child.key, 0)))
            await store.commit(finished(leaf))
            if name == "over":
                await store.commit(finished(child))
        await store.commit(finished(top))
        await store.delete_run(top.key, 2, NOW)
        left = await store.list_runs(RunFilter(now=NOW))
        assert [(run.id, run.parent_id) for run in left] == [
            ("open-leaf", "open"),
            ("open", None),
            ("busy", None),
        ]
        assert await store.tombstone(RunId("over-leaf")) is not None
        assert await store.tombstone(RunId("open")) is None

    # purging

    @pytest.mark.anyio
    async def test_what_is_over_for_long_enough_is_purged(self, store: Store, other: Store) -> None:
        """With all below it, leaving tombstones; what ended later, or not at all, stays."""
        old = await made(store, new_run("old", tags=("t",), waits_for=["x"]))
        child = await made(store, new_run("child", parent=(old.key, 0)))
        leaf = await made(store, new_run("leaf", parent=(child.key, 0)))
        busy = await made(store, new_run("busy"))
        runs = [old, child, leaf]
        for run in runs:
            await store.commit(finished(run))
        keys = [old.key, busy.key, RunKey(10_000)]
        assert await store.purge(keys, NOW, Micros(NOW + 7)) == 0, "it ended at that very moment"
        assert [await other.purgeable(keys, Micros(NOW + at)) for at in (0, 1)] == [0, 3]
        assert await store.purge(keys, Micros(NOW + 1), Micros(NOW + 7)) == 3
        left = await other.list_runs(RunFilter(now=NOW))
        assert [run.id for run in left] == ["busy"]
        for run in runs:
            assert await other.tombstone(run.id) == (run.id, RunKind.WORKFLOW, "COMPLETED", NOW + 7)
            assert await other.history(run.key) == []
        assert await store.broken_links(10) == []
        assert (await store.figures()).rows["waits"] == 0
        assert await store.purge([], NOW, NOW) == 0

    @pytest.mark.anyio
    async def test_a_tree_is_purged_whole_or_not_at_all(self, store: Store) -> None:
        """A child does not go without its parent, nor a parent without its children."""
        top = await made(store, new_run("top"))
        child = await made(store, new_run("child", parent=(top.key, 0)))
        flying = await made(store, new_run("flying", parent=(top.key, 1)))
        await store.commit(finished(top))
        await store.commit(finished(child))
        late = Micros(NOW + 1)
        assert await store.purge([child.key], late, NOW) == 0, "its parent is there"
        assert await store.purge([top.key], late, NOW) == 0, "a child is unfinished"
        over = finished(flying)
        await store.commit(replace(over, head=replace(over.head, in_flight=1)))
        assert await store.purge([top.key], late, NOW) == 0, "something is in flight"
        again = await found(store, "flying")
        await store.commit(Plan(again.key, fence(again), replace(again.head, in_flight=0)))
        assert await store.purge([top.key], late, NOW) == 3

    @pytest.mark.anyio
    async def test_an_orphan_is_purged_by_itself(self, store: Store) -> None:
        """A child whose parent was deleted has nobody to go with."""
        top = await made(store, new_run("top"))
        child = await made(store, new_run("child", parent=(top.key, 0)))
        await store.commit(finished(top))
        await store.delete_run(top.key, 2, NOW)
        await store.commit(finished(child))
        assert await store.purge([child.key], Micros(NOW + 1), NOW) == 1

    @pytest.mark.anyio
    async def test_what_others_wait_for_is_not_purged(self, store: Store) -> None:
        """Until each that waits is COMPLETED, for until then it may go on or be retried."""
        needed = await made(store, new_run("needed", kind=RunKind.PROCESS))
        top = await made(store, new_run("top"))
        below = await made(store, new_run("below", kind=RunKind.PROCESS, parent=(top.key, 0)))
        sister = await made(
            store,
            new_run("sister", kind=RunKind.PROCESS, parent=(top.key, 1), waits_for=["below"]),
        )
        waiting = await made(
            store, new_run("waiting", kind=RunKind.PROCESS, waits_for=["needed", "below"])
        )
        for run in (needed, top, below):
            await store.commit(finished(run))
        await store.commit(finished(sister, ProcessStatus.FAILED))
        late, keys = Micros(NOW + 1), [needed.key, top.key]
        assert await store.purge(keys, late, NOW) == 0, "it is unfinished"
        await store.commit(finished(waiting, ProcessStatus.FAILED))
        assert await store.purge(keys, late, NOW) == 0, "it may be retried"
        again = await found(store, "waiting")
        await store.commit(finished(again))
        assert await store.purge(keys, late, NOW) == 4, (
            "a sister goes with it, and so needs nothing"
        )

    # spending

    @pytest.mark.anyio
    async def test_what_is_spent_adds_up_for_all_above(self, store: Store, other: Store) -> None:
        """Once, however often it is told; where no budget is left, old decisions are stale."""
        top = replace(new_run("top", kind=RunKind.PROCESS, tags=("red",)), budget=(("usd", 10),))
        root = await made(store, top)
        middle = await made(
            store, replace(new_run("mid", parent=(root.key, 0)), budget=(("usd", 6), ("eur", 1)))
        )
        leaf = await made(store, new_run("leaf", parent=(middle.key, 1)))
        over = await made(store, new_run("over", parent=(middle.key, 0)))
        await store.commit(finished(over))

        def line(number: int, amount: int, unit: str = "usd", run: RunKey = leaf.key) -> Spent:
            return Spent(run, 1, 2, number, unit, amount, BUILD, Micros(NOW + number))

        assert not await store.spend([line(0, 5), line(1, 9, "tokens")])
        assert not await other.spend([line(0, 5)])
        shares = [(it.run, it.unit, *it.share) for it in await other.budgets(leaf.key)]
        assert shares == [("mid", "eur", 0, 1), ("mid", "usd", 5, 6), ("top", "usd", 5, 10)]
        assert (await found(store, "leaf")).version == leaf.version
        assert await other.spend([line(2, 1), line(3, 2, run=RunKey(10**6))])
        versions = [(await found(store, id)).version for id in ("top", "mid", "leaf", "over")]
        assert versions == [1, 2, 2, 2]
        woken = Entry(WAKE, 0, Micros(0))
        assert await store.lines(middle.key) == await store.lines(leaf.key) == [woken]
        assert await store.lines(root.key) == []
        with pytest.raises(LeaseLost):
            await store.commit(Plan(leaf.key, fence(leaf), leaf.head))
        raised = Plan(middle.key, Fence(2, None), middle.head, budget=(("usd", 20),))
        await store.commit(raised)
        assert (await other.budgets(middle.key))[1].share == (6, 20)
        assert await other.spent(root.key) == {"tokens": 9, "usd": 6}
        assert await other.spent(over.key) == {}
        sums = {by: await other.spending(SpendingFilter(by)) for by in ("run", "tag", "type")}
        assert sums == {
            "run": [("top", "tokens", 9), ("top", "usd", 6)],
            "tag": [("red", "tokens", 9), ("red", "usd", 6)],
            "type": [("build", "tokens", 9), ("build", "usd", 6)],
        }
        late = SpendingFilter("unit", unit="usd", since=Micros(NOW + 1), until=Micros(NOW + 3))
        assert await other.spending(late) == [("usd", "usd", 1)]
        assert await store.broken_links(10) == []

    @pytest.mark.anyio
    async def test_no_sum_is_too_large(self, store: Store) -> None:
        """Of many large amounts neither, and whoever has a budget is beyond it."""
        run = await made(store, replace(new_run(), budget=(("t", 10**18),)))
        most = 10**18
        await store.spend([Spent(run.key, 0, 1, n, "t", most, BUILD, NOW) for n in range(20)])
        assert await store.spent(run.key) == {"t": 20 * most}
        assert (await store.budgets(run.key))[0].share.is_used_up
        gone = await found(store, "run")
        await store.commit(finished(gone))
        await store.delete_run(gone.key, gone.version + 1, NOW)
        assert await store.spending(SpendingFilter("unit")) == []

    # the same again

    @pytest.mark.anyio
    async def test_the_first_of_a_key_is_the_answer(self, store: Store, other: Store) -> None:
        """Until its time is over, for what it starts alone, and unless it has come to nothing."""

        def asked(id: str, scope: str = "task build", at: int = 0, key: str = "k") -> NewRun:
            now = Micros(NOW + at)
            same = SameKey(scope, key, Micros(now + 10))
            return replace(new_run(id, created_at=now), same=same)

        first = await store.create(asked("first"))
        assert await other.create(asked("again", at=9)) == Created(first.key, False, RunId("first"))
        assert await found_or_none(other, "again") is None
        assert (await other.create(asked("elsewhere", "task deploy"))).new
        assert (await other.create(asked("else", key="other"))).new
        assert await store.same_key(first.key) == SameKey("task build", "k", Micros(NOW + 10))
        late = await other.create(asked("late", at=10))
        assert late.new
        assert await store.same_key(first.key) is None
        run = await found(store, "late")
        await store.commit(finished(run, ProcessStatus.FAILED))
        retried = await other.create(asked("retried", at=11))
        assert retried.new
        run = await found(store, "retried")
        await store.commit(finished(run))
        again = await store.create(asked("more", at=12))
        assert again == Created(retried.key, False, RunId("retried"))
        await store.delete_run(run.key, run.version + 1, NOW)
        assert (await store.create(asked("more", at=13))).new
        assert await store.broken_links(10) == []

    @pytest.mark.anyio
    async def test_the_same_at_the_same_time_is_created_once(self, handle: OpenStore) -> None:
        """However many programs ask at once, one by one or many together: all get one run."""
        same = SameKey("task build", "k", Micros(NOW + 10))
        async with opened(handle) as one, opened(handle) as two, opened(handle) as three:
            answers = await asyncio.gather(
                *(
                    handle.create(replace(new_run(f"r{number}"), same=same))
                    for number, handle in enumerate((one, two, three) * 4)
                )
            )
            many = [replace(new_run(f"m{number}"), same=same) for number in range(3)]
            answers += await two.create_all(many)
            assert len({answer.key for answer in answers}) == 1
            assert sum(answer.new for answer in answers) == 1
            assert len(await one.list_runs(RunFilter(NOW))) == 1

    @pytest.mark.anyio
    async def test_keys_do_not_pile_up(self, store: Store) -> None:
        """Each new one takes old ones with it; a creation that is refused leaves none behind."""
        keys = []
        for number in range(6):
            at = Micros(NOW + number)
            same = SameKey("task build", f"k{number}", Micros(at + 1))
            run = replace(new_run(f"r{number}", created_at=at), same=same)
            keys.append((await store.create(run)).key)
        assert [await store.same_key(key) is not None for key in keys] == [False] * 5 + [True]
        same = SameKey("task build", "refused", Micros(NOW + 9))
        wrong = [replace(new_run("fine"), same=same), new_run("r0", content="another")]
        with pytest.raises(ConflictError):
            await store.create_all(wrong)
        assert (await store.create(replace(new_run("fine"), same=same))).new

    # what has failed

    @pytest.mark.anyio
    async def test_what_failed_is_found_by_its_error(self, store: Store, other: Store) -> None:
        """By the name of the class, with its module or without, in the run and from its top."""
        top = await made(store, new_run("top", kind=RunKind.PROCESS))
        child = await made(store, new_run("child", parent=(top.key, 0)))
        leaf = replace(new_run("leaf"), failures=((1, Failing("other.Slow", "build", 0, NOW)),))
        born = await made(store, leaf)
        slow = Failing("app.Slow", "build", 1, Micros(NOW + 1))
        late = Failing("DeadlineExceeded", "workflow", 2, Micros(NOW + 2))
        failed = Plan(
            child.key,
            fence(child),
            child.head,
            events=(happened(1, data='{"message":"too slow"}'), happened(2)),
            failures=((0, slow), (WHOLE_RUN, late)),
        )
        version = (await store.commit(failed)).version

        async def ids(error: str) -> str:
            return " ".join(run.id for run in await other.list_runs(RunFilter(NOW, error=error)))

        assert await other.failures(child.key) == {0: slow, WHOLE_RUN: late}
        assert await other.failures(born.key) == dict(leaf.failures)
        assert await ids("Slow") == "leaf child top"
        assert await ids("app.Slow") == "child top"
        assert await ids("DeadlineExceeded") == "child top"
        assert await ids("low") == ""
        again = Plan(child.key, Fence(version, None), child.head, failures=((0, None), (5, None)))
        await store.commit(again)
        assert await other.failures(child.key) == {WHOLE_RUN: late}
        assert await ids("Slow") == "leaf"

    @pytest.mark.anyio
    async def test_what_failed_is_told_in_groups(self, store: Store) -> None:
        """The largest first, of each the newest, within the filter; with its run it is gone."""
        keys = []
        for number in range(4):
            text = JsonText(f'{{"message":"{number}"}}')
            at = Micros(NOW + number)
            event = Event(0, at, EventKind.TASK_FAILED, 0, 1, text)
            failing = Failing("a.Slow" if number else "Bad", "build", 0, at)
            run = new_run(f"r{number}", events=[event])
            keys.append((await made(store, replace(run, failures=((0, failing),)))).key)

        async def told(**wanted: object) -> list[tuple[object, ...]]:
            found = await store.failure_groups(replace(FailureFilter(), **wanted))
            return [(step.error, step.alike, step.root, step.data) for step in found]

        newest = [("a.Slow", 3, "r3", '{"message":"3"}'), ("a.Slow", 3, "r2", '{"message":"2"}')]
        bad = ("Bad", 1, "r0", '{"message":"0"}')
        assert await told(examples=2) == [*newest, bad]
        assert await told(error="Slow", examples=1) == newest[:1]
        assert await told(error="b.Slow") == []
        assert await told(type="deploy") == []
        assert await told(until=Micros(NOW + 1)) == [bad]
        assert await told(since=Micros(NOW + 3), type="build") == [("a.Slow", 1, *newest[0][2:])]
        first = await store.load(keys[0])
        assert first is not None
        await store.commit(finished(first))
        await store.delete_run(first.key, first.version + 1, NOW)
        assert await told(error="Bad") == []

    # signals and questions

    @pytest.mark.anyio
    async def test_signals_are_kept_with_their_event(self, store: Store, other: Store) -> None:
        """What a signal says is there until a step has got it; that it came is known for ever."""
        run = await made(store, new_run())
        assert await store.inbox(run.key) == EMPTY_INBOX
        first, second = signal(1, "a"), signal(2, "b")
        changes = InboxChanges((first, second), ((0, asked(3, signal="go")),))
        await store.commit(outside(run, 1, changes, received(1, "a"), received(2, "b"), asking(3)))
        inbox = await other.inbox(run.key)
        assert inbox.signals == {1: first, 2: second}
        assert inbox.asked == {0: asked(3, signal="go")}
        taken = replace(first, step=0, payload=None)
        run = await found(store, "run")
        await store.commit(outside(run, 4, InboxChanges((taken,), (), (0, 1)), happened(4)))
        inbox = await other.inbox(run.key)
        assert inbox.signals == {1: taken, 2: second}
        assert inbox.asked == {}
        assert (await store.figures()).rows["signals"] == 2
        assert await store.broken_links(10) == []

    @pytest.mark.anyio
    async def test_a_stale_plan_changes_no_inbox(self, store: Store) -> None:
        """Neither signals nor questions are written apart from their plan."""
        run = await made(store, new_run())
        await store.commit(Plan(run.key, fence(run), run.head))
        changes = InboxChanges((signal(1, "a"),), ((0, asked(2)),))
        with pytest.raises(LeaseLost):
            await store.commit(outside(run, 1, changes, received(1, "a"), asking(2)))
        assert await store.inbox(run.key) == EMPTY_INBOX
        assert await store.approvals(ApprovalFilter()) == []

    @pytest.mark.anyio
    async def test_open_approvals_are_listed_by_age(self, store: Store) -> None:
        """Of all runs, or of one and those below it; pages go on where the one before ended."""
        top = await made(store, new_run("top"))
        below = await made(store, new_run("below", parent=(top.key, 0)))
        task = await made(store, new_run("task", kind=RunKind.TASK, steps=[StepState()]))
        for run, step, at in ((below, 1, 30), (top, 0, 10), (task, 0, 20)):
            when = Micros(NOW + at)
            waits = StepState(TaskStatus.WAITING, ready_at=Micros(when + 1))
            plan = outside(run, 1, InboxChanges((), ((step, asked(1, when)),)), asking(1, when))
            await store.commit(replace(plan, steps=((step, waits),)))
        signals = await made(store, new_run("signals"))
        ask = InboxChanges((), ((0, asked(1, signal="go")),))
        await store.commit(outside(signals, 1, ask, asking(1)))
        everything = await store.approvals(ApprovalFilter())
        assert [(each.run_id, each.step, each.until) for each in everything] == [
            ("top", 0, NOW + 11), ("task", 0, NOW + 21), ("below", 1, NOW + 31),
        ]  # fmt: skip
        assert everything[0].asked == asked(1, Micros(NOW + 10))
        assert (everything[1].kind, everything[1].name) == (RunKind.TASK, "a run")
        tree = await store.approvals(ApprovalFilter(top.key))
        assert [each.run_id for each in tree] == ["top", "below"]
        assert [each.run for each in await store.approvals(ApprovalFilter(below.key))] == [
            below.key
        ]
        last = everything[0]
        after = (last.asked.at, last.run, last.step)
        page = await store.approvals(ApprovalFilter(None, after, 1))
        assert [each.run_id for each in page] == ["task"]

    @pytest.mark.anyio
    async def test_an_inbox_goes_with_its_run(self, store: Store) -> None:
        """Deleted or purged, nothing of it stays."""
        before = (await store.figures()).rows
        for id in ("deleted", "purged"):
            run = await made(store, new_run(id))
            changes = InboxChanges((signal(1, "a"),), ((0, asked(2)),))
            await store.commit(outside(run, 1, changes, received(1, "a"), asking(2)))
            await store.commit(finished(await found(store, id)))
        deleted = await found(store, "deleted")
        await store.delete_run(deleted.key, deleted.version, NOW)
        purged = await found(store, "purged")
        assert await store.purge([purged.key], Micros(NOW + 1), NOW) == 1
        after = (await store.figures()).rows
        assert (after["signals"], after["questions"]) == (before["signals"], before["questions"])
        assert await store.approvals(ApprovalFilter()) == []

    # care

    @pytest.mark.anyio
    async def test_everything_is_counted(self, store: Store) -> None:
        """Whoever asks learns how much there is of everything."""
        before = (await store.figures()).rows
        assert tuple(before) == COUNTED
        await store.register_worker("w", {}, NOW)
        run = await made(
            store, new_run(waits_for=["x", "y"], enqueue=[Entry(WAKE, 0, NOW)], tags=("t",))
        )
        await store.commit(
            Plan(
                run.key,
                fence(run),
                run.head,
                events=(happened(1),),
                steps=((1, StepState(attempt=1)),),
                failures=((1, Failing("E", "build", 1, NOW)),),
            )
        )
        gone = await made(store, new_run("gone", definition="d", definition_content="[]"))
        await store.commit(finished(gone))
        await store.delete_run(gone.key, 2, NOW)
        await store.create_schedule(new_schedule())
        after = (await store.figures()).rows
        assert {name: after[name] - before[name] for name in after} == {
            "runs": 1, "steps": 1, "events": 2, "queue": 1, "waits": 2, "loans": 0,
            "definitions": 2, "schedules": 1, "tombstones": 1, "workers": 1, "failures": 1,
            "heartbeats": 0,
            "signals": 0, "questions": 0,
        }  # fmt: skip

    @pytest.mark.anyio
    async def test_the_oldest_come_first(self, store: Store) -> None:
        """Runs of one kind and status, in pages, each with what decides whether it may go."""
        top = await made(store, new_run("top", created_at=Micros(NOW - 5)))
        child = await made(store, new_run("child", parent=(top.key, 0)))
        other = await made(store, new_run("other"))
        await made(store, new_run("process", kind=RunKind.PROCESS))
        for run in (top, child, other):
            await store.commit(finished(run))
        completed = (RunKind.WORKFLOW, "COMPLETED")
        first = await store.oldest_runs(*completed, RunKey(0), 2)
        assert first == [(top.key, NOW - 5, NOW, False), (child.key, NOW, NOW, True)]
        rest = await store.oldest_runs(*completed, first[-1].key, 2)
        assert [run.key for run in rest] == [other.key]
        assert await store.oldest_runs(RunKind.WORKFLOW, "RUNNING", RunKey(0), 9) == []
        await store.delete_run(top.key, 2, NOW)
        assert await store.oldest_runs(RunKind.PROCESS, "RUNNING", RunKey(0), 9) != []

    @pytest.mark.anyio
    async def test_what_will_wake_a_run_is_shown(self, store: Store) -> None:
        """All its lines of the queue, and whose ends it wants to hear of."""
        lines = [Entry(WAKE, 2, Micros(NOW + 1)), Entry(BUILD, -1, NOW, 1)]
        run = await made(store, new_run(waits_for=["b", "a"], enqueue=lines))
        await made(store, new_run("other", waits_for=["c"], enqueue=[WAKE_UP]))
        assert sorted(await store.lines(run.key), key=lambda line: line.step) == lines
        assert await store.awaited(run.key) == ["a", "b"]
        assert await store.lines(RunKey(run.key + 1_000)) == []

    @pytest.mark.anyio
    async def test_who_waits_for_a_run_is_known(self, store: Store, other: Store) -> None:
        """By itself and through others; who has started waits no more, and parents wait."""
        new = RunHead(ProcessStatus.WAITING, 1, 0)
        top = await made(store, new_run("top"))
        await made(store, new_run("a", parent=(top.key, 0), waits_for=["b", "x"], head=new))
        await made(store, new_run("b", waits_for=["c"], head=new))
        await made(store, new_run("started", waits_for=["c"]))
        assert set(await other.waiting_for([RunId("c")])) == {
            ("c", "b"), ("b", "a"), ("a", "top"),
        }  # fmt: skip
        assert set(await other.waiting_for([RunId("a"), RunId("x")])) == {
            ("a", "top"), ("x", "a"),
        }  # fmt: skip
        await store.commit(finished(top))
        assert set(await other.waiting_for([RunId("x")])) == {("x", "a")}
        assert await other.waiting_for([]) == []

    @pytest.mark.anyio
    async def test_a_circle_is_refused(self, store: Store, other: Store) -> None:
        """Whoever closes it is told, alone or in bulk; what is created beside it is not."""
        new = RunHead(ProcessStatus.WAITING, 1, 0)
        await made(store, new_run("a", waits_for=["b"], head=new))
        with pytest.raises(DefinitionError, match="circle: b -> a -> b"):
            await other.create(new_run("b", waits_for=["a"], head=new))
        c, d = (new_run(id, waits_for=[of], head=new) for id, of in (("c", "d"), ("d", "c")))
        neighbour, circle = store.create(new_run("n", waits_for=["d"])), store.create_all([c, d])
        assert (await neighbour).new
        with pytest.raises(DefinitionError, match="circle: c -> d -> c"):
            await circle
        assert [run.id for run in await other.list_runs(RunFilter(now=NOW))] == ["n", "a"]
        assert (await store.create(d)).new, "alone it closes none"

    @pytest.mark.anyio
    async def test_a_sound_store_is_not_complained_of(self, store: Store, other: Store) -> None:
        """Nothing points to nothing, and nothing is damaged, while others write."""
        worker = await other.register_worker("w", {}, NOW)
        await made(store, new_run(owner=worker, tags=("t",), enqueue=[WAKE_UP]))
        await made(store, new_task("task"))
        await store.create_schedule(new_schedule())
        assert await store.broken_links(10) == []
        assert await store.damage(quick=False) == []
        assert await store.damage(quick=True) == []

    # named definitions

    @pytest.mark.anyio
    async def test_a_name_means_the_newest_definition(self, store: Store, other: Store) -> None:
        """A name can be given anew; runs keep what they started with; kinds don't mix."""
        record = await made(store, new_run(definition="h1", definition_content='{"v":1}'))
        await store.define(RunKind.WORKFLOW, "build", "h1", JsonText('{"v":1}'), NOW)
        await store.define(RunKind.WORKFLOW, "build", "h2", JsonText('{"v":2}'), NOW)
        await store.define(RunKind.WORKFLOW, "a", "h2", JsonText('{"v":2}'), NOW)
        await store.define(RunKind.PROCESS, "build", "h3", JsonText('{"v":3}'), NOW)
        assert await other.definition(RunKind.WORKFLOW, "build") == '{"v":2}'
        assert await other.definition(RunKind.PROCESS, "build") == '{"v":3}'
        assert await other.definition_names(RunKind.WORKFLOW) == ["a", "build"]
        assert await found(store, "run") == record

    # schedules

    @pytest.mark.anyio
    async def test_a_schedule_is_created_once(self, store: Store) -> None:
        """The same schedule twice is one; another one under its id is a conflict."""
        assert await store.create_schedule(new_schedule()) is True
        assert await store.create_schedule(new_schedule()) is False
        with pytest.raises(ConflictError, match="nightly"):
            await store.create_schedule(new_schedule(content="other"))
        assert await store.schedule(ScheduleId("nightly")) == new_schedule()

    @pytest.mark.anyio
    async def test_a_moment_fires_once(self, store: Store, other: Store) -> None:
        """Two schedulers that see the same moment due start one run between them."""
        await store.create_schedule(new_schedule())
        looks = [await handle.due_schedules(NOW, 10) for handle in (store, other)]
        firings = [
            Firing(
                replace(
                    schedule,
                    fired=1,
                    last_run=RunId("nightly@1"),
                    next_at=Micros(NOW + 60),
                    look_at=Micros(NOW + 61),
                    note="fired",
                    since=Micros(NOW + 1),
                    backfill=Backfill(Micros(1), Micros(9), -1, Micros(5), RunId("nightly@4")),
                    backfilled=2,
                ),
                new_task("nightly@1", schedule="nightly"),
            )
            for ((schedule, _),) in looks
        ]
        answers = await asyncio.gather(store.fire(firings[:1]), other.fire(firings[1:]))
        assert sorted(answer for (answer,) in answers) == [False, True]
        after = await store.schedule(ScheduleId("nightly"))
        assert after == replace(firings[0].schedule, version=1)
        assert [run.id for run in await store.list_runs(RunFilter(now=NOW))] == ["nightly@1"]

    @pytest.mark.anyio
    async def test_a_stale_firing_drops_out_alone(self, store: Store) -> None:
        """Of several firings those on a newer version are refused, the others written."""
        schedules = [new_schedule(name) for name in "abc"]
        for schedule in schedules:
            await store.create_schedule(schedule)
        firings = [Firing(replace(schedule, fired=1), None) for schedule in schedules]
        firings[1] = Firing(replace(schedules[1], version=5), new_task("b@1"))
        gone = Firing(new_schedule("gone"), new_task("gone@1"))
        assert await store.fire([*firings, gone]) == [True, False, True, False]
        assert await store.list_runs(RunFilter(now=NOW)) == []

    @pytest.mark.anyio
    async def test_a_firing_that_exists_is_left_alone(self, store: Store) -> None:
        """A run that stands under the firing's id already is not touched; the schedule goes on."""
        record = await made(store, new_task("nightly@1"))
        await store.create_schedule(new_schedule())
        firing = Firing(replace(new_schedule(), fired=1), new_run("nightly@1", content="other"))
        assert await store.fire([firing]) == [True]
        assert await found(store, "nightly@1") == record

    @pytest.mark.anyio
    async def test_due_schedules_come_the_longest_due_first(self, store: Store) -> None:
        """Only active schedules whose moment has come, with whether the last firing still runs."""
        record = await made(store, new_run("b@1"))
        over = await made(store, new_run("a@1"))
        await store.commit(finished(over))
        await store.create_schedule(replace(new_schedule("a"), last_run=RunId("a@1")))
        early = new_schedule("b", next_at=Micros(NOW - 1))
        await store.create_schedule(replace(early, last_run=RunId("b@1")))
        await store.create_schedule(new_schedule("later", next_at=Micros(NOW + 1)))
        await store.create_schedule(new_schedule("never", next_at=None))
        paused = new_schedule("paused", status=ScheduleStatus.PAUSED, next_at=Micros(1))
        await store.create_schedule(paused)

        async def due(now: Micros, limit: int = 9) -> list[tuple[str, bool]]:
            return [(one.id, open) for one, open in await store.due_schedules(now, limit)]

        assert await due(NOW) == [("b", True), ("a", False)]
        assert await due(NOW, 1) == [("b", True)]
        assert await due(Micros(NOW - 2)) == []
        assert await store.next_schedule_at(Micros(0)) == NOW - 1
        assert await store.next_schedule_at(Micros(NOW - 1)) == NOW
        assert await store.next_schedule_at(NOW) == NOW + 1
        assert await store.next_schedule_at(Micros(NOW + 1)) is None
        ended = finished(record)
        busy = replace(ended, head=replace(ended.head, in_flight=1))
        await store.commit(busy)
        assert await due(NOW) == [("b", True), ("a", False)], "what it began has not ended"
        await store.commit(replace(ended, fence=fence(await found(store, "b@1"))))
        assert await due(NOW) == [("b", False), ("a", False)]

    @pytest.mark.anyio
    async def test_a_schedule_is_looked_at_when_it_says(self, store: Store) -> None:
        """A moment alone makes nothing due: what counts is when its firing starts."""
        late, later = Micros(NOW + 5), Micros(NOW + 9)
        await store.create_schedule(replace(new_schedule("a"), look_at=later))
        await store.create_schedule(replace(new_schedule("b", next_at=Micros(1)), look_at=late))
        assert await store.due_schedules(NOW, 9) == []
        assert await store.next_schedule_at(NOW) == late
        [(first, _), (second, _)] = await store.due_schedules(later, 9)
        assert (first.id, second.id) == ("b", "a")
        assert await store.fire([Firing(replace(first, look_at=None, next_at=None), None)]) == [
            True
        ]
        assert await store.next_schedule_at(NOW) == later

    @pytest.mark.anyio
    async def test_schedules_are_listed_by_id(self, store: Store) -> None:
        """By status, page by page, until they are deleted."""
        for name in "dbac":
            status = ScheduleStatus.PAUSED if name == "b" else ScheduleStatus.ACTIVE
            await store.create_schedule(new_schedule(name, status=status))

        async def ids(
            status: ScheduleStatus | None = None, after: str | None = None, limit: int = 9
        ) -> str:
            cursor = None if after is None else ScheduleId(after)
            return "".join(one.id for one in await store.list_schedules(status, cursor, limit))

        assert await ids() == "abcd"
        assert await ids(ScheduleStatus.ACTIVE) == "acd"
        assert await ids(after="b") == "cd"
        assert await ids(limit=2) == "ab"
        assert await store.delete_schedule(ScheduleId("c")) is True
        assert await store.delete_schedule(ScheduleId("c")) is False
        assert await ids() == "abd"

    # workers

    @pytest.mark.anyio
    async def test_a_worker_is_known_while_it_is_there(self, store: Store, other: Store) -> None:
        """Others see a worker, its types and that it lives; its schemas outlast it."""
        key = await store.register_worker("host-1", {BUILD: JsonText('{"a":1}')}, NOW)
        types = {BUILD: JsonText('{"a":2}'), DEPLOY: JsonText("{}")}
        assert await store.register_worker("host-1", types, Micros(NOW + 1)) == key
        (worker,) = await other.workers()
        assert (worker.key, worker.name, worker.types) == (key, "host-1", types)
        assert (worker.started_at, worker.alive) == (NOW, True)
        assert await other.type_schemas() == types
        await store.retire_worker(NOW)
        assert await other.workers() == []
        assert await other.type_schemas() == types
        assert await store.register_worker("host-1", {}, NOW) != key

    @pytest.mark.anyio
    async def test_the_dead_are_seen_and_their_runs_freed(self, handle: OpenStore) -> None:
        """What a dead worker drove is free at once, woken, and stale for whoever was it."""
        async with opened(handle) as store:
            me = await store.register_worker("me", {}, NOW)
            async with opened(handle) as dying:
                dead = await dying.register_worker("dying", {}, NOW)
                held = Entry(BUILD, 3, NOW, 1)
                driven = await made(
                    store, new_run("driven", owner=dead, priority=3, enqueue=[held])
                )
                mine = await made(store, new_run("mine", owner=me))
                assert await store.release_dead(NOW) == 0, "it still lives"
            assert [worker.alive for worker in await store.workers()] == [True, False]
            assert await store.release_dead(NOW, spared=[dead]) == 0
            assert (await found(store, "driven")).owner == dead
            assert await store.release_dead(NOW) == 1
            freed = await found(store, "driven")
            assert (freed.owner, freed.epoch, freed.version) == (None, 2, 2)
            assert await found(store, "mine") == mine
            assert [worker.key for worker in await store.workers()] == [me]
            with pytest.raises(LeaseLost):
                await store.commit(finished(driven))
            wake = Entry(WAKE, 3, Micros(0))
            assert await taken(store, me) == [(driven.key, wake), (driven.key, held)]
            assert await store.release_dead(NOW) == 0

    @pytest.mark.anyio
    async def test_who_is_silent_counts_as_dead_unless_it_has_renewed(
        self, store: Store, other: Store
    ) -> None:
        """A lease is judged by its counter: one beat since the last look, and it lives."""
        frozen = await other.register_worker("frozen", {}, NOW)
        await store.register_worker("me", {}, NOW)
        record = await made(other, new_run(owner=frozen))
        seen = {worker.key: worker.beat for worker in await store.workers()}
        assert await other.beat() is True
        assert await store.release_dead(NOW, [(frozen, seen[frozen])]) == 0
        assert await found(store, "run") == record
        seen = {worker.key: worker.beat for worker in await store.workers()}
        assert await store.release_dead(NOW, [(frozen, seen[frozen])]) == 1
        assert (await found(store, "run")).owner is None
        assert frozen not in [worker.key for worker in await store.workers()]

    @pytest.mark.anyio
    async def test_who_was_taken_for_dead_is_given_nothing(
        self, store: Store, other: Store
    ) -> None:
        """A worker that wakes after its lease can take, drive and write nothing under its key."""
        frozen = await other.register_worker("frozen", {BUILD: JsonText("{}")}, NOW)
        await store.register_worker("me", {}, NOW)
        driven = await made(other, new_run("driven", owner=frozen))
        await store.create(new_task("waiting"))
        assert await store.release_dead(NOW, [(frozen, 0)]) == 1
        assert await other.beat() is False
        with pytest.raises(LeaseLost):
            await other.claim(request(frozen))
        with pytest.raises(LeaseLost):
            await other.create(new_run("late", owner=frozen))
        with pytest.raises(LeaseLost):
            await other.commit(finished(driven))
        free = await found(other, "driven")
        proof = Fence(free.version, None)
        with pytest.raises(LeaseLost):
            await other.commit(Plan(free.key, proof, free.head, Ownership(frozen, free.epoch + 1)))
        assert await found(store, "driven") == free
        assert await store.load(RunId("late")) is None
        again = await other.register_worker("frozen", {BUILD: JsonText("{}")}, NOW)
        assert again != frozen
        assert await other.beat() is True
        assert len(await taken(other, again)) == 2

    @pytest.mark.anyio
    async def test_who_retires_hands_everything_back(self, store: Store, other: Store) -> None:
        """A worker that leaves in peace frees what it drives, so that others go on."""
        me = await store.register_worker("me", {}, NOW)
        you = await other.register_worker("you", {}, NOW)
        record = await made(store, new_run(owner=me))
        assert await other.driven(me) == [record.key]
        await store.retire_worker(NOW)
        assert await other.driven(me) == []
        assert await taken(other, you) == [(record.key, WAKE_UP)]
        assert await other.driven(you) == [record.key]
        assert [worker.key for worker in await other.workers()] == [you]

    # heartbeats

    @pytest.mark.anyio
    async def test_only_running_attempts_are_heard(self, store: Store) -> None:
        """Of a step that runs the attempt that runs, in every kind of run."""
        runs = StepState(TaskStatus.RUNNING, attempt=2)
        workflow = await made(store, new_run("workflow", steps=(runs, StepState(attempt=2))))
        task = await made(store, replace(new_task("task"), steps=(runs,)))
        said = Heartbeat(2, NOW, 0.5, "half", JsonText('{"page":7}'))
        await store.hear(
            [
                Heard(workflow.key, 0, said),
                Heard(workflow.key, 1, said),
                Heard(task.key, 0, said),
                Heard(RunKey(task.key + 1_000), 0, said),
            ]
        )
        both = [Heard(workflow.key, 0, said), Heard(task.key, 0, said)]
        assert await store.heartbeats([workflow.key, task.key]) == both
        late = replace(said, attempt=1, fraction=0.9)
        await store.hear([Heard(workflow.key, 0, late), Heard(task.key, 0, late)])
        assert await store.heartbeats([task.key, workflow.key]) == both
        assert await store.heartbeats([task.key]) == both[1:]
        assert (await store.figures()).rows["heartbeats"] >= 2

    @pytest.mark.anyio
    async def test_details_stay_until_there_are_others(self, store: Store, other: Store) -> None:
        """What is said replaces what was said before, also by the attempt before, but for those."""
        run = await made(store, new_run(steps=(StepState(TaskStatus.RUNNING, attempt=1),) * 2))
        first = Heartbeat(1, NOW, 0.5, "half", JsonText("[1]"))
        await store.hear([Heard(run.key, 0, first)])
        again = Heartbeat(2, Micros(NOW + 1))
        steps = ((0, StepState(TaskStatus.RUNNING, attempt=2)),)
        await store.commit(Plan(run.key, fence(run), run.head, steps=steps))
        await store.hear([Heard(run.key, 0, again)])
        told = replace(again, details=JsonText("[1]"))
        assert await other.heartbeats([run.key]) == [Heard(run.key, 0, told)]
        newest = replace(again, details=JsonText("[2]"))
        await store.hear([Heard(run.key, 0, newest), Heard(run.key, 1, first)])
        assert await other.heartbeats([run.key]) == [
            Heard(run.key, 0, newest),
            Heard(run.key, 1, first),
        ]

    @pytest.mark.anyio
    async def test_heartbeats_go_with_a_plan_or_with_their_run(self, store: Store) -> None:
        """A stale plan forgets nothing, a good one what it names, deletion all of a run's."""
        runs = StepState(TaskStatus.RUNNING, attempt=1)
        run = await made(store, new_run(steps=(runs,) * 3))
        task = await made(store, replace(new_task("task"), steps=(runs,)))
        said = Heartbeat(1, NOW, details=JsonText("1"))
        await store.hear([Heard(run.key, step, said) for step in range(3)])
        await store.hear([Heard(task.key, 0, said)])
        stale = Plan(run.key, Fence(run.version + 1, None), run.head, forget=(0,))
        with pytest.raises(LeaseLost):
            await store.commit(stale)
        assert len(await store.heartbeats([run.key])) == 3
        ended = ((0, StepState(TaskStatus.FAILED, attempt=1)),)
        await store.commit(Plan(run.key, fence(run), run.head, steps=ended, forget=(0, 1)))
        await store.commit(Plan(task.key, fence(task), task.head, steps=ended, forget=(0,)))
        left = await store.heartbeats([run.key, task.key])
        assert [(heard.run, heard.step) for heard in left] == [(run.key, 2)]
        await store.commit(finished(await found(store, "run")))
        await store.delete_run(run.key, 3, NOW)
        assert await store.heartbeats([run.key]) == []

    # loans

    @pytest.mark.anyio
    async def test_tasks_of_a_process_can_be_borrowed(self, store: Store, other: Store) -> None:
        """Whoever has room takes a process's task, though another worker drives the process."""
        driver, guest, record = await process_driven(store, other, Entry(BUILD, 2, NOW, 1))
        claim = await other.claim(request(guest))
        (taken_entry,) = claim.entries
        assert taken_entry == ClaimedEntry(record.key, Entry(BUILD, 2, NOW, 1), None, True)
        assert await found(store, "process") == record, "the run is its driver's as before"
        wish = Loan(record.key, 1, guest, None, False, False, None, NOW)
        assert await store.loans(record.key) == await other.borrowed(guest) == [wish]
        assert await store.borrowed(driver) == []
        assert await taken(other, guest) == []
        assert await taken(store, driver) == [(record.key, Entry(WAKE, 0, Micros(0), 1))]

    @pytest.mark.anyio
    async def test_only_tasks_of_processes_are_borrowed(self, store: Store, other: Store) -> None:
        """A workflow stays with its driver; so do a process's wakes and what is to be alone."""
        driver = await store.register_worker("driver", {}, NOW)
        guest = await other.register_worker("guest", {}, NOW)
        task, wake = Entry(BUILD, 0, NOW, 0), Entry(WAKE, 0, NOW, 0)
        suspect = Entry(alone(BUILD), 0, NOW, 0)
        await store.create(new_run("workflow", owner=driver, enqueue=[task]))
        run = new_run("process", kind=RunKind.PROCESS, owner=driver, enqueue=[wake, suspect])
        record = await made(store, run)
        proof = fence(record)
        plan = Plan(record.key, proof, record.head, enqueue=(replace(suspect, step=1),))
        await store.commit(plan)
        limits = {BUILD: 9, alone(BUILD): 9}
        assert await other.claim(ClaimRequest(guest, NOW, 9, limits)) == ([], None, None)
        claim = await store.claim(ClaimRequest(driver, NOW, 9, limits))
        assert [entry.entry.step for entry in claim.entries if entry.run == record.key] == [0, 0, 1]

    @pytest.mark.anyio
    async def test_its_driver_and_the_free_claim_tasks_of_a_process_as_any_other(
        self, store: Store, other: Store
    ) -> None:
        """A driver's own task is no loan, and a process that nobody drives is taken over."""
        driver, guest, record = await process_driven(store, other, Entry(BUILD, 0, NOW, 1))
        (own,) = (await store.claim(request(driver))).entries
        assert own == ClaimedEntry(record.key, Entry(BUILD, 0, NOW, 1), None, False)
        await store.create(new_run("free", kind=RunKind.PROCESS, enqueue=[Entry(BUILD, 0, NOW, 0)]))
        (free,) = (await other.claim(request(guest))).entries
        assert free.record == await found(store, "free")
        assert (await found(store, "free")).owner == guest
        assert await store.loans(free.run) == []

    @pytest.mark.anyio
    async def test_the_queue_is_one_over_all_workers(self, store: Store, other: Store) -> None:
        """What is borrowed and what is free come in one order, by priority, for the same slots."""
        _, guest, record = await process_driven(
            store, other, Entry(BUILD, 1, NOW, 0), Entry(BUILD, 3, NOW, 1)
        )
        free = [(await store.create(new_task(f"t{p}", priority=p))).key for p in (0, 2, 4)]
        claim = await other.claim(request(guest)._replace(slots=3))
        assert [entry.run for entry in claim.entries] == [free[2], record.key, free[1]]
        assert claim.waiting == 1
        claim = await other.claim(request(guest))
        assert [entry.run for entry in claim.entries] == [record.key, free[0]]

    @pytest.mark.anyio
    async def test_claimers_at_once_borrow_everything_once(self, handle: OpenStore) -> None:
        """Eight guests share the tasks of one process without a gap or a double."""
        async with opened(handle) as store:
            driver = await store.register_worker("driver", {}, NOW)
            entries = [Entry(BUILD, 0, NOW, step) for step in range(200)]
            run = new_run(
                "process",
                kind=RunKind.PROCESS,
                owner=driver,
                steps=[StepState()] * 200,
                enqueue=entries,
            )
            record = await made(store, run)

            async def work(number: int) -> list[int]:
                got: list[int] = []
                async with opened(handle) as mine:
                    worker = await mine.register_worker(f"w-{number}", {}, NOW)
                    while borrowed := await taken(mine, worker, slots=7):
                        got += [entry.step for _, entry in borrowed]
                    return got

            shares = await asyncio.gather(*(work(number) for number in range(8)))
            assert sorted(step for share in shares for step in share) == list(range(200))
            assert len(await store.loans(record.key)) == 200

    @pytest.mark.anyio
    async def test_a_loan_is_granted_reported_and_settled(self, store: Store, other: Store) -> None:
        """The driver's plan starts the attempt; the borrower's report waits until it is folded."""
        driver, guest, record = await process_driven(store, other, Entry(BUILD, 0, NOW, 1))
        await taken(other, guest)
        await taken(store, driver)
        with pytest.raises(LeaseLost):
            await other.report(record.key, 1, guest, 1, JsonText('"too early"'))
        await store.commit(Plan(record.key, fence(record), record.head, lend=(Grant(1, guest, 1),)))
        granted = Loan(record.key, 1, guest, 1, False, False, None, NOW)
        assert await other.borrowed(guest) == [granted]
        with pytest.raises(LeaseLost):
            await other.report(record.key, 1, guest, 2, JsonText('"another attempt"'))
        with pytest.raises(LeaseLost):
            await other.report(record.key, 1, driver, 1, JsonText('"another worker"'))
        assert await taken(store, driver) == []
        await other.report(record.key, 1, guest, 1, JsonText('"done"'))
        await other.report(record.key, 1, guest, 1, JsonText('"done again"'))
        assert await store.loans(record.key) == [granted._replace(report=JsonText('"done"'))]
        assert await taken(store, driver) == [(record.key, Entry(WAKE, 0, Micros(0), 1))]
        after = await found(store, "process")
        await store.commit(Plan(record.key, fence(after), after.head, settle=(1, 0)))
        assert await store.loans(record.key) == []
        with pytest.raises(LeaseLost):
            await other.report(record.key, 1, guest, 1, JsonText('"late"'))

    @pytest.mark.anyio
    async def test_a_grant_without_its_wish_fails_the_plan(
        self, store: Store, other: Store
    ) -> None:
        """Who asked may have died, or have been given it before; then the driver looks again."""
        _, guest, record = await process_driven(store, other, Entry(BUILD, 0, NOW, 1))
        grant = Grant(1, guest, 1)
        plan = Plan(record.key, fence(record), record.head, events=(happened(1),), lend=(grant,))
        with pytest.raises(LeaseLost):
            await store.commit(plan)
        await taken(other, guest)
        with pytest.raises(LeaseLost):
            await store.commit(replace(plan, lend=(replace(grant, worker=WorkerKey(guest + 70)),)))
        assert await found(store, "process") == record
        assert len(await store.history(record.key)) == 1
        await store.commit(plan)
        after = await found(store, "process")
        with pytest.raises(LeaseLost):
            await store.commit(Plan(record.key, fence(after), after.head, lend=(grant,)))

    @pytest.mark.anyio
    async def test_a_borrower_is_told_to_stop(self, store: Store, other: Store) -> None:
        """Recalling marks the loan, and leaves it until the borrower has reported."""
        _, guest, record = await process_driven(store, other, Entry(BUILD, 0, NOW, 1))
        await taken(other, guest)
        plan = Plan(record.key, fence(record), record.head, lend=(Grant(1, guest, 1),))
        await store.commit(plan)
        after = await found(store, "process")
        await store.commit(Plan(record.key, fence(after), after.head, recall=(0, 1)))
        (loan,) = await other.borrowed(guest)
        assert (loan.stop, loan.attempt, loan.lost) == (True, 1, False)
        await other.report(record.key, 1, guest, 1, JsonText('"stopped"'))

    @pytest.mark.anyio
    async def test_what_a_dead_borrower_had_is_queued_again_or_lost(
        self, handle: OpenStore
    ) -> None:
        """A wish goes back into the queue, a granted attempt is lost, a report stays."""
        async with opened(handle) as store:
            driver = await store.register_worker("driver", {}, NOW)
            entries = [Entry(BUILD, 5, NOW, step) for step in (0, 1, 2)]
            run = new_run(
                "process",
                kind=RunKind.PROCESS,
                owner=driver,
                steps=[StepState()] * 3,
                enqueue=entries,
            )
            record = await made(store, run)
            async with opened(handle) as dying:
                guest = await dying.register_worker("dying", {}, NOW)
                await taken(dying, guest)
                assert len(await taken(store, driver)) == 3
                grants = (Grant(1, guest, 1), Grant(2, guest, 4))
                await store.commit(Plan(record.key, fence(record), record.head, lend=grants))
                await dying.report(record.key, 2, guest, 4, JsonText('"done"'))
                await taken(store, driver)
            assert await store.release_dead(NOW) == 2
            assert await store.loans(record.key) == [
                Loan(record.key, 1, guest, 1, False, True, None, NOW),
                Loan(record.key, 2, guest, 4, False, False, JsonText('"done"'), NOW),
            ]
            assert await taken(store, driver) == [
                (record.key, Entry(WAKE, 0, Micros(0), 1)),
                (record.key, entries[0]),
            ]
            with pytest.raises(LeaseLost):
                await store.report(record.key, 1, guest, 1, JsonText('"late"'))
            assert (await found(store, "process")).owner == driver

    @pytest.mark.anyio
    async def test_loans_outlive_the_driver(self, handle: OpenStore) -> None:
        """When the driver dies, what others execute goes on, and its report finds the next one."""
        async with opened(handle) as other:
            guest = await other.register_worker("guest", {}, NOW)
            async with opened(handle) as dying:
                driver = await dying.register_worker("driver", {}, NOW)
                record = await made(
                    dying,
                    new_run(
                        "process",
                        kind=RunKind.PROCESS,
                        owner=driver,
                        enqueue=[Entry(BUILD, 0, NOW, 0)],
                    ),
                )
                await taken(other, guest)
                plan = Plan(record.key, fence(record), record.head, lend=(Grant(0, guest, 1),))
                await dying.commit(plan)
            assert await other.release_dead(NOW) == 1
            await other.report(record.key, 0, guest, 1, JsonText('"done"'))
            claim = await other.claim(request(guest))
            assert [entry.entry.step for entry in claim.entries] == [WHOLE_RUN, 0]
            assert [loan.report for loan in await other.loans(record.key)] == ['"done"']

    @pytest.mark.anyio
    async def test_loans_go_with_their_run(self, store: Store, other: Store) -> None:
        """A deleted run leaves no loan behind."""
        _, guest, record = await process_driven(store, other, Entry(BUILD, 0, NOW, 1))
        await taken(other, guest)
        await store.commit(finished(record))
        over = await found(store, "process")
        await store.delete_run(record.key, over.version, NOW)
        assert await other.borrowed(guest) == []

    # creation in bulk

    @pytest.mark.anyio
    async def test_runs_are_created_together(self, store: Store, other: Store) -> None:
        """All are there once it is done, each as if created alone; the same twice is one."""
        await store.create(new_run("there"))
        runs = [
            new_task("a", tags=("x",)),
            new_run("there"),
            new_run("b", waits_for=["x"]),
            new_task("a", tags=("x",)),
        ]
        answers = await store.create_all(runs)
        assert [new for _, new, _ in answers] == [True, False, True, False]
        assert answers[0].key == answers[3].key
        worker = await other.register_worker("w", {}, NOW)
        assert [key for key, _ in await taken(other, worker)] == [answers[0].key]
        assert (await found(other, "b")).key == answers[2].key
        assert len(await other.list_runs(RunFilter(NOW, tag="x"))) == 1

    @pytest.mark.anyio
    async def test_runs_are_created_together_or_not_at_all(self, store: Store) -> None:
        """One that cannot be created leaves none of the others, and the neighbours alone."""
        await store.create(new_run("there"))
        good = store.create(new_run("alone"))
        wrong = [
            store.create_all([new_run("new-1"), new_run("there", content="other")]),
            store.create_all([new_run("new-2"), new_run("new-2", content="other")]),
            store.create_all([new_run("new-3", parent=(RunKey(4711), 0)), new_run("new-4")]),
        ]
        fine = store.create_all([new_run("fine")])
        for answer, error in zip(wrong, (ConflictError, ConflictError, NotFoundError), strict=True):
            with pytest.raises(error):
                await answer
        assert (await good).new
        assert [new for _, new, _ in await fine] == [True]
        there = {run.id for run in await store.list_runs(RunFilter(NOW))}
        assert there == {"there", "alone", "fine"}

    @pytest.mark.anyio
    async def test_ten_thousand_runs_are_created_together(self, store: Store) -> None:
        """Bulk has no limit that a user would meet."""
        answers = await store.create_all([new_task(f"t-{number}") for number in range(10_000)])
        assert len({answer.key for answer in answers}) == 10_000
        worker = await store.register_worker("w", {}, NOW)
        claim = await store.claim(request(worker, slots=20_000))
        assert [entry.run for entry in claim.entries] == [answer.key for answer in answers]

    # several handles

    @pytest.mark.anyio
    async def test_a_handle_is_rung_when_others_write(self, store: Store, other: Store) -> None:
        """Who listens is called, on its event loop, soon after another handle has committed."""
        rung = asyncio.Event()
        store.listen(rung.set)
        await other.create(new_run("theirs"))
        await asyncio.wait_for(rung.wait(), 30)

    @pytest.mark.anyio
    async def test_a_handle_notices_what_others_write(self, store: Store, other: Store) -> None:
        """Others' commits are changes, each told once, soon after; a handle's own are not."""
        rung = asyncio.Event()
        store.listen(rung.set)
        store.changed()
        assert not store.changed()
        record = await made(store, new_run("mine"))
        await store.commit(finished(record))
        await store.load(RunId("mine"))
        assert not store.changed()
        await other.create(new_run("theirs"))
        await asyncio.wait_for(rung.wait(), 30)
        assert store.changed()
        assert not store.changed()

    @pytest.mark.anyio
    async def test_what_is_acknowledged_is_seen_by_all(self, store: Store, other: Store) -> None:
        """Once a future is done, every handle reads what was written."""
        for number in range(20):
            writer, reader = (store, other) if number % 2 else (other, store)
            key, *_ = await writer.create(new_run(f"run-{number}"))
            assert await reader.load(key) is not None
            assert await writer.load(key) is not None

    @pytest.mark.anyio
    async def test_handles_race_for_one_run_and_one_wins(self, handle: OpenStore) -> None:
        """Of several plans decided on one version exactly one is written."""
        async with opened(handle) as store:
            record = await made(store, new_run())

        async def try_it() -> bool:
            async with opened(handle) as mine:
                try:
                    await mine.commit(Plan(record.key, fence(record), record.head))
                except LeaseLost:
                    return False
                return True

        assert sum(await asyncio.gather(*(try_it() for _ in range(6)))) == 1

    @pytest.mark.anyio
    async def test_everything_outlives_the_handle(self, handle: OpenStore) -> None:
        """What was written before closing is there for the next one to open."""
        async with opened(handle) as store:
            record = await made(store, new_run(enqueue=[WAKE_UP]))
            await store.create_schedule(new_schedule())
        async with opened(handle) as store:
            assert await found(store, "run") == record
            assert await store.schedule(ScheduleId("nightly")) == new_schedule()

    @pytest.mark.anyio
    async def test_closing_writes_what_was_asked_for(self, handle: OpenStore) -> None:
        """Writes under way when the store is closed are finished; later ones fail."""
        store = handle()
        await store.open()
        asked = [store.create(new_run(f"run-{number}")) for number in range(50)]
        await store.close()
        answers = await asyncio.gather(*asked)
        assert all(answer.new for answer in answers)
        with pytest.raises(StoreError, match="open"):
            await store.create(new_run("late"))
        with pytest.raises(StoreError, match="open"):
            await store.load(RunId("run-1"))
        await store.close()
        async with opened(handle) as again:
            assert len(await again.list_runs(RunFilter(now=NOW))) == 50


@asynccontextmanager
async def opened(handle: OpenStore) -> AsyncIterator[Store]:
    """A handle, open for as long as it is needed."""
    store = handle()
    await store.open()
    try:
        yield store
    finally:
        await store.close()


def request(worker: WorkerKey, *, slots: int = 100, now: Micros = NOW) -> ClaimRequest:
    """A worker that has both types and room for many."""
    return ClaimRequest(worker, now, slots, {BUILD: slots, DEPLOY: slots})


async def taken(store: Store, worker: WorkerKey, *, slots: int = 100) -> list[tuple[RunKey, Entry]]:
    """What a claim gets, in order."""
    claim = await store.claim(request(worker, slots=slots))
    return [(entry.run, entry.entry) for entry in claim.entries]


async def ids_taken(store: Store, worker: WorkerKey, *, now: Micros = NOW) -> list[str]:
    """The runs that a claim takes on, in order."""
    claim = await store.claim(request(worker, now=now))
    return [str(entry.record.id) for entry in claim.entries if entry.record is not None]


async def process_driven(
    store: Store, other: Store, *entries: Entry
) -> tuple[WorkerKey, WorkerKey, RunRecord]:
    """A process that the first handle's worker drives, and a worker on the other handle."""
    driver = await store.register_worker("driver", {}, NOW)
    guest = await other.register_worker("guest", {}, NOW)
    run = new_run("process", kind=RunKind.PROCESS, owner=driver, enqueue=entries)
    return driver, guest, await made(store, run)


async def found_or_none(store: Store, id: str) -> RunRecord | None:
    """The run of an id, if there is one."""
    return await store.load(RunId(id))


async def found(store: Store, id: str) -> RunRecord:
    """The run, which must exist."""
    record = await store.load(RunId(id))
    assert record is not None, f"there is no run {id!r}"
    return record


async def made(store: Store, run: NewRun) -> RunRecord:
    """Create a run and look at it."""
    await store.create(run)
    return await found(store, run.id)
