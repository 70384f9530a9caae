"""The three objects answer alike on every store: random operations on all stores at once.

After each operation everything is let come to rest, so each story is one order of events, and every
answer, snapshot, list, history and error must be the same on all stores, the one that is plain
dictionaries included. The replayed history of every run equals what is stored of it.

``KALLISTA_STATEFUL`` sets how many stories there are, for a longer search.
"""

from __future__ import annotations

import asyncio
import json
import os
import tempfile
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from servers import new_database
from world import NEVER, MemoryWorld, PostgresWorld, SqliteWorld, World, places_taken

from kallista import Kallista, TaskContext
from kallista.core.durations import to_datetime
from kallista.core.encoding import definition_from_data
from kallista.core.redefining import followed
from kallista.core.snapshots import Page, Snapshot
from kallista.core.states import FINISHED_RUN, ProcessStatus, RunKind, TaskStatus, WorkflowStatus
from kallista.core.types import Micros, RunId
from kallista.engine.embedded import Options
from kallista.errors import KallistaError
from kallista.testing.running import InlineThreads

STORIES = int(os.environ.get("KALLISTA_STATEFUL", "8"))

Question = Callable[[Kallista], Awaitable[object]]
Data = dict[str, Any]

IDS = st.sampled_from(["a", "b", "c", "d"])
SCHEDULES = st.sampled_from(["s", "t"])
DOORS: Mapping[RunKind, tuple[str, str, str]] = {
    RunKind.WORKFLOW: ("workflow_manager", "workflow", "workflows"),
    RunKind.PROCESS: ("orchestrator", "process", "processes"),
    RunKind.TASK: ("scheduler", "task", "tasks"),
}
STATUSES: Mapping[RunKind, frozenset[str]] = {
    RunKind.WORKFLOW: frozenset(WorkflowStatus),
    RunKind.PROCESS: frozenset(ProcessStatus),
    RunKind.TASK: frozenset(TaskStatus),
}


@st.composite
def tasks(draw: st.DrawFn) -> Data:
    """A task of any kind: it takes time, fails, waits for the gate, or sleeps.

    Nothing ends at the moment at which a schedule fires: which of two things that are due at the
    same moment comes first is nobody's promise.
    """
    task: Data = draw(
        st.sampled_from(
            [
                {"type": "work"},
                {"type": "work", "length": 2.01},
                {"type": "work", "fails": 1},
                {"type": "work", "fails": 1, "retry": {"max_attempts": 2, "delay": 1.03}},
                {"type": "work", "length": 5, "timeout": 0.71},
                {"type": "gated"},
                {"type": "sleep", "seconds": 2.07},
                {"type": "plain", "text": "ä\U0001f600"},
            ]
        )
    )
    if draw(st.integers(0, 4)) == 0:
        return {**task, "continue_on_error": True}
    return task


@st.composite
def lines(draw: st.DrawFn) -> list[Data]:
    """The tasks of a workflow; some read what came before."""
    found = [{**draw(tasks()), "id": f"t{number}"} for number in range(draw(st.integers(1, 3)))]
    if len(found) > 1 and draw(st.booleans()):
        found[-1]["when"] = 'tasks.t0.status == "COMPLETED"'
    return found


@st.composite
def graphs(draw: st.DrawFn, depth: int = 1) -> Data:
    """A process: tasks, workflows and processes that depend on one another."""
    steps: list[Data] = []
    for number in range(draw(st.integers(1, 3))):
        step: Data
        match draw(st.integers(0, 3)) if depth else 0:
            case 1:
                step = {"type": "workflow", "tasks": draw(lines())}
            case 2:
                step = {"type": "process", **draw(graphs(depth - 1))}
            case _:
                step = {"type": "task", "task_data": draw(tasks())}
                if step["task_data"].pop("continue_on_error", False):
                    step["continue_on_error"] = True
        before = [f"s{earlier}" for earlier in range(number) if draw(st.booleans())]
        steps.append({**step, "id": f"s{number}", "depends_on": before})
    return {"name": "graph", "steps": steps}


class Side:
    """One store, with an app on it and a clock of its own.

    Args:
        world: Where it lives.
    """

    def __init__(self, world: World) -> None:
        self.world = world
        self.gate = asyncio.Event()
        self.app: Kallista

    async def open(self) -> None:
        """Begin, or begin again after ``close``."""
        self.app = Kallista.assembled(
            self.world.store(),
            self.world.clock,
            tasks=self.handlers(),
            threads=InlineThreads(),
            options=Options(grace=Micros(0), look_every=NEVER, take_over_every=NEVER),
        )
        await self.app.__aenter__()

    async def close(self) -> None:
        """Leave in good order: what is in flight is handed back."""
        ending = asyncio.ensure_future(self.app.__aexit__(None, None, None))
        await self.world.settle()
        while not ending.done():
            await asyncio.sleep(0)
            await self.world.settle()
        await ending
        assert places_taken(self.app) == 0, "a place for an attempt was never given back"

    def handlers(self) -> Sequence[Callable[..., object]]:
        """What this app can execute."""
        clock = self.world.clock

        async def work(ctx: TaskContext, length: float = 0, fails: int = 0) -> Data:
            if length:
                over = asyncio.Event()
                clock.call_at(Micros(clock.now() + round(length * 1_000_000)), over.set)
                await over.wait()
            if ctx.attempt <= fails:
                raise ValueError("bad luck")
            return {"attempt": ctx.attempt, "before": dict(ctx.results)}

        async def gated(ctx: TaskContext) -> str:
            await self.gate.wait()
            return f"{ctx.task_id} has passed"

        def plain(text: str) -> str:
            return text.upper()

        return work, gated, plain


class ThreeObjects(RuleBasedStateMachine):
    """Random operations, each on all stores."""

    @initialize()
    def begin(self) -> None:
        self.runner = asyncio.Runner()
        self.folder = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        self.completed: set[tuple[RunKind, str]] = set()
        self.runner.run(self.open_all())

    async def open_all(self) -> None:
        self.stack = AsyncExitStack()
        worlds: list[World] = [
            MemoryWorld(),
            SqliteWorld(Path(self.folder.name) / "kallista.db"),
            PostgresWorld(new_database()),
        ]
        self.sides = [Side(world) for world in worlds]
        for side in self.sides:
            await self.stack.enter_async_context(side.world)
            await side.open()

    def teardown(self) -> None:
        if not hasattr(self, "runner"):
            return
        try:
            self.runner.run(self.end())
        finally:
            self.runner.close()
            self.folder.cleanup()

    async def end(self) -> None:
        try:
            for side in self.sides:
                await self.judge_replay(side)
                await side.close()
        finally:
            await self.stack.aclose()

    # asking all

    def ask(self, what: Question) -> Any:
        """Ask all stores; what they answer must be the same."""
        return self.runner.run(self.same(what))

    async def same(self, what: Question) -> Any:
        answers = [await self.answer(side, what) for side in self.sides]
        for answer in answers[1:]:
            assert answer == answers[0], f"{answer}\n!=\n{answers[0]}"
        return answers[0]

    async def answer(self, side: Side, what: Question) -> object:
        """What a user of one side gets to see, once everything is at rest."""

        async def asked() -> object:
            return await what(side.app)

        task = asyncio.ensure_future(asked())
        await side.world.settle()
        assert task.done(), "it needs time, or something else to happen first"
        try:
            return plain_form(task.result())
        except KallistaError as error:
            return type(error).__name__, str(error)

    def tell(self, kind: RunKind, verb: str, id: str) -> None:
        """A command for one run."""
        door, noun, _ = DOORS[kind]
        self.ask(lambda app: getattr(getattr(app, door), f"{verb}_{noun}")(id))

    # operations

    @rule(id=IDS, tasks=lines(), lenient=st.booleans(), priority=st.integers(0, 1))
    def create_workflow(self, id: str, tasks: list[Data], lenient: bool, priority: int) -> None:
        config = {"continue_on_error": True} if lenient else None
        self.ask(
            lambda app: app.workflow_manager.create_workflow(
                "line", tasks, config, workflow_id=id, priority=priority
            )
        )

    @rule(id=IDS, data=graphs(), needs=st.none() | IDS)
    def create_process(self, id: str, data: Data, needs: str | None) -> None:
        dependencies = {} if needs is None else {"dependencies": [needs]}
        self.ask(
            lambda app: app.orchestrator.create_process({**data, **dependencies}, process_id=id)
        )

    @rule(id=IDS, data=tasks(), wait=st.sampled_from([0, 0, 3]))
    def schedule_task(self, id: str, data: Data, wait: int) -> None:
        self.ask(
            lambda app: app.scheduler.schedule_task(
                id,
                {key: value for key, value in data.items() if key != "continue_on_error"},
                to_datetime(self.sides[0].world.clock.now() + wait * 1_000_000) if wait else None,
                tags=["tagged"] if wait else [],
            )
        )

    @rule(id=IDS)
    def run_what_is_there(self, id: str) -> None:
        for kind in (RunKind.WORKFLOW, RunKind.PROCESS):
            self.tell(kind, "start", id)

    @rule(
        kind=st.sampled_from([RunKind.WORKFLOW, RunKind.PROCESS]),
        id=IDS,
        verb=st.sampled_from(["pause", "resume", "cancel", "retry", "delete"]),
    )
    def command(self, kind: RunKind, id: str, verb: str) -> None:
        if verb == "delete":
            self.completed.discard((kind, id))
        self.tell(kind, verb, id)

    @rule(id=IDS, verb=st.sampled_from(["cancel", "retry", "delete"]))
    def command_task(self, id: str, verb: str) -> None:
        if verb == "delete":
            self.completed.discard((RunKind.TASK, id))
        self.tell(RunKind.TASK, verb, id)

    @rule(id=SCHEDULES, every=st.sampled_from([1, 2]), most=st.integers(1, 3), data=tasks())
    def create_schedule(self, id: str, every: int, most: int, data: Data) -> None:
        data = {key: value for key, value in data.items() if key != "continue_on_error"}
        self.ask(lambda app: app.scheduler.schedule_task(id, data, interval=every, max_runs=most))

    @rule(id=SCHEDULES, verb=st.sampled_from(["pause", "resume", "trigger", "delete"]))
    def command_schedule(self, id: str, verb: str) -> None:
        self.ask(lambda app: getattr(app.scheduler, f"{verb}_schedule")(id))

    @rule(id=SCHEDULES)
    def end_schedule(self, id: str) -> None:
        self.ask(lambda app: app.scheduler.cancel_task(id))

    @rule(length=st.sampled_from([0.5, 1, 3]))
    def time_passes(self, length: float) -> None:
        async def pass_by() -> None:
            for side in self.sides:
                await side.world.passes(length)

        self.runner.run(pass_by())

    @rule()
    def open_the_gate(self) -> None:
        async def let_pass() -> None:
            for side in self.sides:
                side.gate.set()
                side.gate = asyncio.Event()
                await side.world.settle()

        self.runner.run(let_pass())

    @rule()
    def reopen(self) -> None:
        async def again() -> None:
            for side in self.sides:
                await side.close()
                await side.open()
                await side.world.settle()

        self.runner.run(again())

    # what must be the same, and true

    @invariant()
    def all_say_the_same(self) -> None:
        if hasattr(self, "sides"):
            self.runner.run(self.compare())

    async def compare(self) -> None:
        seen = await self.same(everything)
        for kind in DOORS:
            for run in seen[kind]:
                self.judge_status(kind, run)

    def judge_status(self, kind: RunKind, run: Data) -> None:
        """Only words of its kind, and what has completed stays so."""
        assert run["status"] in STATUSES[kind], run
        if run["status"] == "COMPLETED":
            self.completed.add((kind, run["id"]))
        else:
            assert (kind, run["id"]) not in self.completed, run

    async def judge_replay(self, side: Side) -> None:
        """Folding a run's history gives what is stored of it."""
        for kind, (door, _, plural) in DOORS.items():
            page: Page[Any] = await getattr(getattr(side.app, door), f"list_{plural}")()
            for summary in page.items:
                await self.judge_history(side, kind, summary.id)

    async def judge_history(self, side: Side, kind: RunKind, id: str) -> None:
        store = side.app._store
        record = await store.load(RunId(id))
        assert record is not None
        definition = definition_from_data(json.loads(record.definition_content))
        events = await store.history(record.key)
        folded = followed(record.id, 0, definition, events).run
        assert folded.head == record.head, (kind, id)
        assert tuple(folded.steps) == record.steps, (kind, id)
        if record.head.state in FINISHED_RUN and not record.head.in_flight:
            assert all(step.ended_at is not None for step in record.steps), (kind, id)


async def everything(app: Kallista) -> object:
    """All that a user can see."""
    seen: Data = {"schedules": plain_form(await app.scheduler.list_schedules())}
    for kind, (name, noun, plural) in DOORS.items():
        door: Any = getattr(app, name)
        page = await getattr(door, f"list_{plural}")()
        seen[kind] = plain_form(page.items)
        for run in page.items:
            seen[run.id] = [
                plain_form(await getattr(door, f"get_{noun}")(run.id)),
                plain_form(await door.get_history(run.id)),
                plain_form(await door.explain(run.id)),
            ]
    return seen


def plain_form(answer: object) -> object:
    """An answer as plain data, so that it can be compared and read."""
    match answer:
        case Page():
            return {"items": plain_form(answer.items), "cursor": answer.cursor}
        case Snapshot():
            return answer.to_dict()
        case list() | tuple():
            return [plain_form(item) for item in answer]
        case _:
            return answer


TestThreeObjects = ThreeObjects.TestCase
TestThreeObjects.settings = settings(
    max_examples=STORIES,
    stateful_step_count=25,
    deadline=None,
    derandomize=STORIES == 8,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
